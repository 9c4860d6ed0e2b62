"""Delays, false alarms and savings, on accounts written by hand."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from lossloop.app.backtest.base import Alarm, Day, Incident, Replayed
from lossloop.app.backtest.worth import LEAST_QUIET, Before, account, saving_of
from lossloop.app.books import Point
from lossloop.core.clock import DAY, HOUR

JUNE = Incident(text="june", start=10 * DAY, end=20 * DAY)
REFERENCE = Before.of([0.1, 0.12, 0.08, 0.1], "the reference")


def day(number: int, mean: float | None, *, labelled: int = 100, version: int = 1) -> Day:
    return Day(
        block=str(number), first=number * DAY, last=number * DAY + HOUR, version=version, rows=120,
        labelled=labelled, mean=mean,
    )  # fmt: skip


def alarm(number: int, *, version: int = 1) -> Alarm:
    """On the block of a day, raised half a day after its end."""
    return Alarm(
        at=(number + 1) * DAY + DAY // 2, made=number * DAY + HOUR, version=version, block=str(number),
        evidence=9.0, threshold=8.0, mean=0.5, count=number,
    )  # fmt: skip


def replayed(*alarms: Alarm, days: int = 30, counts: str = "blocks") -> Replayed:
    points = tuple(
        Point(at=(n + 1) * DAY, watch="w", version=1, kind="healthy", evidence=0.0, threshold=8.0, rows=120)
        for n in range(days)
    )
    return Replayed(
        watch="w", asks="guardrail", promise="1 per 100 blocks", counts=counts, points=points,
        alarms=alarms, made=tuple(n * DAY + HOUR for n in range(days)),
    )  # fmt: skip


def reference(version: int) -> Before | None:
    return REFERENCE


def no_reference(version: int) -> Before | None:
    return None


def quiet_then_bad(*, bad: float = 0.4, labelled: int = 100) -> list[Day]:
    return [day(n, bad if n >= 10 else 0.1 + 0.01 * (n % 3), labelled=labelled) for n in range(30)]


def test_a_delay_counts_from_the_incidents_start_to_the_moment_of_the_alarm() -> None:
    (met,) = account(replayed(alarm(13)), quiet_then_bad(), [JUNE], reference).met
    assert met.delay == 4 * DAY + DAY // 2
    assert met.judged == 4, "days 10 to 13"


def test_the_first_alarm_of_an_incident_counts_and_later_ones_are_not_false() -> None:
    found = account(replayed(alarm(13), alarm(18)), quiet_then_bad(), [JUNE], reference)
    assert found.met[0].alarm == alarm(13).at
    assert found.false_alarms == 0


def test_an_alarm_counts_where_its_predictions_were_made_not_where_they_were_judged() -> None:
    late = alarm(19)
    assert late.at > JUNE.end
    assert account(replayed(late), quiet_then_bad(), [JUNE], reference).false_alarms == 0
    early = alarm(9)
    assert early.at >= JUNE.start
    found = account(replayed(early), quiet_then_bad(), [JUNE], reference)
    assert found.false_alarms == 1
    assert found.met[0].alarm is None


def test_what_was_judged_outside_incidents_is_counted_as_the_promise_counts() -> None:
    assert account(replayed(), quiet_then_bad(), [JUNE], reference).quiet == 20
    by_rows = account(replayed(counts="outcomes"), quiet_then_bad(), [JUNE], reference)
    assert by_rows.quiet == 20 * 120


def test_a_watch_that_said_nothing_has_no_account() -> None:
    silent = replayed(days=0)
    found = account(silent, quiet_then_bad(), [JUNE], reference)
    assert (found.met, found.false_alarms) == ((), None)


# Savings.


def test_what_could_have_been_saved_is_the_excess_between_alarm_and_end() -> None:
    days = quiet_then_bad()
    (met,) = account(replayed(alarm(13)), days, [JUNE], reference).met
    saving = met.saving
    # The alarm comes at noon of day 14; days 15 to 19 lie between it and the end.
    assert saving.rows == 5 * 100
    assert saving.estimate == pytest.approx(500 * (0.4 - REFERENCE.mean))
    assert saving.low is not None
    assert saving.high is not None
    assert saving.low < (saving.estimate or 0.0) < saving.high
    assert saving.against == "the reference"


def test_the_later_the_alarm_the_less_could_have_been_saved() -> None:
    found = [
        account(replayed(alarm(n)), quiet_then_bad(), [JUNE], reference).met[0].saving.estimate or 0.0
        for n in range(10, 18)
    ]
    assert all(one > two for one, two in pairwise(found))


def test_a_loss_below_the_reference_is_a_saving_below_zero() -> None:
    saving = saving_of(alarm(13), quiet_then_bad(bad=0.05), JUNE, REFERENCE)
    assert saving.estimate is not None
    assert saving.estimate < 0


def test_without_a_reference_the_days_before_are_compared_with() -> None:
    saving = account(replayed(alarm(13)), quiet_then_bad(), [JUNE], no_reference).met[0].saving
    assert saving.against == "its mean over 10 blocks before the incident"
    assert saving.estimate == pytest.approx(500 * (0.4 - 0.109))


def test_without_enough_days_before_nobody_can_tell() -> None:
    days = quiet_then_bad()[11 - LEAST_QUIET :]
    saving = account(replayed(alarm(13)), days, [JUNE], no_reference).met[0].saving
    assert saving.estimate is None
    assert "no reference" in saving.why


def test_where_another_version_took_over_nobody_can_tell() -> None:
    days = [*quiet_then_bad()[:17], *(day(n, 0.1, version=2) for n in range(17, 30))]
    saving = saving_of(alarm(13), days, JUNE, REFERENCE)
    assert saving.estimate is None
    assert "another version took over" in saving.why


def test_days_without_outcomes_weigh_nothing() -> None:
    days = [*quiet_then_bad()[:15], *(day(n, None, labelled=0) for n in range(15, 30))]
    assert "no block with outcomes" in saving_of(alarm(13), days, JUNE, REFERENCE).why


def test_one_day_has_an_estimate_and_no_interval() -> None:
    saving = saving_of(alarm(17), quiet_then_bad(), JUNE, REFERENCE)
    assert saving.rows == 100
    assert saving.estimate is not None
    assert saving.low is None
    assert saving.high is None


def test_a_reference_of_one_block_gives_no_interval() -> None:
    one = Before.of([0.1], "one block")
    assert math.isinf(one.variance)
    assert saving_of(alarm(13), quiet_then_bad(), JUNE, one).low is None


def test_the_interval_holds_what_the_excess_really_was_nineteen_times_in_twenty() -> None:
    draw, held = np.random.default_rng(1), 0
    for _ in range(400):
        before = Before.of(draw.normal(0.1, 0.02, 60).tolist(), "reference")
        days = [day(n, float(draw.normal(0.3, 0.05))) for n in range(15, 20)]
        saving = saving_of(alarm(13), days, JUNE, before)
        assert saving.low is not None
        assert saving.high is not None
        held += saving.low <= 500 * 0.2 <= saving.high
    assert held / 400 >= 0.93
