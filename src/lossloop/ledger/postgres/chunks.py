"""Streams of columns as they were committed, read a few chunks at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from lossloop.ledger.names import behind, written
from lossloop.ledger.postgres.frames import batch_of
from lossloop.ledger.postgres.session import Session
from lossloop.ledger.store import Chunk

BYTES_AT_ONCE = 64 * 1024 * 1024


def read_chunks(session: Session, stream: str, partitions: Collection[int], after: int) -> Iterator[Chunk]:
    """The chunks of a stream that begin behind a row.

    Between two pages an applier may have merged chunks: then the next row lies in one that begins among the
    rows that were yielded, and the rest of it is yielded.
    """
    where = {"stream": stream, "partitions": list(partitions)}
    start, whole = after + 1, False
    page = session.rows("chunks", **where, start=start, most=BYTES_AT_ONCE)
    while page:
        whole = sum(len(body) for _, body in page) < BYTES_AT_ONCE
        for first, body in page:
            batch = batch_of(body)
            chunk = Chunk(first=max(first, start), batch=batch.slice(max(start - first, 0)))
            start = chunk.end
            yield chunk
        if whole and first == chunk.first:
            return
        page = session.rows("chunks", **where, start=start, most=BYTES_AT_ONCE)
        if not page or page[0][0] > start:
            page = session.rows("chunk_over", **where, row=start) or page


def behind_prefix(prefix: str) -> dict[str, str]:
    """The range of names that begin with a prefix."""
    low = written(prefix)
    return {"low": low, "high": behind(low)}
