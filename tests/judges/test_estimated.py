"""Losses estimated before labels come: right where the inputs move, blind where the answers change."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop import losses
from lossloop.core.errors import InputError
from lossloop.core.estimates import CALIBRATED, DIRECT, Estimate
from lossloop.core.records import VerdictKind
from lossloop.judges import Estimated, calibration, direct, direct_loss, expected_loss, parse, probabilities

RNG = np.random.default_rng(0)
CHANCES = RNG.random(5_000)
LABELS = (RNG.random(5_000) < CHANCES).astype(np.float64)


def expected(loss_name: str, estimate: Estimate, y_pred: np.ndarray) -> np.ndarray:
    """The loss to expect under any rowwise loss: each class is tried as the true one."""
    loss = losses.parse(loss_name)
    chances = probabilities(estimate, y_pred)
    costs = [loss(np.full(len(y_pred), float(k)), y_pred) for k in range(chances.shape[1])]
    return expected_loss(estimate, chances, np.column_stack(costs))


@pytest.mark.parametrize("name", ["brier", "log_loss(cap=5)", "warning_cost"])
def test_the_estimate_is_the_mean_loss_where_nothing_changed(name: str) -> None:
    estimate = calibration(LABELS, CHANCES, most=5.0)
    fresh = np.random.default_rng(1)
    chances = fresh.beta(2.0, 5.0, 20_000)  # other inputs than the reference had
    labels = (fresh.random(20_000) < chances).astype(np.float64)
    true = float(losses.parse(name)(labels, chances).mean())
    assert expected(name, estimate, chances).mean() == pytest.approx(true, rel=0.05)


def test_probabilities_that_are_worth_less_than_they_say_are_mapped_to_what_they_are_worth() -> None:
    bold = np.clip(CHANCES * 2.0 - 0.5, 0.0, 1.0)
    estimate = calibration(LABELS, bold, most=1.0)
    for said in (0.2, 0.5, 0.8):
        chances = probabilities(estimate, np.array([said]))
        assert chances[0, 1] == pytest.approx((said + 0.5) / 2.0, abs=0.06)
        assert chances.sum() == pytest.approx(1.0)


def test_an_estimate_is_blind_where_the_answers_change() -> None:
    estimate = calibration(LABELS, CHANCES, most=1.0)
    flipped = 1.0 - (np.random.default_rng(2).random(5_000) < CHANCES)
    true = float(losses.parse("brier")(flipped.astype(np.float64), CHANCES).mean())
    said = float(expected("brier", estimate, CHANCES).mean())
    assert true > 2.5 * said
    judge = Estimated(limit=1.2 * said, promise=parse("5% ever"))
    _, verdict = judge.update(judge.start(), expected("brier", estimate, CHANCES))
    assert verdict.kind is VerdictKind.HEALTHY
    assert "estimate: blind to concept drift" in verdict.assumption


def test_several_classes_have_a_map_each() -> None:
    rng = np.random.default_rng(3)
    shares = rng.dirichlet((1.0, 1.0, 2.0), 6_000)
    labels = (rng.random(6_000)[:, None] > shares.cumsum(axis=1)).sum(axis=1).astype(np.float64)
    estimate = calibration(labels, shares, most=3.0)
    chances = probabilities(estimate, shares)
    assert chances.shape == (6_000, 3)
    assert np.allclose(chances.sum(axis=1), 1.0)
    assert np.abs(chances - shares).mean() < 0.03
    true = float(losses.parse("log_loss_multiclass(cap=3)")(labels, shares).mean())
    assert expected("log_loss_multiclass(cap=3)", estimate, shares).mean() == pytest.approx(true, rel=0.05)
    with pytest.raises(InputError, match="3 maps"):
        probabilities(estimate, shares[:, :2])


def test_a_class_without_any_chance_costs_nothing_and_a_row_without_any_is_even() -> None:
    estimate = Estimate(by=CALIBRATED, knots=((0.0, 1.0),) * 2, values=((0.0, 0.0),) * 2, most=9.0)
    assert probabilities(estimate, np.array([[0.3, 0.7]])).tolist() == [[0.5, 0.5]]
    assert expected_loss(estimate, np.array([[1.0, 0.0]]), np.array([[2.0, np.nan]])).tolist() == [2.0]
    assert expected_loss(estimate, np.array([[0.5, 0.5]]), np.array([[20.0, 20.0]])).tolist() == [9.0]


def test_a_predicted_number_has_the_loss_that_the_reference_had_around_it() -> None:
    rng = np.random.default_rng(4)
    pred = rng.uniform(0.0, 10.0, 4_000)
    estimate = direct(np.square(rng.normal(0.0, 1.0 + pred / 5.0)), pred)
    assert estimate.by == DIRECT
    for said in (1.0, 5.0, 9.0):
        assert direct_loss(estimate, np.array([said]))[0] == pytest.approx((1.0 + said / 5.0) ** 2, rel=0.35)
    assert np.isnan(direct_loss(estimate, np.array([np.nan]))).all()
    assert direct_loss(estimate, np.array([1e9]))[0] <= estimate.most


@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0]), st.floats(0.0, 1.0)), min_size=50, max_size=120))
def test_any_reference_gives_a_map_that_never_falls_and_stays_a_probability(
    rows: list[tuple[float, float]],
) -> None:
    true, pred = np.array(rows).T
    estimate = calibration(true, pred, most=1.0)
    chances = probabilities(estimate, np.linspace(0.0, 1.0, 33))[:, 1]
    assert (np.diff(chances) >= -1e-12).all()
    assert ((chances >= 0.0) & (chances <= 1.0)).all()
    assert msgspec.json.decode(msgspec.json.encode(estimate), type=Estimate) == estimate
    assert direct(true, pred).most <= 1.0


@pytest.mark.parametrize(
    ("true", "pred", "said"),
    [
        (np.zeros(49), np.zeros(49), "50 held-out rows"),
        (np.zeros(60), np.zeros(59), "for each row"),
        (np.zeros(60), np.full(60, 1.5), "between 0 and 1"),
        (np.zeros(60), np.full(60, np.nan), "finite"),
        (np.full(60, np.inf), np.zeros(60), "finite"),
        (np.zeros(60), np.zeros((60, 2, 2)), "for each row"),
    ],
)
def test_an_ill_reference_is_refused(true: np.ndarray, pred: np.ndarray, said: str) -> None:
    with pytest.raises(InputError, match=said):
        calibration(true, pred, most=1.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"by": "guess"},
        {"knots": ()},
        {"values": ((0.5,),)},
        {"knots": ((0.5, 0.2),)},
        {"knots": ((0.5, math.nan),)},
        {"most": math.inf},
        {"knots": ((), ()), "values": ((), ())},
    ],
)
def test_an_ill_profile_is_refused(wrong: dict[str, object]) -> None:
    fine: dict[str, object] = {"by": DIRECT, "knots": ((0.0, 1.0),), "values": ((0.1, 0.2),), "most": 1.0}
    assert msgspec.convert(fine, Estimate).most == 1.0
    with pytest.raises((InputError, msgspec.ValidationError)):
        Estimate(**{**fine, **wrong})  # type: ignore[arg-type]


def test_predictions_without_an_estimate_are_left_out() -> None:
    judge = Estimated(limit=0.2, promise=parse("5% ever"))
    state, verdict = judge.update(judge.start(), np.array([[np.nan], [0.1], [np.nan]]))
    assert verdict.count == 1
    assert judge.update(judge.start(), np.array([[np.nan]]))[1].kind is VerdictKind.NO_DATA
    assert judge.update(state, np.array([0.1]))[1].count == 2
