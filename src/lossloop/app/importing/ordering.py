"""A source in the order of its events, as a replay must have it: it is read whole, and then given out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from lossloop.app.importing.mapping import Plan
from lossloop.app.importing.sources import Piece, Source
from lossloop.app.importing.sources.base import cut
from lossloop.app.importing.values import times
from lossloop.core.errors import InputError


def pieces_in_order(source: Source, plan: Plan, *, after: int) -> Iterator[Piece]:
    """All rows by their time, and as they stand where times are the same; those without one come last.

    `read` of a piece counts rows in this order, and so does `after`.
    """
    read = list(source.pieces(plan.wanted))
    malformed = [row for piece in read for row in piece.malformed]
    if not read:
        return
    rows = np.concatenate([piece.rows for piece in read])
    columns = {name: _whole([piece.columns[name] for piece in read], name) for name in plan.wanted}
    order = np.argsort(_moments(columns, plan, len(rows)), kind="stable")
    columns = {name: column.take(pa.array(order)) for name, column in columns.items()}
    rows, done = rows[order], 0
    waiting = [] if after else malformed
    for part, arrays in cut({name: each.slice(after) for name, each in columns.items()}, rows[after:]):
        done += len(part)
        share = (after + done) / len(rows)
        yield Piece(rows=part, columns=arrays, read=after + done, share=share, malformed=waiting)
        waiting = []
    if waiting:
        empty = {name: column.slice(0, 0) for name, column in columns.items()}
        yield Piece(rows=rows[:0], columns=empty, read=len(rows), malformed=waiting)


def _whole(parts: list[pa.Array], name: str) -> pa.Array:
    try:
        return pa.chunked_array(parts).combine_chunks()
    except pa.ArrowException as error:
        words = f"the column {name!r} cannot be put in order of time: {error}; import it in parts"
        raise InputError(words, field="source") from None


def _moments(
    columns: dict[str, pa.Array], plan: Plan, count: int
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    if "time" not in plan.columns:
        raise InputError(
            "a replay takes facts in the order of their times; name the column with --map time=COLUMN",
            field="map.time",
        )
    column, said = plan.columns["time"][0], plan.naming
    found = times(columns[column], "time", zone=said.timezone, unit=said.time_unit, column=column).values
    last = pa.scalar(np.iinfo(np.int64).max, pa.int64())
    return np.asarray(found.cast(pa.int64()).fill_null(last).to_numpy(zero_copy_only=False))
