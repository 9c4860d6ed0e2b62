"""Cuts: by which features, or ranges of a feature, rows are told apart; each cut makes slices of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from lossloop.core.errors import InputError
from lossloop.core.records import Record

MOST_CUTS = 6
"""By which a model's rows are ever told apart: its places in the number that a row keeps."""
TIMES = " x "
"""Between the features of a cut by several."""
EXAMPLES = "carrier, carrier x origin, or {feature: distance, bins: [500, 1000]}"


class Axis(Record, frozen=True):
    """A feature, told apart by its values or, with rising `bins`, by the ranges between them."""

    feature: str
    bins: tuple[float, ...] = ()

    @property
    def key(self) -> str:
        """What names the axis and its bins."""
        return (
            f"{self.feature}[{', '.join(f'{each:g}' for each in self.bins)}]" if self.bins else self.feature
        )


class Cut(Record, frozen=True):
    """One axis or several: rows that agree on all of them are one slice."""

    axes: tuple[Axis, ...]

    @property
    def name(self) -> str:
        """As a policy calls it: ``carrier``, ``carrier x origin``."""
        return TIMES.join(axis.feature for axis in self.axes)

    @property
    def key(self) -> str:
        """The name with its bins: what rows were cut by is known by this."""
        return TIMES.join(axis.key for axis in self.axes)


class SliceReference(Record, frozen=True):
    """What a version's loss was on the reference rows of one slice; made by `judges.slice_references`."""

    mean: float
    """Of its block means."""
    blocks: int
    spread: float
    """The standard deviation of its block means."""
    rows: int
    row_mean: float | None = None
    row_upper: float | None = None
    """An upper bound of the mean loss that takes rows as independent, for watches that judge rows."""

    def __post_init__(self) -> None:
        numbers = (self.mean, self.spread, self.row_mean or 0.0, self.row_upper or 0.0)
        if not all(map(math.isfinite, numbers)) or self.spread < 0.0 or self.blocks < 1 or self.rows < 1:
            raise InputError(
                "the reference of a slice needs finite numbers, a block and a row", field="reference.slices"
            )


def read_cut(value: Any) -> Cut:
    """A cut as it stands in a policy.

    Raises:
        InputError: It names no feature, or one twice, or its bins do not rise; says what could be written.
    """
    if isinstance(value, dict):
        axes: tuple[Axis, ...] = (_binned(value),)
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        axes = tuple(Axis(feature=name.strip()) for name in str(value).split(TIMES))
    else:
        raise InputError(f"{value!r} is no slice; write {EXAMPLES}")
    names = [axis.feature for axis in axes]
    if not all(names) or len(set(names)) < len(names):
        raise InputError(f"{value!r} must name features, each once; write {EXAMPLES}")
    return Cut(axes=axes)


def resolved(cuts: Sequence[Cut]) -> tuple[Cut, ...]:
    """The cuts, with those by several features in the ranges that the cuts by one of them have."""
    ranges = {cut.axes[0].feature: cut.axes[0] for cut in cuts if len(cut.axes) == 1}
    return tuple(Cut(axes=tuple(ranges.get(axis.feature, axis) for axis in cut.axes)) for cut in cuts)


def _binned(value: dict[Any, Any]) -> Axis:
    if set(value) != {"feature", "bins"}:
        raise InputError("a feature that is cut into ranges has the keys 'feature' and 'bins', and no others")
    bins = value["bins"]
    if not isinstance(bins, list) or not bins or not all(map(_is_number, bins)):
        raise InputError(f"bins must be a list of numbers, such as [500, 1000], not {bins!r}")
    if any(low >= high for low, high in pairwise(bins)):
        raise InputError(f"bins must rise, unlike {bins!r}")
    return Axis(feature=str(value["feature"]).strip(), bins=tuple(map(float, bins)))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
