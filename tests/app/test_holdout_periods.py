"""What a policy says of who is held out, and which periods there are of it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.app.holdouts import HeldOut, held_out, held_share, holds, keep, only_words, past, retire
from lossloop.app.home import init
from lossloop.core.clock import DAY
from lossloop.core.holdout import LARGEST, Holdout
from lossloop.core.serving import Serving
from lossloop.core.tasks import Task


def wrong(**said: Any) -> list[str]:
    """The keys that are wrong."""
    usual: dict[str, Any] = {"share": 0.05, "version": 1}
    return [str(path[0]) for path, _ in Holdout(**{**usual, **said}).problems()]


@given(share=st.floats(0.0001, LARGEST), version=st.integers(1, 10**6), period=st.integers(1, 10**4 * DAY))
def test_what_can_be_held_out_is_sound(share: float, version: int, period: int) -> None:
    assert wrong(share=share, version=version, period=period) == []


@pytest.mark.parametrize(
    ("said", "keys"),
    [
        ({"share": math.nextafter(LARGEST, 1)}, ["share"]),
        ({"share": 0.99}, ["share"]),
        ({"version": 0}, ["version"]),
        ({"version": -3}, ["version"]),
        ({"period": 0}, ["period"]),
        ({"period": -DAY}, ["period"]),
        ({"share": 0.9, "version": 0, "period": 0}, ["share", "version", "period"]),
    ],
)
def test_what_cannot_be_is_named_by_its_key(said: dict[str, Any], keys: list[str]) -> None:
    assert wrong(**said) == keys


@pytest.mark.parametrize("task", list(Task))
def test_the_policy_names_it_by_its_whole_path(task: Task) -> None:
    serving = Serving(holdout=Holdout(share=0.05, version=0))
    assert [path for path, _ in serving.problems(task)] == [("holdout", "version")]


def run(number: int = 1, **said: Any) -> HeldOut:
    usual: dict[str, Any] = {"share": 0.05, "version": 2, "period": 30 * DAY}
    return HeldOut(
        number=number, holdout=Holdout(**{**usual, **said}), salt=f"s{number}", since=100 * DAY, first_seq=7
    )


@pytest.mark.parametrize(
    ("after", "goes_on"), [(0, True), (30 * DAY - 1, True), (30 * DAY, False), (90 * DAY, False)]
)
def test_a_period_ends_with_its_last_moment(after: int, goes_on: bool) -> None:
    now = run()
    assert holds(now, now.holdout, now.since + after) is goes_on


@pytest.mark.parametrize("change", [{"share": 0.1}, {"version": 3}, {"period": 31 * DAY}, {"error": 0.01}])
def test_another_wish_ends_a_period(change: dict[str, Any]) -> None:
    assert not holds(run(), run(**change).holdout, 100 * DAY)
    assert not holds(run(), None, 100 * DAY)


@pytest.mark.parametrize(
    ("only", "words"),
    [
        ({"carrier": ("UA",)}, "where carrier is UA"),
        ({"carrier": ("UA", "DL")}, "where carrier is UA or DL"),
        ({"a": ("1", "2"), "b": ("x",)}, "where a is 1 or 2 and b is x"),
    ],
)
def test_rows_are_told_by_their_values(only: dict[str, tuple[str, ...]], words: str) -> None:
    assert only_words(only) == words


def test_periods_of_a_model_are_kept_in_their_order_and_apart_from_others(tmp_path: Path) -> None:
    state = init(tmp_path / "s").writable_state()
    try:
        assert held_out(state, "m") is None
        assert held_share(state, "m") == 0.0
        assert retire(state, "m") == 0
        for number in range(1, 13):
            keep(state, "m", run(number, share=number / 100))
            assert held_share(state, "m") == number / 100
            keep(state, "m", msgspec.structs.replace(run(number, share=number / 100), held=number))
            assert retire(state, "m") == number
            assert held_out(state, "m") is None
        assert [each.number for each in past(state, "m")] == list(range(1, 13))
        assert [each.held for each in past(state, "m")] == list(range(1, 13))
        keep(state, "m2", run())
        assert past(state, "m2") == []
        assert held_share(state, "m") == 0.0
        assert held_out(state, "m2") == run()
    finally:
        state.close()
