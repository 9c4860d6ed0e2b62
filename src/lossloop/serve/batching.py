"""Micro-batching: requests that meet are answered, and logged, together.

Nobody waits to be met: a batch is what has come while the batch before it was run. Where that is a matter of
microseconds in the event loop, it is what has come while the batch before it was written: a row that was
answered sooner would have to wait for the disk all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from lossloop.core.clock import Clock
from lossloop.core.errors import Overloaded
from lossloop.ledger.base import Position
from lossloop.serve.arms import Arms
from lossloop.serve.asked import Asked
from lossloop.serve.assign import Drawn
from lossloop.serve.guarding import Patience
from lossloop.serve.merging import Draft
from lossloop.serve.predicting import Answered, answer
from lossloop.serve.repeats import Answer
from lossloop.serve.unanswered import Unanswered

MOST_TOGETHER = 4096
"""Rows of a batch to which no more are added."""
MOST_WAITING = 200_000
"""Rows that may wait for their batch; more are refused rather than kept in memory."""

Reply = tuple[Sequence[Answer | Unanswered], Position | None]
"""What became of one request's rows, and where the log stands."""
Append = Callable[[int, Draft], Awaitable[Position]]
"""Takes how many rows were answered, and what is logged."""


@dataclass(slots=True)
class _Request:
    asked: Asked
    future: asyncio.Future[Reply]


_Key = Arms | tuple[Arms, Drawn, Patience]
"""What a batch has in common; the arms alone where all rows go one way, and wait as long as is usual."""


class Batches:
    """Gathers requests by the arm that they are drawn to, and by how long they wait.

    Args:
        append: Makes a draft durable.
        clock: Tells the receipt time.
    """

    def __init__(self, append: Append, clock: Clock) -> None:
        self._append = append
        self._clock = clock
        self._waiting: dict[_Key, list[_Request]] = {}
        self._rows = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, arms: Arms, drawn: Drawn, asked: Asked, patience: Patience) -> asyncio.Future[Reply]:
        """Have rows answered that were drawn to one arm."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        usual = drawn is arms.always and patience is arms.patience
        key = arms if usual else (arms, drawn, patience)
        if self._rows > MOST_WAITING:
            raise Overloaded(f"{self._rows} rows wait to be answered; send this again in a second")
        waiting = self._waiting.get(key)
        if waiting is None:
            waiting = self._waiting[key] = []
            self._begin(self._work(key, waiting, arms, drawn, patience))
        waiting.append(_Request(asked, future))
        self._rows += len(asked)
        return future

    def _begin(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)  # a task that nobody holds may be collected
        task.add_done_callback(self._tasks.discard)

    async def _work(
        self, key: _Key, waiting: list[_Request], arms: Arms, drawn: Drawn, patience: Patience
    ) -> None:
        """Answer what waits, and what has come meanwhile, until nothing has."""
        try:
            while waiting:
                requests = _some(waiting)
                self._rows -= sum(len(request.asked) for request in requests)
                parts = [request.asked for request in requests]
                try:
                    answered = await answer(arms, drawn, parts, patience, now=self._clock.now())
                except Exception as error:  # noqa: BLE001 - who waits is told; the next batch gets its turn
                    _refuse(requests, error)
                    continue
                told = self._log(requests, answered)
                if arms.runs_inline(drawn):
                    await told
                else:
                    self._begin(told)
        finally:
            del self._waiting[key]
            self._rows -= sum(len(request.asked) for request in waiting)
            _refuse(waiting, asyncio.CancelledError())

    async def _log(self, requests: Sequence[_Request], answered: Answered) -> None:
        """Make a batch durable, then tell its requests."""
        position = None
        if answered.draft is not None:
            rows = sum(isinstance(each, Answer) for each in answered.answers)
            try:
                position = await self._append(rows, answered.draft)
            except Exception as error:  # noqa: BLE001 - whatever the disk ends with, who waits is told
                if rows:
                    _refuse(requests, error)
                    return
                # Why there is no answer says more than that this could not be kept.
        _tell(requests, answered, position)


def _some(waiting: list[_Request]) -> list[_Request]:
    """Take the requests of one batch."""
    rows, stop = 0, 0
    for request in waiting:
        if rows >= MOST_TOGETHER:
            break
        rows += len(request.asked)
        stop += 1
    taken = waiting[:stop]
    del waiting[:stop]
    return taken


def _tell(requests: Sequence[_Request], answered: Answered, position: Position | None) -> None:
    start = 0
    for request in requests:
        stop = start + len(request.asked)
        if not request.future.done():
            request.future.set_result((answered.answers[start:stop], position))
        start = stop


def _refuse(requests: Sequence[_Request], error: BaseException) -> None:
    for request in requests:
        if request.future.done():
            continue
        if isinstance(error, asyncio.CancelledError):
            request.future.cancel()
        else:
            request.future.set_exception(error)
