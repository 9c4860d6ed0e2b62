"""From columns to what libraries take: a matrix in the model's order, categories as their codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lossloop.core.errors import InputError, alternatives
from lossloop.registry import Feature, FeatureKind
from lossloop.serve.runtimes.base import Columns, Floats

LARGEST = float(np.finfo(np.float32).max)
"""What is larger is this, where a library refuses infinity in single precision: it would refuse the
neighbours too."""


def order(features: Sequence[Feature], known: Sequence[str] | None, count: int) -> list[str]:
    """The features in the order in which the model takes them.

    Args:
        features: Those of the manifest.
        known: The model's names for its inputs; None where it has none of its own: then the manifest's order
            counts.
        count: How many the model takes.

    Raises:
        InputError: The manifest lists others.
    """
    names = [feature.name for feature in features]
    if known is not None:
        lacking, unknown = sorted(set(known) - set(names)), sorted(set(names) - set(known))
        if lacking:
            raise InputError(
                f"the model takes {_listed(lacking)}, which the manifest does not list", field="features"
            )
        if unknown:
            raise InputError(
                f"the model takes no feature {unknown[0]!r}; {alternatives(unknown[0], known)}",
                field="features",
            )
        return list(known)
    if len(names) != count:
        raise InputError(
            f"the model takes {count} features, the manifest lists {len(names)}", field="features"
        )
    return names


def only_numbers(features: Sequence[Feature], why: str) -> None:
    """Raise InputError where a feature is a category; `why` says what takes none, and what to do."""
    for feature in features:
        if feature.kind is FeatureKind.CATEGORY:
            raise InputError(f"feature {feature.name!r} is a category: {why}", field="features")


def kinds(features: Sequence[Feature]) -> dict[str, FeatureKind]:
    """Each feature's kind by name."""
    return {feature.name: feature.kind for feature in features}


class Matrix:
    """Columns side by side, in one order and type; categories as the codes that the model was trained with.

    A category that is null or has no code is NaN: missing.
    """

    def __init__(
        self,
        names: Sequence[str],
        dtype: type[np.floating[Any]] = np.float64,
        *,
        categories: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._names = list(names)
        self._type = dtype
        self._codes = {
            name: {each: float(place) for place, each in enumerate(known)}
            for name, known in (categories or {}).items()
        }

    def of(self, columns: Columns) -> np.ndarray[Any, Any]:
        """Shape (n, features)."""
        rows = len(columns[self._names[0]])
        made = np.empty((rows, len(self._names)), dtype=self._type)
        with np.errstate(over="ignore"):
            for place, name in enumerate(self._names):
                column = columns[name]
                codes = self._codes.get(name)
                made[:, place] = column if codes is None else [codes.get(each, np.nan) for each in column]
        return made

    def clipped(self, columns: Columns) -> np.ndarray[Any, Any]:
        """The same with nothing infinite, nor larger than single precision holds."""
        made = self.of(columns)
        return np.clip(made, -LARGEST, LARGEST, out=made)


def answers(found: Any) -> Floats:
    """What a library answered, in the contract's shape: (n,), or (n, k) for several numbers a row."""
    made: Floats = np.asarray(found, dtype=np.float64)
    return made[:, 0] if made.ndim == 2 and made.shape[1] == 1 else made


def _listed(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(map(repr, names[:most]))
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
