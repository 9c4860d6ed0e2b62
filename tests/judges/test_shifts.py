"""The tests that drift consists of: fair at their limits, weighed alike, and summed as the engine would."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossloop.core.errors import InputError
from lossloop.core.profile import FeatureProfile, Moment
from lossloop.core.records import VerdictKind
from lossloop.judges import Drift, Engine, parse, profile_of
from lossloop.judges.bins import statistics_of
from lossloop.judges.engine import KAPPAS, log_bets
from lossloop.judges.holding import log_mean
from lossloop.judges.profile import hinges
from lossloop.judges.shifts import Shifts, block_shifts, row_shifts
from tests.judges.references import binned, block_means, columns, reference

Array = npt.NDArray[np.float64]

PROFILE = reference()
ROWS = row_shifts(PROFILE.features, 0.02)
BLOCKS = block_shifts(PROFILE.features, 0.02)
seeds = st.integers(0, 2**32)


def known(shares: tuple[float, ...], name: str = "x") -> FeatureProfile:
    """A category of which the shares are known exactly: intervals of no width."""
    names = tuple(f"v{place}" for place in range(len(shares)))
    every = (*shares, 0.0, 0.0, 0.0)
    bare = FeatureProfile(name=name, shares=every, moments=(), design_effect=1.0, categories=names)
    called, table = statistics_of(bare, every)
    means = np.asarray(every) @ table
    moments = tuple(
        Moment(name=each, mean=float(mean), low=float(mean), high=float(mean))
        for each, mean in zip(called, means, strict=True)
    )
    return msgspec.structs.replace(bare, moments=moments)


def test_at_its_limit_each_bet_is_fair() -> None:
    """With a mean at the end of its interval plus the tolerance a ratio is 1 on average, never below 0."""
    for side in ROWS.sides:
        moment = ROWS.features[side.feature].moments[side.statistic]
        g = np.clip(ROWS.tables[side.feature][:, side.statistic], 0.0, 1.0)
        ratios = (g if side.up else 1.0 - g) / side.limit
        assert ratios.min() >= 0.0
        mean = moment.high + 0.02 if side.up else moment.low - 0.02
        assert (mean if side.up else 1.0 - mean) / side.limit == pytest.approx(1.0)


def test_what_no_mean_can_show_is_not_tested() -> None:
    """That a share of 0 falls, or one of 1 rises, cannot be."""
    profile = profile_of({"x": ["a"] * 400}, blocks=np.arange(400) // 10)
    sides = row_shifts(profile.features, 0.02).sides
    tested = [(profile.features[0].moments[side.statistic].name, side.up) for side in sides]
    assert tested == [
        ("share of 'a'", False),
        ("share of rare values", True),
        ("share of unseen values", True),
        ("missing", True),
    ]


def test_features_count_alike_and_so_do_a_feature_s_sides() -> None:
    for shifts in (ROWS, BLOCKS):
        assert shifts.weights.sum() == pytest.approx(1.0)
        for part in shifts.parts:
            assert shifts.weights[part].sum() == pytest.approx(1 / 3)
            assert len({*shifts.weights[part].tolist()}) == 1


def direct(shifts: Shifts, rows: npt.NDArray[np.uint8], place: int) -> Array:
    """The ratios of one side over rows, one by one."""
    side = shifts.sides[place]
    g = shifts.tables[side.feature][rows[:, side.feature], side.statistic]
    return np.asarray((g if side.up else 1.0 - g) / side.limit)


@settings(max_examples=20)
@given(seed=seeds, rows=st.integers(1, 60), shift=st.floats(-2.0, 2.0))
def test_counts_of_bins_give_the_sums_that_rows_give(seed: int, rows: int, shift: float) -> None:
    found = binned(PROFILE, columns(np.random.default_rng(seed), rows, shift=shift))
    sums = ROWS.sums(ROWS.count(found, rows)[0])
    for place in range(len(ROWS.sides)):
        np.testing.assert_allclose(sums[place], log_bets(direct(ROWS, found, place)).sum(axis=0), atol=1e-9)
    means = ROWS.means(ROWS.count(found, rows)[0], rows)
    np.testing.assert_allclose(means, ROWS.statistics(found).mean(axis=0), atol=1e-12)


def test_a_step_of_drift_is_the_engine_s_block_of_sums() -> None:
    """The average of engines, one per side, that bet on blocks of 100 rows."""
    rows = binned(PROFILE, columns(np.random.default_rng(1), 300, shift=0.3))
    judge = Drift(features=PROFILE.features, tolerance=0.02, promise=parse("1 per 1000 outcomes"))
    _, verdict = judge.update(judge.start(), rows)
    engine, evidence = Engine(judge.promise), []
    for place in range(len(ROWS.sides)):
        state = engine.start()
        for first in (0, 100, 200):
            sums = log_bets(direct(ROWS, rows[first : first + 100], place)).sum(axis=0)
            state, _ = engine.update_sums(state, 100, sums)
        evidence.append(float(log_mean(engine.logs(state))))
    together = math.log(float(np.exp(evidence) @ ROWS.weights))
    assert verdict.kind is VerdictKind.HEALTHY
    assert verdict.evidence == pytest.approx(together)


@settings(max_examples=30)
@given(seed=seeds, spread=st.floats(0.0, 2000.0))
def test_evidence_is_averaged_without_underflow(seed: int, spread: float) -> None:
    logs = np.random.default_rng(seed).normal(0.0, spread, (len(ROWS.sides), len(KAPPAS)))
    by_feature = ROWS.by_feature(logs)
    naive = [log_mean(log_mean(logs)[part]) for part in ROWS.parts]
    np.testing.assert_allclose(by_feature, naive, rtol=1e-12, atol=1e-12)
    assert float(ROWS.together(logs)) == pytest.approx(float(log_mean(by_feature)))
    for feature in range(3):
        side = ROWS.strongest(logs, feature)
        assert side.feature == feature
        place = ROWS.sides.index(side)
        assert log_mean(logs[place]) == log_mean(logs)[ROWS.parts[feature]].max()


@given(
    mean=st.floats(0.0, 1.0),
    centre=st.floats(0.0, 1.0),
    tolerance=st.floats(0.0, 0.2),
    move=st.floats(0.0, 1.0),
)
def test_a_move_within_the_tolerance_never_adds(
    mean: float, centre: float, tolerance: float, move: float
) -> None:
    """What a block gives after moving by at most the tolerance is at most what it gave before without one."""
    still = hinges(np.array([mean]), centre, 0.1)
    for moved in (mean + move * tolerance, mean - move * tolerance):
        up, down = hinges(np.array([moved]), centre, 0.1, tolerance)
        assert 0.0 <= up[0] <= still[0][0] + 1e-9
        assert 0.0 <= down[0] <= still[1][0] + 1e-9


def test_blocks_give_as_much_as_their_means_lie_off() -> None:
    means = block_means(PROFILE, columns(np.random.default_rng(2), 2000, shift=1.5), 20).mean
    ratios = BLOCKS.block_ratios(means, np.ones(len(means)))
    level = [place for place, side in enumerate(BLOCKS.sides) if (side.feature, side.statistic) == (0, 0)]
    up, down = (ratios[:, place] for place in level)
    assert up.min() > 2.0
    assert (down == 0.0).all()


@pytest.mark.parametrize("copies", [1, 10])
@pytest.mark.parametrize(
    ("promise", "allowed"), [("1 per 2000 outcomes", 0.5), ("10% ever", 0.1), ("10% once", 0.1)]
)
def test_the_promise_holds_with_no_slack_at_all(copies: int, promise: str, allowed: float) -> None:
    """Shares known exactly, a tolerance of 0, 1,000 healthy rows; and the same feature ten times over."""
    shares = (0.5, 0.3, 0.2)
    features = tuple(known(shares, f"x{place}") for place in range(copies))
    judge = Drift(features=features, tolerance=0.0, promise=parse(promise))
    rng, alarms = np.random.default_rng(3), 0
    for _ in range(150):
        rows = np.repeat(rng.choice(3, (1000, 1), p=shares), copies, axis=1)
        alarms += judge.update(judge.start(), rows)[1].kind is VerdictKind.ALARM
    assert alarms / 150 <= allowed + 3 * math.sqrt(allowed * (1 - allowed) / 150)


def test_a_share_that_moves_is_caught_at_once_if_it_is_known_exactly() -> None:
    judge = Drift(features=(known((0.5, 0.3, 0.2)),), tolerance=0.0, promise=parse("1 per 100,000 outcomes"))
    rows = np.random.default_rng(4).choice(3, (2000, 1), p=(0.3, 0.5, 0.2))
    _, verdict = judge.update(judge.start(), rows)
    assert verdict.crossed_at is not None
    assert verdict.crossed_at < 300
    assert "x: share of 'v" in verdict.reason


@pytest.mark.parametrize(
    ("place", "up", "words"),
    [
        (0, True, "mean rank rose"),
        (1, False, "spread narrowed"),
        (2, True, "more low values"),
        (3, False, "fewer high values"),
        (4, True, "more missing values"),
    ],
)
def test_words_say_what_moved_and_how(place: int, up: bool, words: str) -> None:
    was = PROFILE.features[0].moments[place].mean
    said = ROWS.words(ROWS.sides[0]._replace(statistic=place, up=up), np.full(17, 0.7))
    assert said == f"age: {words} ({was:.3g} -> 0.7)"


def test_a_profile_of_another_release_is_refused() -> None:
    feature: Any = PROFILE.features[0]
    renamed = msgspec.structs.replace(feature.moments[0], name="median")
    other = msgspec.structs.replace(feature, moments=(renamed, *feature.moments[1:]))
    with pytest.raises(InputError, match="other statistics than this release; make it anew"):
        row_shifts((other,), 0.02)
