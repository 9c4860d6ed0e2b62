"""Probabilities by label: against scikit-learn on the rows themselves, and the bounds of what bins forget."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics
from sklearn.calibration import calibration_curve

from lossloop.core.errors import InputError
from lossloop.summaries import Scores
from lossloop.summaries.scores import BINS, EDGES

RARE = st.floats(0, 1) | st.floats(0, 0.01) | st.sampled_from([0.0, 1.0, 0.5, 0.005, 1e-5, 0.99999])
ROWS = st.lists(st.tuples(st.booleans(), RARE), min_size=1, max_size=60)


def summed(rows: Any, threshold: float = 0.5) -> Scores:
    return Scores(threshold=threshold).add(np.asarray(rows, dtype=np.float64))


def calibrated(count: int, *, rate: float = 2.0, seed: int = 4) -> np.ndarray[Any, np.dtype[np.float64]]:
    draw = np.random.default_rng(seed)
    chance = draw.beta(1.0, rate, count)
    return np.stack([draw.random(count) < chance, chance], axis=1).astype(np.float64)


@given(ROWS, st.sampled_from([0.0, 0.3, 0.5, 0.037, 1.0]))
def test_decisions_are_those_of_scikit_learn(rows: list[tuple[bool, float]], threshold: float) -> None:
    """Exactly at the threshold, bins or not."""
    found = summed(rows, threshold).metrics()
    true, chance = (np.asarray(column, dtype=np.float64) for column in zip(*rows, strict=True))
    said = chance >= threshold
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(true, said))
    for name, score in (("precision", metrics.precision_score), ("recall", metrics.recall_score)):
        if found[name] is None:
            assert not (said if name == "precision" else true).any(), "None is for nothing to divide by"
        else:
            assert found[name] == pytest.approx(score(true, said, zero_division=0))
    if found["f1"] is not None:
        assert found["f1"] == pytest.approx(metrics.f1_score(true, said))
    assert found["flagged"] == pytest.approx(said.mean())
    assert found["positives"] == pytest.approx(true.mean())
    assert found["brier"] == pytest.approx(((chance - true) ** 2).mean())
    assert found["bias"] == pytest.approx((chance - true).mean())


@given(ROWS)
def test_the_auc_of_the_rows_lies_within_its_bounds(rows: list[tuple[bool, float]]) -> None:
    true, chance = (np.asarray(column, dtype=np.float64) for column in zip(*rows, strict=True))
    found = summed(rows).auc_bounds()
    if true.min() == true.max():
        assert found is None
        return
    assert found is not None
    value, low, high = found
    assert low - 1e-12 <= metrics.roc_auc_score(true, chance) <= high + 1e-12
    assert value == pytest.approx((low + high) / 2)


@pytest.mark.parametrize("rate", [1.0, 20.0, 500.0])
def test_bins_are_fine_enough_for_rare_events_too(rate: float) -> None:
    """Of 40,000 rows, half, one in 21 and one in 501 have the event."""
    rows = calibrated(40_000, rate=rate)
    value, low, high = summed(rows).auc_bounds() or (0, 0, 0)
    assert value == pytest.approx(metrics.roc_auc_score(rows[:, 0], rows[:, 1]), abs=5e-3)
    assert high - low < 0.05


def test_scores_on_the_borders_of_bins_have_an_exact_auc() -> None:
    chance = EDGES[:-1]
    rows = np.stack([np.arange(BINS) % 3 == 0, chance], axis=1)
    value, low, high = summed(rows).auc_bounds() or (0, 0, 0)
    assert low == value == high == pytest.approx(metrics.roc_auc_score(rows[:, 0], chance))


def test_the_borders_are_what_people_write() -> None:
    assert (EDGES[0], EDGES[-1], len(EDGES)) == (0.0, 1.0, BINS + 1)
    assert {0.005, 0.29, 0.57, 0.99, 0.001, 1e-5, 0.5} <= set(EDGES.tolist())
    assert (np.diff(EDGES) > 5e-7).all()


# Calibration.


def test_calibration_is_told_by_tenths_as_scikit_learn_tells_it() -> None:
    rows = calibrated(5000)
    told = [each for each in summed(rows).reliability() if each.rows]
    happened, predicted = calibration_curve(rows[:, 0], rows[:, 1], n_bins=10)
    assert [each.happened for each in told] == pytest.approx(happened)
    assert [each.predicted for each in told] == pytest.approx(predicted)
    assert sum(each.rows for each in told) == 5000
    assert [each.low for each in summed(rows).reliability()] == pytest.approx(np.arange(10) / 10)


def test_the_error_is_small_where_probabilities_are_right_and_the_gap_where_they_are_not() -> None:
    rows = calibrated(100_000)
    assert (summed(rows).calibration_error() or 0) < 0.01
    too_high = np.stack([rows[:, 0], np.minimum(rows[:, 1] + 0.2, 1.0)], axis=1)
    found = summed(too_high).metrics()
    assert found["calibration_error"] == pytest.approx(0.19, abs=0.01)
    assert found["bias"] == pytest.approx(found["calibration_error"], abs=0.01)


def test_what_chance_brings_is_taken_off() -> None:
    """Of 200 rows with right probabilities the plain squared distance is above 0, and this one around it."""
    parts = [summed(calibrated(200, seed=seed)) for seed in range(60)]
    plain = [
        each.rows / 200 * ((each.predicted or 0.0) - (each.happened or 0.0)) ** 2
        for part in parts
        for each in part.reliability()
    ]
    assert sum(plain) / 60 > 0.004
    assert abs(np.mean([part.miscalibration() or 0.0 for part in parts])) < 0.0008
    off = np.stack([np.tile([0.0, 1.0], 5000), np.full(10_000, 0.7)], axis=1)
    assert summed(off).miscalibration() == pytest.approx(0.04, abs=1e-4)
    assert summed([(1, 0.75)]).miscalibration() == 0.0625


# What has no meaning, and what is refused.


def test_nothing_has_no_metrics_but_all_their_names() -> None:
    assert set(Scores().metrics().values()) == {None}
    assert Scores().metrics().keys() == summed([(1, 0.5)]).metrics().keys()
    found = summed([(0, 0.1), (0, 0.2)]).metrics()
    assert (found["recall"], found["precision"], found["auc"]) == (None, None, None)
    assert (found["accuracy"], found["false_positive_rate"]) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ((0.5, 0.5), "a label is 0 or 1"),
        ((1.0, 1.1), r"a probability lies in \[0, 1\]"),
        ((1.0, np.nan), "every number must be finite"),
    ],
)
def test_a_row_that_cannot_be_summarised_is_named(row: tuple[float, float], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        summed([(1, 0.5), row])
    assert caught.value.row == 1


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match=r"shape \(n, 2\), not \(3,\)"):
        Scores().add(np.zeros(3))
    with pytest.raises(InputError, match="at different thresholds"):
        Scores().merge(Scores(threshold=0.4))
    with pytest.raises(InputError, match="cannot take 1 values from 0"):
        Scores().minus(summed([(1, 0.5)]))
    with pytest.raises(InputError, match="between 0 and 1, not nan"):
        Scores(threshold=float("nan"))
    with pytest.raises((InputError, msgspec.ValidationError)):
        msgspec.json.decode(b'{"count": 1, "bins": "AAAA"}', type=Scores)


@given(ROWS, ROWS)
def test_a_correction_leaves_what_would_have_been_counted_at_once(
    rows: list[tuple[bool, float]], wrong: list[tuple[bool, float]]
) -> None:
    right = [(not label, chance) for label, chance in wrong]
    corrected = summed([*rows, *wrong]).minus(summed(wrong)).merge(summed(right))
    at_once = summed([*rows, *right])
    assert corrected.metrics() == pytest.approx(at_once.metrics(), abs=1e-9)
