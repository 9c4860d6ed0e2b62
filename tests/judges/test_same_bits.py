"""Whole verdicts, words and intervals included, are the same however a stream was cut."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.records import Record, Verdict
from lossloop.judges import (
    Assigned,
    Canary,
    Certificate,
    Guardrail,
    Pairs,
    Promise,
    Regression,
    RiskState,
    Shadow,
    parse,
    reference_of,
)
from lossloop.judges.base import Evidence, Judge
from lossloop.judges.checks import verdicts
from lossloop.judges.comparison import Difference

Array = npt.NDArray[np.float64]
AnyJudge = Judge[Any, Any, Any]
cuts = st.lists(st.integers(0, 300), max_size=6)
seeds = st.integers(0, 2**32)
PROMISES = ("1 per 1000 outcomes", "5% ever", "5% once")
REFERENCE = reference_of(np.linspace(0.0, 0.9, 400), bound=1.0)
promises = st.sampled_from(PROMISES).map(parse)


def cut_alike(judge: AnyJudge, rows: Evidence, places: list[int]) -> None:
    """The last verdicts and the state are the same bit for bit, cut or not."""
    whole_state, whole = judge.update(judge.start(), rows)
    state, answer = judge.start(), None
    ends = [*sorted(min(place, len(rows)) for place in places), len(rows)]
    for start, end in zip([0, *ends], ends, strict=False):
        state, answer = judge.update(state, rows[start:end])
    assert state == whole_state
    for one, other in zip(verdicts(whole), verdicts(answer), strict=True):
        assert without_row(one) == without_row(other)


def without_row(verdict: Verdict) -> Verdict:
    """Where in its batch it decided is all that depends on the batch."""
    return msgspec.structs.replace(verdict, crossed_at=None)


@given(promise=promises, seed=seeds, places=cuts, risk=st.floats(0.2, 0.9))
def test_risk(promise: Promise, seed: int, places: list[int], risk: float) -> None:
    losses = np.random.default_rng(seed).beta(2.0 * risk, 2.0 * (1.0 - risk), 300)
    cut_alike(Guardrail(limit=0.5, promise=promise), losses, places)
    cut_alike(Certificate(limit=0.6, bound=1.0, promise=promise), losses, places)
    cut_alike(Regression(reference=REFERENCE, tolerance=0.01, promise=promise), losses, places)


@given(seed=seeds, places=cuts, missing=st.sampled_from(["worst_case", "same_in_both_arms"]))
def test_a_canary(seed: int, places: list[int], missing: str) -> None:
    rng = np.random.default_rng(seed)
    loss = rng.random(300)
    loss[rng.random(300) < 0.1] = np.nan
    p = rng.uniform(0.05, 0.6, 300)
    rows = Assigned(loss=loss, is_canary=rng.random(300) < p, propensity=p)
    judge = Canary(bound=1.0, roll_back_if_worse_by=0.02, promote_if_within=0.05, missing=missing)
    cut_alike(judge, rows, places)


@given(seed=seeds, places=cuts, gap=st.floats(-0.3, 0.3))
def test_a_shadow(seed: int, places: list[int], gap: float) -> None:
    rng = np.random.default_rng(seed)
    difference = np.clip(rng.normal(gap, 0.3, 300), -1.0, 1.0)
    difference[rng.random(300) < 0.1] = np.nan
    cut_alike(
        Shadow(bound=1.0, roll_back_if_worse_by=0.02, promote_if_within=0.01),
        Pairs(difference=difference),
        places,
    )


# States of an older release: log wealth only, and moments without running sums.


def old_wealth(logs: Array, count: int) -> dict[str, object]:
    packed = base64.b64encode(logs.astype("<f8").tobytes()).decode()
    return {"logs": packed, "count": count, "crossed": None, "crossed_evidence": 0.0}


def old_moments(values: Array) -> dict[str, object]:
    mean = float(values.mean())
    return {"count": len(values), "mean": mean, "deviations": float(np.square(values - mean).sum())}


def read(document: Mapping[str, object], kind: type[Record]) -> Any:
    return msgspec.json.decode(msgspec.json.encode(document), type=kind)


@pytest.mark.parametrize("words", PROMISES)
def test_a_watch_of_an_older_release_goes_on(words: str) -> None:
    losses = np.random.default_rng(3).exponential(0.5, 400)
    judge = Guardrail(limit=0.5, promise=parse(words))
    state, _ = judge.update(judge.start(), losses[:150])
    old = {
        "wealth": old_wealth(judge._engine.logs(state.wealth), 150),
        "seen": old_moments(losses[:150]),
    }
    _, one = judge.update(read(old, RiskState), losses[150:])
    _, other = judge.update(state, losses[150:])
    assert (one.kind, one.count, one.crossed_at) == (other.kind, other.count, other.crossed_at)
    assert one.evidence == pytest.approx(other.evidence, rel=1e-9)
    assert one.effect is not None
    assert other.effect is not None
    assert (one.effect.low, one.effect.high) == pytest.approx((other.effect.low, other.effect.high), rel=1e-9)


def test_a_watch_of_an_older_release_that_had_seen_nothing_begins() -> None:
    judge = Guardrail(limit=0.5, promise=parse("5% ever"))
    old = {
        "wealth": old_wealth(np.full(12, -math.inf), 0),
        "seen": {"count": 0, "mean": 0.0, "deviations": 0.0},
    }
    losses = np.random.default_rng(4).random(50)
    assert judge.update(read(old, RiskState), losses)[1] == judge.update(judge.start(), losses)[1]


def test_an_alarm_of_an_older_release_stays() -> None:
    judge = Guardrail(limit=0.5, promise=parse("5% ever"))
    wealth = {**old_wealth(np.full(12, 4.0), 90), "crossed": 88, "crossed_evidence": 3.25}
    state, verdict = judge.update(read({"wealth": wealth}, RiskState), np.zeros(500))
    assert (verdict.kind, verdict.evidence, verdict.crossed_at) == ("alarm", 3.25, None)
    assert state.wealth.crossed == 88


def test_a_rollout_of_an_older_release_goes_on() -> None:
    difference = np.random.default_rng(5).uniform(-0.4, 0.5, 300)
    judge = Shadow(bound=1.0, roll_back_if_worse_by=0.02, promote_if_within=0.01)
    state, _ = judge.update(judge.start(), Pairs(difference=difference[:100]))
    engine = judge._tests.engine
    old = {
        "roll_back": old_wealth(engine.logs(state.roll_back), 100),
        "promote": old_wealth(engine.logs(state.promote), 100),
        "least": old_moments(difference[:100]),
        "most": old_moments(difference[:100]),
    }
    _, one = judge.update(read(old, Difference), Pairs(difference=difference[100:]))
    _, other = judge.update(state, Pairs(difference=difference[100:]))
    for mine, its in zip(verdicts(one), verdicts(other), strict=True):
        assert mine.kind is its.kind
        assert mine.evidence == pytest.approx(its.evidence, rel=1e-9)
