"""Why a mean moved: what slices give adds up, and inputs are told from answers where they can be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lossloop.core.errors import InputError
from lossloop.judges.change import Cause, change_of, contributions, period, split_of
from lossloop.judges.moved import moves

DAYS = 40


def days(rows: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.arange(rows) % DAYS


@given(
    losses=arrays(np.float64, 60, elements=st.floats(-50, 50)),
    slices=arrays(np.int64, 60, elements=st.integers(0, 4)),
    cut=st.integers(1, 59),
)
def test_what_slices_give_adds_up_to_the_change(
    losses: np.ndarray[tuple[int], np.dtype[np.float64]],
    slices: np.ndarray[tuple[int], np.dtype[np.int64]],
    cut: int,
) -> None:
    blocks = days(60)
    before = period(losses[:cut], blocks[:cut], slices[:cut], most=5)
    after = period(losses[cut:], blocks[cut:], slices[cut:], most=5)
    parts = contributions(before, after)
    change = change_of(before, after)
    whole = losses[cut:].mean() - losses[:cut].mean()
    assert change.difference.estimate == pytest.approx(whole, abs=1e-9)
    assert sum(part.total.estimate for part in parts) == pytest.approx(whole, abs=1e-9)
    for part in parts:
        assert part.within + part.mix == pytest.approx(part.total.estimate, abs=1e-9)


def test_a_slice_whose_loss_rose_carries_the_change_and_the_others_do_not() -> None:
    random = np.random.default_rng(1)
    slices = random.integers(0, 4, 8000)
    loss = random.normal(1.0, 0.1, 8000)
    worse = loss + 0.5 * (slices == 2)
    found = contributions(period(loss, days(8000), slices, most=4), period(worse, days(8000), slices, most=4))
    assert found[0].slice == 2
    assert found[0].within == pytest.approx(0.125, abs=0.01)
    assert found[0].total.low > 0.1
    assert all(part.total.low < 0.0 < part.total.high for part in found[1:])


def test_more_rows_of_a_bad_slice_are_mix_and_not_a_worse_model() -> None:
    random = np.random.default_rng(2)
    few, many = (random.random(9000) < share for share in (0.1, 0.5))
    found = contributions(
        period(np.where(few, 2.0, 1.0), days(9000), few.astype(np.int64), most=2),
        period(np.where(many, 2.0, 1.0), days(9000), many.astype(np.int64), most=2),
    )
    assert all(part.within == pytest.approx(0.0, abs=1e-12) for part in found)
    assert sum(part.mix for part in found) == pytest.approx(0.4, abs=0.03)


def test_a_new_slice_is_measured_against_what_all_were_before() -> None:
    before = period(np.ones(100), days(100), np.zeros(100, np.int64), most=2)
    after = period(np.repeat([1.0, 3.0], 50), days(100), np.repeat([0, 1], 50), most=2)
    new = contributions(before, after)[0]
    assert (new.slice, new.mean_before, new.mean_after) == (1, None, 3.0)
    assert new.total.estimate == pytest.approx(1.0)


def test_blocks_that_share_a_shock_widen_the_interval() -> None:
    random = np.random.default_rng(3)
    blocks = np.repeat(np.arange(20), 500)
    shock = random.normal(0.0, 0.3, 20)[blocks]
    same = random.normal(1.0, 0.3, len(blocks))
    lonely = change_of(period(same, np.arange(len(blocks))), period(same[::-1], np.arange(len(blocks))))
    shared = change_of(period(same + shock, blocks), period(same + shock[::-1], blocks))
    assert shared.difference.high - shared.difference.low > 5 * (
        lonely.difference.high - lonely.difference.low
    )


def test_a_few_blocks_have_no_interval() -> None:
    found = change_of(period(np.ones(9), days(9) % 3), period(np.ones(9), days(9)))
    assert (found.difference.low, found.difference.high) == (-np.inf, np.inf)


@pytest.mark.parametrize(
    ("moved", "worse", "cause"),
    [(True, False, Cause.INPUTS), (False, True, Cause.ANSWERS), (True, True, Cause.BOTH),
     (False, False, Cause.NEITHER)],
)  # fmt: skip
def test_inputs_are_told_from_answers(moved: bool, worse: bool, cause: Cause) -> None:
    """One input of 0 or 1; the loss is higher at 1. The density ratio is known."""
    random = np.random.default_rng(4)
    rows, share = 20_000, 0.5 if moved else 0.2
    old, new = random.random(rows) < 0.2, random.random(rows) < share
    weights = np.where(old, share / 0.2, (1 - share) / 0.8)
    noise = random.normal(0.0, 0.2, (2, rows))
    found = split_of(
        1.0 + old + noise[0], weights, days(rows), 1.0 + new + 0.2 * worse + noise[1], days(rows)
    )
    assert found.cause is cause
    assert found.inputs is not None
    assert found.answers is not None
    assert found.inputs.estimate == pytest.approx(0.3 * moved, abs=0.02)
    assert found.answers.estimate == pytest.approx(0.2 * worse, abs=0.02)


def test_inputs_that_were_never_seen_before_cannot_be_told() -> None:
    losses = np.ones(1000)
    alone = np.zeros(1000)
    alone[:10] = 100.0
    assert split_of(losses, alone, days(1000), losses + 1, days(1000)).cause is Cause.CANNOT_TELL
    unlike = split_of(losses, losses, days(1000), losses + 1, days(1000), unseen=0.5)
    assert unlike.cause is Cause.CANNOT_TELL
    assert "50.0% of them are unlike all old ones" in unlike.reason
    few = split_of(losses, losses, days(1000) % 2, losses + 1, days(1000))
    assert (few.cause, "it takes 5 blocks" in few.reason) == (Cause.CANNOT_TELL, True)


@pytest.mark.parametrize(
    ("losses", "message"),
    [(np.empty(0), "without any loss"), (np.array([1.0, np.nan]), "loss nan at row 1"),
     (np.array([np.inf]), "loss inf at row 0")],
)  # fmt: skip
def test_a_period_needs_finite_losses(
    losses: np.ndarray[tuple[int], np.dtype[np.float64]], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        period(losses, days(len(losses)))
    with pytest.raises(InputError, match="weights must be finite"):
        split_of(np.ones(1), np.array([-1.0]), days(1), np.ones(1), days(1))


def test_a_feature_that_moved_is_found_among_those_that_did_not() -> None:
    random = np.random.default_rng(5)
    before = {f"f{n}": random.multinomial(100, [0.25] * 4, DAYS).astype(float) for n in range(10)}
    after = {f"f{n}": random.multinomial(100, [0.25] * 4, DAYS).astype(float) for n in range(10)}
    after["f3"] = random.multinomial(100, [0.35, 0.25, 0.25, 0.15], DAYS).astype(float)
    found = moves(before, after)
    assert [move.feature for move in found if move.moved] == ["f3"]
    assert found[0].distance == pytest.approx(0.1, abs=0.03)


def test_features_that_only_days_move_are_seldom_said_to_move() -> None:
    """A day's rows share their values: dealt by rows, every feature would have moved."""
    said = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        shares = random.dirichlet([2.0] * 4, 2 * DAYS)
        counts = np.stack([random.multinomial(500, share) for share in shares]).astype(float)
        said += moves({"f": counts[:DAYS]}, {"f": counts[DAYS:]}, seed=seed)[0].moved
    assert said <= 8, "5% are allowed, and 13% of 60 are 5 in 10,000 by luck"
