"""Requests that meet are answered, and logged, together; none waits to be met, and none is forgotten."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from lossloop.core.clock import ManualClock
from lossloop.core.errors import Overloaded, StorageFull
from lossloop.ledger.base import Position
from lossloop.serve import batching
from lossloop.serve.arms import Arms
from lossloop.serve.batching import Batches, Reply
from lossloop.serve.merging import Draft
from lossloop.serve.repeats import Answer
from lossloop.serve.unanswered import Unanswered
from tests.serve.arms import PATIENT, arms, asked, doubled, drawn, raises


class Disk:
    """Where drafts go; full, or slow, as a test says."""

    def __init__(self) -> None:
        self.drafts: list[Draft] = []
        self.rows: list[int] = []
        self.full = False
        self.free = asyncio.Event()
        self.free.set()

    async def append(self, rows: int, draft: Draft) -> Position:
        await self.free.wait()
        if self.full:
            raise StorageFull("no room")
        self.drafts.append(draft)
        self.rows.append(rows)
        return Position(segment="segment", offset=len(self.drafts))


def made(disk: Disk) -> Batches:
    return Batches(disk.append, ManualClock(7))


def ys(reply: Reply) -> list[float | Unanswered | list[float]]:
    return [each.y_pred if isinstance(each, Answer) else each for each in reply[0]]


async def ask(batches: Batches, found: Arms, *requests: Sequence[float]) -> list[Reply]:
    return await asyncio.gather(*(batches.ask(found, drawn(found), asked(*xs), PATIENT) for xs in requests))


def test_what_comes_together_is_answered_and_logged_together() -> None:
    async def check() -> None:
        disk = Disk()
        replies = await ask(made(disk), arms(), [1], [2, 3], [4])
        assert [ys(reply) for reply in replies] == [[2.0], [4.0, 6.0], [8.0]]
        assert {reply[1] for reply in replies} == {Position(segment="segment", offset=1)}
        assert (disk.rows, [draft.count for draft in disk.drafts]) == ([4], [4])
        assert disk.drafts[0].time == 7

    asyncio.run(check())


def test_what_comes_while_a_batch_runs_is_the_next_one() -> None:
    gate, sizes = threading.Event(), []

    def gated(xs: list[float]) -> list[float]:
        sizes.append(len(xs))
        gate.wait(60)
        return doubled(xs)

    async def check() -> None:
        batches, found = made(Disk()), arms(champion=gated, inline=0)
        first = batches.ask(found, drawn(found), asked(1), PATIENT)
        while not sizes:
            await asyncio.sleep(0.001)
        others = [batches.ask(found, drawn(found), asked(x), PATIENT) for x in (2, 3, 4)]
        await asyncio.sleep(0)
        gate.set()
        assert [ys(await each) for each in (first, *others)] == [[2.0], [4.0], [6.0], [8.0]]
        assert sizes == [1, 3]

    asyncio.run(check())


def test_what_comes_while_the_disk_writes_is_the_next_one() -> None:
    async def check() -> None:
        disk = Disk()
        disk.free.clear()
        batches, found = made(disk), arms()
        first = batches.ask(found, drawn(found), asked(1), PATIENT)
        await asyncio.sleep(0.01)
        others = [batches.ask(found, drawn(found), asked(x), PATIENT) for x in (2, 3)]
        await asyncio.sleep(0.01)
        assert not first.done(), "nothing is answered before it is durable"
        disk.free.set()
        assert [ys(await each) for each in (first, *others)] == [[2.0], [4.0], [6.0]]
        assert disk.rows == [1, 2]

    asyncio.run(check())


def test_a_version_with_a_thread_does_not_wait_for_the_disk() -> None:
    asked_for: list[int] = []

    def noted(xs: list[float]) -> list[float]:
        asked_for.append(len(xs))
        return doubled(xs)

    async def check() -> None:
        disk = Disk()
        disk.free.clear()
        batches, found = made(disk), arms(champion=noted, inline=0)
        futures = []
        for number in (1, 2):
            futures.append(batches.ask(found, drawn(found), asked(number), PATIENT))
            while len(asked_for) < number:
                await asyncio.sleep(0.001)
        assert not any(each.done() for each in futures)
        disk.free.set()
        assert [ys(await each) for each in futures] == [[2.0], [4.0]]

    asyncio.run(check())


def test_more_rows_than_can_wait_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "MOST_WAITING", 3)

    async def check() -> None:
        disk = Disk()
        batches, found = made(disk), arms()
        taken = [batches.ask(found, drawn(found), asked(1, 2), PATIENT) for _ in range(2)]
        with pytest.raises(Overloaded, match="4 rows wait to be answered; send this again in a second"):
            batches.ask(found, drawn(found), asked(3), PATIENT)
        for each in taken:
            assert ys(await each) == [2.0, 4.0]
        assert ys((await ask(batches, found, [3]))[0]) == [6.0]

    asyncio.run(check())


def test_a_batch_does_not_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "MOST_TOGETHER", 3)

    async def check() -> None:
        disk = Disk()
        replies = await ask(made(disk), arms(), [1, 2], [3, 4], [5], [6])
        assert [y for reply in replies for y in ys(reply)] == [2.0, 4.0, 6.0, 8.0, 10.0, 12.0]
        assert disk.rows == [4, 2]

    asyncio.run(check())


def test_requests_of_different_arms_do_not_mix() -> None:
    async def check() -> None:
        disk, one, other = Disk(), arms(), arms()
        batches = made(disk)
        replies = await asyncio.gather(
            batches.ask(one, drawn(one), asked(1), PATIENT),
            batches.ask(other, drawn(other), asked(2), PATIENT),
        )
        assert [ys(reply) for reply in replies] == [[2.0], [4.0]]
        assert disk.rows == [1, 1]

    asyncio.run(check())


def test_a_full_disk_is_told_to_all_and_the_next_are_served() -> None:
    async def check() -> None:
        disk = Disk()
        batches, found = made(disk), arms()
        disk.full = True
        first = [batches.ask(found, drawn(found), asked(x), PATIENT) for x in (1, 2)]
        for each in first:
            with pytest.raises(StorageFull):
                await each
        disk.full = False
        assert ys((await ask(batches, found, [3]))[0]) == [6.0]

    asyncio.run(check())


def test_why_there_is_no_answer_says_more_than_that_it_could_not_be_kept() -> None:
    async def check() -> None:
        disk = Disk()
        disk.full = True
        (reply,) = await ask(made(disk), arms(champion=raises), [1])
        assert reply == ([Unanswered(((1, "RuntimeError"),))], None)

    asyncio.run(check())


def test_who_goes_away_takes_nobody_along() -> None:
    async def check() -> None:
        disk = Disk()
        batches, found = made(disk), arms()
        futures = [batches.ask(found, drawn(found), asked(x), PATIENT) for x in (1, 2)]
        futures[0].cancel()
        assert ys(await futures[1]) == [4.0]
        assert disk.rows == [2], "it was answered, though nobody waits for it"
        assert batches._waiting == {}

    asyncio.run(check())


def test_what_fails_in_our_own_code_is_told_to_who_waits() -> None:
    async def check() -> None:
        batches, found = made(Disk()), arms()
        bad = asked(1)
        bad.features = {}
        with pytest.raises(KeyError):
            await batches.ask(found, drawn(found), bad, PATIENT)
        assert ys((await ask(batches, found, [3]))[0]) == [6.0]

    asyncio.run(check())
