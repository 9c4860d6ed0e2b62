"""Many requests, one durable write; and whoever waits is always told."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from lossloop.core.errors import Overloaded, StorageFull, TooLarge
from lossloop.ledger.base import Position
from lossloop.ledger.files.segments import SegmentLog
from lossloop.ledger.frames import Frame
from lossloop.serve import recorder as recording
from lossloop.serve.recorder import Recorder
from tests.ledger.samples import numbers, outcome_frame, tick_frame


class Disk:
    """A writer that works when it is told to and remembers each write."""

    def __init__(self, fails: Exception | None = None) -> None:
        self.writes: list[list[int]] = []
        self.fails = fails
        self.closed = False
        self.go = threading.Event()
        self.busy = threading.Event()

    def append(self, frames: Sequence[Frame]) -> Position:
        self.busy.set()
        assert self.go.wait(60)
        if self.fails is not None:
            raise self.fails
        self.writes.append(numbers(frames))
        return Position(segment="s", offset=sum(map(len, self.writes)))

    def close(self) -> None:
        self.closed = True


def run(work: Callable[[Recorder, Disk], Awaitable[None]], disk: Disk) -> Disk:
    """Run a coroutine over a recorder, then close that."""
    recorder = Recorder(disk)
    try:
        asyncio.run(asyncio.wait_for(_await(work(recorder, disk)), 10))
    finally:
        disk.go.set()
        recorder.close()
    return disk


async def _await(work: Awaitable[object]) -> None:
    await work


async def begin(recorder: Recorder, disk: Disk, count: int) -> list[asyncio.Task[Position]]:
    """Appends of frames 0, 1, ... of which the first is under way and the rest wait."""
    tasks = [asyncio.create_task(recorder.append([tick_frame(0)]))]
    while not disk.busy.is_set():
        await asyncio.sleep(0.001)
    tasks += [asyncio.create_task(recorder.append([tick_frame(number)])) for number in range(1, count)]
    await asyncio.sleep(0.01)
    return tasks


def test_what_waits_while_the_disk_works_goes_in_one_write() -> None:
    async def work(recorder: Recorder, disk: Disk) -> None:
        tasks = await begin(recorder, disk, 50)
        assert not any(task.done() for task in tasks), "nothing is acknowledged before it is on disk"
        disk.go.set()
        positions = await asyncio.gather(*tasks)
        assert [position.offset for position in positions] == [1] + [50] * 49

    assert run(work, Disk()).writes == [[0], list(range(1, 50))]


def test_too_much_is_refused_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MOST_WAITING", 3)

    async def work(recorder: Recorder, disk: Disk) -> None:
        tasks = await begin(recorder, disk, 4)
        with pytest.raises(Overloaded, match="3 requests wait for the disk; send this again in a second"):
            await recorder.append([tick_frame(99)])
        disk.go.set()
        await asyncio.gather(*tasks)
        await recorder.append([tick_frame(100)])

    assert run(work, Disk()).writes == [[0], [1, 2, 3], [100]]


def test_too_many_bytes_are_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "MOST_BYTES", 20)

    async def work(recorder: Recorder, disk: Disk) -> None:
        tasks = await begin(recorder, disk, 3)
        assert recorder.depth() == (2, 16)
        with pytest.raises(Overloaded, match="2 requests wait for the disk"):
            await recorder.append([tick_frame(99)])
        disk.go.set()
        await asyncio.gather(*tasks)
        assert recorder.depth() == (0, 0)
        await recorder.append([tick_frame(100)] * 9)

    assert run(work, Disk()).writes == [[0], [1, 2], [100] * 9], "an append alone may be larger"


def test_one_that_is_too_large_does_not_refuse_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "LARGEST", 100)

    async def work(recorder: Recorder, disk: Disk) -> None:
        tasks = await begin(recorder, disk, 2)
        with pytest.raises(TooLarge, match="at most 100 are taken: send it in parts"):
            await recorder.append([tick_frame(9)] * 20)
        disk.go.set()
        await asyncio.gather(*tasks)

    assert run(work, Disk()).writes == [[0], [1]]


def test_one_that_cannot_be_written_does_not_refuse_the_others() -> None:
    class Picky(Disk):
        """Finds out late that a frame is too large."""

        def append(self, frames: Sequence[Frame]) -> Position:
            self.busy.set()
            assert self.go.wait(60)
            if 2 in numbers(frames):
                raise TooLarge("frame 2 is too large")
            return super().append(frames)

    async def work(recorder: Recorder, disk: Disk) -> None:
        tasks = await begin(recorder, disk, 5)
        disk.go.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert [isinstance(each, TooLarge) for each in found] == [False, False, True, False, False]

    assert run(work, Picky()).writes == [[0], [1], [3], [4]]


def test_rows_that_wait_together_are_one_frame(tmp_path: Path) -> None:
    log = SegmentLog(tmp_path)
    recorder = Recorder(log.writer())

    async def work() -> None:
        await asyncio.gather(*(recorder.append([outcome_frame({str(i): 1.0}, time=i)]) for i in range(500)))

    asyncio.run(work())
    recorder.close()
    with contextlib.closing(log.reader()) as reader:
        frames = [entry.frame for entry in reader.read({}) if isinstance(entry.frame, Frame)]
    assert sorted(int(id) for frame in frames for id in frame.batch.column("id").to_pylist()) == list(
        range(500)
    )
    assert len(frames) == recorder.groups.count < 500
    assert recorder.groups.total == 500


def test_a_loop_that_has_ended_is_nobody_to_tell() -> None:
    async def leave(recorder: Recorder, disk: Disk) -> None:
        asyncio.create_task(recorder.append([tick_frame(0)]))  # noqa: RUF006 - left behind on purpose
        await asyncio.to_thread(disk.busy.wait)

    disk = Disk()
    recorder = Recorder(disk)
    asyncio.run(leave(recorder, disk))
    disk.go.set()
    asyncio.run(_await(recorder.append([tick_frame(1)])))
    recorder.close()
    assert disk.writes == [[0], [1]]


@pytest.mark.parametrize("error", [StorageFull("no room"), RuntimeError("never thought of"), MemoryError()])
def test_everyone_who_waits_is_told_of_a_failure_and_the_next_are_served(error: Exception) -> None:
    async def work(recorder: Recorder, disk: Disk) -> None:
        tasks = await begin(recorder, disk, 5)
        disk.go.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert found == [error] * 5
        disk.fails = None
        await recorder.append([tick_frame(7)])

    assert run(work, Disk(error)).writes == [[7]]


def test_who_has_gone_away_does_not_stop_the_others() -> None:
    async def work(recorder: Recorder, disk: Disk) -> None:
        tasks = await begin(recorder, disk, 3)
        tasks[1].cancel()
        disk.go.set()
        assert (await tasks[2]).offset == 3

    assert run(work, Disk()).writes == [[0], [1, 2]]


def test_closing_writes_what_waits() -> None:
    async def work(recorder: Recorder, disk: Disk) -> None:
        tasks = await begin(recorder, disk, 3)
        disk.go.set()
        await asyncio.to_thread(recorder.close)
        await asyncio.gather(*tasks)

    disk = Disk()
    recorder = Recorder(disk)
    asyncio.run(_await(work(recorder, disk)))
    assert disk.writes == [[0], [1, 2]]
    assert disk.closed


def test_what_is_acknowledged_is_in_a_real_log(tmp_path: Path) -> None:
    log = SegmentLog(tmp_path)
    recorder = Recorder(log.writer())

    async def send(number: int) -> Position:
        return await recorder.append([tick_frame(number)])

    async def work() -> list[Position]:
        return await asyncio.gather(*map(send, range(200)))

    positions = asyncio.run(work())
    recorder.close()
    reader = log.reader()
    entries = list(reader.read({}))
    reader.close()
    assert sorted(numbers([entry.frame for entry in entries])) == list(range(200))
    assert max(position.offset for position in positions) == entries[-1].position.offset
    assert len({position.offset for position in positions}) < 200, "some were written together"
