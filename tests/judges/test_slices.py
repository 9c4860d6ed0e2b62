"""Many slices: which of them alarm, what is promised of that, and what is no health."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import InputError
from lossloop.core.records import VerdictKind
from lossloop.judges import (
    Engine,
    Mode,
    Promise,
    SliceFinding,
    SliceLosses,
    Slices,
    SliceState,
    parse,
    reference_of,
    reference_of_blocks,
)
from lossloop.judges.sliced import RESERVE

Array = npt.NDArray[np.float64]

AMONG = parse("5% false among alarms")
BY_ROWS = parse("5% false among alarms over outcomes")


def table(means: Array, names: Sequence[str] | None = None, labelled: int = 10) -> SliceLosses:
    """Losses of every slice in every moment, shape (t, s); NaN where a slice has no rows."""
    moment, place = np.nonzero(~np.isnan(means))
    rows = np.full(len(place), 10)
    return SliceLosses(
        names=tuple(names or (f"s={number}" for number in range(means.shape[1]))),
        moment=moment, place=place, loss=means[moment, place], rows=rows,
        labelled=np.full(len(place), labelled), total=np.full(len(means), 10 * means.shape[1]),
    )  # fmt: skip


def drawn(seed: int, moments: int, slices: int, *, bad: int = 0, rise: float = 0.1) -> Array:
    """Block means about .1 that vary by .03; of the first `bad` slices higher."""
    means = np.random.default_rng(seed).normal(0.1, 0.03, (moments, slices))
    means[:, :bad] += rise
    return np.clip(means, 0.0, 1.0)


def judged(judge: Slices, *evidence: SliceLosses) -> SliceState:
    state = judge.start()
    for each in evidence:
        state, _ = judge.update(state, each)
    return state


def alarms(judge: Slices, state: SliceState) -> set[str]:
    return {each.slice for each in judge.findings(state) if each.kind is VerdictKind.ALARM}


def found(judge: Slices, state: SliceState) -> dict[str, SliceFinding]:
    return {each.slice: each for each in judge.findings(state)}


# What alarms.


@pytest.mark.parametrize("words", ["5% false among alarms", "5% false among alarms over outcomes", "5% ever"])
def test_the_bad_slices_are_named_worst_first(words: str) -> None:
    means = drawn(0, 60, 19, bad=2)
    means[:, 1] += 0.2
    judge = Slices(limit=0.15, promise=parse(words))
    state, verdict = judge.update(judge.start(), table(means))
    assert verdict.kind is VerdictKind.ALARM
    assert verdict.reason.startswith("2 of 19 slices alarm: s=1 (mean 0.")
    assert "; alarmed first at number" in verdict.reason
    assert [each.slice for each in judge.findings(state)][:2] == ["s=1", "s=0"]
    assert alarms(judge, state) == {"s=0", "s=1"}
    worst = judge.findings(state)[0]
    assert worst.mean == pytest.approx(0.4, abs=0.02)
    assert worst.effect is not None
    assert worst.effect.estimate == pytest.approx(0.25, abs=0.02)
    assert (worst.count, worst.rows, worst.missing) == (60, 600, 0.0)
    assert worst.share == pytest.approx(1 / 19)


def test_healthy_slices_are_quiet_and_say_which_comes_nearest() -> None:
    judge = Slices(limit=0.15, promise=AMONG)
    _, verdict = judge.update(judge.start(), table(drawn(0, 60, 19)))
    assert verdict.kind is VerdictKind.HEALTHY
    assert verdict.reason.startswith("none of 19 slices alarms: evidence 0.")
    assert verdict.evidence < verdict.threshold == pytest.approx(math.log(20))


def test_a_slice_has_the_wealth_of_an_engine_of_its_own() -> None:
    """And alarms alone at S/.9 over q, as e-BH has it."""
    losses = drawn(3, 40, 1, bad=1)[:, 0]
    means = np.full((40, 10), 0.1)
    means[:, 4] = losses
    for promise in (AMONG, BY_ROWS):
        judge = Slices(limit=0.15, promise=promise)
        mine = found(judge, judged(judge, table(means)))["s=4"]
        engine = Engine(Promise(mode=Mode.LIFE, threshold=1e300))
        wealth, _ = engine.update(engine.start(), losses / 0.15)
        assert mine.evidence == pytest.approx(engine.evidence(wealth), rel=1e-9)
        assert mine.needs == pytest.approx(math.log(10 / (1.0 - RESERVE) / 0.05))


def test_several_that_alarm_together_need_less_each() -> None:
    """The largest k with e_(k) >= S / (k q): alone none of them would alarm."""
    judge = Slices(limit=0.15, promise=AMONG)
    for moments in range(20, 60):
        together = judged(judge, table(drawn(0, moments, 20, bad=20)))
        if alarms(judge, together):
            break
    one = found(judge, together)
    assert any(
        each.kind is VerdictKind.ALARM and each.evidence < each.needs
        for each in one.values()
        if each.evidence
    )


def test_a_verdict_stays_and_says_what_stands_now() -> None:
    means = drawn(0, 400, 5, bad=1, rise=0.15)
    means[40:, 0] = 0.02
    judge = Slices(limit=0.15, promise=AMONG)
    state, verdict = judge.update(judge.start(), table(means))
    assert verdict.kind is VerdictKind.ALARM
    assert verdict.reason.startswith("0 of 5 slices alarm: none now; alarmed first at number")
    assert alarms(judge, state) == set()
    assert {name for name, each in found(judge, state).items() if each.first} == {"s=0"}


# Each slice's own limit.


def test_a_slice_is_measured_against_its_own_reference() -> None:
    own = reference_of_blocks(np.linspace(0.35, 0.45, 30))
    judge = Slices(
        reference=reference_of_blocks(np.linspace(0.05, 0.15, 30)), references={"s=0": own}, tolerance=0.02,
        promise=AMONG,
    )  # fmt: skip
    means = drawn(0, 60, 3)
    means[:, 0] += 0.3
    state = judged(judge, table(means))
    assert alarms(judge, state) == set()
    effect = found(judge, state)["s=0"].effect
    assert effect is not None
    assert effect.estimate == pytest.approx(0.0, abs=0.02)
    bare = Slices(reference=judge.reference, tolerance=0.02, promise=AMONG)
    assert alarms(bare, judged(bare, table(means))) == {"s=0"}


@pytest.mark.parametrize("promise", ["1 per 3650 blocks", "1 per 1000 outcomes", "5% once"])
def test_a_rate_is_refused_with_the_reason(promise: str) -> None:
    with pytest.raises(
        InputError, match=r"cannot be promised of slices: .*arXiv 2501\.04130.*false among alarms"
    ):
        Slices(limit=0.5, promise=parse(promise))


def test_slices_need_a_limit_or_a_reference() -> None:
    with pytest.raises(InputError, match="either a limit or a reference"):
        Slices(promise=AMONG)
    with pytest.raises(InputError, match="either a limit or a reference"):
        Slices(limit=0.5, reference=reference_of(np.array([0.5]), bound=1.0), promise=AMONG)
    with pytest.raises(InputError, match="must be above floor"):
        Slices(limit=0.5, floor=0.5, promise=AMONG)


# What is no alarm and no pass.


def test_one_row_a_constant_loss_and_no_labels_are_no_health() -> None:
    means = drawn(0, 30, 4)
    means[1:, 0] = math.nan
    means[:, 1] = 0.1
    judge = Slices(limit=0.15, promise=AMONG)
    evidence = table(means)
    evidence.labelled[evidence.place == 2] = 0
    kinds = {name: each.kind for name, each in found(judge, judged(judge, evidence)).items()}
    assert kinds == {
        "s=0": VerdictKind.INCONCLUSIVE, "s=1": VerdictKind.INCONCLUSIVE, "s=2": VerdictKind.NO_DATA,
        "s=3": VerdictKind.HEALTHY,
    }  # fmt: skip


def test_without_any_label_the_watch_has_no_data() -> None:
    judge = Slices(limit=0.15, promise=AMONG)
    _, verdict = judge.update(judge.start(), table(np.zeros((9, 3)), labelled=0))
    assert verdict.kind is VerdictKind.NO_DATA


@pytest.mark.parametrize("promise", [AMONG, BY_ROWS])
def test_moments_without_any_slice_count_and_say_nothing(promise: Promise) -> None:
    judge = Slices(limit=0.15, promise=promise)
    state, verdict = judge.update(judge.start(), table(np.full((3, 2), math.nan)))
    assert (verdict.kind, verdict.count, verdict.evidence) == (VerdictKind.NO_DATA, 3, 0.0)
    assert [each.evidence for each in judge.findings(state)] == [None, None]
    none = dict.fromkeys(("moment", "place", "rows", "labelled"), np.zeros(0, np.int64))
    nothing = SliceLosses(names=(), loss=np.zeros(0), total=np.ones(2, np.int64), **none)
    _, verdict = judge.update(judge.start(), nothing)
    assert (verdict.kind, verdict.count) == (VerdictKind.NO_DATA, 2)


@pytest.mark.parametrize(
    "change",
    [
        {"place": np.array([0, 2])}, {"place": np.array([-1, 0])}, {"moment": np.array([1, 0])},
        {"moment": np.array([0, 2])}, {"loss": np.zeros(3)}, {"names": ("a", "a")},
    ],
)  # fmt: skip
def test_evidence_of_the_wrong_shape_is_refused(change: dict[str, Array]) -> None:
    two = np.arange(2)
    right = dict.fromkeys(("moment", "place", "loss", "rows", "labelled", "total"), two)
    with pytest.raises(InputError):
        SliceLosses(**{**right, "names": ("a", "b"), **change})  # type: ignore[arg-type]


# Slices that come later.


def test_the_shares_of_all_slices_that_may_come_add_up_to_one() -> None:
    judge = Slices(limit=0.15, promise=AMONG)
    state = judge.start()
    for number in range(1, 40):
        state, _ = judge.update(state, table(np.full((1, number), 0.1)))
    shares = [math.exp(-each.needs) / 0.05 for each in judge.findings(state)]
    assert sum(shares) < 1.0
    assert found(judge, state)["s=0"].needs == pytest.approx(math.log(20 / 0.9))
    assert found(judge, state)["s=1"].needs == pytest.approx(math.log(20 / 0.05))


def test_a_slice_keeps_what_it_needs_whoever_comes() -> None:
    judge = Slices(limit=0.15, promise=AMONG)
    one = judged(judge, table(drawn(0, 30, 4)))
    other, _ = judge.update(one, table(drawn(1, 1, 50)))
    for name, each in found(judge, one).items():
        assert found(judge, other)[name].needs == each.needs


def test_slices_that_come_one_by_one_do_not_spend_the_promise_again() -> None:
    """Each is healthy at its limit; with S counting those so far, 3 to 4 times as many runs would alarm."""
    rng, wrong, runs = np.random.default_rng(1), 0, 60
    for _ in range(runs):
        judge = Slices(limit=0.1, promise=parse("20% false among alarms"))
        state = judge.start()
        for number in range(1, 31):
            state, verdict = judge.update(state, table((rng.random((15, number)) < 0.1).astype(float)))
        wrong += verdict.kind is VerdictKind.ALARM
    assert wrong / runs <= 0.2


# Laws.


@given(seed=st.integers(0, 2**32 - 1), promise=st.sampled_from([AMONG, BY_ROWS, parse("5% ever")]))
def test_in_which_order_slices_stand_is_irrelevant(seed: int, promise: Promise) -> None:
    rng = np.random.default_rng(seed)
    means = drawn(seed, 25, 6, bad=2)
    means[rng.random(means.shape) < 0.3] = math.nan
    order = rng.permutation(6)
    judge = Slices(limit=0.15, promise=promise)
    names = [f"s={number}" for number in range(6)]
    one, first = judge.update(judge.start(), table(means, names))
    other, again = judge.update(judge.start(), table(means[:, order], [names[place] for place in order]))
    assert found(judge, one) == found(judge, other)
    assert (first.kind, first.evidence, first.crossed_at) == (again.kind, again.evidence, again.crossed_at)


@given(
    seed=st.integers(0, 2**32 - 1),
    cuts=st.lists(st.integers(0, 40), max_size=5),
    promise=st.sampled_from([AMONG, BY_ROWS]),
)
def test_however_moments_are_cut_the_state_is_the_same_to_the_bit(
    seed: int, cuts: list[int], promise: Promise
) -> None:
    evidence = table(drawn(seed, 40, 5, bad=1, rise=0.2))
    judge = Slices(limit=0.15, promise=promise)
    ends = sorted({0, 40, *cuts})
    pieces = [evidence[low:high] for low, high in pairwise(ends)]
    assert judged(judge, *pieces) == judged(judge, evidence)


@given(seed=st.integers(0, 2**32 - 1), more=st.floats(0.0, 0.3))
def test_a_worse_slice_never_has_less_evidence(seed: int, more: float) -> None:
    means = drawn(seed, 25, 4)
    judge = Slices(limit=0.15, promise=AMONG)
    before = found(judge, judged(judge, table(means)))["s=0"].evidence
    means[:, 0] += more
    after = found(judge, judged(judge, table(means)))["s=0"].evidence
    assert before is not None
    assert after is not None
    assert after >= before - 1e-9


def test_a_long_healthy_life_underflows_nothing() -> None:
    judge = Slices(limit=0.5, promise=AMONG)
    state = judge.start()
    for _ in range(3):
        state, verdict = judge.update(state, table(np.zeros((2000, 3))))
    assert all(each.evidence is not None and math.isfinite(each.evidence) for each in judge.findings(state))
    state, verdict = judge.update(state, table(np.full((40, 3), 1.0)))
    assert verdict.kind is VerdictKind.ALARM, "a long healthy life leaves enough to bet with"


def test_a_thousand_slices_are_kept_in_a_few_hundred_kilobytes() -> None:
    judge = Slices(limit=0.15, promise=AMONG)
    assert len(judged(judge, table(drawn(0, 2, 1000))).packed) < 200_000
    rows = Slices(limit=0.15, promise=BY_ROWS)
    assert len(judged(rows, table(drawn(0, 2, 1000))).packed) < 400_000
