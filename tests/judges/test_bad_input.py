"""What cannot be judged is an error, `no_data` or `inconclusive`: never an alarm, and never a pass."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from lossloop.act.policy import read_policy
from lossloop.app.judging import Lens
from lossloop.core.errors import InputError, PolicyError
from lossloop.core.records import VerdictKind
from lossloop.judges import (
    Assigned,
    Canary,
    Certificate,
    Guardrail,
    Pairs,
    Promise,
    Reference,
    Regression,
    Shadow,
    block_means,
    design_effect,
    needed_for,
    parse,
    reference_of,
    reference_of_blocks,
)
from lossloop.registry import Reference as Registered

BLOCKS = parse("1 per 20 blocks")
EVER = parse("5% ever")
POLICY = "model: m\ntask: {task}\nloss: {loss}\nlabels: {{mature_after: 1h}}\n{more}"
NOTHING = np.empty(0)


def lens(loss: str, *, task: str = "binary", more: str = "") -> Lens:
    return Lens(policy=read_policy(POLICY.format(loss=loss, task=task, more=more)))


# Promises.


@pytest.mark.parametrize(
    "words",
    [
        "150% ever", "100% ever", "0% ever", "-5% ever", "nan% ever", "inf% once", "ever", "",
        "1 per 0 outcomes", "0 per 100 blocks", "-1 per 100 blocks", "5 per 5 blocks", "7 per 5 outcomes",
        "1 per inf outcomes", "nan per 100 blocks", "1 per 100 fortnights",
    ],
)  # fmt: skip
def test_a_promise_that_is_no_chance_and_no_rate_is_refused(words: str) -> None:
    with pytest.raises(InputError, match=r"write '1 per 3650 blocks'|finite threshold above 1") as refused:
        parse(words)
    assert refused.value.field == "promise"


@pytest.mark.parametrize("threshold", [1.0, 0.5, 0.0, -3.0, math.inf, math.nan])
def test_a_threshold_that_keeps_no_promise_is_refused(threshold: float) -> None:
    with pytest.raises(InputError, match="finite threshold above 1"):
        Promise(mode=BLOCKS.mode, threshold=threshold)


@pytest.mark.parametrize("error", ["1.5", "-0.1", "0", "150%", "nan"])
def test_a_rollouts_error_is_a_share(error: str) -> None:
    plan = f"rollout: {{promote_if_within: 0.1, roll_back_if_worse_by: 0.1, error: {error}}}"
    with pytest.raises(PolicyError, match="a share lies between 0 and 1"):
        lens("brier", more=plan)


# Bounds.


def test_an_unbounded_loss_cannot_certify_nor_be_judged_as_a_canary() -> None:
    plan = "rollout: {promote_if_within: 0.1, roll_back_if_worse_by: 0.1}"
    unbounded = lens("squared", task="regression", more=plan)
    assert unbounded.policy.rollout is not None
    with pytest.raises(InputError, match="write one with a cap") as refused:
        unbounded.canary(unbounded.policy.rollout, None)
    assert refused.value.field == "loss"
    with pytest.raises(InputError, match="a missing outcome has no worst case"):
        unbounded.shadow(unbounded.policy.rollout)


@pytest.mark.parametrize("bound", [math.inf, math.nan, 0.1, 0.05])
def test_a_certificate_needs_a_bound_above_its_limit(bound: float) -> None:
    with pytest.raises(InputError, match="must be above limit"):
        Certificate(limit=0.1, bound=bound, promise=EVER)


@pytest.mark.parametrize("floor", [-math.inf, math.nan, 0.2, 0.3])
def test_a_guardrail_needs_a_floor_below_its_limit(floor: float) -> None:
    with pytest.raises(InputError, match="must be above floor"):
        Guardrail(limit=0.2, promise=EVER, floor=floor)


def test_a_loss_below_its_declared_floor_is_an_error_and_no_evidence() -> None:
    judge = Guardrail(limit=0.2, promise=EVER)
    state, verdict = judge.update(judge.start(), np.array([0.9, -0.4]))
    assert verdict.kind is VerdictKind.ERROR
    assert "lies outside [0, inf]" in verdict.reason
    assert state == judge.start()


# References.


def small(count: int, spread: float) -> Reference:
    """A reference from so many block means around .1."""
    return reference_of_blocks(0.1 + spread * np.resize([-1.0, 1.0], count))


def test_a_reference_that_is_too_small_says_how_many_it_needs() -> None:
    reference, tolerance = small(10, 0.05), 0.005
    needed = needed_for(reference, tolerance)
    assert needed > 10
    wide = small(needed, 0.05)
    assert wide.upper - wide.estimate <= tolerance
    assert needed_for(wide, tolerance) == needed, "it has as many as it needs"


def test_of_rows_too_it_says_how_many() -> None:
    losses = np.resize([0.0, 0.0, 0.0, 1.0], 200)
    reference = reference_of(losses, bound=1.0)
    needed = needed_for(reference, 0.01)
    more = reference_of(np.resize(losses, needed), bound=1.0)
    assert more.upper - more.estimate == pytest.approx(0.01, rel=0.15)


@pytest.mark.parametrize("means", [[], [0.1]])
def test_too_few_blocks_for_any_bound_are_refused(means: list[float]) -> None:
    with pytest.raises(InputError, match=r"at least 2 blocks|at least one loss"):
        reference_of_blocks(means)


def test_an_empty_reference_is_refused_wherever_it_is_made() -> None:
    with pytest.raises(InputError, match="at least one loss"):
        reference_of(NOTHING, bound=1.0)
    with pytest.raises(InputError, match="one or more finite block means"):
        Registered(loss="brier", mean=0.1, block="1d", block_means=(), rows=0, design_effect=1.0)
    with pytest.raises(InputError, match=r"at least one loss|at least 2 blocks"):
        design_effect(NOTHING, NOTHING.astype(np.int64))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_reference_with_what_is_no_number_is_refused(bad: float) -> None:
    with pytest.raises(InputError, match="not a finite number"):
        reference_of(np.array([0.1, bad]), bound=1.0)
    with pytest.raises(InputError, match="finite block means"):
        Registered(loss="brier", mean=0.1, block="1d", block_means=(0.1, bad), rows=9, design_effect=1.0)


# Nothing to judge.


def judges() -> dict[str, tuple[Any, Any, Any]]:
    """Each judge with evidence of nothing, and with evidence whose outcomes all are missing."""
    nan = np.full(5, np.nan)
    flags, half = np.resize([True, False], 5), np.full(5, 0.5)
    margins = {"roll_back_if_worse_by": 0.1, "promote_if_within": 0.1, "missing": "same_in_both_arms"}
    return {
        "guardrail": (Guardrail(limit=0.2, promise=EVER), NOTHING, nan),
        "certificate": (Certificate(limit=0.2, bound=1.0, promise=EVER), NOTHING, nan),
        "regression": (
            Regression(reference=small(9, 0.01), tolerance=0.02, promise=BLOCKS), NOTHING, nan
        ),
        "shadow": (
            Shadow(**margins, bound=1.0), Pairs(difference=NOTHING), Pairs(difference=nan)  # type: ignore[arg-type]
        ),
        "canary": (
            Canary(**margins, bound=1.0),  # type: ignore[arg-type]
            Assigned(loss=NOTHING, is_canary=flags[:0], propensity=half[:0]),
            Assigned(loss=nan, is_canary=flags, propensity=half),
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", judges())
def test_nothing_is_no_data(name: str) -> None:
    judge, nothing, _ = judges()[name]
    state, verdict = judge.update(judge.start(), nothing)
    assert verdict.kind is VerdictKind.NO_DATA
    assert state == judge.start()


@pytest.mark.parametrize("name", judges())
def test_where_all_outcomes_are_missing_nothing_is_decided(name: str) -> None:
    judge, _, missing = judges()[name]
    _, verdict = judge.update(judge.start(), missing)
    assert verdict.kind in (VerdictKind.ERROR, VerdictKind.NO_DATA)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_value_that_is_no_number_is_an_error_that_names_its_row(bad: float) -> None:
    judge = Guardrail(limit=0.2, promise=EVER)
    before, _ = judge.update(judge.start(), np.full(7, 0.1))
    after, verdict = judge.update(before, np.array([0.9, bad, 0.9]))
    assert verdict.kind is VerdictKind.ERROR
    assert "row 1" in verdict.reason
    assert after == before


def test_a_block_without_outcomes_has_no_mean() -> None:
    assert len(block_means(np.full(3, np.nan), np.zeros(3, np.int64))) == 0


# A constant loss, and a single row.


def test_a_constant_loss_at_its_limit_never_alarms_and_has_a_design_effect_of_one() -> None:
    judge = Guardrail(limit=0.2, promise=EVER)
    _, verdict = judge.update(judge.start(), np.full(20_000, 0.2))
    assert verdict.kind is VerdictKind.HEALTHY
    assert design_effect(np.full(10, 0.2), np.repeat([1, 2], 5)) == 1.0
    constant = reference_of_blocks(np.full(8, 0.2))
    assert constant.upper == pytest.approx(0.2)
    assert needed_for(constant, 0.001) == 8


def test_two_versions_that_always_lose_the_same_are_certified_and_never_rolled_back() -> None:
    judge = Shadow(roll_back_if_worse_by=0.1, promote_if_within=0.1, bound=1.0)
    _, answer = judge.update(judge.start(), Pairs(difference=np.zeros(200)))
    assert answer.kind is VerdictKind.BETTER


@pytest.mark.parametrize("loss", [0.0, 0.2, 1.0])
def test_a_single_row_decides_nothing(loss: float) -> None:
    for judge in (
        Guardrail(limit=0.2, promise=EVER),
        Regression(reference=small(9, 0.01), tolerance=0.02, promise=BLOCKS),
    ):
        _, verdict = judge.update(judge.start(), np.array([loss]))
        assert verdict.kind is VerdictKind.HEALTHY
        assert verdict.effect is None or math.isinf(verdict.effect.high)
    certificate = Certificate(limit=0.2, bound=1.0, promise=EVER)
    _, verdict = certificate.update(certificate.start(), np.array([loss]))
    assert verdict.kind is VerdictKind.INCONCLUSIVE
