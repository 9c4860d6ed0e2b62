"""Rows that are no fresh draws: of a unit, which stays where it is, and of a day, which is bad for all."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.judges import healthy_days, sticky
from benchmarks.judges.dependence import day_means, rows_of


def test_a_canary_that_judges_each_sticky_unit_once_keeps_its_error() -> None:
    rows = sticky.measure("50%", replications=20, seed=0)
    found = {(row.way, row.margin): row.rolled_back for row in rows}
    assert found["every row", 0.0] >= 0.1
    for way in ("first of each unit", "fresh"):
        assert found[way, 0.0] <= sticky.ERROR
        assert found[way, 0.02] <= sticky.ERROR
    judged = {row.way: row.judged for row in rows}
    assert judged["first of each unit"] == pytest.approx(sticky.UNITS, rel=0.01)
    assert judged["every row"] == sticky.ROWS


def test_units_stay_where_they_are_and_are_shown_once() -> None:
    rng = np.random.default_rng(0)
    traffic = sticky.Traffic.drawn(sticky.TRAFFIC["ramp 1>5>25>50%"], rng)
    every, first = (traffic.evidence(way, rng) for way in ("every row", "first of each unit"))
    assert len(first) == len(np.unique(traffic.unit))
    # A share that rises takes units to the challenger, and none back.
    for unit in range(20):
        assert (np.diff(every.is_canary[traffic.unit == unit].astype(int)) >= 0).all()
    assert set(first.propensity.tolist()) <= {0.01, 0.05, 0.25, 0.5}


def test_healthy_days_seldom_alarm_by_day_and_always_by_row() -> None:
    rng = np.random.default_rng(1)
    losses = np.minimum(rows_of(rng, day_means(rng, 120)), healthy_days.CAP)
    days = np.repeat(np.arange(120), losses.shape[1])
    past = healthy_days.Past(losses.ravel(), days)
    assert len(past.by_day) == len(past.means) == 120
    assert past.means == pytest.approx(losses.mean(axis=1))
    figures = healthy_days.measure(past, replications=500, by_row=3, seed=0)
    assert figures.by_day <= figures.by_day_at_the_mean <= figures.promised
    assert figures.by_day_reference_drawn <= figures.promised
    assert figures.by_row == figures.by_row_limit_of_days == 1.0
    assert figures.design_effect > 30
