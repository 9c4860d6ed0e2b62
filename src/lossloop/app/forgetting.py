"""Forgetting rows: what is still shown of them, and a state that was made while they were there, or after.

A fact in the log says that rows of a segment are gone, with what they added to the figures. A state that had
folded them shows them already, and passes the fact over. One that is folded anew finds fewer rows in that
segment than the fact says there were, and adds what they would have added.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import pyarrow as pa

from lossloop.app.books import Books
from lossloop.app.judging import Lens
from lossloop.app.showing import Shown, digests, merge_shown, shelves
from lossloop.core.clock import Micros
from lossloop.core.records import Record
from lossloop.ledger.joined.columns import NEVER, Int64
from lossloop.ledger.joined.identity import keys_of
from lossloop.ledger.joined.keys import Keys
from lossloop.ledger.joined.places import Places
from lossloop.ledger.joined.table import Table, history_of
from lossloop.ledger.removals import Gone, Stretches
from lossloop.ledger.store import Store


class Summary(Record, frozen=True):
    """What is left of rows that are gone."""

    rows: int
    """How many rows the segment, or those frames of it, gave the model, while all were there."""
    predictions: int
    outcomes: int
    """How many of them have, or had, an outcome, also one that is known to be missing."""
    absent: int = 0
    """How many of them have the outcome that none came."""
    shown: tuple[Shown, ...] = ()
    beside: dict[str, tuple[Shown, ...]] = {}
    """Likewise under the losses beside, by their text in the policy."""


class Summariser:
    """Makes summaries of predictions that are about to go, from the state that has folded them.

    Args:
        store: The derived state.
        keys: How ids become numbers.
    """

    def __init__(self, store: Store, keys: Keys) -> None:
        self._store = store
        self._books = Books(store)
        self._keys = keys
        self._tables: dict[str, Table] = {}

    def __call__(
        self, model: str, segment: str, frames: Stretches, ids: Sequence[pa.RecordBatch]
    ) -> dict[str, object]:
        """The summary of a model's predictions from a segment, or from some of its frames.

        It is empty for a model that has no policy.
        """
        if model not in self._books.models():
            return {}
        found = [self._of(model, name, segment, frames, ids) for name in (model, history_of(model))]
        return dict(msgspec.to_builtins(_together(found)))

    def _of(
        self, model: str, name: str, segment: str, frames: Stretches, ids: Sequence[pa.RecordBatch]
    ) -> Summary:
        table, places = self._table(name), Places(self._store, name)
        rows = np.unique(np.concatenate([table.find(*keys_of(batch, self._keys)) for batch in ids]))
        # An id that was sent twice counts where it came first.
        rows = rows[rows >= 0]
        rows = rows[places.are_in(segment, rows, len(table), frames)]
        lens = self._books.lens(model)
        labelled, absent = _labels(table, rows, lens.policy.labels.after if name == model else None)
        return Summary(
            rows=places.rows_in(segment, len(table), frames),
            predictions=len(rows),
            outcomes=labelled - absent,
            absent=absent,
            shown=tuple(digests(lens, table, rows)),
            beside={each.policy.loss: tuple(digests(each, table, rows)) for each in lens.beside},
        )

    def _table(self, name: str) -> Table:
        if name not in self._tables:
            self._tables[name] = Table(self._store, name)
        return self._tables[name]


def _labels(table: Table, rows: Int64, after: Micros | None) -> tuple[int, int]:
    """How many rows have an outcome, and of how many it is that none came within `after`, to the moment."""
    since, at = table.columns(("labelled_at", "at"), rows)
    absent = np.zeros(len(rows), np.bool_) if after is None else since == at + after
    return int(np.count_nonzero(since != NEVER)), int(np.count_nonzero(absent))


def _together(parts: list[Summary]) -> Summary:
    return Summary(
        rows=sum(part.rows for part in parts),
        predictions=sum(part.predictions for part in parts),
        outcomes=sum(part.outcomes for part in parts),
        absent=sum(part.absent for part in parts),
        shown=tuple(each for part in parts for each in part.shown),
        beside={
            loss: tuple(each for part in parts for each in part.beside[loss]) for loss in parts[0].beside
        },
    )


def remember(books: Books, lens: Lens, gone: Gone, *, rows: int) -> None:
    """Add what rows that are gone would have added, unless this state has folded them.

    Args:
        books: Of the state.
        lens: The policy's view; figures of another loss do not add up, and are left out.
        gone: What the log says.
        rows: How many rows this state has from that segment, or from those frames of it.
    """
    if not gone.summary:
        return
    summary = msgspec.convert(gone.summary, type=Summary, strict=False)
    if rows >= summary.rows:
        return
    books.add_counts(
        gone.model, predictions=summary.predictions, outcomes=summary.outcomes, absent=summary.absent
    )
    for shelf, seen in shelves(gone.model, lens):
        for shown in summary.shown if seen is lens else summary.beside.get(seen.policy.loss, ()):
            merge_shown(books.documents, shelf, seen, shown)
