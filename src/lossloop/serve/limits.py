"""Limits and constraints: which answers may leave, and what becomes of the others. Pure, and by column.

Limits are looked at in the policy's order: each sees what those before it left. Constraints see what all the
limits left. Of several that an answer breaks, the strictest decides: refuse, then fall back, then clamp.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lossloop.core.serving import Constraint, Limit, Serving, Then

Floats = np.ndarray[Any, np.dtype[np.float64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]
Columns = Mapping[str, np.ndarray[Any, Any]]
Cost = Callable[[Floats, Columns], Floats]
"""The costs of answers (n,) or (n, k) with their features, shape (n,); NaN where there is none."""


@dataclass(frozen=True, kw_only=True)
class Guarded:
    """What became of n answers.

    `values` has them as they may leave, shaped as they came; what of the other fields names no row is fine.
    """

    values: Floats
    clamped: Mapping[int, str] = field(default_factory=dict)
    """Rows whose answer was cut, and the limit's words."""
    stopped: Mapping[int, str] = field(default_factory=dict)
    """Rows whose answer does not leave, and why."""
    refused: frozenset[int] = frozenset()
    """Those of them that no other answer is looked for."""


def guard(
    serving: Serving,
    costs: Mapping[str, Cost],
    values: Floats,
    columns: Columns,
    rows: Sequence[int] | None = None,
) -> Guarded:
    """Look at answers before they leave.

    Args:
        serving: The policy's rules.
        costs: The losses of its constraints, by their text.
        values: Valid answers (n,) or (n, k).
        columns: The features of n rows: numbers with NaN, texts with None.
        rows: Which rows to look at; all by default. What lies in the others does not matter.
    """
    if not serving.limits and not serving.constraints:
        return Guarded(values=values)
    looked = np.ones(len(values), np.bool_)
    if rows is not None:
        looked[:] = False
        looked[list(rows)] = True
    found = _Found(values=values, looked=looked)
    for limit in serving.limits:
        _limited(found, limit, columns)
    for constraint in serving.constraints:
        _constrained(found, constraint, costs[constraint.loss], columns)
    clamped = {row: why for row, why in found.clamped.items() if row not in found.stopped}
    return Guarded(
        values=found.values, clamped=clamped, stopped=found.stopped, refused=frozenset(found.refused)
    )


@dataclass(kw_only=True)
class _Found:
    values: Floats
    looked: Mask
    clamped: dict[int, str] = field(default_factory=dict)
    stopped: dict[int, str] = field(default_factory=dict)
    refused: set[int] = field(default_factory=set)

    def stop(self, rows: Mask, then: Then, why: str) -> None:
        for row in np.flatnonzero(rows).tolist():
            if then is Then.REFUSE and row not in self.refused:
                self.refused.add(row)
                self.stopped[row] = why
            self.stopped.setdefault(row, why)


def _limited(found: _Found, limit: Limit, columns: Columns) -> None:
    low = -np.inf if limit.low is None else limit.low
    high = np.inf if limit.high is None else limit.high
    beyond = (found.values < low) | (found.values > high)
    rows = beyond.any(axis=1) if beyond.ndim == 2 else beyond
    rows = rows & found.looked
    if not rows.any():
        return
    rows &= meant(limit, columns, len(rows))
    if limit.then is not Then.CLAMP:
        found.stop(rows, limit.then, f"beyond the limit {limit.words}")
        return
    # Never in place: what the version said is logged beside what left.
    cut = np.clip(found.values, low, high)
    found.values = np.where(rows[:, None] if beyond.ndim == 2 else rows, cut, found.values)
    for row in np.flatnonzero(rows).tolist():
        found.clamped[row] = limit.words


def _constrained(found: _Found, constraint: Constraint, cost: Cost, columns: Columns) -> None:
    spent = cost(found.values, columns)
    # Not above, or not known: an answer that cannot be checked does not leave.
    found.stop(
        ~(spent <= constraint.at_most) & found.looked,
        constraint.then,
        f"against the constraint {constraint.loss} at most {constraint.at_most:g}",
    )


def meant(limit: Limit, columns: Columns, count: int) -> Mask:
    """Which of n rows a limit is about; a feature that rows do not have means none. Shape (n,)."""
    rows = np.ones(count, np.bool_)
    for name, values in limit.where.items():
        column = columns.get(name)
        rows &= np.zeros(count, np.bool_) if column is None else _is_one_of(column, values)
    return rows


def _is_one_of(column: np.ndarray[Any, Any], values: Sequence[str]) -> Mask:
    if column.dtype == object:
        return np.array([value in values for value in column.tolist()], np.bool_)
    return np.isin(column, [number for text in values if (number := _number(text)) is not None])


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
