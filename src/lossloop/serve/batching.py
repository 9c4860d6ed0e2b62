"""Micro-batching: requests that meet are answered, and logged, together.

Nobody waits to be met: a batch is what has come within one turn of the event loop, or while the batch before
it was run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from lossloop.core.clock import Clock
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

Reply = tuple[Sequence[Answer | Unanswered], Position | None]
"""What became of one request's rows, and where the log stands."""
Append = Callable[[int, Draft], Awaitable[Position]]
"""Takes how many rows were answered, and what is logged."""


@dataclass(slots=True)
class _Request:
    asked: Asked
    future: asyncio.Future[Reply]


_Key = tuple[Arms, Drawn, Patience]


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
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, arms: Arms, drawn: Drawn, asked: Asked, patience: Patience) -> asyncio.Future[Reply]:
        """Have rows answered that were drawn to one arm."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        key = (arms, drawn, patience)
        waiting = self._waiting.get(key)
        if waiting is None:
            waiting = self._waiting[key] = []
            self._begin(self._work(key, waiting))
        waiting.append(_Request(asked, future))
        return future

    def _begin(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)  # a task that nobody holds may be collected
        task.add_done_callback(self._tasks.discard)

    async def _work(self, key: _Key, waiting: list[_Request]) -> None:
        """Answer what waits, and what has come meanwhile, until nothing has."""
        arms, drawn, patience = key
        try:
            while waiting:
                requests = _some(waiting)
                parts = [request.asked for request in requests]
                try:
                    answered = await answer(arms, drawn, parts, patience, now=self._clock.now())
                except Exception as error:  # noqa: BLE001 - who waits is told; the next batch gets its turn
                    _refuse(requests, error)
                    continue
                self._log(requests, answered)
        finally:
            del self._waiting[key]
            _refuse(waiting, asyncio.CancelledError())

    def _log(self, requests: Sequence[_Request], answered: Answered) -> None:
        """Make a batch durable, then tell its requests; the next one does not wait for the disk."""
        if answered.draft is None:
            _tell(requests, answered, None)
            return
        rows = sum(isinstance(each, Answer) for each in answered.answers)
        written = asyncio.ensure_future(self._append(rows, answered.draft))
        written.add_done_callback(partial(_told, requests, answered))


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


def _told(requests: Sequence[_Request], answered: Answered, written: asyncio.Future[Position]) -> None:
    error = asyncio.CancelledError() if written.cancelled() else written.exception()
    if error is None:
        _tell(requests, answered, written.result())
    elif all(isinstance(each, Unanswered) for each in answered.answers):
        _tell(requests, answered, None)  # why there is no answer says more than that this could not be kept
    else:
        _refuse(requests, error)


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
