"""Guardrail, certificate and regression: what they decide, say and refuse."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from lossloop.core.errors import InputError
from lossloop.core.records import VerdictKind
from lossloop.judges import (
    Certificate,
    Guardrail,
    Reference,
    Regression,
    needed_for,
    parse,
    reference_of,
    reference_of_blocks,
)

PROMISE = parse("1 per 10,000 outcomes")


def test_a_guardrail_alarms_on_a_risk_above_its_limit() -> None:
    judge = Guardrail(limit=0.1, promise=PROMISE)
    losses = (np.random.default_rng(0).random(2000) < 0.2).astype(float)
    state, verdict = judge.update(judge.start(), losses)
    assert verdict.kind is VerdictKind.ALARM
    assert verdict.evidence >= verdict.threshold == pytest.approx(math.log(10_000))
    assert verdict.crossed_at is not None
    assert state.wealth.crossed == verdict.crossed_at + 1
    assert verdict.effect is not None
    assert verdict.effect.approximate
    assert verdict.effect.low < 0.2 < verdict.effect.high
    assert (verdict.promise, verdict.count) == ("1 per 10,000 outcomes", 2000)
    assert verdict.assumption == "each loss is at least 0"
    assert verdict.reason.startswith("mean loss 0.2")
    assert f"reached 10,000 at number {verdict.crossed_at + 1}" in verdict.reason


def test_a_guardrail_stays_healthy_within_its_limit() -> None:
    judge = Guardrail(limit=0.1, promise=PROMISE)
    losses = (np.random.default_rng(1).random(5000) < 0.08).astype(float)
    _, verdict = judge.update(judge.start(), losses)
    assert verdict.kind is VerdictKind.HEALTHY
    assert "of 10,000" in verdict.reason


def test_no_bound_is_needed_to_alarm() -> None:
    judge = Guardrail(limit=1.0, promise=PROMISE)
    rng = np.random.default_rng(2)
    state, verdict = judge.update(judge.start(), rng.lognormal(-1.125, 1.5, 3000))
    assert verdict.kind is VerdictKind.HEALTHY
    _, verdict = judge.update(state, 2.0 * rng.lognormal(-1.125, 1.5, 2000))
    assert verdict.kind is VerdictKind.ALARM


def test_a_floor_moves_the_scale() -> None:
    losses = np.random.default_rng(3).uniform(0.0, 1.0, 300)
    plain = Guardrail(limit=0.6, promise=PROMISE)
    moved = Guardrail(limit=-1.4, promise=PROMISE, floor=-2.0)
    one = plain.update(plain.start(), losses)[1]
    other = moved.update(moved.start(), losses - 2.0)[1]
    assert other.evidence == pytest.approx(one.evidence, rel=1e-9)


def test_a_mean_that_rounding_put_below_the_floor_is_taken() -> None:
    judge = Guardrail(limit=6.0, promise=PROMISE, floor=5.0)
    _, verdict = judge.update(judge.start(), np.array([np.nextafter(5.0, 0.0)]))
    assert verdict.kind is VerdictKind.HEALTHY


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (math.nan, "loss at row 1 is nan"),
        (math.inf, "loss at row 1 is inf"),
        (-0.5, "-0.5 at row 1 lies outside"),
    ],
)
def test_broken_losses_are_named(bad: float, reason: str) -> None:
    judge = Guardrail(limit=0.1, promise=PROMISE)
    state, verdict = judge.update(judge.start(), np.array([0.1, bad]))
    assert (state, verdict.kind) == (judge.start(), VerdictKind.ERROR)
    assert reason in verdict.reason
    assert verdict.reason.endswith("nothing of this batch was judged")


@pytest.mark.parametrize("losses", [np.zeros((2, 2)), np.array(["a"]), np.float64(1.0)])
def test_the_wrong_shape_raises(losses: np.ndarray) -> None:
    judge = Guardrail(limit=0.1, promise=PROMISE)
    with pytest.raises(InputError, match="losses must"):
        judge.update(judge.start(), losses)


def test_few_losses_have_no_interval() -> None:
    judge = Guardrail(limit=0.5, promise=PROMISE)
    state, verdict = judge.update(judge.start(), np.full(4, 0.2))
    assert verdict.effect is None
    assert judge.update(state, np.array([0.3]))[1].effect is not None


def test_a_certificate_certifies_low_risk_and_never_alarms() -> None:
    judge = Certificate(limit=0.5, bound=1.0, promise=parse("5% once"))
    rng = np.random.default_rng(4)
    state, verdict = judge.update(judge.start(), rng.uniform(0.0, 0.5, 5))
    assert verdict.kind is VerdictKind.INCONCLUSIVE
    state, verdict = judge.update(state, rng.uniform(0.0, 0.5, 500))
    assert verdict.kind is VerdictKind.HEALTHY
    assert verdict.assumption == "each loss is at most 1"
    _, high = judge.update(judge.start(), rng.uniform(0.5, 1.0, 3000))
    assert high.kind is VerdictKind.INCONCLUSIVE


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Guardrail(limit=0.0, promise=PROMISE), "limit 0 must be above floor 0"),
        (lambda: Guardrail(limit=math.inf, promise=PROMISE), "both finite"),
        (lambda: Certificate(limit=1.0, bound=1.0, promise=PROMISE), "bound 1 must be above limit 1"),
        (lambda: Certificate(limit=0.0, bound=1.0, promise=PROMISE, floor=0.0), "must be above floor 0"),
        (lambda: Regression(reference=_rows(), tolerance=-0.1, promise=PROMISE), "at least 0, not -0.1"),
        (lambda: Regression(reference=_rows(), tolerance=math.nan, promise=PROMISE), "at least 0, not nan"),
        (
            lambda: Regression(reference=_rows(), tolerance=0.1, promise=parse("1 per 3650 blocks")),
            "counts blocks, the reference is over outcomes; write the promise per outcomes",
        ),
        (
            lambda: Regression(reference=_blocks(), tolerance=0.1, promise=PROMISE),
            "counts outcomes, the reference is over blocks",
        ),
    ],
)
def test_impossible_judges_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_a_regression_is_a_guardrail_at_the_reference_s_upper_bound() -> None:
    reference = _rows()
    judge = Regression(reference=reference, tolerance=0.02, promise=PROMISE)
    guardrail = Guardrail(limit=reference.upper + 0.02, promise=PROMISE)
    losses = np.random.default_rng(5).uniform(0.0, 1.0, 500)
    (state, verdict), (same, plain) = (
        judge.update(judge.start(), losses),
        guardrail.update(guardrail.start(), losses),
    )
    assert (judge.limit, state) == (guardrail.limit, same)
    assert verdict.evidence == plain.evidence
    assert verdict.effect is not None
    assert verdict.effect.estimate == pytest.approx(losses.mean() - reference.estimate)
    assert "(500 outcomes, betting) bounds the risk at 95%" in verdict.assumption
    assert "(reference) + 0.02 (tolerance)" in verdict.reason


def test_a_reference_too_small_for_the_tolerance_passes_nobody_and_says_how_many_it_needs() -> None:
    """A rise of the tolerance hides behind the doubt about the reference itself."""
    reference = _rows()
    width = reference.upper - reference.estimate
    needed = needed_for(reference, 0.02)
    assert needed > reference.count
    small, enough = (
        Regression(reference=reference, tolerance=tolerance, promise=PROMISE)
        for tolerance in (0.02, 2 * width)
    )
    losses = np.full(50, reference.estimate)
    _, verdict = small.update(small.start(), losses)
    assert verdict.kind is VerdictKind.INCONCLUSIVE
    assert verdict.reason.endswith(f"{needed:,} outcomes would do, the reference has {reference.count:,}")
    _, sure = enough.update(enough.start(), losses)
    assert sure.kind is VerdictKind.HEALTHY
    assert "would do" not in sure.reason
    assert small.update(small.start(), losses[:0])[1].kind is VerdictKind.NO_DATA
    _, alarm = small.update(small.start(), np.full(4000, 1.0))
    assert alarm.kind is VerdictKind.ALARM, "what is far off is told all the same"


def test_a_regression_over_blocks_says_that_it_is_approximate() -> None:
    judge = Regression(reference=_blocks(), tolerance=0.02, promise=parse("1 per 3650 blocks"))
    state, verdict = judge.update(judge.start(), np.full(3, 0.5))
    assert "(59 blocks, student_t) bounds the risk at 95%, approximately" in verdict.assumption
    assert verdict.effect is None
    rng = np.random.default_rng(6)
    state, verdict = judge.update(state, rng.normal(0.5, 0.05, 300))
    assert verdict.kind is VerdictKind.HEALTHY
    _, verdict = judge.update(state, rng.normal(0.75, 0.05, 60))
    assert verdict.kind is VerdictKind.ALARM


def _rows() -> Reference:
    return reference_of(np.random.default_rng(7).uniform(0.0, 1.0, 500), bound=1.0)


def _blocks() -> Reference:
    return reference_of_blocks(np.random.default_rng(8).normal(0.5, 0.05, 59))
