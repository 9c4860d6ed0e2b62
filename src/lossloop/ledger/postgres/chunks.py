"""Streams of columns as they were committed, read a few chunks at a time."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from lossloop.ledger.postgres.frames import batch_of
from lossloop.ledger.postgres.session import Row, Session
from lossloop.ledger.store import Chunk

ROWS_AT_ONCE = 1_000_000


def read_chunks(session: Session, stream: str, partitions: Collection[int], after: int) -> Iterator[Chunk]:
    """The chunks of a stream that begin behind a row.

    Between two pages an applier may have merged chunks: then what is still to come lies in one that begins
    among the rows that were read, and its end is yielded.
    """
    end: int | None = None
    while page := _page(session, stream, partitions, after):
        if end is not None and page[0][0] > end:
            over = session.rows("chunk_over", stream=stream, partitions=list(partitions), row=end)
            for first, body in over:
                chunk = Chunk(first=end, batch=batch_of(body).slice(end - first))
                after, end = first, chunk.end
                yield chunk
            if over:
                continue
        for first, body in page:
            chunk = Chunk(first=first, batch=batch_of(body))
            after, end = first, chunk.end
            yield chunk


def _page(session: Session, stream: str, partitions: Collection[int], after: int) -> list[Row]:
    return session.rows("chunks", stream=stream, partitions=list(partitions), after=after, most=ROWS_AT_ONCE)


def behind_prefix(prefix: str) -> dict[str, str]:
    """The range of names that begin with a prefix."""
    return {"low": prefix, "high": prefix + "\U0010ffff"}
