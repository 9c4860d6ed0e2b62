"""A shadow: paired differences, clipped if it is said, worst case where the outcome never came."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import InputError
from lossloop.core.records import VerdictKind
from lossloop.judges import Comparison, Pairs, Shadow, block_means

Array = npt.NDArray[np.float64]


def judge(pairs: Pairs, missing: str = "worst_case", clip: float | None = None) -> Comparison:
    shadow = Shadow(
        bound=None if clip else 1.0,
        clip=clip,
        roll_back_if_worse_by=0.02,
        promote_if_within=0.01,
        missing=missing,
    )
    return shadow.update(shadow.start(), pairs)[1]


def differences(mean: float, rows: int = 1000, *, spread: float = 0.1, seed: int = 0) -> Array:
    return np.random.default_rng(seed).uniform(mean - spread, mean + spread, rows)


def test_a_worse_challenger_is_rolled_back() -> None:
    answer = judge(Pairs(difference=differences(0.2)))
    assert answer.kind is VerdictKind.ALARM
    assert answer.verdict.effect is not None
    assert answer.verdict.effect.low < 0.2 < answer.verdict.effect.high
    assert (
        answer.verdict.assumption == "losses differ by at most 1; a missing outcome counts as the worst case"
    )


def test_a_better_challenger_is_certified() -> None:
    answer = judge(Pairs(difference=differences(-0.2)))
    assert answer.kind is VerdictKind.BETTER
    assert answer.verdict.crossed_at is not None


def test_twins_are_certified_within_the_margin_but_slowly() -> None:
    assert judge(Pairs(difference=np.zeros(200))).kind is VerdictKind.INCONCLUSIVE
    assert judge(Pairs(difference=np.zeros(2000))).kind is VerdictKind.BETTER


def test_pairs_come_from_both_losses() -> None:
    pairs = Pairs.of([0.5, 1.0, np.nan], [0.25, 1.0, 0.0])
    assert pairs.difference[:2].tolist() == [0.25, 0.0]
    assert math.isnan(pairs.difference[2])
    assert len(pairs[1:]) == 2


def test_a_clipped_difference_is_judged_and_said() -> None:
    wild = np.where(np.arange(400) % 2 == 0, 40.0, -0.1)
    answer = judge(Pairs(difference=wild), clip=0.5)
    assert answer.kind is VerdictKind.ALARM
    assert answer.verdict.effect is not None
    assert answer.verdict.effect.estimate == pytest.approx(0.2)
    assert answer.verdict.assumption.startswith("concerns the difference clipped to [-0.5, 0.5]")


def test_clipping_beyond_the_bound_is_no_clipping() -> None:
    shadow = Shadow(bound=1.0, clip=5.0, roll_back_if_worse_by=0.02, promote_if_within=0.01)
    verdict = shadow.update(shadow.start(), Pairs(difference=differences(0.0)))[1].verdict
    assert verdict.assumption.startswith("losses differ by at most 1;")


@given(
    values=st.lists(st.floats(-1.0, 1.0), min_size=1, max_size=30),
    known=st.integers(0, 2**30 - 1),
    extremes=st.booleans(),
)
def test_a_missing_outcome_never_makes_a_decision_easier(
    values: list[float], known: int, extremes: bool
) -> None:
    full = np.array(values)
    came = np.array([bool(known >> i & 1) for i in range(len(full))])
    least, most = np.minimum(full, -0.1), np.maximum(full, 0.1)
    whole = judge(Pairs(difference=full))
    partly = judge(
        Pairs(
            difference=np.where(came, full, np.nan),
            least=least if extremes else None,
            most=most if extremes else None,
        )
    )
    assert partly.roll_back.evidence <= whole.roll_back.evidence + 1e-9
    assert partly.promote.evidence <= whole.promote.evidence + 1e-9


def test_known_extremes_are_better_than_none() -> None:
    difference = differences(-0.2)
    difference[::10] = np.nan
    bounded = Pairs(difference=difference, least=np.full(1000, -0.25), most=np.full(1000, 0.05))
    assert judge(bounded[:300]).promote.evidence > judge(Pairs(difference=difference[:300])).promote.evidence
    dropped = judge(bounded, "same_in_both_arms")
    assert dropped.verdict.count == 900
    assert dropped.verdict.assumption.endswith("outcomes are missing alike whatever the difference")


def test_blocks_are_judged_as_rows_are() -> None:
    rows = differences(-0.2, 5000, spread=0.4)
    days = block_means(rows, np.arange(5000) // 50)
    answer = judge(Pairs(difference=days.mean), clip=0.5)
    assert (answer.kind, answer.verdict.count) == (VerdictKind.BETTER, 100)


@pytest.mark.parametrize("bad", [1.5, -1.5, math.inf])
def test_broken_differences_are_named(bad: float) -> None:
    answer = judge(Pairs(difference=np.array([0.0, bad])))
    assert answer.kind is VerdictKind.ERROR
    assert f"difference {bad:g} at row 1 lies outside [-1, 1]" in answer.verdict.reason


def test_extremes_must_be_numbers_where_they_count() -> None:
    unknown = Pairs(difference=np.array([np.nan, 0.1]), least=np.array([np.nan, np.nan]))
    assert judge(unknown).kind is VerdictKind.ERROR
    assert judge(unknown, "same_in_both_arms").kind is VerdictKind.INCONCLUSIVE


def test_arrays_must_be_equally_long() -> None:
    with pytest.raises(InputError, match="equally long"):
        Pairs(difference=np.zeros(2), least=np.zeros(3))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"bound": None}, "an unbounded loss needs clip_difference"),
        ({"bound": math.inf}, "bound inf must be a finite number above 0"),
        ({"clip": 0.0}, "clip 0 must be a finite number above 0"),
        ({"clip": 0.015}, "roll_back_if_worse_by 0.02 must lie between -0.015 and 0.015"),
        ({"error": 1.0}, "above 0% and below 100%"),
        ({"missing": "never"}, "there are: worst_case, same_in_both_arms"),
    ],
)
def test_impossible_shadows_are_refused(changed: dict[str, float | str | None], message: str) -> None:
    settings = {"bound": 1.0, "roll_back_if_worse_by": 0.02, "promote_if_within": 0.01} | changed
    with pytest.raises(InputError, match=message):
        Shadow(**settings)  # type: ignore[arg-type]  # the point is to give it what it does not take
