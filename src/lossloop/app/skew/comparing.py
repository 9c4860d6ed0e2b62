"""Two columns that should be equal: in how many rows they are not, by how much, and in which way. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from lossloop.core.records import Interval, Record
from lossloop.core.tasks import Mask
from lossloop.judges.quantiles import beta_quantile

Column = np.ndarray[Any, Any]

LEVEL = 0.95
MOST_SHOWN = 5
MOSTLY = 0.9
"""The share of the differing rows that has one pattern, where a pattern is told."""
CLOSE = 0.01
"""How far rows of one pattern may lie apart, relative to it."""
FEWEST = 3
"""Rows that differ before a pattern is looked for."""


class Example(Record, frozen=True, omit_defaults=False):
    """A row that differs."""

    id: str
    sent: float | str | tuple[float, ...] | None
    made: float | str | tuple[float, ...] | None


class Difference(Record, frozen=True, omit_defaults=False):
    """How far what was sent is from what was made of the same inputs."""

    name: str
    """A feature, or ``y_pred``."""
    rows: int
    differing: int
    share: Interval
    """Of rows that differ; exact for rows drawn at random (Clopper and Pearson, Biometrika, 1934)."""
    typical: float | None
    """Median of the differences in size, of numbers that differ."""
    pattern: str
    """What most of them have in common; empty where nothing is seen."""
    examples: tuple[Example, ...]

    def skewed(self, allow: float) -> bool:
        """Whether more than this share differs, beyond what a sample leaves open."""
        return self.differing > 0 and self.share.low > allow


def compare(name: str, ids: Sequence[str], sent: Column, made: Column, *, tolerance: float) -> Difference:
    """Hold a column that was sent against one that was made.

    Args:
        name: What it is.
        ids: Of the rows.
        sent: Shape (n,), or (n, k) for lists of numbers.
        made: Likewise; NaN or None for null.
        tolerance: Numbers differ where they are further apart than this times the larger of both, or of 1.
    """
    apart = differing(sent, made, tolerance)
    places = np.flatnonzero(apart)
    numbers = object not in (sent.dtype, made.dtype) and sent.ndim == 1
    return Difference(
        name=name,
        rows=len(sent),
        differing=len(places),
        share=share_of(len(places), len(sent)),
        typical=_typical(sent[places], made[places]) if numbers else None,
        pattern=_pattern(sent[places], made[places], numbers=numbers) if len(places) >= FEWEST else "",
        examples=tuple(
            Example(id=ids[place], sent=_plain(sent[place]), made=_plain(made[place]))
            for place in places[:MOST_SHOWN].tolist()
        ),
    )


def differing(sent: Column, made: Column, tolerance: float) -> Mask:
    """Which rows differ; null equals null. Shape (n,)."""
    if object in (sent.dtype, made.dtype):
        pairs = zip(_texts(sent), _texts(made), strict=True)
        return np.fromiter((one != other for one, other in pairs), np.bool_, len(sent))
    if sent.shape != made.shape:
        return np.ones(len(sent), np.bool_)
    with np.errstate(invalid="ignore", over="ignore"):
        size = np.maximum(1.0, np.maximum(np.abs(sent), np.abs(made)))
        apart = ~(np.abs(sent - made) <= tolerance * size)
    apart |= np.isinf(sent) | np.isinf(made)
    apart &= ~(np.isnan(sent) & np.isnan(made)) & (sent != made)
    return apart if apart.ndim == 1 else np.asarray(apart.any(axis=1))


def share_of(count: int, rows: int) -> Interval:
    """A share of rows and its exact interval."""
    if not rows:
        return Interval(estimate=0.0, low=0.0, high=1.0, level=LEVEL)
    tail = (1.0 - LEVEL) / 2
    low = beta_quantile(tail, count, rows - count + 1) if count else 0.0
    high = beta_quantile(1.0 - tail, count + 1, rows - count) if count < rows else 1.0
    return Interval(estimate=count / rows, low=low, high=high, level=LEVEL)


def _typical(sent: Column, made: Column) -> float | None:
    apart = np.abs(sent - made)
    apart = apart[np.isfinite(apart)]
    return float(np.median(apart)) if len(apart) else None


def _pattern(sent: Column, made: Column, *, numbers: bool) -> str:
    """What most of the rows that differ have in common, in words."""
    if numbers:
        return _of_nulls(np.isnan(sent), np.isnan(made), sent, made) or _of_numbers(sent, made)
    if sent.ndim > 1 or made.ndim > 1:
        return ""
    one, other = _texts(sent), _texts(made)
    found = _of_nulls(_nulls(one), _nulls(other), np.array(one, object), np.array(other, object))
    if found:
        return found
    ((pair, count),) = Counter(zip(one, other, strict=True)).most_common(1)
    return f"{pair[0]!r} was sent for {pair[1]!r}" if count >= MOSTLY * len(one) else ""


def _nulls(values: Sequence[Any]) -> Mask:
    return np.array([value is None for value in values], np.bool_)


def _of_nulls(sent_null: Mask, made_null: Mask, sent: Column, made: Column) -> str:
    most = MOSTLY * len(sent)
    if made_null.sum() >= most:
        value, count = _commonest(sent[made_null])
        also = f": {value}" if count >= most else ""
        return f"a value was sent where there is none{also}"
    if sent_null.sum() >= most:
        value, count = _commonest(made[sent_null])
        also = f": {value}" if count >= most else ""
        return f"nothing was sent where there is a value{also}"
    return ""


def _commonest(values: Column) -> tuple[str, int]:
    ((value, count),) = Counter(values.tolist()).most_common(1)
    return _said(value), count


def _of_numbers(sent: Column, made: Column) -> str:
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        apart, ratio = sent - made, sent / made
    by, times = _shared(apart), _shared(ratio)
    if times is not None and (by is None or times[1] <= by[1]) and times[0] != 1.0:
        return f"what was sent is {_said(times[0])} times what should be"
    if by is not None:
        return f"what was sent is what should be {'plus' if by[0] > 0 else 'minus'} {_said(abs(by[0]))}"
    return ""


def _shared(values: Column) -> tuple[float, float] | None:
    """The value that nearly all of these have, and how far they lie from it; None where there is none."""
    good = values[np.isfinite(values)]
    if len(good) < MOSTLY * len(values):
        return None
    middle = float(np.median(good))
    away = np.abs(good - middle)
    near = away <= CLOSE * abs(middle)
    if middle == 0.0 or near.sum() < MOSTLY * len(values):
        return None
    return middle, float(np.median(away)) / abs(middle)


def _texts(column: Column) -> list[Any]:
    if column.dtype == object:
        return list(column.tolist())
    return [None if math.isnan(value) else value for value in column.tolist()]


def _plain(value: Any) -> float | str | tuple[float, ...] | None:
    if isinstance(value, np.ndarray):
        return tuple(value.tolist())
    if value is None or isinstance(value, str):
        return value
    return None if math.isnan(value) else float(value)


def _said(value: Any) -> str:
    return repr(value) if isinstance(value, str) else f"{value:.6g}"
