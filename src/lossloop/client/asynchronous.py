"""The same client for asyncio: what waits for a server does so in a thread; a hand-over waits for nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Unpack

from lossloop.client.backlog import Backlog
from lossloop.client.client import Client
from lossloop.client.connection import Reply
from lossloop.client.refusals import OnRefused
from lossloop.client.rows import Kind, OutcomeRow, PredictionRow, Row
from lossloop.client.sending import Sending
from lossloop.client.spool import Spool


async def hand_over(sender: Sending, kind: Kind, model: str, rows: Sequence[Row]) -> list[str]:
    """Hand over without holding up the event loop: in a thread where the spool says that it may take long."""
    if sender.blocks:
        return await asyncio.to_thread(sender.hand_over, kind, model, rows)
    return sender.hand_over(kind, model, rows)


class AsyncClient(AbstractAsyncContextManager["AsyncClient"]):
    """Client for asyncio: takes the same arguments and has the same methods, as coroutines.

    A hand-over writes to the spool at once, which takes microseconds; where the spool is to `sync` or to
    `wait`, it is done in a thread.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str,
        timeout: float = 30.0,
        spool: Spool | Path | str | None = None,
        batch: int = 1000,
        linger: float = 0.2,
        on_refused: OnRefused | None = None,
    ) -> None:
        self._client = Client(
            url,
            token=token,
            timeout=timeout,
            spool=spool,
            batch=batch,
            linger=linger,
            on_refused=on_refused,
        )
        self.sender: Sending = self._client.sender

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self, timeout: float = 10.0) -> int:
        """Send what is in the spool, for `timeout` seconds at most; how many rows are left in it."""
        return await asyncio.to_thread(self._client.close, timeout)

    async def send_prediction(self, model: str, **row: Unpack[PredictionRow]) -> str:
        """Hand over a prediction that your service made; its id, which is made if it has none."""
        return (await hand_over(self.sender, Kind.PREDICTION, model, (row,)))[0]

    async def send_outcome(self, model: str, **row: Unpack[OutcomeRow]) -> None:
        """Hand over what happened."""
        await hand_over(self.sender, Kind.OUTCOME, model, (row,))

    async def send_predictions(self, model: str, rows: Sequence[Row]) -> list[str]:
        """Hand over rows as `predictions` takes them, all or none; their ids."""
        return await hand_over(self.sender, Kind.PREDICTION, model, rows)

    async def send_outcomes(self, model: str, rows: Sequence[Row]) -> None:
        """Hand over rows as `outcomes` takes them, all or none."""
        await hand_over(self.sender, Kind.OUTCOME, model, rows)

    async def flush(self, timeout: float = 30.0) -> int:
        """Wait, `timeout` seconds at most, until all that was handed over is settled; how many are left."""
        return await asyncio.to_thread(self._client.flush, timeout)

    async def backlog(self) -> Backlog:
        """How far sending in the background has come."""
        return self._client.backlog()

    async def predict(self, model: str, rows: Sequence[Row], *, wait: float = 0) -> Reply:
        """Predict rows, see Client."""
        return await asyncio.to_thread(self._client.predict, model, rows, wait=wait)

    async def predictions(self, model: str, rows: Sequence[Row], *, wait: float = 0) -> Reply:
        """Log predictions that your own service made."""
        return await asyncio.to_thread(self._client.predictions, model, rows, wait=wait)

    async def outcomes(self, model: str, rows: Sequence[Row], *, wait: float = 0) -> Reply:
        """Log what happened."""
        return await asyncio.to_thread(self._client.outcomes, model, rows, wait=wait)

    async def losses(self, loss: str, y_true: Sequence[Any] | None, y_pred: Sequence[Any]) -> Reply:
        """Compute losses; nothing is kept."""
        return await asyncio.to_thread(self._client.losses, loss, y_true, y_pred)

    async def status(self, model: str) -> Reply:
        """A model's versions, aliases, traffic, watches, rollout and counts."""
        return await asyncio.to_thread(self._client.status, model)

    async def decisions(self, model: str) -> list[Reply]:
        """Every decision on a model, oldest first."""
        return await asyncio.to_thread(self._client.decisions, model)

    async def health(self) -> Reply:
        """Whether the server answers, and how far the loop has come."""
        return await asyncio.to_thread(self._client.health)

    async def rollout(
        self, model: str, version: int, *, plan: Mapping[str, Any] | None = None, reason: str = ""
    ) -> Reply:
        """Put a version on its way into the traffic; `plan` overrides keys of the policy's rollout."""
        return await asyncio.to_thread(self._client.rollout, model, version, plan=plan, reason=reason)

    async def promote(self, model: str, version: int | None = None, *, reason: str = "") -> Reply:
        """Give a version all the traffic at once."""
        return await asyncio.to_thread(self._client.promote, model, version, reason=reason)

    async def rollback(self, model: str, *, reason: str = "") -> Reply:
        """Take the challenger off the traffic, or go back to the champion before."""
        return await asyncio.to_thread(self._client.rollback, model, reason=reason)

    async def move_clock(self, time: str, *, wait: float = 0) -> Reply:
        """Move a replay's clock; refused in live use."""
        return await asyncio.to_thread(self._client.move_clock, time, wait=wait)
