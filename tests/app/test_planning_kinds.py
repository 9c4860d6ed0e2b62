"""Plans of kinds that judge other things than the loss: what they bet on decides how long they take."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from lossloop.app.home import Home
from lossloop.app.planning import WatchPlan
from lossloop.core.estimates import Estimate
from lossloop.core.seasons import Season
from tests.app.backtest.ledgers import ledger, reference_of
from tests.app.desk import ROLLOUT
from tests.app.test_planning import GUARD, days, planned, watch_of

PER = "1 per 1000 blocks"
BASELINE = {"kind": "baseline", "tolerance": 0.05, "promise": PER}
SEASONAL = {"kind": "seasonal", "season": "weekday", "promise": PER}
ESTIMATE = {"kind": "estimate", "limit": 0.4, "promise": PER}
EVEN = dict.fromkeys(Season.WEEKDAY.names, 0.15)
UNEVEN = {**EVEN, "sat": 0.9, "sun": 0.9}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Forty days of a champion that loses 0 or 1, a tenth of the time; answering .5 would lose .25."""
    reference = msgspec.structs.replace(
        reference_of(days(60, seed=2).mean(axis=1)),
        baseline=0.5, estimate=Estimate(by="direct", knots=((0.0, 1.0),), values=((0.25, 0.3),), most=1.0),
    )  # fmt: skip
    return ledger(tmp_path_factory.mktemp("l") / "s", days(), reference=reference)


def watch(home: Home, **kind: Any) -> WatchPlan:
    return watch_of(planned(home, watches={"w": kind}))


@pytest.mark.parametrize("kind", [BASELINE, {**SEASONAL, "limits": EVEN}, ESTIMATE])
def test_larger_rises_are_told_sooner(home: Home, kind: dict[str, Any]) -> None:
    found = watch(home, **kind)
    halves = [each.half for each in found.effects]
    assert found.unplanned == ""
    assert halves == sorted(halves, reverse=True)
    assert math.isinf(halves[0])
    assert halves[-1] < math.inf if kind is not BASELINE else found.limit > found.mean
    assert all(each.half <= each.most for each in found.effects)


def test_a_season_with_one_limit_for_all_is_a_guardrail(home: Home) -> None:
    ours, plain = watch(home, **SEASONAL, limits=EVEN), watch(home, **GUARD)
    assert ours.effects == plain.effects
    assert (ours.mean, ours.limit, ours.false_in_year) == pytest.approx(
        (plain.mean, plain.limit, plain.false_in_year)
    )


def test_losses_are_measured_by_the_limit_of_their_season(home: Home) -> None:
    """At weekends a sixth of the limit is used, so that a healthy week has more room."""
    ours, even = watch(home, **SEASONAL, limits=UNEVEN), watch(home, **SEASONAL, limits=EVEN)
    assert ours.limit == pytest.approx((5 * 0.15 + 2 * 0.9) / 7)
    assert ours.mean / ours.limit < even.mean / even.limit


def test_a_baseline_s_room_is_what_the_model_is_better_by_and_the_tolerance(home: Home) -> None:
    found = watch(home, **BASELINE)
    assert found.mean == pytest.approx(-0.15, abs=0.02)
    assert found.limit == 0.05
    assert any("lies within the limit: never told" in words for words in found.warnings)
    assert not any("missing" in words for words in found.warnings)


def test_rises_are_shares_of_the_loss_and_not_of_a_difference(home: Home) -> None:
    baseline, plain = watch(home, **BASELINE), watch(home, **GUARD)
    assert [each.rise for each in baseline.effects] == pytest.approx([each.rise for each in plain.effects])


def test_an_estimate_is_planned_of_what_was_predicted_and_says_what_it_misses(home: Home) -> None:
    found = watch(home, **ESTIMATE)
    assert 0.25 <= found.mean <= 0.3
    assert "blocks of m:1" in found.source
    assert any("one that only outcomes show is never told" in words for words in found.warnings)


def test_an_estimate_by_row_counts_outcomes(home: Home) -> None:
    found = watch(home, **{**ESTIMATE, "promise": "1 per 100000 outcomes"})
    assert (found.counts, found.unplanned) == ("outcomes", "")
    assert "2,000 outcomes of m:1" in found.source


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ({"kind": "errors", "tolerance": 0.01, "promise": PER}, "how often predictions fail is no loss"),
        (
            {"kind": "latency", "slower_than": "1s", "tolerance": 0.01, "promise": PER},
            "answers take is no loss",
        ),
        ({**ESTIMATE, "audit": "10%"}, "depends on how good the estimates are"),
        ({"kind": "drift", "promise": PER}, "has no profile"),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)
def test_what_cannot_be_planned_says_why(home: Home, kind: dict[str, Any], why: str) -> None:
    found = watch(home, **kind)
    assert why in found.unplanned
    assert found.effects == ()


def test_gates_of_a_rollout_are_told_as_not_planned(home: Home) -> None:
    gates = {"failing": {"kind": "errors", "worse_by": "1%"}}
    with_gates = planned(home, watches={"w": GUARD}, rollout={**ROLLOUT, "gates": gates})
    without = planned(home, watches={"w": GUARD}, rollout=ROLLOUT)
    (more,) = [each for each in with_gates.warnings if each not in without.warnings]
    assert "the gates tell (failing) cannot be planned" in more


def test_too_short_a_past_is_no_past_of_a_baseline(tmp_path: Path) -> None:
    """A reference's blocks are losses, and no differences."""
    reference = msgspec.structs.replace(reference_of(days(60, seed=2).mean(axis=1)), baseline=0.5)
    short = ledger(tmp_path / "s", days(4), reference=reference)
    assert "a plan needs 8" in watch(short, **BASELINE).unplanned
    assert watch(short, **GUARD).unplanned == ""


def test_a_model_worse_than_its_baseline_would_alarm_at_once(tmp_path: Path) -> None:
    reference = msgspec.structs.replace(reference_of(days(60, seed=2).mean(axis=1)), baseline=0.5)
    worse = ledger(tmp_path / "s", np.full((12, 20), 0.5), reference=reference)
    assert "it would alarm at once" in watch(worse, **BASELINE).warnings[0]
