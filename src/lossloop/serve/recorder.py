"""The recorder: many requests, one durable write. Nothing is acknowledged before it is on disk."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from lossloop.core.errors import InputError, Overloaded, TooLarge
from lossloop.ledger.base import LogWriter, Position
from lossloop.ledger.frames import MAX_PAYLOAD
from lossloop.serve.counters import Sizes
from lossloop.serve.merging import Item, merged, size_of

MOST_WAITING = 1000
"""Appends that may wait for the disk; more are refused rather than kept in memory."""
MOST_BYTES = 64 * 1024 * 1024
"""Bytes that may wait for it; an append that waits alone may be larger."""
LARGEST = MAX_PAYLOAD // 2
"""Bytes of one append."""

_Result = Position | BaseException


@dataclass(slots=True)
class _Waiting:
    items: list[tuple[Item, int]]
    future: asyncio.Future[Position]
    loop: asyncio.AbstractEventLoop


class Recorder:
    """Appends from coroutines through one thread: what waits while the disk works goes in one write.

    `groups` tells how many appends went in one write, over all writes.
    """

    def __init__(self, writer: LogWriter) -> None:
        self._writer = writer
        self._waiting: list[_Waiting] = []
        self._bytes = 0
        self._closing = False
        self._change = threading.Condition()
        self.groups = Sizes()
        self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._thread.start()

    async def append(self, items: Sequence[Item]) -> Position:
        """Make frames, and drafts of them, durable.

        Raises:
            TooLarge: They are larger than anything that is taken.
            Overloaded: Too much waits already.
            StorageFull: The disk takes no more.
        """
        loop = asyncio.get_running_loop()
        sized = [(item, size_of(item)) for item in items]
        size = sum(size for _, size in sized)
        if size > LARGEST:
            raise TooLarge(f"{size} bytes in one batch; at most {LARGEST} are taken: send it in parts")
        waiting = _Waiting(items=sized, future=loop.create_future(), loop=loop)
        with self._change:
            if len(self._waiting) >= MOST_WAITING or (self._waiting and self._bytes + size > MOST_BYTES):
                raise Overloaded(
                    f"{len(self._waiting)} requests wait for the disk; send this again in a second"
                )
            self._waiting.append(waiting)
            self._bytes += size
            self._change.notify()
        return await waiting.future

    def depth(self) -> tuple[int, int]:
        """How many appends wait for the disk, and their bytes."""
        return len(self._waiting), self._bytes

    def close(self) -> None:
        """Write what waits, then stop."""
        with self._change:
            self._closing = True
            self._change.notify()
        self._thread.join()
        self._writer.close()

    def _work(self) -> None:
        while True:
            with self._change:
                while not self._waiting and not self._closing:
                    self._change.wait()
                group, self._waiting, self._bytes = self._waiting, [], 0
            if not group:
                return
            self.groups.add(len(group))
            self._write(group)

    def _write(self, group: list[_Waiting]) -> None:
        try:
            items = [item for waiting in group for item in waiting.items]
            _tell(group, self._writer.append(merged(items)))
        except (InputError, pa.ArrowException) as error:  # one of them cannot be written; nothing was
            if len(group) == 1:
                _tell(group, error)
                return
            for waiting in group:
                self._write([waiting])
        except Exception as error:  # noqa: BLE001 - whoever waits is told, and the next group gets its turn
            _tell(group, error)


def _tell(group: Sequence[_Waiting], result: _Result) -> None:
    """Hand everyone of a group its result, with one call into each event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[Position]]] = {}
    for waiting in group:
        by_loop.setdefault(waiting.loop, []).append(waiting.future)
    for loop, futures in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits there any more
            loop.call_soon_threadsafe(_settle, futures, result)


def _settle(futures: Sequence[asyncio.Future[Position]], result: _Result) -> None:
    for future in futures:
        if future.done():
            continue
        if isinstance(result, BaseException):
            future.set_exception(result)
        else:
            future.set_result(result)
