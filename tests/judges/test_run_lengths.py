"""Run lengths agree with each other where two charts are one, and move the way that they must."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lossloop.judges.charts import cusum, western_electric
from lossloop.judges.run_lengths import (
    cusum_run_length,
    ewma_run_length,
    shewhart_run_length,
    western_electric_run_length,
)


@pytest.mark.parametrize("shift", [0.0, 0.5, 1.0, 3.0])
def test_an_ewma_that_forgets_everything_is_shewhart_s(shift: float) -> None:
    found = ewma_run_length(shift, share=1.0, width=2.5)
    assert found == pytest.approx(shewhart_run_length(shift, width=2.5), rel=1e-6)


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_a_cusum_with_much_slack_and_no_threshold_is_shewhart_s(shift: float) -> None:
    """It signals as soon as one value exceeds the slack, on either side."""
    found = cusum_run_length(shift, slack=3.0, threshold=1e-6)
    assert found == pytest.approx(shewhart_run_length(shift, width=3.0), rel=1e-3)


@pytest.mark.parametrize("width", [1.0, 2.0, 3.0])
def test_shewhart_s_is_one_over_its_chance(width: float) -> None:
    outside = math.erfc(width / math.sqrt(2.0))
    assert shewhart_run_length(width=width) == pytest.approx(1.0 / outside, rel=1e-9)


def test_runs_cost_more_false_alarms_and_see_small_shifts_sooner() -> None:
    assert western_electric_run_length() < shewhart_run_length()
    assert western_electric_run_length(1.0) < 0.25 * shewhart_run_length(1.0)


def test_wider_limits_run_longer() -> None:
    assert shewhart_run_length(width=3.1) > shewhart_run_length(width=3.0)
    assert ewma_run_length(width=3.0) > ewma_run_length(width=2.9)
    assert cusum_run_length(threshold=5.1) > cusum_run_length(threshold=5.0)
    assert cusum_run_length(slack=0.6) > cusum_run_length(slack=0.5)


def test_a_huge_shift_is_seen_at_once() -> None:
    assert shewhart_run_length(9.0) == pytest.approx(1.0, abs=1e-6)
    assert western_electric_run_length(9.0) == pytest.approx(1.0, abs=1e-6)
    assert cusum_run_length(9.0) == pytest.approx(1.0, abs=1e-3)
    assert ewma_run_length(20.0) == pytest.approx(1.0, abs=1e-3)


def test_a_cusum_of_values_runs_as_long_in_control() -> None:
    """Both sides together, from simulated values; threshold 3 keeps it short."""
    rng = np.random.default_rng(2)
    runs = []
    for _ in range(400):
        rise, fall = cusum(rng.normal(size=900), mean=0.0, deviation=1.0, threshold=3.0)
        runs.append(int((rise.signals | fall.signals).argmax()) + 1)
    assert np.mean(runs) == pytest.approx(cusum_run_length(threshold=3.0), rel=0.15)


def test_western_electric_s_values_run_as_long_in_control() -> None:
    rng = np.random.default_rng(3)
    drawn = [western_electric(rng.normal(size=900), mean=0.0, deviation=1.0) for _ in range(400)]
    runs = [int(chart.signals.argmax()) + 1 for chart in drawn]
    assert np.mean(runs) == pytest.approx(western_electric_run_length(), rel=0.15)
