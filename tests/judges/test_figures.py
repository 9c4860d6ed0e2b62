"""The figures of statistics.md, section 3, in short: within what a simulation of this size allows."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.judges import canary, estimate, false_alarms, late, seasons
from lossloop.core.records import VerdictKind
from lossloop.judges import Engine, Guardrail, Mode, Promise, block_means, parse

PUBLISHED = {
    "rate, A=2e5": (0.024, 2498, 577, 191),
    "rate, A=1e6": (0.005, 3417, 727, 235),
    "life, alpha=.05": (0.023, 3099, 779, 252),
    "once, alpha=.05": (0.022, 3288, 1054, 477),
}
REPLICATIONS, DELAYS = 400, 100


@pytest.mark.parametrize("detector", false_alarms.DETECTORS, ids=lambda detector: str(detector.mode))
def test_false_alarms_and_delays(detector: false_alarms.Detector) -> None:
    shares = false_alarms.chance_of_alarm(
        lambda rng: false_alarms.bernoulli(rng, false_alarms.LIMIT),
        detector,
        replications=REPLICATIONS,
        seed=[1],
    )
    delays = false_alarms.delays(
        lambda rng: false_alarms.bernoulli(rng, false_alarms.LIMIT, 0.15),
        detector,
        replications=DELAYS,
        seed=[2],
    )
    for name, share, delay in zip(detector.names, shares, delays, strict=True):
        expected, _, to_15, _ = PUBLISHED[name]
        allowed = 3.5 * math.sqrt(expected * (1 - expected) / REPLICATIONS)
        assert share == pytest.approx(expected, abs=allowed)
        assert delay == pytest.approx(to_15, rel=0.2)


def test_a_rate_keeps_its_bound() -> None:
    """At most T/A within the first T; A = 2000, T = 500."""
    detector = false_alarms.Detector(("A=2000",), Mode.RATE, (2000.0,))
    draw = false_alarms.bernoulli(np.random.default_rng(3), 0.1)
    found = false_alarms.alarms(draw, 1000, 500, mode=detector.mode, thresholds=(2000.0,), limit=0.1)
    assert np.isfinite(found).mean() < 0.25


def test_a_canary_is_seldom_rolled_back_without_cause_and_soon_with_it() -> None:
    rng = np.random.default_rng(4)
    same = [canary.canary_rollout((0.5,), 0.0, rng) for _ in range(60)]
    worse = [canary.canary_rollout((0.5,), 0.05, rng) for _ in range(60)]
    assert sum(tests.roll_back.crossed is not None for tests in same) <= 5
    assert sum(tests.promote.crossed is not None for tests in same) >= 54
    waits = [tests.roll_back.crossed or math.inf for tests in worse]
    assert np.median(waits) == pytest.approx(1443, rel=0.35)


def test_a_shadow_is_far_faster() -> None:
    rng = np.random.default_rng(5)
    waits = [canary.shadow_rollout(0.05, rng).roll_back.crossed or math.inf for _ in range(60)]
    assert np.median(waits) < 300


def test_identical_losses_of_a_unit_alarm_by_row_and_not_by_block() -> None:
    """Statistics.md 2h: 20 identical losses per unit gave 100% false alarms by row, none averaged."""
    judge = Guardrail(limit=0.1, promise=parse("5% ever"))
    rng = np.random.default_rng(6)
    alarms = {"rows": 0, "blocks": 0}
    for _ in range(40):
        unit_losses = (rng.random(2000) < 0.1).astype(np.float64)
        rows = np.repeat(unit_losses, 20)
        units = np.repeat(np.arange(2000), 20)
        averaged = block_means(rows, units // 10, units).mean
        for name, losses in (("rows", rows), ("blocks", averaged)):
            verdict = judge.update(judge.start(), losses)[1]
            alarms[name] += verdict.kind is VerdictKind.ALARM
    assert alarms["rows"] == 40
    assert alarms["blocks"] <= 4


def test_late_labels_are_judged_at_a_fixed_age_and_the_missing_as_the_worst_case() -> None:
    """Statistics.md 2g: as they arrive 98% false rollbacks, the missing dropped 11%, this 2.3%."""
    found = list(late.false_rollbacks(25, 7).values())
    assert found[0] >= 0.85
    assert found[2] <= found[1] <= 0.3
    assert found[2] <= 0.12


def test_a_season_that_the_split_follows_fools_pooled_means_and_not_the_weighted_bets() -> None:
    """Statistics.md 2c: 96% against 2.2%; 2h: a limit for each hour .006 against .578."""
    figures = list(seasons.measure(40, 8).values())
    assert figures[0] >= 0.8
    assert figures[1] <= 0.12
    assert figures[2] == pytest.approx(0.578, abs=0.2)
    assert figures[3] <= 0.05


def test_an_estimate_follows_the_inputs_and_is_blind_to_changed_answers() -> None:
    """Statistics.md 2d."""
    found = estimate.blind_spot(np.random.default_rng(9), 50_000)
    assert found["healthy: estimated"] == pytest.approx(found["healthy: true loss"], rel=0.03)
    assert found["inputs moved: estimated"] == pytest.approx(found["inputs moved: true loss"], rel=0.03)
    assert found["answers changed: true loss"] > 1.2 * found["answers changed: estimated"]


@pytest.mark.parametrize("wrong", estimate.WRONG)
def test_audits_keep_their_promise_and_alarm_however_wrong_the_estimates_are(wrong: str) -> None:
    """Statistics.md 2d: valid for any f."""
    rng, bias = np.random.default_rng(10), estimate.WRONG[wrong]
    false = [estimate.first_alarm(rng, 8_000, eta=None, bias=bias, changed=False) for _ in range(30)]
    late = [estimate.first_alarm(rng, 60_000, eta=None, bias=bias, changed=True) for _ in range(4)]
    assert sum(map(math.isfinite, false)) <= 5
    assert np.median(late) < 40_000


@pytest.mark.parametrize("mode", [Mode.RATE, Mode.LIFE, Mode.ONCE])
def test_the_simulation_judges_as_the_engine_does(mode: Mode) -> None:
    """Streams that alarm leave the others as they are, whatever the chunk in which they do."""
    losses = np.random.default_rng(8).random((900, 12)) < 0.2
    found = false_alarms.alarms(
        lambda start, times, streams: losses[start : start + times].astype(np.float64),
        12,
        900,
        mode=mode,
        thresholds=(20.0, 400.0),
        limit=0.1,
    )
    for threshold, alarms in zip((20.0, 400.0), found, strict=True):
        engine = Engine(Promise(mode=mode, threshold=threshold))
        for stream, alarm in zip(losses.T, alarms, strict=True):
            state, _ = engine.update(engine.start(), stream / 0.1)
            assert alarm == (state.crossed or np.inf)


@pytest.mark.parametrize(("factor", "delay"), [(1.5, 400.0), (2.0, 130.0)])
def test_heavy_tails_are_seen_without_clipping(factor: float, delay: float) -> None:
    """A loss that has no bound needs no cap to alarm; delays from a fresh start are a little longer."""
    draw = factor * np.random.default_rng(9).lognormal(-1.125, 1.5, (60, 4000))
    judge = Guardrail(limit=1.0, promise=parse("1 per 200000 outcomes"))
    waits = [judge.update(judge.start(), row)[1].crossed_at for row in draw]
    assert np.median([math.inf if at is None else at for at in waits]) == pytest.approx(delay, rel=0.5)
