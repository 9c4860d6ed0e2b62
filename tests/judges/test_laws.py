"""Laws of the decisions themselves: order, symmetry, scale, and the promises in simulation."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.records import Verdict, VerdictKind
from lossloop.judges import (
    Assigned,
    Canary,
    CanaryState,
    Certificate,
    Comparison,
    Difference,
    Guardrail,
    Pairs,
    Promise,
    Reference,
    Regression,
    RiskState,
    Shadow,
    block_means,
    parse,
    reference_of_blocks,
)

Array = npt.NDArray[np.float64]


def arrays(low: float, high: float) -> st.SearchStrategy[Array]:
    return st.lists(st.floats(low, high), min_size=1, max_size=40).map(np.array)


promises = st.sampled_from(["1 per 1000 outcomes", "5% ever", "5% once"]).map(parse)
SLACK = 1e-9


def guardrail(losses: Array, promise: Promise, limit: float = 0.5) -> Verdict:
    judge = Guardrail(limit=limit, promise=promise)
    return judge.update(judge.start(), losses)[1]


def certificate(losses: Array, promise: Promise, limit: float = 0.5) -> Verdict:
    judge = Certificate(limit=limit, bound=1.0, promise=promise)
    return judge.update(judge.start(), losses)[1]


def shadow(difference: Array, *, worse: float = 0.02, within: float = 0.01) -> Comparison:
    judge = Shadow(bound=1.0, roll_back_if_worse_by=worse, promote_if_within=within)
    return judge.update(judge.start(), Pairs(difference=difference))[1]


def path_of(judge: Guardrail | Certificate, losses: Array) -> list[float]:
    """The evidence after each loss, as long as nothing is decided."""
    state, path = judge.start(), []
    for row in range(len(losses)):
        state, verdict = judge.update(state, losses[row : row + 1])
        path.append(verdict.evidence)
    return path


@given(losses=arrays(0.0, 0.6), row=st.integers(0, 39), more=st.floats(0.0, 10.0), promise=promises)
def test_a_greater_loss_never_weakens_an_alarm(
    losses: Array, row: int, more: float, promise: Promise
) -> None:
    worse = losses.copy()
    worse[row % len(losses)] += more
    one, other = guardrail(losses, promise), guardrail(worse, promise)
    if one.kind is VerdictKind.ALARM:
        assert other.kind is VerdictKind.ALARM
        assert one.crossed_at is not None
        assert other.crossed_at is not None
        assert other.crossed_at <= one.crossed_at
    elif other.kind is not VerdictKind.ALARM:
        assert other.evidence >= one.evidence - SLACK


@given(losses=arrays(0.4, 1.0), row=st.integers(0, 39), promise=promises)
def test_a_greater_loss_never_strengthens_a_certificate(losses: Array, row: int, promise: Promise) -> None:
    worse = losses.copy()
    worse[row % len(losses)] = 1.0
    one, other = certificate(losses, promise), certificate(worse, promise)
    if one.kind is VerdictKind.INCONCLUSIVE:
        assert other.kind is VerdictKind.INCONCLUSIVE
        assert other.evidence <= one.evidence + SLACK


@given(losses=arrays(0.0, 1.0), promise=promises)
def test_a_tighter_limit_alarms_no_later(losses: Array, promise: Promise) -> None:
    loose, tight = guardrail(losses, promise, 0.6), guardrail(losses, promise, 0.3)
    if loose.crossed_at is not None:
        assert tight.crossed_at is not None
        assert tight.crossed_at <= loose.crossed_at


@given(losses=arrays(0.0, 1.0), promise=promises)
def test_a_certificate_is_a_guardrail_upside_down(losses: Array, promise: Promise) -> None:
    high, low = certificate(losses, promise, 0.25), guardrail(1.0 - losses, promise, 0.75)
    assert high.evidence == pytest.approx(low.evidence, abs=1e-6)
    assert (high.count, high.crossed_at) == (low.count, low.crossed_at)


@given(losses=arrays(0.0, 1.0), scale=st.floats(1e-3, 1e3), promise=promises)
def test_the_unit_of_a_loss_does_not_matter(losses: Array, scale: float, promise: Promise) -> None:
    plain = guardrail(losses, promise)
    judge = Guardrail(limit=0.5 * scale, promise=promise)
    scaled = judge.update(judge.start(), losses * scale)[1]
    assert scaled.evidence == pytest.approx(plain.evidence, rel=1e-6, abs=1e-6)


@given(difference=arrays(-1.0, 1.0))
def test_swapping_the_arms_swaps_the_questions(difference: Array) -> None:
    """ "Worse by more than .1" is, seen from the other arm, "better by more than .1"."""
    there = shadow(difference, worse=0.1, within=-0.1)
    back = shadow(-difference, worse=0.1, within=-0.1)
    assert there.roll_back.evidence == pytest.approx(back.promote.evidence, abs=SLACK)
    assert there.promote.evidence == pytest.approx(back.roll_back.evidence, abs=SLACK)
    one, other = there.verdict.effect, back.verdict.effect
    if one is not None:
        assert other is not None
        assert (one.estimate, one.low) == pytest.approx((-other.estimate, -other.high), abs=SLACK)


@given(
    rows=st.lists(
        st.tuples(st.floats(0.0, 1.0), st.booleans(), st.floats(0.05, 0.95)), min_size=1, max_size=40
    )
)
def test_exchanging_the_arms_of_a_canary_swaps_the_questions(rows: list[tuple[float, bool, float]]) -> None:
    loss, is_canary, p = (np.array(column) for column in zip(*rows, strict=True))
    judge = Canary(bound=1.0, roll_back_if_worse_by=0.1, promote_if_within=-0.1)
    there = judge.update(judge.start(), Assigned(loss=loss, is_canary=is_canary, propensity=p))[1]
    back = judge.update(judge.start(), Assigned(loss=loss, is_canary=~is_canary, propensity=1.0 - p))[1]
    for one, other in ((there.roll_back, back.promote), (there.promote, back.roll_back)):
        assert one.evidence == pytest.approx(other.evidence, abs=1e-6)
        assert one.crossed_at == other.crossed_at


@given(difference=arrays(-0.05, 0.05), more=st.floats(0.0, 0.9))
def test_a_worse_challenger_is_no_easier_to_promote(difference: Array, more: float) -> None:
    one, other = shadow(difference), shadow(difference + more)
    if one.promote.kind is VerdictKind.INCONCLUSIVE:
        assert other.promote.kind is VerdictKind.INCONCLUSIVE
        assert other.promote.evidence <= one.promote.evidence + SLACK
    if one.roll_back.kind is VerdictKind.INCONCLUSIVE is other.roll_back.kind:
        assert other.roll_back.evidence >= one.roll_back.evidence - SLACK


@given(losses=arrays(0.0, 1.0), seed=st.integers(0, 100))
def test_once_does_not_depend_on_the_order(losses: Array, seed: int) -> None:
    """With all stakes placed at the first outcome, only the set of outcomes counts."""
    shuffled = np.random.default_rng(seed).permutation(losses)
    judge = Guardrail(limit=0.9, promise=parse("0.000001% once"))
    one, other = path_of(judge, losses)[-1], path_of(judge, shuffled)[-1]
    assert one == pytest.approx(other, abs=1e-9)


@pytest.mark.parametrize("promise", ["10% ever", "10% once"])
def test_a_chance_is_kept_by_judges_of_one_version(promise: str) -> None:
    rng = np.random.default_rng(0)
    wrong = {"alarm": 0, "certified": 0}
    for _ in range(200):
        losses = rng.beta(0.3, 0.7, 1500)
        wrong["alarm"] += guardrail(losses, parse(promise), 0.3).kind is VerdictKind.ALARM
        wrong["certified"] += certificate(losses, parse(promise), 0.3).kind is VerdictKind.HEALTHY
    for count in wrong.values():
        assert count / 200 <= 0.1 + 3 * np.sqrt(0.09 / 200)


def test_a_canary_keeps_its_error_while_season_and_split_change_together() -> None:
    """Statistics.md section 3: a pooled comparison falsely rolled back 96% here (Simpson), the bets 2.2%."""
    rng = np.random.default_rng(1)
    judge = Canary(bound=1.0, roll_back_if_worse_by=0.0, promote_if_within=0.02)
    rows, rolled_back, pooled_worse = 3000, 0, 0
    season = 0.5 + 0.4 * np.sin(np.arange(rows) * 2 * np.pi / 500)
    p = np.clip(season, 0.1, 0.9)
    for _ in range(60):
        is_canary = rng.random(rows) < p
        loss = (rng.random(rows) < season).astype(np.float64)
        answer = judge.update(judge.start(), Assigned(loss=loss, is_canary=is_canary, propensity=p))[1]
        rolled_back += answer.roll_back.kind is VerdictKind.ALARM
        pooled_worse += float(loss[is_canary].mean() - loss[~is_canary].mean()) > 0.05
    assert pooled_worse == 60
    assert rolled_back <= 8


def test_the_story_of_a_winter_s_model() -> None:
    """Dependent rows: no alarm in spring, an alarm once it is summer, quiet after a restart."""
    rng = np.random.default_rng(2)

    def days(mean: float, count: int) -> Array:
        shocks = np.repeat(rng.normal(mean, 0.08, count), 200)
        rows = np.clip(shocks + rng.normal(0.0, 0.2, len(shocks)), 0.0, 5.0)
        return block_means(rows, np.repeat(np.arange(count), 200)).mean

    judge = Regression(
        reference=reference_of_blocks(days(0.5, 59)), tolerance=0.02, promise=parse("1 per 3650 blocks")
    )
    state, spring = judge.update(judge.start(), days(0.5, 90))
    assert spring.kind is VerdictKind.HEALTHY
    kinds = []
    for _ in range(60):
        state, verdict = judge.update(state, days(0.75, 1))
        kinds.append(verdict.kind)
    first = kinds.index(VerdictKind.ALARM)
    assert 2 < first < 45
    assert set(kinds[first:]) == {VerdictKind.ALARM}
    _, after = judge.update(judge.start(), days(0.5, 5))
    assert after.kind is VerdictKind.HEALTHY
    assert after.count == 5


@pytest.mark.parametrize(
    "record",
    [RiskState, CanaryState, Difference, Comparison, Reference, Promise],
    ids=lambda cls: cls.__name__,
)
def test_records_refuse_fields_they_do_not_have(record: type[msgspec.Struct]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"surprise": 1}', type=record)
