"""The canary on randomised traffic: unbiased, valid under missing outcomes, and clear about what it needs."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import InputError
from lossloop.core.records import VerdictKind
from lossloop.judges import Assigned, Canary, Comparison

Array = npt.NDArray[np.float64]


def canary(missing: str = "worst_case", bound: float = 1.0, floor: float = 0.0) -> Canary:
    return Canary(
        bound=bound,
        floor=floor,
        roll_back_if_worse_by=0.02,
        promote_if_within=0.01,
        missing=missing,
        centre=floor,
    )


def traffic(rows: int, gap: float, *, p: float = 0.5, seed: int = 0, risk: float = 0.3) -> Assigned:
    rng = np.random.default_rng(seed)
    is_canary = rng.random(rows) < p
    loss = (rng.random(rows) < risk + gap * is_canary).astype(np.float64)
    return Assigned(loss=loss, is_canary=is_canary, propensity=np.full(rows, p))


def judge(rows: Assigned, missing: str = "worst_case") -> Comparison:
    chosen = canary(missing)
    return chosen.update(chosen.start(), rows)[1]


def test_a_worse_canary_is_rolled_back() -> None:
    answer = judge(traffic(3000, 0.3))
    assert answer.kind is VerdictKind.ALARM
    assert answer.verdict is answer.roll_back
    assert answer.promote.kind is VerdictKind.INCONCLUSIVE
    assert answer.roll_back.crossed_at is not None
    assert answer.roll_back.evidence >= answer.roll_back.threshold == pytest.approx(math.log(20))
    assert answer.roll_back.promise == "5% once"
    assert "to roll back above 0.02: evidence" in answer.verdict.reason


def test_a_better_canary_is_certified() -> None:
    answer = judge(traffic(4000, -0.25))
    assert answer.kind is VerdictKind.BETTER
    assert answer.verdict is answer.promote
    assert answer.roll_back.kind is VerdictKind.INCONCLUSIVE
    assert "to promote below 0.01" in answer.verdict.reason


def test_a_rollback_goes_before_a_promotion() -> None:
    answer = judge(traffic(3000, 0.3))
    both = Comparison(roll_back=answer.roll_back, promote=judge(traffic(4000, -0.25)).promote)
    assert both.kind is VerdictKind.ALARM


def test_little_evidence_is_inconclusive() -> None:
    assert judge(traffic(30, 0.0)).kind is VerdictKind.INCONCLUSIVE


def test_the_effect_is_the_difference_of_the_risks_whatever_the_split() -> None:
    for p in (0.05, 0.5, 0.9):
        effect = judge(traffic(60_000, 0.1, p=p)).verdict.effect
        assert effect is not None
        assert effect.low < 0.1 < effect.high
        assert effect.estimate == pytest.approx(0.1, abs=0.03)


@given(
    loss=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=25),
    p=st.floats(0.01, 0.99),
    known=st.integers(0, 2**25 - 1),
    arms=st.integers(0, 2**25 - 1),
)
def test_a_missing_outcome_never_makes_a_decision_easier(
    loss: list[float], p: float, known: int, arms: int
) -> None:
    """Given any labels that could have come, both tests have at most the wealth they would have had."""
    n = len(loss)
    full, is_canary = np.array(loss), np.array([bool(arms >> i & 1) for i in range(n)])
    # Every centre the same, so that only what stands in for the missing differs.
    came = np.array([bool(known >> i & 1) for i in range(n)])
    chosen = canary()
    wealth = {}
    for name, values in (("full", full), ("missing", np.where(came, full, np.nan))):
        total, seen = (1e15, int(2e15))
        start = chosen.start()
        state = type(start)(tests=start.tests, total=total, labelled=seen)
        rows = Assigned(loss=values, is_canary=is_canary, propensity=np.full(n, p))
        answer = chosen.update(state, rows)[1]
        wealth[name] = (answer.roll_back.evidence, answer.promote.evidence)
    assert wealth["missing"][0] <= wealth["full"][0] + 1e-9
    assert wealth["missing"][1] <= wealth["full"][1] + 1e-9


def test_selective_missingness_fools_the_assumption_but_not_the_worst_case() -> None:
    """The canary's good outcomes stay away: it looks bad, and only the assumption believes it."""
    rows = traffic(6000, 0.0, seed=3)
    hidden = rows.is_canary & (rows.loss == 0.0) & (np.random.default_rng(4).random(6000) < 0.6)
    loss = np.where(hidden, np.nan, rows.loss)
    seen = Assigned(loss=loss, is_canary=rows.is_canary, propensity=rows.propensity)
    assert judge(seen, "same_in_both_arms").kind is VerdictKind.ALARM
    careful = judge(seen)
    assert careful.kind is VerdictKind.INCONCLUSIVE
    assert careful.verdict.effect is not None
    assert careful.verdict.effect.low < 0.0 < careful.verdict.effect.high


def test_the_assumption_is_stated() -> None:
    rows = traffic(10, 0.0)
    assert judge(rows).verdict.assumption == (
        "each row was assigned at random, afresh; losses lie in [0, 1]; "
        "a missing outcome counts as the worst case"
    )
    said = judge(rows, "same_in_both_arms").verdict.assumption
    assert said.endswith("outcomes are missing alike in both arms")


def test_dropped_rows_are_not_counted_and_the_deciding_row_is_of_the_batch() -> None:
    rows = traffic(2000, 0.4)
    loss = np.repeat(rows.loss, 2)
    loss[1::2] = np.nan
    doubled = Assigned(
        loss=loss, is_canary=np.repeat(rows.is_canary, 2), propensity=np.repeat(rows.propensity, 2)
    )
    plain, dropped = judge(rows, "same_in_both_arms"), judge(doubled, "same_in_both_arms")
    assert dropped.verdict.count == 2000
    assert plain.verdict.crossed_at is not None
    assert dropped.verdict.crossed_at == 2 * plain.verdict.crossed_at
    assert dropped.verdict.evidence == plain.verdict.evidence


def test_outcomes_that_all_stayed_away_are_no_data_or_count_against_both() -> None:
    rows = Assigned(
        loss=np.full(500, np.nan), is_canary=np.arange(500) % 2 == 0, propensity=np.full(500, 0.5)
    )
    assert judge(rows, "same_in_both_arms").kind is VerdictKind.NO_DATA
    worst = judge(rows)
    assert worst.kind is VerdictKind.INCONCLUSIVE
    assert worst.verdict.count == 500


def test_a_floor_moves_the_scale() -> None:
    rows = traffic(500, 0.1)
    moved = Assigned(loss=4 * rows.loss - 2.0, is_canary=rows.is_canary, propensity=rows.propensity)
    wide = Canary(bound=2.0, floor=-2.0, roll_back_if_worse_by=0.08, promote_if_within=0.04, centre=-2.0)
    one, other = judge(rows), wide.update(wide.start(), moved)[1]
    assert other.roll_back.evidence == pytest.approx(one.roll_back.evidence, rel=1e-9)
    assert other.promote.evidence == pytest.approx(one.promote.evidence, rel=1e-9)


def test_a_ramp_keeps_judging() -> None:
    chosen, state = canary(), canary().start()
    for step, p in enumerate((0.01, 0.05, 0.25, 0.5)):
        state, answer = chosen.update(state, traffic(4000, 0.3, p=p, seed=step))
    assert answer.kind is VerdictKind.ALARM


@pytest.mark.parametrize(
    ("loss", "p", "reason"),
    [
        (1.5, 0.5, "loss 1.5 at row 1 lies outside \\[0, 1\\]"),
        (math.inf, 0.5, "loss inf at row 1"),
        (0.5, 0.0, "propensity 0 at row 1: only rows that could have gone either way"),
        (0.5, math.nan, "propensity nan at row 1"),
    ],
)
def test_broken_rows_are_named(loss: float, p: float, reason: str) -> None:
    rows = Assigned(
        loss=np.array([0.1, loss]), is_canary=np.array([True, False]), propensity=np.array([0.5, p])
    )
    answer = judge(rows)
    assert answer.kind is VerdictKind.ERROR
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(answer.verdict.reason)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"bound": math.inf}, "clip an unbounded loss"),
        ({"bound": 0.0}, "bound 0 must be above floor 0"),
        ({"centre": 1.5}, "centre 1.5 must lie between floor and bound"),
        ({"roll_back_if_worse_by": 1.0}, "roll_back_if_worse_by 1 must lie between -1 and 1"),
        ({"promote_if_within": math.nan}, "promote_if_within nan must lie"),
        ({"error": 0.0}, "above 0% and below 100%"),
        ({"missing": "ignore"}, "there are: worst_case, same_in_both_arms"),
    ],
)
def test_impossible_canaries_are_refused(changed: dict[str, float | str], message: str) -> None:
    settings = {"bound": 1.0, "roll_back_if_worse_by": 0.02, "promote_if_within": 0.01} | changed
    with pytest.raises(InputError, match=message):
        Canary(**settings)  # type: ignore[arg-type]  # the point is to give it what it does not take


def test_arrays_must_be_equally_long() -> None:
    with pytest.raises(InputError, match="equally long"):
        Assigned(loss=np.zeros(2), is_canary=np.array([True]), propensity=np.full(2, 0.5))
