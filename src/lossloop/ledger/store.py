"""The contract of derived state: documents, how far the log was folded, and columns that grow.

All of it can be recomputed from the log. An engine keeps it; one writer at a time changes it, inside
transactions; readers in other processes see what was committed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from lossloop.core.documents import Documents
from lossloop.ledger.base import Offsets


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunk:
    """Consecutive rows of a stream: the first row's number, counted from 0, and their columns."""

    first: int
    batch: pa.RecordBatch

    @property
    def end(self) -> int:
        """The number of the row behind the last one."""
        return self.first + int(self.batch.num_rows)


class Store(Documents, Protocol):
    """Documents, offsets and streams of columns, committed together.

    A stream is a table that only grows, kept as chunks of consecutive rows. Streams are named with slashes,
    such as ``rows/flight-delay``.
    """

    def change(self) -> int:
        """A number that is another one once some other connection has committed."""
        ...

    def offsets(self) -> Offsets:
        """How far each segment of the log has been folded."""
        ...

    def put_offset(self, segment: str, reached: int) -> None:
        """A segment has been folded up to here."""
        ...

    def streams(self, prefix: str) -> list[str]:
        """The names of streams that begin with `prefix`, sorted."""
        ...

    def chunks(self, stream: str, *, after: int = -1) -> Iterator[Chunk]:
        """The chunks of a stream that begin behind row `after`, in the order of their rows."""
        ...

    def put_chunk(self, stream: str, first: int, batch: pa.RecordBatch) -> None:
        """Store rows `first` to `first + n - 1`; chunks that begin in that range are replaced by this one.

        So a chunk is appended, several small ones become one, and rows are rewritten, by the same call.
        """
        ...

    def drop_stream(self, stream: str) -> None:
        """Forget a stream; none there is fine."""
        ...

    def close(self) -> None:
        """Give back what is held; closing twice is harmless."""
        ...
