"""Scores with their outcomes: from the ledger, or from a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lossloop.app.books import Books
from lossloop.app.gates import scores_of
from lossloop.app.importing.sources.opening import open_file
from lossloop.app.recompute.history import Span
from lossloop.core.clock import Micros
from lossloop.core.errors import InputError, UnknownName
from lossloop.core.records import Role
from lossloop.core.thresholds import Thresholds
from lossloop.ledger.joined.columns import Array, Floats, Int64
from lossloop.ledger.joined.table import ROLES, Table, history_of
from lossloop.ledger.store import Store
from lossloop.registry import Version, versions

_COLUMNS = (
    "at", "block", "role", "version", "y_pred", "shadow_version", "shadow_y_pred", "y_true", "labelled_at",
)  # fmt: skip
_AT_ONCE = 1 << 20
_OVERRIDE = ROLES.index(Role.OVERRIDE)
SCORE, OUTCOME, BLOCK = "y_pred", "y_true", "block"
"""Columns of a file."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Scores of one version. Arrays of n."""

    score: Floats
    outcome: Floats
    """NaN where none came."""
    block: Array | None
    done: Floats
    """The place of what was done about each, by the version that answered; NaN where nobody knows."""

    def __len__(self) -> int:
        return len(self.score)

    @property
    def known(self) -> Scored:
        """Those with an outcome."""
        came = ~np.isnan(self.outcome)
        return replace(
            self, score=self.score[came], outcome=self.outcome[came], done=self.done[came],
            block=None if self.block is None else self.block[came],
        )  # fmt: skip


def from_ledger(store: Store, books: Books, version: Version, span: Span) -> Scored:
    """What a version scored, answering or in shadow, as far as its judging age has passed by now.

    Scores of versions that differ only in their thresholds count as its own. Outcomes are those that have
    come by now: a prediction that has not reached the judging age is left out whether or not it has one, for
    those that come early are not like the others.
    """
    model = version.model
    same = [
        each for each in versions.versions(books.documents, model) if scores_of(each) == scores_of(version)
    ]
    until = books.now() - books.policy(model).labels.mature_after
    tables = (Table(store, model), Table(store, history_of(model)))
    parts = [part for table in tables for part in _of_table(table, same, span, until, books.now())]
    columns = [np.concatenate(values) for values in zip(*parts, strict=True)] if parts else [np.empty(0)] * 4
    return Scored(score=columns[0], outcome=columns[1], block=columns[2], done=columns[3])


def _of_table(
    table: Table, same: Sequence[Version], span: Span, until: Micros, now: Micros
) -> Iterator[tuple[Array, ...]]:
    numbers = np.array([each.number for each in same])
    for start in range(0, len(table), _AT_ONCE):
        rows = np.arange(start, min(start + _AT_ONCE, len(table)))
        row = dict(zip(_COLUMNS, table.columns(_COLUMNS, rows), strict=True))
        mine, shadow = np.isin(row["version"], numbers), np.isin(row["shadow_version"], numbers)
        wanted = (mine | shadow) & (row["at"] <= until) & (row["role"] != _OVERRIDE)
        inside = span.holds(row["at"])
        wanted = wanted if inside is None else wanted & inside
        score = np.where(mine, row["y_pred"], row["shadow_y_pred"])
        wanted &= ~np.isnan(score)  # of one that was erased nothing is known
        outcome = np.where(row["labelled_at"] <= now, row["y_true"], np.nan)
        done = np.full(len(rows), np.nan)
        for each in same:
            if each.manifest.thresholds is not None:
                own = row["version"] == each.number
                done[own] = each.manifest.thresholds.places(row["y_pred"][own])
        yield score[wanted], outcome[wanted], row["block"][wanted], done[wanted]


def from_file(path: Path, thresholds: Thresholds | None) -> Scored:
    """Scores (y_pred) and outcomes (y_true, empty where none came) of a CSV or Parquet file.

    Rows of one `block`, if there is such a column, depend on each other.

    Raises:
        InputError: It cannot be read, lacks a column, or holds something else than numbers.
    """
    columns = _columns(path)
    scores = _floats(columns[SCORE], SCORE)
    if np.isnan(scores).any():
        row = int(np.argmax(np.isnan(scores)))
        raise InputError(f"row {row + 1} of {path.name} has no score", field=SCORE, row=row)
    blocks = None
    if BLOCK in columns:
        named = columns[BLOCK].cast(pa.string()).fill_null("").combine_chunks().dictionary_encode()
        blocks = named.indices.to_numpy()  # in the order in which they come
    done = np.full(len(scores), np.nan) if thresholds is None else thresholds.places(scores)
    return Scored(score=scores, outcome=_floats(columns[OUTCOME], OUTCOME), block=blocks, done=done)


def _columns(path: Path) -> Mapping[str, pa.ChunkedArray]:
    source = open_file(path)
    try:
        there = source.columns()
        for name in (SCORE, OUTCOME):
            if name not in there:
                raise UnknownName(f"column of {path.name}", name, there, field=name)
        wanted = [name for name in (SCORE, OUTCOME, BLOCK) if name in there]
        pieces = list(source.pieces(wanted))
    finally:
        source.close()
    for bad in (each for piece in pieces for each in piece.malformed):
        raise InputError(f"row {bad.row} of {path.name}: {bad.reason}", field="file", row=bad.row - 1)
    if not pieces:
        raise InputError(f"{path.name} has no rows", field="file")
    return {name: pa.chunked_array([piece.columns[name] for piece in pieces]) for name in wanted}


def _floats(column: pa.ChunkedArray, name: str) -> Floats:
    """A column as floats, NaN for what is empty."""
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        trimmed = pc.utf8_trim_whitespace(column.cast(pa.string()))
        column = pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.string()), trimmed)
    try:
        numbers = column.cast(pa.float64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(
            f"{name} must hold numbers: {str(error).partition(chr(10))[0]}", field=name
        ) from None
    return np.asarray(
        numbers.combine_chunks().fill_null(np.nan).to_numpy(zero_copy_only=False), dtype=np.float64
    )


def missing_by_action(scored: Scored, actions: int) -> list[tuple[int, int]]:
    """By action how many rows it was taken for, and how many of these have no outcome."""
    found = []
    for place in range(actions):
        mine: Int64 = np.flatnonzero(scored.done == place)
        found.append((len(mine), int(np.isnan(scored.outcome[mine]).sum())))
    return found
