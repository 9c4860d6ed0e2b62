"""Where a version runs, and for how long anyone waits for it."""

from __future__ import annotations

import asyncio
import gc
import math
import threading
import time
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lossloop.core.errors import InputError
from lossloop.core.tasks import Task, read_prediction
from lossloop.serve.lanes import LATE, SLOW, Lane, Run, valid
from lossloop.serve.runtimes import Columns
from lossloop.serve.schema import columns
from tests.serve.arms import Say, doubled, lane
from tests.serve.models import FEATURES, Scripted, version


def rows(*xs: float) -> Columns:
    return columns(FEATURES, [{"x": x} for x in xs])


def run(where: Lane, *xs: float, deadline: float = 60.0, limit: float = 60.0) -> Run:
    return asyncio.run(where.run(rows(*xs), len(xs), deadline, limit))


def threads_of(*xs: float, inline: int) -> list[str]:
    """On which threads a version ran."""
    found: list[str] = []

    def note(asked: list[float]) -> list[float]:
        found.append(threading.current_thread().name)
        return doubled(asked)

    assert run(lane(1, note, inline=inline), *xs).values == doubled(list(xs))
    return found


def test_a_fast_version_runs_in_the_event_loop_and_a_large_batch_beside_it() -> None:
    here = threading.current_thread().name
    assert threads_of(1.0, 2.0, inline=2) == [here]
    assert threads_of(1.0, 2.0, 3.0, inline=2) == ["m:1"]


def test_what_runs_python_never_runs_in_the_event_loop() -> None:
    made = Lane(version(1), Scripted(doubled, native=False), Task.REGRESSION, inline=1000)
    assert made.inline == 0
    assert run(made, 1.0).values == [2.0]


def test_who_turns_out_slow_gets_a_thread() -> None:
    def slow(xs: list[float]) -> list[float]:
        time.sleep(1.5 * SLOW)
        return xs

    made = lane(1, slow)
    run(made, 1.0)
    assert made.inline == 0


def test_batches_take_turns_on_one_thread() -> None:
    busy = threading.Lock()

    def alone(xs: list[float]) -> list[float]:
        assert busy.acquire(blocking=False), "two at once"
        time.sleep(0.002)
        busy.release()
        return doubled(xs)

    made = lane(1, alone, inline=0)

    async def ask() -> list[Run]:
        return list(await asyncio.gather(*(made.run(rows(float(x)), 1, 60.0, 60.0) for x in range(8))))

    assert [found.values for found in asyncio.run(ask())] == [[2.0 * x] for x in range(8)]


class Gate:
    """A version that waits to be let go, and how often it was asked."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.asked = 0

    def say(self, xs: list[float]) -> list[float]:
        self.asked += 1
        self.entered.set()
        self.gate.wait(60)
        return doubled(xs)


def test_nobody_waits_for_a_lane_that_was_left_behind() -> None:
    gate = Gate()
    made = lane(1, gate.say, inline=0)
    first = run(made, 1.0, deadline=0.05, limit=0.05)
    assert (first.values, first.why, first.broke) == ([None], LATE, True)
    second = run(made, 1.0, deadline=60.0, limit=0.05)
    assert (second.why, second.latency) == (LATE, 0.0), "it is not even asked"
    gate.gate.set()
    while run(made, 1.0, limit=0.05).why == LATE:
        time.sleep(0.001)
    assert run(made, 3.0).values == [6.0], "its thread has come back"
    assert gate.asked <= 4


def test_who_is_in_a_hurry_does_not_spoil_it_for_the_others() -> None:
    gate = Gate()
    made = lane(1, gate.say, inline=0)

    async def ask() -> tuple[Run, Run]:
        hurried = asyncio.create_task(made.run(rows(1.0), 1, 0.01, 60.0))
        patient = asyncio.create_task(made.run(rows(2.0), 1, 60.0, 60.0))
        first = await hurried
        gate.gate.set()
        return first, await patient

    first, second = asyncio.run(ask())
    assert (first.why, second.values) == (LATE, [4.0])


def test_what_nobody_waits_for_any_more_is_not_begun() -> None:
    gate = Gate()
    made = lane(1, gate.say, inline=0)

    async def ask() -> None:
        one = asyncio.create_task(made.run(rows(1.0), 1, 60.0, 60.0))
        await asyncio.to_thread(gate.entered.wait, 60)
        assert (await made.run(rows(2.0), 1, 0.01, 60.0)).why == LATE
        gate.gate.set()
        await one
        await made.run(rows(3.0), 1, 60.0, 60.0)

    asyncio.run(ask())
    assert gate.asked == 2


def test_a_version_that_is_dropped_is_freed_with_its_thread() -> None:
    made = lane(1, doubled, inline=0)
    run(made, 1.0)
    runtime = weakref.ref(made._runtime)
    (thread,) = (each for each in threading.enumerate() if each.name == "m:1")
    del made
    gc.collect()
    thread.join(60)
    assert not thread.is_alive()
    assert runtime() is None


@pytest.mark.parametrize(
    ("say", "why"),
    [
        (lambda xs: [1 / 0], "ZeroDivisionError"),
        (lambda xs: [1.0, 2.0, 3.0], "InputError"),
        (lambda xs: [math.nan, math.inf], "no valid answer"),
        (lambda xs: [[1.0], [2.0]], "no valid answer"),
    ],
)
@pytest.mark.parametrize("inline", [0, 10])
def test_what_is_no_answer_says_why(say: Say, why: str, inline: int) -> None:
    found = run(lane(1, say, inline=inline), 1.0, 2.0)
    assert (found.values, found.why) == ([None, None], why)


def test_only_the_versions_own_features_are_handed_to_it() -> None:
    seen: list[list[str]] = []

    class Noting(Scripted):
        def predict(self, columns: Columns) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
            seen.append(list(columns))
            return np.zeros(1)

    made = Lane(version(1), Noting(doubled), Task.REGRESSION, inline=10)
    run_columns = {**rows(1.0), "another": np.zeros(1)}
    asyncio.run(made.run(run_columns, 1, 60.0, 60.0))
    assert seen == [["x", "y", "colour"]]


numbers = st.floats(-2, 2, width=64) | st.sampled_from([math.nan, math.inf, -math.inf, 0.5])


@given(arrays(np.float64, st.integers(1, 6), elements=numbers), st.sampled_from(list(Task)))
def test_answers_of_one_number_are_valid_as_the_task_says(found: np.ndarray, task: Task) -> None:
    _check(task, found)


@given(
    arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 3)), elements=numbers),
    st.sampled_from(list(Task)),
    st.booleans(),
)
def test_lists_are_valid_as_the_task_says(found: np.ndarray, task: Task, shares: bool) -> None:
    if shares:
        with np.errstate(all="ignore"):
            found = np.abs(found) / np.abs(found).sum(axis=1, keepdims=True)
    _check(task, found)


def _check(task: Task, found: np.ndarray) -> None:
    wanted: list[float | list[float] | None] = []
    for value in found.tolist():
        try:
            wanted.append(read_prediction(task, value))
        except InputError:
            wanted.append(None)
    assert valid(task, found) == wanted
