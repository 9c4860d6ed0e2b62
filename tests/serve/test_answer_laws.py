"""Laws of a batch: what becomes of a row does not depend on whom it meets, whatever versions and rules do."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossloop.core.clock import ManualClock
from lossloop.core.serving import Breaker, Fallback, Limit, Serving, Then
from lossloop.core.tasks import Task
from lossloop.ledger.base import Position
from lossloop.serve.arms import Arms
from lossloop.serve.batching import Batches, Reply
from lossloop.serve.breaker import State
from lossloop.serve.circuits import Circuits
from lossloop.serve.guarding import CIRCUIT_OPEN, Guarding, Patience
from lossloop.serve.lanes import LATE, NO_ANSWER
from lossloop.serve.merging import Draft
from lossloop.serve.repeats import Answer
from lossloop.serve.unanswered import Unanswered
from tests.serve.arms import PATIENT, answers_of, arms, asked, doubled, drawn, facts, negated, said

NEVER = Breaker(errors=0)
RAISES = "raises"
Mood = float | str
"""What a version says to a row: a number, NaN, or that it raises."""
moods = st.one_of(
    st.sampled_from([RAISES, math.nan, math.inf, -math.inf, 1e308, 0.0]), st.floats(-10, 10, allow_nan=False)
)
limits = st.builds(
    lambda ends, then, rows: Limit(low=ends[0], high=ends[1], then=then, where=rows),
    st.tuples(st.floats(-5, 5), st.floats(-5, 5)).map(sorted),
    st.sampled_from(list(Then)),
    st.sampled_from([{}, {"x": ("1", "3")}, {"x": ("0", "no number")}, {"none": ("1",)}]),
)


@dataclass(frozen=True)
class Moods:
    """A version that says to each x what its table has."""

    table: Sequence[Mood]

    def __call__(self, xs: list[float]) -> list[float]:
        said = [self.table[int(x)] for x in xs]
        if RAISES in said:
            raise RuntimeError("over one row")
        return [float(each) for each in said]


def expected(
    request: Sequence[int], tables: Sequence[Sequence[Mood]], rules: Serving
) -> dict[int, float | str]:
    """Row by row what is answered to a request: a number, or what the last word was."""
    found: dict[int, float | str] = {}
    left = list(request)
    for table in tables:
        broke = any(table[x] == RAISES for x in left)
        for x in tuple(left):
            value = "RuntimeError" if broke else _held(table[x], x, rules.limits)
            found[x] = value
            if isinstance(value, float) or value.startswith("refuse"):
                left.remove(x)
    if rules.fallback.answer is not None:
        found |= dict.fromkeys(left, rules.fallback.answer)  # type: ignore[arg-type]
    return found


def _held(mood: Mood, x: int, rules: Sequence[Limit]) -> float | str:
    value, then = float(mood), ""
    if not math.isfinite(value):
        return NO_ANSWER
    for rule in rules:
        low, high = rule.low, rule.high
        assert low is not None
        assert high is not None
        meant = all(name == "x" and f"{x:g}" in values for name, values in rule.where.items())
        if not meant or low <= value <= high:
            continue
        if rule.then is Then.CLAMP:
            value = min(max(value, low), high)
        elif then != "refuse":
            then = str(rule.then)
    return then or value


def told(each: Answer | Unanswered) -> float | str:
    """What a row was told, as `expected` has it."""
    if isinstance(each, Answer):
        assert isinstance(each.y_pred, float)
        return each.y_pred
    if each.refused:
        return "refuse"
    why = each.whys[-1][1]
    return "fall_back" if why.startswith("beyond") else why


tables = st.lists(st.lists(moods, min_size=8, max_size=8), min_size=3, max_size=3)
requests = st.permutations(range(8)).flatmap(
    lambda rows: st.lists(st.integers(1, 7), max_size=3, unique=True).map(
        lambda cuts: [rows[a:b] for a, b in zip([0, *sorted(cuts)], [*sorted(cuts), 8], strict=True)]
    )
)
rules = st.builds(
    lambda held, answer: Serving(breaker=NEVER, limits=tuple(held), fallback=Fallback(answer=answer)),
    st.lists(limits, max_size=4),
    st.sampled_from([None, 7.0]),
)


@given(tables, requests, rules, st.sampled_from([1, 2]))
def test_each_row_is_answered_as_its_request_would_be_alone(
    tables: list[list[Mood]], requests: list[list[int]], rules: Serving, to: int
) -> None:
    one, two, three = map(Moods, tables)
    found = arms(one, two, three, serving=rules)
    answered = said(found, *(asked(*map(float, rows)) for rows in requests), to=to)
    order = [tables[0], tables[2]] if to == 1 else [tables[1], tables[0], tables[2]]
    wanted = [expected(rows, order, rules)[x] for rows in requests for x in rows]
    assert [told(each) for each in answered.answers] == wanted


@settings(max_examples=40)
@given(tables, requests, rules)
def test_the_ledger_has_each_answer_once_and_what_was_said_before_it_was_cut(
    tables: list[list[Mood]], requests: list[list[int]], rules: Serving
) -> None:
    one, two, three = map(Moods, tables)
    answered = said(
        arms(one, two, three, serving=rules), *(asked(*map(float, rows)) for rows in requests), to=2
    )
    given = [each for each in answered.answers if isinstance(each, Answer)]
    logged = [fact for fact in facts(answered) if fact["error"] is None]
    assert [(fact["id"], fact["y_pred"]) for fact in logged] == [(each.id, each.y_pred) for each in given]
    for fact in logged:
        raw, x = fact["raw_y_pred"], int(fact["features"]["x"])
        if fact["version"]:
            table = tables[{1: 0, 2: 1, 3: 2}[fact["version"]]]
            assert (fact["y_pred"] if raw is None else raw) == table[x]
        assert (raw is None) == (fact["limited"] is None)
    for fact in facts(answered):
        if fact["error"] is not None:
            assert fact["y_pred"] is None
            assert fact["id"] not in {str(x) for x in range(8)}


@settings(max_examples=30)
@given(st.lists(st.sampled_from([1.0, -1.0, math.nan, math.inf]), min_size=3, max_size=12))
def test_one_bad_component_costs_its_row_and_no_other(values: list[float]) -> None:
    rows = [[values[place % len(values)], 1.0] for place in range(len(values))]

    def say(xs: list[float]) -> list[list[float]]:
        return [rows[int(x)] for x in xs]

    answered = said(
        arms(say, None, None, task=Task.VECTOR, serving=Serving(breaker=NEVER)), asked(*range(len(rows)))
    )
    good = [isinstance(each, Answer) for each in answered.answers]
    assert good == [math.isfinite(value) for value in values]


# Batches under way.


class Disk:
    def __init__(self) -> None:
        self.drafts: list[Draft] = []

    async def append(self, rows: int, draft: Draft) -> Position:
        await asyncio.sleep(0)
        self.drafts.append(draft)
        return Position(segment="s", offset=len(self.drafts))


def values(reply: Reply) -> list[Any]:
    return [each.y_pred if isinstance(each, Answer) else each.whys for each in reply[0]]


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    made = threading.Event()
    yield made
    made.set()


def test_a_swap_during_a_batch_is_for_the_next_one(gate: threading.Event) -> None:
    def slow(xs: list[float]) -> list[float]:
        gate.wait(60)
        return doubled(xs)

    async def check() -> list[list[Any]]:
        batches = Batches(Disk().append, ManualClock(7))
        before, after = arms(slow, None, inline=0), arms(negated, None)
        asks = [batches.ask(before, drawn(before), asked(1), PATIENT)]
        await asyncio.sleep(0.01)
        asks += [batches.ask(before, drawn(before), asked(2), PATIENT)]
        new = await batches.ask(after, drawn(after), asked(1, 2), PATIENT)
        assert not any(each.done() for each in asks)
        gate.set()
        return [values(new), *(values(each) for each in await asyncio.gather(*asks))]

    assert asyncio.run(check()) == [[-1.0, -2.0], [2.0], [4.0]]


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(1, 4), st.booleans(), st.integers(0, 3)), min_size=1, max_size=12))
def test_whoever_leaves_the_others_have_their_own_answers(plan: list[tuple[int, bool, int]]) -> None:
    async def check() -> None:
        disk = Disk()
        batches, found, at = Batches(disk.append, ManualClock(7)), arms(doubled, None), 0
        asks: list[tuple[list[float], asyncio.Future[Reply]]] = []
        for count, _, pause in plan:
            xs = [float(x) for x in range(at, at + count)]
            at += count
            asks.append((xs, batches.ask(found, drawn(found), asked(*xs), PATIENT)))
            for _ in range(pause):
                await asyncio.sleep(0)
        left = [future.cancel() for (_, future), (_, leaves, _) in zip(asks, plan, strict=True) if leaves]
        for xs, future in asks:
            if not future.cancelled():
                assert values(await future) == [2 * x for x in xs]
        while batches._tasks:
            await asyncio.sleep(0)
        ids = [id for draft in disk.drafts for id in draft.columns["id"]]
        assert sorted(ids) == sorted(f"{x:g}" for xs, _ in asks for x in xs)  # who left was answered too
        assert (batches._rows, batches._waiting, len(left) <= len(plan)) == (0, {}, True)

    asyncio.run(check())


# Half-open circuits.


class Hand(Guarding):
    """Guards whose time is moved by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.circuits = Circuits(lambda: self.now)


RULE = Breaker(errors=1, of=1, within=10**9, retry_after=1000)


def opened(champion: Any, *, inline: int = 0) -> tuple[Hand, Arms]:
    """Version 1, whose circuit has opened and may be tried again."""
    hand = Hand()
    found = arms(champion, None, None, inline=inline, guarding=hand, serving=Serving(breaker=RULE))
    permit = hand.circuits.ask(("m", 1), RULE)
    assert permit is not None
    hand.circuits.tell(("m", 1), RULE, permit, "RuntimeError")
    hand.now = 1000
    return hand, found


def test_of_many_requests_at_once_one_finds_out(gate: threading.Event) -> None:
    sizes: list[int] = []

    def slow(xs: list[float]) -> list[float]:
        sizes.append(len(xs))
        gate.wait(60)
        return doubled(xs)

    hand, found = opened(slow)

    async def check() -> list[list[Any]]:
        batches = Batches(Disk().append, ManualClock(7))
        patiences = [Patience(deadline=60.0 - each, limit=60.0) for each in range(6)]  # batches of their own
        asks = [
            asyncio.ensure_future(batches.ask(found, drawn(found), asked(each), patience))
            for each, patience in enumerate(patiences)
        ]
        while sum(each.done() for each in asks) < 5:
            await asyncio.sleep(0.001)
        assert hand.circuits.circuit(("m", 1)).state is State.HALF_OPEN
        gate.set()
        return [values(each) for each in await asyncio.gather(*asks)]

    found_values = asyncio.run(check())
    assert sorted(map(str, found_values)) == sorted([str([0.0]), *[str([((1, CIRCUIT_OPEN),)])] * 5])
    assert sizes == [1]
    assert hand.circuits.circuit(("m", 1)).state is State.CLOSED


def test_a_trial_that_somebody_in_a_hurry_left_is_followed_by_another(gate: threading.Event) -> None:
    def slow(xs: list[float]) -> list[float]:
        gate.wait(60)
        return doubled(xs)

    hand, found = opened(slow)
    hurried = Patience(deadline=0.0, limit=60.0)
    assert answers_of(said(found, asked(1), patience=hurried)) == [f"m:1: {LATE}"]
    assert hand.circuits.circuit(("m", 1)).state is State.HALF_OPEN
    assert answers_of(said(found, asked(1))) == [f"m:1: {CIRCUIT_OPEN}"]
    gate.set()
    hand.now = 2000
    assert answers_of(said(found, asked(1))) == [2.0]
    assert hand.circuits.circuit(("m", 1)).state is State.CLOSED


@pytest.mark.parametrize("fails", [False, True])
def test_threads_that_ask_at_once_get_one_permit_a_turn(fails: bool) -> None:
    hand, key = Hand(), ("m", 1)
    first = hand.circuits.ask(key, RULE)
    assert first is not None
    hand.circuits.tell(key, RULE, first, "RuntimeError")
    for turn in range(1, 20):
        hand.now += 1000
        permits: list[Any] = []
        start = threading.Barrier(4)

        def ask(permits: list[Any] = permits, start: threading.Barrier = start) -> None:
            start.wait(60)
            permits.append(hand.circuits.ask(key, RULE))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join(60)
        (permit,) = [each for each in permits if each is not None]
        hand.circuits.tell(key, RULE, permit, "RuntimeError" if fails or turn % 2 else "")
        wanted = State.OPEN if fails or turn % 2 else State.CLOSED
        assert hand.circuits.circuit(key).state is wanted
        if wanted is State.CLOSED:
            again = hand.circuits.ask(key, RULE)
            assert again is not None
            hand.circuits.tell(key, RULE, again, "RuntimeError")
