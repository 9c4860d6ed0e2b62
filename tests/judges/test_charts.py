"""Control charts draw what they say, and their run lengths are those of the literature."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import InputError
from lossloop.judges.charts import ControlChart, cusum, ewma, shewhart, western_electric
from lossloop.judges.run_lengths import (
    cusum_run_length,
    ewma_run_length,
    shewhart_run_length,
    western_electric_run_length,
)

Array = npt.NDArray[np.float64]
values = st.lists(st.floats(-50.0, 50.0), max_size=60).map(lambda found: np.array(found, dtype=np.float64))


def all_of(found: Array, mean: float = 0.0, deviation: float = 1.0) -> list[ControlChart]:
    rise, fall = cusum(found, mean=mean, deviation=deviation)
    return [
        shewhart(found, mean=mean, deviation=deviation),
        western_electric(found, mean=mean, deviation=deviation),
        ewma(found, mean=mean, deviation=deviation),
        rise,
        fall,
    ]


# Statistics.md, section 4.


def test_shewhart_s_run_lengths() -> None:
    assert shewhart_run_length() == pytest.approx(370.4, abs=0.05)
    assert shewhart_run_length(1.0) == pytest.approx(43.9, abs=0.05)


@pytest.mark.parametrize(
    ("threshold", "lengths"),
    [(4.0, (168.0, 74.2, 26.6, 13.3, 8.38)), (5.0, (465.0, 139.0, 38.0, 17.0, 10.4))],
)
def test_cusum_s_run_lengths(threshold: float, lengths: tuple[float, ...]) -> None:
    found = [cusum_run_length(shift, threshold=threshold) for shift in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert found == [pytest.approx(length, rel=0.004) for length in lengths]


@pytest.mark.parametrize(
    ("share", "width"), [(0.4, 3.054), (0.25, 2.998), (0.2, 2.962), (0.1, 2.814), (0.05, 2.615)]
)
def test_ewma_s_run_lengths(share: float, width: float) -> None:
    assert ewma_run_length(share=share, width=width) == pytest.approx(500.0, abs=0.6)


def test_western_electric_s_run_lengths() -> None:
    assert western_electric_run_length() == pytest.approx(91.75, abs=0.005)
    assert western_electric_run_length(1.0) == pytest.approx(9.22, abs=0.005)


@pytest.mark.parametrize(
    ("draw", "length"),
    [
        (lambda x: shewhart(x, mean=0.0, deviation=1.0).signals, shewhart_run_length(1.0)),
        (lambda x: western_electric(x, mean=0.0, deviation=1.0).signals, western_electric_run_length(1.0)),
        (lambda x: ewma(x, mean=0.0, deviation=1.0).signals, ewma_run_length(1.0)),
        (lambda x: cusum(x, mean=0.0, deviation=1.0)[0].signals, cusum_run_length(1.0)),
    ],
    ids=["shewhart", "western electric", "ewma", "cusum"],
)
def test_a_chart_runs_as_long_as_it_should(
    draw: Callable[[Array], npt.NDArray[np.bool_]], length: float
) -> None:
    """Simulated; EWMA's limits are narrower at first than in the long run, for which its length is."""
    rng = np.random.default_rng(0)
    runs = [int(draw(rng.normal(1.0, 1.0, 600)).argmax()) + 1 for _ in range(600)]
    assert np.mean(runs) == pytest.approx(length, rel=0.12)


def test_a_bold_shift_is_seen_sooner() -> None:
    for length in (shewhart_run_length, ewma_run_length, cusum_run_length, western_electric_run_length):
        found = [length(shift) for shift in (0.0, 1.0, -1.0)]
        assert found[0] > found[1] == pytest.approx(found[2], rel=1e-6)


# What is drawn.


def test_western_electric_s_rules() -> None:
    def signals(*found: float) -> list[int]:
        chart = western_electric(np.array(found), mean=10.0, deviation=2.0)
        return np.flatnonzero(chart.signals).tolist()

    assert signals(10, 16.1, 10) == [1]
    assert signals(14.1, 9, 14.1, 9) == [2]
    assert signals(14.1, 9, 9, 14.1) == []
    assert signals(5.9, 14.1, 5.9) == [2]
    assert signals(12.1, 12.1, 11.9, 12.1, 12.1) == [4]
    assert signals(*[10.1] * 9) == [7, 8]
    assert signals(*[10.1] * 7, 9.9, 10.1) == []


def test_points_and_limits_are_in_the_values_unit() -> None:
    found = np.array([0.5, 0.7, 0.4])
    chart = shewhart(found, mean=0.5, deviation=0.05)
    assert chart.points == pytest.approx(found)
    assert (chart.low[0], chart.centre, chart.high[0]) == pytest.approx((0.35, 0.5, 0.65))
    assert chart.signals.tolist() == [False, True, False]
    weighted = ewma(found, mean=0.5, deviation=0.05, share=0.2, width=3.0)
    assert weighted.points == pytest.approx([0.5, 0.54, 0.512])
    assert weighted.high == pytest.approx([0.53, 0.53842, 0.54294], abs=1e-5)
    assert weighted.signals.tolist() == [False, True, False]


def test_cusum_adds_up_what_exceeds_the_slack() -> None:
    rise, fall = cusum(np.array([3.0, 2.0, -1.0, -4.0]), mean=0.0, deviation=1.0, slack=0.5, threshold=3.5)
    assert rise.points == pytest.approx([2.5, 4.0, 2.5, 0.0])
    assert fall.points == pytest.approx([0.0, 0.0, 0.5, 4.0])
    assert (rise.signals.tolist(), fall.signals.tolist()) == (
        [False, True, False, False],
        [False, False, False, True],
    )


@given(found=values, more=values)
def test_what_follows_changes_no_point_before(found: Array, more: Array) -> None:
    for short, long in zip(all_of(found), all_of(np.concatenate((found, more))), strict=True):
        assert short.points == pytest.approx(long.points[: len(found)], rel=1e-9, abs=1e-9)
        assert short.signals.tolist() == long.signals[: len(found)].tolist()
        assert len(short.low) == len(short.high) == len(found)


@given(found=values)
def test_a_chart_upside_down_is_the_mirror(found: Array) -> None:
    charts, mirrored = all_of(found), all_of(-found)
    for place, mirror in enumerate((0, 1, 2, 4, 3)):
        one, other = charts[place], mirrored[mirror]
        sign = 1.0 if one.name.startswith("CUSUM") else -1.0
        assert one.points == pytest.approx(sign * other.points, abs=1e-9)
        assert one.signals.tolist() == other.signals.tolist()


@pytest.mark.parametrize("deviation", [0.0, -1.0, np.nan, np.inf])
def test_a_chart_needs_a_spread(deviation: float) -> None:
    with pytest.raises(InputError, match="deviation above 0"):
        shewhart(np.ones(3), mean=0.0, deviation=deviation)


def test_values_that_are_no_numbers_are_refused_by_row() -> None:
    with pytest.raises(InputError, match="row 1") as refused:
        ewma(np.array([1.0, np.nan]), mean=0.0, deviation=1.0)
    assert refused.value.row == 1
    with pytest.raises(InputError, match="share"):
        ewma(np.ones(2), mean=0.0, deviation=1.0, share=0.0)
