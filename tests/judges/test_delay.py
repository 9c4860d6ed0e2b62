"""Delay curves against delays that are known, and what can be hidden by labels that did not come."""

from __future__ import annotations

import math
from itertools import pairwise

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.clock import DAY, HOUR, MINUTE, SECOND
from lossloop.core.errors import InputError
from lossloop.judges.delay import BINS, EDGES, Delays, gap, plain_duration, recommend

Int64 = npt.NDArray[np.int64]

Rows = list[tuple[int, int]]

rows = st.lists(st.tuples(st.integers(-DAY, 3 * 10**15), st.integers(0, 3 * 10**15)), max_size=60)


def columns(found: Rows) -> tuple[Int64, Int64]:
    took, age = np.array(found, np.int64).reshape(-1, 2).T
    return took, age


def looked_at(took: npt.NDArray[np.float64], age: npt.NDArray[np.float64]) -> Delays:
    """Predictions of these ages whose labels take so long, in microseconds; infinite for never."""
    return Delays().add(np.minimum(took, 4e18).astype(np.int64), age.astype(np.int64))


def exponential(rows: int, oldest: float, *, never: float = 0.0, seed: int = 0) -> Delays:
    """Labels that take an hour on average, of predictions evenly made over `oldest` hours."""
    rng = np.random.default_rng(seed)
    took = np.where(rng.random(rows) < never, np.inf, rng.exponential(HOUR, rows))
    return looked_at(took, rng.uniform(0.0, oldest * HOUR, rows))


def test_the_curve_is_that_of_the_delays_although_most_predictions_are_young() -> None:
    curve = exponential(40_000, 3.0).curve()
    for hours in (0.1, 0.5, 1.0, 2.0, 2.5):
        assert curve.share(round(hours * HOUR)) == pytest.approx(1.0 - math.exp(-hours), abs=0.02)
    assert curve.share(4 * HOUR) is None, "no prediction is so old"
    # Of all predictions by now, ever so many fewer have a label: counting those says too little.
    delays = exponential(40_000, 3.0)
    assert delays.labelled / (delays.labelled + delays.waiting) < 0.7


def test_labels_that_never_come_are_no_reason_to_wait() -> None:
    delays = exponential(40_000, 48.0, never=0.3)
    found = recommend(delays)
    assert delays.curve().ever == pytest.approx(0.7, abs=0.01)
    assert found.mature_after is not None
    # 99% of exponential delays have come after ln(100) = 4.6 means.
    assert found.mature_after == pytest.approx(math.log(100) * HOUR, rel=0.12)
    assert "0.99 of the labels that come within" in found.reason


def test_a_share_can_be_asked_for() -> None:
    half, most = (recommend(exponential(40_000, 48.0), share) for share in (0.5, 0.999))
    assert half.mature_after is not None
    assert most.mature_after is not None
    assert half.mature_after == pytest.approx(math.log(2) * HOUR, rel=0.12)
    assert most.mature_after > 6 * HOUR
    for share in (0.0, 1.0, math.nan):
        with pytest.raises(InputError, match="share"):
            recommend(exponential(1_000, 9.0), share)


@pytest.mark.parametrize("oldest", [0.5, 2.0, 5.0])
def test_while_labels_still_come_at_the_oldest_age_nothing_is_recommended(oldest: float) -> None:
    found = recommend(exponential(20_000, oldest))
    assert found.mature_after is None
    assert found.reason.startswith("not known yet: labels still come at")


def test_without_labels_or_with_too_few_predictions_nothing_is_recommended() -> None:
    waiting, few = np.full(1_000, 2 * DAY), np.full(20, DAY)
    for delays in (Delays(), Delays().add(waiting, waiting - 1), Delays().add(few - 1, few)):
        found = recommend(delays)
        assert found.mature_after is None
        assert "not known yet" in found.reason
    assert Delays().curve().share(0) == 0.0
    assert Delays().curve().share(1) is None


def test_labels_that_were_there_first_or_at_once_count_as_age_0() -> None:
    delays = Delays().add(np.repeat([-DAY, 90 * DAY], 500), np.full(1_000, 30 * DAY))
    assert delays.curve().share(SECOND) == pytest.approx(0.5)
    assert recommend(delays).mature_after == 1_000, "a millisecond is the least that is told apart"


def test_ages_beyond_all_time_are_counted_and_ill_ones_refused() -> None:
    never = np.full(100, np.iinfo(np.int64).max)
    assert Delays().add(never, never - 1).waiting == 100
    with pytest.raises(InputError, match="microseconds"):
        Delays().add(np.array([0.5]), np.array([0.7]))
    with pytest.raises(InputError, match="age for each"):
        Delays().add(never, never[:1])


@given(rows, rows)
def test_merging_is_counting_together(one: Rows, two: Rows) -> None:
    a, b = Delays().add(*columns(one)), Delays().add(*columns(two))
    together = Delays().add(*columns([*one, *two]))
    assert a.merge(b) == b.merge(a) == together
    assert a.merge(Delays()) == a
    assert together.labelled == sum(took <= age for took, age in [*one, *two])
    assert together.labelled + together.waiting == len(one) + len(two)
    assert msgspec.json.decode(msgspec.json.encode(a), type=Delays) == a


@given(rows)
def test_a_curve_never_falls_and_stays_a_share(found: Rows) -> None:
    curve = Delays().add(*columns(found * 100)).curve()
    shares = [curve.share(round(age)) or 0.0 for age in EDGES[: len(curve.shares)]]
    assert all(0.0 <= low <= high <= 1.0 for low, high in pairwise(shares))
    assert len(curve.shares) <= BINS
    assert curve.ever <= 1.0


@given(st.floats(1.0, 3e15))
def test_a_plain_duration_is_no_shorter_and_little_longer(age: float) -> None:
    found = plain_duration(age)
    assert age <= found <= 1.7 * age or found <= 2_000
    assert 0.9 * age - 1_000 <= plain_duration(age, up=False) <= max(age, 1_000)


def test_plain_durations_are_what_people_write() -> None:
    assert plain_duration(37.2 * HOUR) == 48 * HOUR
    assert plain_duration(491 * MINUTE) == 9 * HOUR
    assert plain_duration(800 * DAY) == 810 * DAY
    assert plain_duration(297 * MINUTE) == 5 * HOUR
    assert plain_duration(31.7 * DAY, up=False) == 31 * DAY
    assert plain_duration(0) == 1_000
    assert plain_duration(11.4 * MINUTE) == 12 * MINUTE
    assert plain_duration(89.2 * DAY) == 90 * DAY


def test_a_gap_is_the_share_times_the_range() -> None:
    found = gap(28, 1_000, floor=0.0, bound=5.0)
    assert found.share == pytest.approx(0.028)
    assert found.bound == pytest.approx(0.14)  # statistics.md, 2g: "2.8% missing x 5 = .14"
    [warning] = found.warnings([("worse", 0.02), ("loose", 0.2)])
    assert warning.startswith("worse: 2.8% without a label")
    assert "0.14, more than 0.02" in warning
    assert gap(5, 10, floor=-1.0, bound=1.0).bound == pytest.approx(1.0)


def test_a_gap_of_an_unbounded_loss_has_no_bound_and_says_so() -> None:
    [warning] = gap(1, 100, floor=0.0, bound=math.inf).warnings([("worse", 0.02), ("other", 0.3)])
    assert "no bound" in warning
    assert "cap" in warning


def test_nothing_missing_or_nothing_there_warns_of_nothing() -> None:
    assert gap(0, 100, floor=0.0, bound=math.inf).warnings([("worse", 0.02)]) == []
    assert gap(0, 0, floor=0.0, bound=1.0).share == 0.0
    with pytest.raises(InputError, match="missing"):
        gap(2, 1, floor=0.0, bound=1.0)
