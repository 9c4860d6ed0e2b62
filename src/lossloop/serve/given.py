"""Rows to predict as columns: what a transport of tensors hands over, without an object for each row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from lossloop.core.errors import InputError

Values: TypeAlias = Sequence[Any] | np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """Rows by column: for each feature a list or an array of n values, None (or NaN) where it is absent.

    Raises:
        InputError: A column has another length, or more than one dimension.
    """

    count: int
    features: Mapping[str, Values]
    ids: Sequence[str | None] | None = None
    units: Sequence[str | None] | None = None
    times: Sequence[str | None] | None = None
    """ISO 8601 texts."""
    made: Sequence[str] | None = None
    """In place of `ids`: made for these rows just now, so that nobody has asked under them before."""

    def __post_init__(self) -> None:
        columns: dict[str, Values | None] = {
            "id": self.ids or self.made,
            "unit": self.units,
            "time": self.times,
        }
        columns |= {f"features.{name}": values for name, values in self.features.items()}
        for name, values in columns.items():
            if values is None:
                continue
            if isinstance(values, np.ndarray) and values.ndim != 1:
                raise InputError(f"{name} must have one dimension, not {values.ndim}", field=name)
            if len(values) != self.count:
                raise InputError(f"{name} has {len(values)} values for {self.count} rows", field=name)

    def rows(self) -> list[dict[str, Any]]:
        """The same row by row, as JSON would bring them."""
        names, columns = list(self.features), [_plain(values) for values in self.features.values()]
        features: Sequence[Sequence[Any]] = list(zip(*columns, strict=True)) if columns else [()] * self.count
        made: list[dict[str, Any]] = [{"features": dict(zip(names, row, strict=True))} for row in features]
        for key, values in (("id", self.ids or self.made), ("unit", self.units), ("time", self.times)):
            for row, value in zip(made, values or (), strict=False):
                if value is not None:
                    row[key] = value
        return made


def _plain(values: Values) -> Sequence[Any]:
    if not isinstance(values, np.ndarray):
        return values
    if values.dtype.kind != "f":
        return list(values.tolist())
    return [None if value != value else value for value in values.tolist()]  # noqa: PLR0124 - NaN is null
