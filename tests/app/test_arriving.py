"""Blocks of arrivals: gathered while they are open, judged once when they are over, reign by reign."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossloop.app import operate
from lossloop.app.arriving import Gathered, Sums
from lossloop.app.commands import Promote, SetFreeze
from lossloop.ledger.frames import Frame
from tests.app.desk import DAY, MODEL, Desk, ticked
from tests.app.test_drift import ANSWERS, BLOCKS, answers, inputs, sent, verdict, version, watched

DAILY = {"kind": "prediction_shift", "promise": "1 per 3650 blocks"}
NOTHING = Sums(rows=0, totals=b"", counts=b"")


def day(desk: Desk, number: int, *, power: float = 1.0, rows: int = 60, **more: Any) -> Frame:
    """A day's predictions, none of them with features."""
    return sent(
        desk, DAY * number + 1, None, answers(np.random.default_rng(number), rows, power=power), **more
    )


def gathered(desk: Desk, name: str) -> Gathered | None:
    with desk.books() as books:
        return books.documents.get("gathered", f"{MODEL}/{name}", Gathered)


@settings(max_examples=40)
@given(
    values=st.lists(st.lists(st.one_of(st.floats(0.0, 1.0), st.just(float("nan"))), min_size=2, max_size=2),
                    min_size=1, max_size=12),
    cut=st.integers(0, 12),
)  # fmt: skip
def test_sums_give_the_means_of_what_was_said(values: list[list[float]], cut: int) -> None:
    rows = np.array(values)
    sums = NOTHING.add(rows[:cut]).add(rows[cut:]) if 0 < cut < len(rows) else NOTHING.add(rows)
    assert sums.rows == len(rows)
    for column in range(2):
        there = rows[~np.isnan(rows[:, column]), column]
        if len(there):
            assert sums.means[0, column] == pytest.approx(there.mean())
        else:
            assert np.isnan(sums.means[0, column])


def test_a_day_is_judged_when_it_is_over_and_only_then(tmp_path: Path) -> None:
    desk = watched(tmp_path, daily=DAILY)
    desk.send(day(desk, 0), day(desk, 0, rows=40))
    waiting = gathered(desk, "daily")
    assert waiting is not None
    assert [sums.rows for sums in waiting.open.values()] == [100]
    assert desk.points("daily") == []
    desk.tick(DAY - 0.1)
    assert desk.points("daily") == []
    desk.tick(DAY)
    (point,) = desk.points("daily")
    assert (point.rows, point.block, point.mean) == (100, "2024-01-01", None)
    after = gathered(desk, "daily")
    assert after is not None
    assert after.open == {}
    desk.tick(2 * DAY)
    assert len(desk.points("daily")) == 1


def test_silent_days_are_no_evidence(tmp_path: Path) -> None:
    desk = watched(tmp_path, daily=DAILY, inputs=BLOCKS)
    desk.send(*(day(desk, number) for number in (0, 1, 5)), ticked(9 * DAY))
    assert verdict(desk, "daily")["count"] == 3
    silent = verdict(desk, "inputs")
    assert (silent["kind"], silent["count"]) == ("no_data", 0)


def test_days_that_are_over_at_once_are_judged_in_their_order(tmp_path: Path) -> None:
    """Judged one day at a time, or all of them after a week's silence, they are the same evidence."""
    found = []
    for name, ticks in (("daily", True), ("weekly", False)):
        desk = watched(tmp_path / name, daily=DAILY)
        for number in range(7):
            desk.send(day(desk, number, power=1.5), *([ticked(DAY * (number + 1))] if ticks else []))
        desk.tick(8 * DAY)
        found.append((verdict(desk, "daily")["evidence"], [point.evidence for point in desk.points("daily")]))
    assert found[0] == found[1]


def test_an_alarm_is_answered_once_and_again_after_its_cooldown(tmp_path: Path) -> None:
    desk = watched(tmp_path, daily=DAILY)
    desk.policy(watches={"daily": DAILY}, on={"daily": [{"notify": "log"}]}, cooldown="8d")
    told: list[int] = []
    for number in range(26):
        desk.send(day(desk, number, power=6.0), ticked(DAY * (number + 1)))
        if len(desk.told()) > len(told):
            told.append(number)
    assert len(told) == 2
    assert told[1] >= told[0] + 8


def test_a_freeze_stops_no_verdict(tmp_path: Path) -> None:
    desk = watched(tmp_path, answers=ANSWERS)
    desk.obey(SetFreeze(on=True))
    desk.send(*(day(desk, number, power=6.0, rows=300) for number in range(3)))
    assert verdict(desk, "answers")["kind"] == "alarm"


def test_a_new_reign_begins_with_no_day_of_the_old_one(tmp_path: Path) -> None:
    desk = watched(tmp_path, daily=DAILY)
    assert operate.register(desk.home, MODEL, version(notes="the next")).ok
    desk.send(day(desk, 0), ticked(DAY), day(desk, 1))
    desk.obey(Promote(model=MODEL, version=2))
    desk.send(day(desk, 1, version=2, rows=30), ticked(2 * DAY))
    found = verdict(desk, "daily")
    assert found["count"] == 1
    assert [(point.version, point.rows) for point in desk.points("daily")] == [(1, 60), (2, 30)]


def test_a_watch_that_asks_something_else_forgets_what_it_gathered(tmp_path: Path) -> None:
    desk = watched(tmp_path, daily=DAILY)
    desk.send(day(desk, 0))
    desk.policy(watches={"daily": {**DAILY, "tolerance": 0.05}})
    assert gathered(desk, "daily") is None
    desk.send(day(desk, 0, rows=10), ticked(DAY))
    assert [point.rows for point in desk.points("daily")] == [10]


def test_a_watch_written_again_goes_on(tmp_path: Path) -> None:
    desk = watched(tmp_path, daily=DAILY)
    desk.send(day(desk, 0))
    desk.policy(watches={"daily": DAILY, "inputs": {**BLOCKS, "features": ["age", "plan"]}})
    desk.send(day(desk, 0, rows=10), ticked(DAY))
    assert [point.rows for point in desk.points("daily")] == [70]


def test_challengers_and_repeats_are_no_evidence(tmp_path: Path) -> None:
    desk, rng = watched(tmp_path, daily=DAILY), np.random.default_rng(0)
    first = day(desk, 0)
    other = day(desk, 0, version=2, role="challenger")
    both = sent(desk, 2, inputs(rng, 20), answers(rng, 20))
    desk.send(first, first, other, both, both, ticked(DAY))
    assert [point.rows for point in desk.points("daily")] == [80]


def test_days_of_one_prediction_are_no_drift(tmp_path: Path) -> None:
    """The reference had many more a day: the mean of one lies far off by chance alone."""
    desk = watched(tmp_path, daily=DAILY)
    desk.send(*(day(desk, number, rows=1) for number in range(60)), ticked(62 * DAY))
    points = desk.points("daily")
    assert len(points) == 60
    assert {point.kind for point in points} == {"healthy"}
