"""The contract of an output: it has all rows of a batch, or none, and each of them once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """The answers of a batch.

    Args:
        batch: Its id.
        schema: The columns.
        parts: Begins to read them; small batches of rows, in order.
        scratch: A folder on this machine's disk for what is made on the way.
        again: Whether it was begun before, and may have been done.
    """

    batch: str
    schema: pa.Schema
    parts: Callable[[], Iterable[pa.RecordBatch]]
    scratch: Path
    again: bool


class Output(Protocol):
    """A place for answers."""

    shown: str
    """As answers and errors call it; without passwords."""

    def check(self) -> None:
        """Raise InputError where it is known already that nothing can be delivered."""
        ...

    def is_there(self) -> bool:
        """Whether what was delivered could still be there."""
        ...

    def deliver(self, delivery: Delivery) -> None:
        """Put all rows there, or none; the same batch again leaves each row once.

        Raises:
            InputError: It refuses them.
        """
        ...
