"""Estimates with a few audit labels: valid whatever the estimates are, and the bound is exact."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import InputError
from lossloop.core.records import VerdictKind
from lossloop.judges import Audited, parse

LIMIT = 0.2
PROMISE = parse("5% ever")
chances = st.floats(0.01, 1.0)


def ratios(judge: Audited, f: float, loss: float) -> tuple[float, float]:
    """The ratio where it was not drawn and where it was: what the engine would bet on."""
    found = []
    for drawn in (False, True):
        row = judge.audits(np.array([f]), np.array([loss]), np.array([drawn]))
        eta = 1.0 if judge.eta is None else judge.eta
        g = eta * (row.estimate[0] - row.drawn_estimate[0]) + row.drawn_loss[0]
        low = -(1.0 / judge.rate - 1.0) * judge.cap * eta
        found.append(float((g - low) / (judge.limit - judge.floor - low)))
    return found[0], found[1]


@given(f=st.floats(-1.0, 3.0), loss=st.floats(0.0, 50.0), rate=chances, eta=st.floats(0.0, 1.0),
       cap=st.floats(0.0, 2.0))  # fmt: skip
def test_the_ratio_is_never_negative_and_fair_at_the_limit_whatever_is_estimated(
    f: float, loss: float, rate: float, eta: float, cap: float
) -> None:
    judge = Audited(limit=LIMIT, promise=PROMISE, rate=rate, cap=cap, eta=eta)
    undrawn, drawn = ratios(judge, f, loss)
    assert undrawn >= 0.0
    assert drawn >= -1e-9
    low = -(1.0 / rate - 1.0) * cap * eta
    fair = (loss - low) / (LIMIT - low)  # what the true loss would have given
    assert rate * drawn + (1.0 - rate) * undrawn == pytest.approx(fair, rel=1e-6, abs=1e-6)


@given(rate=st.floats(0.01, 0.99), eta=st.floats(0.01, 1.0), cap=st.floats(0.01, 2.0))
def test_the_lower_bound_is_reached_so_it_could_not_be_higher(rate: float, eta: float, cap: float) -> None:
    judge = Audited(limit=LIMIT, promise=PROMISE, rate=rate, cap=cap, eta=eta)
    assert ratios(judge, cap, 0.0)[1] == pytest.approx(0.0, abs=1e-9)


def test_with_every_label_and_no_estimate_it_is_a_guardrail() -> None:
    judge = Audited(limit=LIMIT, promise=PROMISE, rate=1.0, cap=1.0)
    losses = np.random.default_rng(0).random(500)
    rows = judge.audits(np.full(500, np.nan), losses, np.full(500, True))
    _, verdict = judge.update(judge.start(), rows)
    assert verdict.kind is VerdictKind.ALARM
    assert verdict.effect is not None
    assert verdict.effect.estimate == pytest.approx(losses.mean())


def test_the_effect_is_unbiased_however_wrong_the_estimates_are() -> None:
    rng = np.random.default_rng(1)
    losses, drawn = rng.uniform(0.1, 0.3, 50_000), rng.random(50_000) < 0.1
    for estimates in (losses, np.zeros(50_000), np.ones(50_000), 1.0 - losses):
        judge = Audited(limit=0.5, promise=PROMISE, rate=0.1, cap=1.0)
        state, verdict = judge.update(judge.start(), judge.audits(estimates, losses, drawn))
        assert verdict.kind is VerdictKind.HEALTHY
        assert state.seen.mean == pytest.approx(0.2, abs=0.02)


def test_good_estimates_narrow_what_audits_leave_open() -> None:
    rng = np.random.default_rng(2)
    losses, drawn = rng.uniform(0.0, 0.4, 20_000), rng.random(20_000) < 0.05
    spread = {}
    for eta in (0.0, None):
        judge = Audited(limit=0.5, promise=PROMISE, rate=0.05, cap=0.5, eta=eta)
        spread[eta] = judge.update(judge.start(), judge.audits(losses, losses, drawn))[0].seen.spread
    assert spread[None] < 0.3 * spread[0.0]


def test_labels_that_nobody_drew_change_nothing() -> None:
    rng = np.random.default_rng(3)
    estimates, drawn = rng.random(200) / 5, rng.random(200) < 0.3
    judge = Audited(limit=LIMIT, promise=PROMISE, rate=0.3, cap=0.5)
    told = {
        judge.update(judge.start(), judge.audits(estimates, np.where(drawn, 0.1, other), drawn))[1].evidence
        for other in (np.nan, 0.0, 1.0, 1e9)
    }
    assert len(told) == 1


def test_an_audit_without_a_label_never_alarms() -> None:
    judge = Audited(limit=LIMIT, promise=PROMISE, rate=0.5, cap=1.0, eta=1.0)
    drawn = np.random.default_rng(4).random(2_000) < 0.5
    _, verdict = judge.update(judge.start(), judge.audits(np.ones(2_000), np.full(2_000, np.nan), drawn))
    assert verdict.kind is VerdictKind.HEALTHY
    assert "an audit without a label counts as the least loss" in verdict.assumption


def test_a_mean_of_a_block_is_judged_as_its_rows_are() -> None:
    judge = Audited(limit=LIMIT, promise=parse("1 per 20 blocks"), rate=0.5, cap=1.0)
    rng = np.random.default_rng(5)
    rows = judge.audits(rng.random(90), rng.random(90), rng.random(90) < 0.5)
    block = rows.averaged(lambda values: np.array([values.mean()]))
    assert len(block) == 1
    _, verdict = judge.update(judge.start(), block)
    assert verdict.count == 1
    assert len(rows[10:30]) == 20


def test_a_floor_below_zero_is_counted_from() -> None:
    judge = Audited(limit=-0.5, promise=PROMISE, rate=1.0, cap=1.0, floor=-1.0)
    rows = judge.audits(np.full(400, -0.8), np.full(400, -0.2), np.full(400, True))
    _, verdict = judge.update(judge.start(), rows)
    assert verdict.kind is VerdictKind.ALARM
    assert verdict.effect is not None
    assert verdict.effect.estimate == pytest.approx(-0.2)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"rate": 0.0}, "rate"),
        ({"rate": 1.1}, "rate"),
        ({"rate": float("nan")}, "rate"),
        ({"cap": -1.0}, "cap"),
        ({"cap": float("inf")}, "cap"),
        ({"eta": 1.5}, "eta"),
        ({"limit": 0.0}, "limit"),
        ({"limit": 1e200}, "limit"),
        ({"limit": float("nan")}, "limit"),
    ],
)
def test_what_cannot_be_promised_is_refused(wrong: dict[str, float], field: str) -> None:
    with pytest.raises(InputError) as caught:
        Audited(**{"limit": 0.2, "promise": PROMISE, "rate": 0.1, "cap": 1.0, **wrong})  # type: ignore[arg-type]
    assert caught.value.field == field
