"""What sends in the background, as all that hands over knows it; and what stands there if nothing does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn, Protocol

from lossloop.client.backlog import Backlog
from lossloop.client.rows import Kind, Row
from lossloop.core.errors import InputError


class Sending(Protocol):
    """Takes rows over, and brings them to the server."""

    @property
    def blocks(self) -> bool:
        """Whether a hand-over may take longer than a write to memory."""
        ...

    def hand_over(self, kind: Kind, model: str, rows: Sequence[Row]) -> list[str]:
        """Keep rows, all or none; their ids.

        Raises:
            InputError: A row that the server could never take.
            SpoolFull: There is no room.
            LossloopError: The client was closed.
        """
        ...

    def lose(self, rows: int, why: str) -> None:
        """Count rows that could not be handed over, where nobody was told by an exception."""
        ...

    def backlog(self) -> Backlog:
        """How far it has come."""
        ...

    def flush(self, timeout: float) -> int:
        """Wait until what was handed over is settled, `timeout` seconds at most; how many rows are left."""
        ...

    def close(self, timeout: float) -> int:
        """Flush, and end; how many rows are left for the next process."""
        ...


class NoSpool:
    """Stands in a client that was made without a spool: whoever wants to send by it is told what to do."""

    blocks = False

    def hand_over(self, kind: Kind, model: str, rows: Sequence[Row]) -> list[str]:
        _refuse()

    def lose(self, rows: int, why: str) -> None:
        _refuse()

    def backlog(self) -> Backlog:
        _refuse()

    def flush(self, timeout: float) -> int:
        _refuse()

    def close(self, timeout: float) -> int:
        return 0


def _refuse() -> NoReturn:
    raise InputError(
        "rows that are sent in the background wait in a directory until they are taken; name it: "
        "ll.Client(..., spool='lossloop-spool')",
        field="spool",
    )
