"""One id has one answer: sent twice, at once, or again by who went away, it is the ledger's."""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from lossloop.core.errors import Conflict, StorageFull, VersionFailed
from lossloop.ledger.facts import model_of
from lossloop.ledger.frames import Frame, Kind
from lossloop.serve.merging import Draft
from lossloop.serve.service import Outcome, Service
from lossloop.serve.wishes import Wish
from tests.serve.models import Scripted
from tests.serve.test_service import Place, answers, problems, row


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = Place(tmp_path_factory.mktemp("twice"))
    yield made
    made.close()


class Moody:
    """A version that never says the same twice, and that answers once it may."""

    def __init__(self, place: Place, *, inline: int = 0) -> None:
        self.place, self.name = place, place.model(0.0)
        self.free, self.begun = threading.Event(), threading.Event()
        self.free.set()
        self._numbers = itertools.count(1)
        lane = place.lane(self.name)
        lane._runtime, lane.inline = Scripted(self._say, native=inline > 0), inline

    def _say(self, xs: list[float]) -> list[float]:
        self.begun.set()
        self.free.wait(60)
        return [float(next(self._numbers)) for _ in xs]

    @property
    def service(self) -> Service:
        return self.place.running.service

    def ask(self, *rows: dict[str, Any], wish: Wish = Wish()) -> asyncio.Task[Outcome]:  # noqa: B008
        return asyncio.ensure_future(self.service.predict(self.name, list(rows), wish))

    async def leave(self, *rows: dict[str, Any]) -> None:
        """Ask, and go away while the version thinks."""
        self.free.clear()
        self.begun.clear()
        asked = self.ask(*rows)
        await asyncio.to_thread(self.begun.wait, 60)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked

    def logged(self) -> dict[str, float]:
        """What the ledger says to each id; the first stands."""
        found: dict[str, float] = {}
        for entry in self.place.running.log.read({}):
            if not isinstance(entry.frame, Frame) or entry.frame.kind is not Kind.PREDICTION:
                continue
            if model_of(entry.frame.batch) == self.name:
                for fact in entry.frame.batch.to_pylist():
                    if fact["y_pred"] is not None:
                        found.setdefault(fact["id"], fact["y_pred"])
        return found


@pytest.mark.parametrize("inline", [0, 100])
def test_one_id_sent_twice_at_once_has_one_answer(place: Place, inline: int) -> None:
    moody = Moody(place, inline=inline)

    async def check() -> list[list[Any]]:
        asked = [moody.ask(row(1.0, id="a")) for _ in range(5)]
        return [answers(await each) for each in asked]

    found = asyncio.run(check())
    assert found == [[moody.logged()["a"]]] * 5


def test_whatever_is_sent_again_and_again_every_answer_is_the_ledgers(place: Place) -> None:
    moody, dice = Moody(place), random.Random(7)
    told: list[tuple[str, Any]] = []

    async def client() -> None:
        for _ in range(12):
            ids = dice.sample([f"i{number}" for number in range(15)], 3)
            asked = moody.ask(*(row(1.0, id=id) for id in ids))
            if dice.random() < 0.4:
                await asyncio.sleep(0)
                asked.cancel()
            try:
                outcome = await asked
            except asyncio.CancelledError:
                continue
            told.extend((each.id, each.y_pred) for each in outcome.answers.values())
            assert not outcome.problems

    async def check() -> None:
        await asyncio.gather(*(client() for _ in range(8)))

    asyncio.run(check())
    logged = moody.logged()
    assert len(told) > 50
    assert {(id, y) for id, y in told} <= set(logged.items())


def test_who_went_away_meets_the_same_answer(place: Place) -> None:
    moody = Moody(place)

    async def check() -> list[Any]:
        await moody.leave(row(1.0, id="b"))
        again = moody.ask(row(1.0, id="b"))
        await asyncio.sleep(0)
        moody.free.set()
        return [answers(await again), answers(await moody.ask(row(1.0, id="b")))]

    first, second = asyncio.run(check())
    assert first == second == [moody.logged()["b"]]


def test_what_somebody_left_under_way_cannot_be_given_other_content(place: Place) -> None:
    moody = Moody(place)

    async def check() -> None:
        await moody.leave(row(1.0, id="c"))
        outcome = await moody.ask(row(2.0, id="c"))
        assert problems(outcome) == [(0, "id")]
        assert isinstance(outcome.problems[0], Conflict)
        moody.free.set()
        assert not (await moody.ask(row(1.0, id="c"))).problems
        assert problems(await moody.ask(row(2.0, id="c"), row(3.0, id="d"))) == [(0, "id")]

    asyncio.run(check())
    assert set(moody.logged()) == {"c", "d"}


def test_of_a_row_that_was_left_and_failed_nothing_is_kept(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    moody = Moody(place)

    async def full(items: list[Frame | Draft]) -> None:
        raise StorageFull("no room")

    async def check() -> Outcome:
        with monkeypatch.context() as patch:
            patch.setattr(place.running.recorder, "append", full)
            await moody.leave(row(1.0, id="e"))
            moody.free.set()
            while moody.service._under_way:
                await asyncio.sleep(0.001)
        return await moody.ask(row(2.0, id="e"))

    outcome = asyncio.run(check())
    assert not outcome.problems
    assert answers(outcome) == [moody.logged()["e"]]
    assert moody.service._repeats._held == {}


def test_rows_without_ids_are_answered_each_for_itself(place: Place) -> None:
    moody = Moody(place)

    async def check() -> list[Any]:
        asked = [moody.ask(row(1.0), row(1.0)) for _ in range(3)]
        return [y for each in asked for y in answers(await each)]

    found = asyncio.run(check())
    assert sorted(found) == sorted(moody.logged().values()) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


def test_good_rows_beside_one_under_way_and_one_that_is_known(place: Place) -> None:
    moody = Moody(place)

    async def check() -> tuple[Outcome, Outcome]:
        known = await moody.ask(row(1.0, id="f"))
        await moody.leave(row(1.0, id="g"))
        mixed = moody.ask(
            row(1.0, id="f"), row(9.0, id="f"), row(1.0, id="g"), row(5.0, id="h"), {"features": {}}, row(5.0)
        )
        await asyncio.sleep(0)
        moody.free.set()
        return known, await mixed

    known, mixed = asyncio.run(check())
    logged = moody.logged()
    assert sorted(mixed.answers) == [0, 2, 3, 5]
    assert sorted(problems(mixed), key=str) == [(1, "id"), (4, "features.x")]
    assert mixed.answers[0] == known.answers[0]
    assert [mixed.answers[place].y_pred for place in (0, 2, 3)] == [logged[id] for id in "fgh"]


def test_a_deadline_of_nothing_is_late_and_asks_again_later(place: Place) -> None:
    moody = Moody(place)

    async def check() -> Outcome:
        moody.free.clear()
        with pytest.raises(VersionFailed, match="DeadlineExceeded"):
            await moody.ask(row(1.0, id="i"), wish=Wish(deadline=0.0))
        moody.free.set()
        return await moody.ask(row(1.0, id="i"))

    outcome = asyncio.run(check())
    assert answers(outcome) == [moody.logged()["i"]]
