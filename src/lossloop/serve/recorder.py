"""The recorder: many requests, one durable write. Nothing is acknowledged before it is on disk."""

from __future__ import annotations

import asyncio
import queue
import threading
from dataclasses import dataclass

from lossloop.core.errors import Overloaded
from lossloop.ledger.base import LogWriter, Position
from lossloop.ledger.frames import Frame

MOST_WAITING = 1000
"""Appends that may wait for the disk; more are refused rather than kept in memory."""


@dataclass(slots=True)
class _Waiting:
    frames: list[Frame]
    future: asyncio.Future[Position]
    loop: asyncio.AbstractEventLoop


class Recorder:
    """Appends from coroutines through one thread: what waits while the disk works goes in one write."""

    def __init__(self, writer: LogWriter) -> None:
        self._writer = writer
        self._queue: queue.Queue[_Waiting | None] = queue.Queue(maxsize=MOST_WAITING)
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._thread.start()

    async def append(self, frames: list[Frame]) -> Position:
        """Make frames durable.

        Raises:
            Overloaded: Too many appends wait already.
            StorageFull: The disk takes no more.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(frames=frames, future=loop.create_future(), loop=loop)
        try:
            self._queue.put_nowait(waiting)
        except queue.Full:
            raise Overloaded(
                f"{MOST_WAITING} requests wait for the disk; send this again in a second"
            ) from None
        return await waiting.future

    def close(self) -> None:
        """Write what waits, then stop."""
        self._queue.put(None)
        self._thread.join()
        self._writer.close()

    def _work(self) -> None:
        while (first := self._queue.get()) is not None:
            group = [first]
            while not self._queue.empty():
                more = self._queue.get_nowait()
                if more is None:
                    self._write(group)
                    return
                group.append(more)
            self._write(group)

    def _write(self, group: list[_Waiting]) -> None:
        try:
            position = self._writer.append([frame for waiting in group for frame in waiting.frames])
        except Exception as error:  # noqa: BLE001 - whoever waits is told, and the next group gets its turn
            for waiting in group:
                waiting.loop.call_soon_threadsafe(_fail, waiting.future, error)
            return
        for waiting in group:
            waiting.loop.call_soon_threadsafe(_succeed, waiting.future, position)


def _succeed(future: asyncio.Future[Position], position: Position) -> None:
    if not future.done():
        future.set_result(position)


def _fail(future: asyncio.Future[Position], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
