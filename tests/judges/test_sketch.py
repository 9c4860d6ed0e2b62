"""Judging from a digest alone: never more evidence than its losses give, however digests were merged."""

from __future__ import annotations

import math
from functools import reduce

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import InputError
from lossloop.core.records import Verdict, VerdictKind
from lossloop.judges import Certificate, Guardrail, Promise, Regression, RiskState, parse, reference_of
from lossloop.summaries import Digest, Scale

Array = npt.NDArray[np.float64]
Judge = Guardrail | Certificate | Regression
promises = st.sampled_from(["1 per 1000 outcomes", "5% ever", "5% once"]).map(parse)
BOUND = 4.0
losses = st.lists(st.floats(0.0, BOUND), max_size=40).map(lambda values: np.array(values, dtype=np.float64))
parts = st.lists(losses, min_size=1, max_size=5)
scales = st.sampled_from(
    [Scale(bound=BOUND), Scale(bound=BOUND, floor=-1.0), Scale(unit=0.5), Scale(unit=30.0)]
)
EMPTY = Digest(scale=Scale(bound=BOUND))


def alarm(promise: Promise) -> Guardrail:
    return Guardrail(limit=0.5, promise=promise, floor=-1.0)


def low(promise: Promise) -> Certificate:
    return Certificate(limit=0.9, bound=BOUND, promise=promise)


def judged(judge: Judge, digest: Digest) -> Verdict:
    return judge.update_sketch(judge.start(), digest)[1]


@given(promise=promises, values=losses, scale=scales)
def test_a_digest_of_one_time_gives_no_more_than_its_losses(
    promise: Promise, values: Array, scale: Scale
) -> None:
    """With all restart mass at the block's start, as `once` has it, or a block of one."""
    once = parse("5% once")
    for judge in (alarm(once), low(once)) if scale.bound else (alarm(once),):
        exact = judge.update(judge.start(), values)[1]
        rough = judged(judge, Digest(scale=scale).add(values))
        assert rough.count == exact.count
        if exact.crossed_at is None:
            assert rough.evidence <= exact.evidence + 1e-9
            assert rough.crossed_at is None
    guard = alarm(promise)
    state = exact_state = guard.start()
    for value in values:
        one = np.array([value])
        state, rough = guard.update_sketch(state, Digest(scale=scale).add(one))
        exact_state, exact = guard.update(exact_state, one)
        if exact.crossed_at is not None:
            break
        assert rough.evidence <= exact.evidence + 1e-9
        assert rough.kind is exact.kind


@given(promise=promises, pieces=parts, order=st.permutations(range(5)))
def test_merging_in_any_order_gives_the_same_verdict(
    promise: Promise, pieces: list[Array], order: list[int]
) -> None:
    digests = [EMPTY.add(piece) for piece in pieces]
    whole = EMPTY.add(np.concatenate(pieces))
    shuffled = [digests[place] for place in order if place < len(digests)]
    left = reduce(Digest.merge, shuffled, EMPTY)
    right = reduce(lambda one, other: other.merge(one), shuffled, EMPTY)
    for judge in (alarm(promise), low(promise)):
        one = judged(judge, whole)
        for merged in (left, right):
            other = judged(judge, merged)
            assert (one.kind, one.count, one.crossed_at) == (other.kind, other.count, other.crossed_at)
            assert one.evidence == pytest.approx(other.evidence, rel=1e-9, abs=1e-9)


@given(promise=promises, pieces=parts, more=parts)
def test_what_follows_changes_no_verdict_before(
    promise: Promise, pieces: list[Array], more: list[Array]
) -> None:
    def path(blocks: list[Array]) -> list[Verdict]:
        judge, found = alarm(promise), []
        state = judge.start()
        for block in blocks:
            state, verdict = judge.update_sketch(state, EMPTY.add(block))
            found.append(verdict)
        return found

    assert path(pieces + more)[: len(pieces)] == path(pieces)


@given(promise=promises, values=losses)
def test_low_risk_mirrors_high_risk(promise: Promise, values: Array) -> None:
    certified = judged(low(promise), EMPTY.add(values))
    mirror = Guardrail(limit=BOUND - 0.9, promise=promise)
    mirrored = judged(mirror, EMPTY.add(BOUND - values))
    assert certified.evidence == pytest.approx(mirrored.evidence, rel=1e-9, abs=1e-9)
    assert certified.crossed_at == mirrored.crossed_at


def test_zeros_and_ones_lose_nothing() -> None:
    """Both are knots: the sketch is the losses."""
    values = (np.random.default_rng(0).random(5000) < 0.1).astype(np.float64)
    judge = Guardrail(limit=0.1, promise=parse("5% once"))
    exact = judge.update(judge.start(), values)[1]
    rough = judged(judge, Digest(scale=Scale(bound=1.0)).add(values))
    assert rough.evidence == pytest.approx(exact.evidence, rel=1e-9)
    assert rough.effect is not None
    assert exact.effect is not None
    assert rough.effect.high == pytest.approx(exact.effect.high, rel=1e-9)


def test_a_regression_is_judged_by_digests_too() -> None:
    rng = np.random.default_rng(1)
    reference = reference_of(rng.beta(1, 9, 3000), bound=1.0)
    judge = Regression(reference=reference, tolerance=0.02, promise=parse("1 per 100000 outcomes"))
    empty, state = Digest(scale=Scale(unit=judge.limit)), judge.start()
    for _ in range(20):
        state, verdict = judge.update_sketch(state, empty.add(rng.beta(1, 9, 500)))
    assert verdict.kind is VerdictKind.HEALTHY
    assert "reference" in verdict.reason
    worse = []
    for _ in range(10):
        state, verdict = judge.update_sketch(state, empty.add(rng.beta(2, 8, 100)))
        worse.append((verdict.kind, verdict.crossed_at))
    assert (VerdictKind.ALARM, 99) in worse
    assert worse[-1] == (VerdictKind.ALARM, None)


def test_no_digest_is_no_data() -> None:
    verdict = judged(alarm(parse("5% ever")), EMPTY)
    assert (verdict.kind, verdict.evidence, verdict.effect) == (VerdictKind.NO_DATA, 0.0, None)


def test_a_scale_beyond_the_judge_s_range_is_refused() -> None:
    with pytest.raises(InputError, match=r"knot .* lies outside \[-inf, 4\].*scale"):
        judged(low(parse("5% once")), Digest(scale=Scale(bound=5.0)))
    with pytest.raises(InputError, match="knot"):
        judged(low(parse("5% once")), Digest())
    guard = Guardrail(limit=0.5, promise=parse("5% once"))
    with pytest.raises(InputError, match="knot"):
        judged(guard, Digest(scale=Scale(floor=-1.0)))


def test_losses_of_any_size_leave_a_state_that_json_holds() -> None:
    guard = Guardrail(limit=0.5, promise=parse("5% once"))
    huge = np.array([0.1, 1e200, 1e300, 0.2, 3.0, 1e250])
    for state, verdict in (
        guard.update(guard.start(), huge),
        guard.update_sketch(guard.start(), Digest().add(huge)),
    ):
        assert math.isfinite(verdict.evidence)
        assert msgspec.json.decode(msgspec.json.encode(state), type=RiskState) == state
        assert msgspec.json.decode(msgspec.json.encode(verdict), type=Verdict) == verdict


@given(values=losses, more=st.floats(0.0, BOUND), row=st.integers(0, 39))
def test_a_greater_loss_never_weakens_an_alarm(values: Array, more: float, row: int) -> None:
    """To rounding: a sketch's bets rise with the value, as its weight moves to higher knots."""
    if not len(values):
        return
    worse = values.copy()
    worse[row % len(values)] = max(worse[row % len(values)], more)
    judge = alarm(parse("5% once"))
    one, other = judged(judge, EMPTY.add(values)), judged(judge, EMPTY.add(worse))
    assert other.evidence >= one.evidence - 1e-9
    certified, doubted = (
        judged(low(parse("5% once")), EMPTY.add(values)),
        judged(low(parse("5% once")), EMPTY.add(worse)),
    )
    assert doubted.evidence <= certified.evidence + 1e-9


@given(values=losses, unit=st.floats(1e-3, 1e3))
def test_the_unit_of_a_loss_does_not_matter(values: Array, unit: float) -> None:
    promise = parse("1 per 1000 outcomes")
    plain = judged(Guardrail(limit=0.5, promise=promise), Digest(scale=Scale(unit=0.5)).add(values))
    scaled = judged(
        Guardrail(limit=0.5 * unit, promise=promise),
        Digest(scale=Scale(unit=0.5 * unit)).add(values * unit),
    )
    assert scaled.evidence == pytest.approx(plain.evidence, rel=1e-6, abs=1e-6)


@given(kept=losses, wrong=losses, right=losses)
def test_a_corrected_digest_is_judged_as_if_it_had_been_right(
    kept: Array, wrong: Array, right: Array
) -> None:
    corrected = EMPTY.add(kept).merge(EMPTY.add(wrong)).minus(EMPTY.add(wrong)).merge(EMPTY.add(right))
    straight = EMPTY.add(np.concatenate((kept, right)))
    judge = alarm(parse("5% ever"))
    one, other = judged(judge, corrected), judged(judge, straight)
    assert one.count == other.count
    assert one.evidence == pytest.approx(other.evidence, rel=1e-7, abs=1e-7)


def test_digests_and_rows_may_alternate() -> None:
    judge = Guardrail(limit=0.5, promise=parse("1 per 100000 outcomes"))
    rng, state = np.random.default_rng(2), judge.start()
    for _ in range(5):
        state, _ = judge.update_sketch(state, Digest().add(rng.exponential(0.4, 200)))
        state, verdict = judge.update(state, rng.exponential(0.4, 50))
    assert (verdict.kind, verdict.count) == (VerdictKind.HEALTHY, 1250)
    assert verdict.effect is not None
    assert verdict.effect.estimate == pytest.approx(0.4, abs=0.06)
