"""The champion's rows with their losses and features, of two periods, as columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from lossloop.app.home import Home
from lossloop.app.judging import CHAMPION, Lens
from lossloop.app.recompute.features import read_features
from lossloop.app.recompute.gathered import Flags
from lossloop.app.recompute.history import History, Span, read_history
from lossloop.core.errors import InputError
from lossloop.ledger.joined.columns import Array, Floats, Int64
from lossloop.ledger.joined.keys import Keys
from lossloop.ledger.store import Store

_AT_ONCE = 1 << 17
VERSION = "version"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Rows of a champion that have a loss. Arrays of n."""

    time: Int64
    block: Int64
    loss: Floats
    features: Mapping[str, Array]
    """By name, floats with NaN or objects with None; among them the version that answered."""
    there: int
    """How many there were; more than these, where some were drawn at random."""
    unlabelled: int
    """How many more rows had no loss, mostly for want of an outcome."""

    def __len__(self) -> int:
        return len(self.loss)

    def some(self, most: int, seed: int) -> Seen:
        """At most so many of them, drawn at random, in their order."""
        if len(self) <= most:
            return self
        return self._pick(np.sort(np.random.default_rng(seed).choice(len(self), most, replace=False)))

    def _pick(self, rows: Int64) -> Seen:
        return replace(
            self, time=self.time[rows], block=self.block[rows], loss=self.loss[rows],
            features={name: values[rows] for name, values in self.features.items()},
        )  # fmt: skip


def read_rows(
    home: Home, store: Store, lens: Lens, spans: Sequence[Span], *, most: int, seed: int = 0
) -> list[Seen]:
    """What champions answered in each span, imported or as it happened, with the outcomes now in force.

    Of a span with more than `most` rows that have a loss so many are drawn at random: features take memory.

    Raises:
        InputError: There is no row that has a loss.
    """
    model = lens.policy.model
    past = read_history(store, model)
    whole = Span(since=spans[0].since, until=spans[-1].until)
    found = _together([_scored(place, history, lens, whole) for place, history in enumerate(past)], model)
    known = found.pick(~np.isnan(found.loss))
    if not len(known.loss):
        raise InputError(
            f"none of the {len(found.loss):,} predictions in that time has an outcome", field="since"
        )
    rng = np.random.default_rng(seed)
    mine = [_drawn(np.flatnonzero(_inside(span, known.time)), most, rng) for span in spans]
    features = _features(home, store, model, past, [known.pick(rows) for rows in mine])
    return [
        Seen(
            time=known.time[rows], block=known.block[rows], loss=known.loss[rows], features=columns,
            there=int(_inside(span, known.time).sum()),
            unlabelled=int((_inside(span, found.time) & np.isnan(found.loss)).sum()),
        )
        for span, rows, columns in zip(spans, mine, features, strict=True)
    ]  # fmt: skip


@dataclass(frozen=True)
class _Found:
    """Rows of a champion: where they lie, and what they lost; NaN for what has no loss. Arrays of n."""

    table: Int64
    row: Int64
    version: Int64
    time: Int64
    block: Int64
    loss: Floats

    def pick(self, rows: Array) -> _Found:
        return _Found(*(getattr(self, each.name)[rows] for each in fields(self)))


def _scored(place: int, history: History, lens: Lens, span: Span) -> list[_Found]:
    found = []
    numbered = replace(history, more={"row": np.arange(history.rows)})
    for piece in numbered.pieces(span):
        for batch in piece.work.batches(_AT_ONCE):
            mine = np.flatnonzero(_inside(span, batch["time"]) & (batch["role"] == CHAMPION))
            rows = {name: values[mine] for name, values in batch.items()}
            if len(mine):
                loss = lens.scores(rows["y_true"], rows["y_pred"], rows["version"])
                where = np.full(len(mine), place)
                found.append(_Found(where, rows["row"], rows["version"], rows["time"], rows["block"], loss))
    return found


def _together(found: list[list[_Found]], model: str) -> _Found:
    parts = [part for each in found for part in each]
    if not parts:
        raise InputError(f"{model} has no predictions of a champion in that time", field="since")
    return _Found(*(np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(_Found)))


def _inside(span: Span, times: Int64) -> Flags:
    inside = span.holds(times)
    return np.ones(len(times), dtype=bool) if inside is None else inside


def _drawn(rows: Int64, most: int, rng: np.random.Generator) -> Int64:
    return rows if len(rows) <= most else np.sort(rng.choice(rows, most, replace=False))


def _features(
    home: Home, store: Store, model: str, past: Sequence[History], asked: Sequence[_Found]
) -> list[dict[str, Array]]:
    """The features of the rows that are asked about, and which version answered if there are several."""
    wanted = [np.zeros(history.rows, dtype=bool) for history in past]
    for rows in asked:
        for place, flags in enumerate(wanted):
            flags[rows.row[rows.table == place]] = True
    log = home.log.reader()
    try:
        tables = read_features(log, store, Keys(home.settings().secret), model, wanted)
    finally:
        log.close()
    several = len(np.unique(np.concatenate([rows.version for rows in asked]))) > 1
    found = []
    for rows in asked:
        parts = [rows.row[rows.table == place] for place in range(len(past))]
        columns = {
            name: _joined([table[name][part] for table, part in zip(tables, parts, strict=True)])
            for name in tables[0]
        }
        if several and VERSION not in columns:
            columns[VERSION] = rows.version.astype(str).astype(object)
        found.append(columns)
    return found


def _joined(parts: list[Array]) -> Array:
    """A column of both tables; objects where one has objects and the other, empty, has not."""
    there = [part for part in parts if len(part)]
    return np.concatenate(there) if there else parts[0]
