"""Outcomes that came before their prediction, and wait for it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from lossloop.ledger.joined.columns import Array, Floats, Int64, widened
from lossloop.ledger.joined.keys import UInt64
from lossloop.ledger.joined.stream import Stream, stacked
from lossloop.ledger.joined.table import Table
from lossloop.ledger.store import Store

WAITING = "waiting"
BEGAN, CORRECTED, REPEATED = 0, 1, 2
"""What became of an outcome that came too early."""
_DEAD = 100_000
"""Kept rows whose outcome waits no more, before the rest is written anew."""

Key = tuple[int, int]


class Waiting:
    """Outcomes by the key of the prediction that they wait for.

    Args:
        store: Where they are kept.
        model: Whose they are.
        tables: Its predictions: what is there need not be waited for.
    """

    def __init__(self, store: Store, model: str, tables: Sequence[Table]) -> None:
        self._stream = Stream(store, f"{WAITING}/{model}")
        self._outcomes: dict[Key, tuple[tuple[float, ...], int]] = {}
        self._new: list[dict[str, Array]] = []
        for columns in self._stream.read():
            left: dict[str, Array] = dict(columns)
            for table in tables:
                here = table.find(left["key_high"], left["key_low"]) >= 0
                left = {name: values[~here] for name, values in left.items()}
            for key, y_true, moment in _by_key(left):
                self._outcomes[key] = (y_true, moment)

    def __len__(self) -> int:
        return len(self._outcomes)

    def keep(self, high: UInt64, low: UInt64, y_true: Floats, at: Int64) -> Int64:
        """Keep outcomes; return for each whether it BEGAN to wait, CORRECTED one that waits, or REPEATED it.

        A correction is known since the first outcome. Shape (n,).
        """
        columns = {"key_high": high, "key_low": low, "y_true": y_true, "labelled_at": at.copy()}
        became = np.empty(len(low), np.int64)
        for place, (key, label, moment) in enumerate(_by_key(columns)):
            known = self._outcomes.get(key)
            if known is not None and _same(known[0], label):
                became[place] = REPEATED
                continue
            became[place] = BEGAN if known is None else CORRECTED
            since = moment if known is None else known[1]
            self._outcomes[key] = (label, since)
            columns["labelled_at"][place] = since
        written = np.flatnonzero(became != REPEATED)
        if len(written):
            self._new.append({name: values[written] for name, values in columns.items()})
        return became

    def take(self, high: UInt64, low: UInt64) -> tuple[Int64, Floats, Int64]:
        """Stop waiting for predictions that came: places of those that an outcome waited for, and these."""
        if not self._outcomes:
            return np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64)
        keys = zip(high.tolist(), low.tolist(), strict=True)
        found = [(place, self._outcomes.pop(key)) for place, key in enumerate(keys) if key in self._outcomes]
        places = np.array([place for place, _ in found], np.int64)
        moments = np.array([moment for _, (_, moment) in found], np.int64)
        return places, _labels([label for _, (label, _) in found]), moments

    def flush(self) -> None:
        """Write what began to wait since the last flush; what waits no more is known by its prediction."""
        if self._new:
            self._stream.append(stacked(self._new, {}))
            self._new.clear()
        if self._stream.rows > 2 * len(self._outcomes) + _DEAD:
            self.rewrite()

    def rewrite(self) -> None:
        """Write only what waits now, in place of all that ever did; call it inside a transaction."""
        self._stream.rewrite(self._columns())
        self._new.clear()

    def _columns(self) -> dict[str, Array]:
        keys = np.array(list(self._outcomes), np.uint64).reshape(-1, 2)
        return {
            "key_high": np.ascontiguousarray(keys[:, 0]),
            "key_low": np.ascontiguousarray(keys[:, 1]),
            "y_true": _labels([label for label, _ in self._outcomes.values()]),
            "labelled_at": np.array([moment for _, moment in self._outcomes.values()], np.int64),
        }


def _by_key(columns: dict[str, Array]) -> list[tuple[Key, tuple[float, ...], int]]:
    keys = zip(columns["key_high"].tolist(), columns["key_low"].tolist(), strict=True)
    labels = map(_label, widened(columns["y_true"], _width(columns["y_true"])).tolist())
    return list(zip(keys, labels, columns["labelled_at"].tolist(), strict=True))


def _label(values: list[float]) -> tuple[float, ...]:
    """A label without the filling at its end: it is the same one whatever it was sent beside."""
    end = len(values)
    while end > 1 and math.isnan(values[end - 1]):
        end -= 1
    return tuple(values[:end])


def _labels(labels: list[tuple[float, ...]]) -> Floats:
    """Labels as numbers, or as lists of the longest's length."""
    width = max(map(len, labels), default=1)
    rows = np.full((len(labels), width), np.nan)
    for place, label in enumerate(labels):
        rows[place, : len(label)] = label
    return rows[:, 0] if width == 1 else rows


def _same(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return bool(np.array_equal(one, other, equal_nan=True))


def _width(values: Array) -> int:
    return values.shape[1] if values.ndim == 2 else 1
