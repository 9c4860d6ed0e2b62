"""From values to bins: how a feature is cut, and which bin each value falls into.

A tie is no trouble: a value that many rows share is a bin of its own, and has the rank in the middle of it
(the mid-distribution). Nothing is drawn at random, so a replay finds the same bins; and no test rests on
ranks being uniform, since each statistic of the bins is compared with its own mean on other reference rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lossloop.core.errors import InputError
from lossloop.core.profile import FeatureProfile

Array = npt.NDArray[np.float64]
Bins = npt.NDArray[np.uint8]

QUANTILES = 40
"""How many bins of equal shares a number is cut into."""
TAIL = 0.05
"""The share of the reference that each tail of a number is."""
MOST_CATEGORIES = 20
LEAST_SHARE = 0.01
"""Categories below, or beyond the first MOST_CATEGORIES, are rare."""
MOST_RARE = 500
"""More rare values than these are not listed."""


class Cut(NamedTuple):
    """How a feature is cut into bins; the fields are those of a FeatureProfile."""

    cuts: tuple[float, ...] = ()
    categories: tuple[str, ...] | None = None
    rare: tuple[str, ...] = ()
    pools_unseen: bool = False

    @property
    def bins(self) -> int:
        """How many, the one for missing values among them."""
        return len(self.cuts) + 2 if self.categories is None else len(self.categories) + 3


def values_of(values: Any, name: str) -> npt.NDArray[Any]:
    """A column as float64 with NaN, or as objects: text, and None where missing. Shape (n,).

    Raises:
        InputError: It has another shape, or holds something else.
    """
    array = np.asarray(values, dtype=object if isinstance(values, (list, tuple)) else None)
    if array.ndim != 1:
        raise InputError(f"feature {name!r} must have one dimension, not {array.ndim}", field=name)
    if array.dtype.kind in "fiu":
        return _finite(array.astype(np.float64), name)
    found = [None if value is None or value != value else value for value in array.tolist()]  # noqa: PLR0124
    if all(value is None or isinstance(value, str) for value in found) and any(found):
        return np.array(found, dtype=object)
    for row, value in enumerate(found):
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise InputError(
                f"feature {name!r} must be all numbers or all text; row {row} is {value!r}",
                field=name,
                row=row,
            )
    return _finite(np.array([np.nan if value is None else value for value in found], dtype=np.float64), name)


def _finite(array: Array, name: str) -> Array:
    if np.isinf(array).any():
        row = int(np.isinf(array).argmax())
        raise InputError(f"feature {name!r} is infinite at row {row}", field=name, row=row)
    return array


def cut_of(values: npt.NDArray[Any]) -> Cut:
    """Cut a feature by its values, as `values_of` gives them."""
    return _cut_text(values) if values.dtype.kind == "O" else Cut(cuts=_cuts(values[~np.isnan(values)]))


def _cuts(values: Array) -> tuple[float, ...]:
    """Quantiles; a value that fills a bin gets one of its own; the first bin is below all, the last above."""
    if len(values) == 0:
        return ()
    distinct, counts = np.unique(values, return_counts=True)
    reached = np.cumsum(counts) / len(values)
    places = np.searchsorted(reached, np.arange(1, QUANTILES) / QUANTILES - 1e-12)
    heavy = np.flatnonzero(counts >= len(values) / QUANTILES)
    ends = np.unique(np.concatenate((places, heavy, heavy - 1, [len(distinct) - 1])))
    below = np.nextafter(distinct[0], -np.inf)
    return (float(below), *distinct[ends[ends >= 0]].tolist())


def _cut_text(values: npt.NDArray[Any]) -> Cut:
    names, counts = np.unique(np.array([value for value in values if value is not None]), return_counts=True)
    order = np.lexsort((names, -counts))
    common = [place for place in order if counts[place] >= LEAST_SHARE * len(values)][:MOST_CATEGORIES]
    rare = sorted(set(range(len(names))).difference(common))
    pools = len(rare) > MOST_RARE
    return Cut(
        categories=tuple(str(names[place]) for place in common),
        rare=() if pools else tuple(str(names[place]) for place in rare),
        pools_unseen=pools,
    )


class Reader:
    """Reads one feature's values into bins; made once, used for every batch."""

    def __init__(self, cut: Cut | FeatureProfile) -> None:
        self.is_number = cut.categories is None
        self.missing = cut.bins - 1
        self._cuts = np.asarray(cut.cuts, dtype=np.float64)
        names = cut.categories or ()
        self._unseen = len(names) + (0 if cut.pools_unseen else 1)
        self._known: dict[str | None, int] = {name: place for place, name in enumerate(names)}
        self._known |= dict.fromkeys(cut.rare, len(names))
        self._known[None] = self.missing

    def numbers(self, values: Array) -> Bins:
        """The bin of each number; NaN is missing. Shape (n,)."""
        found = np.searchsorted(self._cuts, values).astype(np.uint8)
        found[np.isnan(values)] = self.missing
        return found

    def texts(self, values: Iterable[str | None]) -> Bins:
        """The bin of each text; None is missing. Shape (n,)."""
        known, unseen = self._known, self._unseen
        return np.array([known.get(value, unseen) for value in values], dtype=np.uint8)


def bins_of(cut: Cut | FeatureProfile, values: npt.NDArray[Any]) -> Bins:
    """The bin of each value, as `values_of` gives them. Shape (n,)."""
    reader = Reader(cut)
    return reader.numbers(values.astype(np.float64)) if reader.is_number else reader.texts(values.tolist())


def ranks_of(shares: npt.ArrayLike) -> Array:
    """The rank in the middle of each bin of a number, .5 for missing. Shape (bins,)."""
    share = np.asarray(shares, dtype=np.float64)[:-1]
    total = share.sum()
    middle = (np.cumsum(share) - 0.5 * share) / total if total > 0.0 else np.full(len(share), 0.5)
    return np.append(np.clip(middle, 0.0, 1.0), 0.5)


def statistics_of(feature: Cut | FeatureProfile, shares: npt.ArrayLike) -> tuple[list[str], Array]:
    """The statistics of a feature: their names, and their values in each bin, in [0, 1], shape (bins, names).

    Of a number: its rank u (`level`), |2u - 1| (`spread`), 1{u < .05} (`low`), 1{u > .95} (`high`); a missing
    value has what the reference has on average. Of a category: 1{it is this one}. And 1{it is missing}.
    """
    missing = np.zeros(feature.bins)
    missing[-1] = 1.0
    if feature.categories is None:
        rank = ranks_of(shares)
        columns = [rank, np.abs(2.0 * rank - 1.0), 1.0 * (rank < TAIL), 1.0 * (rank > 1.0 - TAIL), missing]
        for column, neutral in zip(columns, (0.5, 0.5, TAIL, TAIL), strict=False):
            column[-1] = neutral
        return ["level", "spread", "low", "high", "missing"], np.column_stack(columns)
    names = [f"share of {name!r}" for name in feature.categories]
    return [*names, "share of rare values", "share of unseen values", "missing"], np.eye(feature.bins)
