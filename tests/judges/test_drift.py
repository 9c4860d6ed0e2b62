"""Drift by rows and by blocks: what they see, say, promise and refuse."""

from __future__ import annotations

import math
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossloop.core.errors import InputError
from lossloop.core.profile import Profile
from lossloop.core.records import Verdict, VerdictKind
from lossloop.judges import Averages, BlockDrift, Domain, Drift, DriftState, parse, profile_of
from tests.judges.references import averages, binned, block_means, columns, reference

PROFILE = reference()
PROMISE = parse("1 per 100,000 outcomes")
BLOCKS = parse("1 per 3650 blocks")


def by_rows(profile: Profile = PROFILE, *, promise: str = PROMISE.words, joint: bool = False) -> Drift:
    domain = Domain.of(profile, profile.features) if joint else None
    return Drift(features=profile.features, tolerance=0.02, promise=parse(promise), joint=domain)


def judged(judge: Drift, seed: int, healthy: int, moved: int, **change: float) -> tuple[DriftState, Verdict]:
    """The state and the verdict after healthy rows and then rows that have changed."""
    rng = np.random.default_rng(seed)
    state, _ = judge.update(judge.start(), binned(PROFILE, columns(rng, healthy)))
    return judge.update(state, binned(PROFILE, columns(rng, moved, **change)))


def test_healthy_rows_raise_no_alarm() -> None:
    _, verdict = judged(by_rows(), 1, 10_000, 10_000)
    assert verdict.kind is VerdictKind.HEALTHY
    assert verdict.count == 20_000
    assert "moves by less than 0.05" in verdict.assumption
    assert " of 100,000; most: " in verdict.reason


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shift": 0.4}, "age: mean rank rose"),
        ({"shift": -0.4}, "age: mean rank fell"),
        ({"spread": 1.5}, "age: spread widened"),
        ({"spread": 0.6}, "age: spread narrowed"),
    ],
)
def test_a_change_is_seen_and_named_with_its_direction(change: dict[str, float], words: str) -> None:
    state, verdict = judged(by_rows(), 2, 2000, 2000, **change)
    assert verdict.kind is VerdictKind.ALARM
    assert verdict.crossed_at is not None
    assert verdict.crossed_at < 1200
    assert state.moved in verdict.reason
    assert words in verdict.reason
    assert "size" not in verdict.reason
    evidence = by_rows().by_feature(state)
    assert max(evidence, key=lambda name: evidence[name]) == "age"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["ant"] * 6 + ["bee"] * 2 + ["cat", "dog"], "kind: share of 'ant' rose"),
        (["ant"] * 4 + ["bee"] * 3 + ["cat"] * 2 + ["eel"], "kind: share of unseen values rose"),
        (["ant"] * 4 + ["bee"] * 3 + ["cat"] * 2 + [None], "kind: more missing values"),
    ],
)
def test_categories_are_watched_by_their_shares(values: list[str | None], words: str) -> None:
    judge = by_rows()
    rng = np.random.default_rng(3)
    found = columns(rng, 2000)
    found["kind"] = rng.permutation(np.array(values * 200, dtype=object))
    _, verdict = judge.update(judge.start(), binned(PROFILE, found))
    assert verdict.kind is VerdictKind.ALARM
    assert words in verdict.reason


def test_only_a_joint_watch_sees_a_joint_change() -> None:
    _, alone = judged(by_rows(), 4, 2000, 5000, joined=0.7)
    assert alone.kind is VerdictKind.HEALTHY
    _, verdict = judged(by_rows(joint=True), 4, 2000, 5000, joined=0.7)
    assert verdict.kind is VerdictKind.ALARM
    assert "features go together differently" in verdict.reason


def test_a_joint_watch_is_quiet_on_healthy_rows() -> None:
    for seed in range(4):
        _, verdict = judged(by_rows(joint=True, promise="1 per 20,000 outcomes"), seed, 3000, 3000)
        assert verdict.kind is VerdictKind.HEALTHY


def test_a_drift_within_the_tolerance_is_none() -> None:
    judge = Drift(features=PROFILE.features, tolerance=0.2, promise=PROMISE)
    rng = np.random.default_rng(5)
    _, verdict = judge.update(judge.start(), binned(PROFILE, columns(rng, 20_000, shift=0.4)))
    assert verdict.kind is VerdictKind.HEALTHY


def test_blocks_are_judged_where_rows_share_a_day() -> None:
    """Each day moves all its rows: rows are refused, blocks keep their promise and see a lasting change."""
    rng = np.random.default_rng(6)

    def days(count: int, shift: float = 0.0) -> dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]]:
        shocks = np.repeat(rng.normal(shift, 0.5, count), 100)
        return {"x": shocks + rng.normal(size=100 * count)}

    profile = profile_of(days(60), blocks=np.repeat(np.arange(60), 100))
    with pytest.raises(InputError, match=r"design effect of 'x' .* per blocks"):
        Drift(features=profile.features, tolerance=0.02, promise=PROMISE)
    judge = BlockDrift(features=profile.features, tolerance=0.02, promise=BLOCKS, usual=100)
    state, verdict = judge.update(judge.start(), block_means(profile, days(200), 200))
    assert verdict.kind is VerdictKind.HEALTHY
    assert "approximately" in verdict.assumption
    _, verdict = judge.update(state, block_means(profile, days(60, 1.5), 60))
    assert verdict.kind is VerdictKind.ALARM
    assert verdict.crossed_at is not None
    assert verdict.crossed_at < 20
    assert "x: more high values" in verdict.reason


def test_blocks_that_move_within_the_tolerance_do_not_alarm() -> None:
    rng = np.random.default_rng(12)
    means = block_means(PROFILE, columns(rng, 30_000, shift=0.3), 300)
    for tolerance, kind in ((0.1, VerdictKind.HEALTHY), (0.02, VerdictKind.ALARM)):
        judge = BlockDrift(features=PROFILE.features, tolerance=tolerance, promise=BLOCKS, usual=100)
        assert judge.update(judge.start(), means)[1].kind is kind


@pytest.mark.parametrize("rows", [1, 10, 500])
def test_days_of_few_rows_vary_more_and_raise_no_alarm(rows: int) -> None:
    """A tenth of the reference's rows a day had alarmed within months, though nothing had moved."""
    judge = BlockDrift(features=PROFILE.features, tolerance=0.02, promise=BLOCKS, usual=100)
    rng = np.random.default_rng(13)
    state, verdict = judge.update(judge.start(), block_means(PROFILE, columns(rng, 200 * rows), 200))
    assert verdict.kind is VerdictKind.HEALTHY
    _, verdict = judge.update(state, block_means(PROFILE, columns(rng, 150 * rows, shift=1.5), 150))
    assert verdict.kind is (VerdictKind.ALARM if rows > 1 else VerdictKind.HEALTHY)


@given(rows=st.integers(1, 300), fewer=st.integers(1, 300), seed=st.integers(0, 99))
def test_the_same_means_of_fewer_rows_say_no_more(rows: int, fewer: int, seed: int) -> None:
    judge = BlockDrift(features=PROFILE.features, tolerance=0.02, promise=BLOCKS, usual=100)
    means = block_means(PROFILE, columns(np.random.default_rng(seed), 200, shift=0.5), 20).mean
    many, few = (
        judge.update(judge.start(), averages(means, count))[0]
        for count in (max(rows, fewer), min(rows, fewer))
    )
    assert (np.frombuffer(few.logs) <= np.frombuffer(many.logs) + 1e-9).all()


@pytest.mark.parametrize("usual", [0.0, -1.0, math.nan, math.inf])
def test_a_reference_block_has_rows(usual: float) -> None:
    with pytest.raises(InputError, match="a block has some rows"):
        BlockDrift(features=PROFILE.features, tolerance=0.02, promise=BLOCKS, usual=usual)
    with pytest.raises(InputError, match="each block has its mean"):
        Averages(mean=np.zeros((2, 17)), rows=np.ones(3))


def test_under_a_promise_ever_the_features_are_named_by_e_bh() -> None:
    state, verdict = judged(by_rows(promise="5% ever"), 7, 1000, 3000, shift=0.6)
    assert verdict.kind is VerdictKind.ALARM
    assert verdict.reason.endswith(state.moved)
    assert state.moved.startswith("age")


def test_promises_and_settings_that_do_not_fit_are_refused() -> None:
    features = PROFILE.features
    with pytest.raises(InputError, match="counts blocks"):
        Drift(features=features, tolerance=0.02, promise=BLOCKS)
    with pytest.raises(InputError, match="counts outcomes"):
        BlockDrift(features=features, tolerance=0.02, promise=PROMISE, usual=100)
    with pytest.raises(InputError, match="one feature or more"):
        Drift(features=(), tolerance=0.02, promise=PROMISE)
    with pytest.raises(InputError, match="a share"):
        Drift(features=features, tolerance=float("nan"), promise=PROMISE)
    few = profile_of({"x": np.arange(30.0)}, blocks=np.arange(30) // 10)
    with pytest.raises(InputError, match="too few blocks"):
        BlockDrift(features=few.features, tolerance=0.02, promise=BLOCKS, usual=100)
    with pytest.raises(InputError, match="too small for the tolerance"):
        Drift(features=few.features[:1], tolerance=0.95, promise=PROMISE)


def test_a_joint_watch_needs_rows_of_two_features() -> None:
    bare = profile_of({"x": np.arange(30.0), "y": np.arange(30.0)}, blocks=np.arange(30) // 3, joint=False)
    with pytest.raises(InputError, match="holds no rows"):
        Domain.of(bare, bare.features)
    with pytest.raises(InputError, match="2 to 64 features, not 1"):
        Domain.of(PROFILE, PROFILE.features[:1])
    broken = msgspec.structs.replace(PROFILE, train=b"\xff" * 30)
    with pytest.raises(InputError, match="no such bin"):
        Domain.of(broken, broken.features)


def test_evidence_of_another_shape_is_refused() -> None:
    judge = by_rows()
    with pytest.raises(InputError, match=r"shape \(n, 3\)"):
        judge.update(judge.start(), np.zeros((4, 2), np.uint8))
    blocks = BlockDrift(features=PROFILE.features, tolerance=0.02, promise=BLOCKS, usual=100)
    with pytest.raises(InputError, match="means of shape"):
        blocks.update(blocks.start(), averages(np.zeros((4, 2)), 1))


def test_rows_and_blocks_that_say_nothing_are_left_out() -> None:
    rng = np.random.default_rng(11)
    rows = binned(PROFILE, columns(rng, 600, shift=2.0)).astype(float)
    silent = np.full((len(rows) * 2, 3), np.nan)
    silent[::2] = rows
    judge = by_rows(promise="5% ever")
    state, verdict = judge.update(judge.start(), rows)
    again, other = judge.update(judge.start(), silent)
    assert again == state
    assert verdict.crossed_at is not None
    assert other.crossed_at == 2 * verdict.crossed_at
    blocks = BlockDrift(features=PROFILE.features, tolerance=0.02, promise=BLOCKS, usual=100)
    nothing, verdict = blocks.update(blocks.start(), averages(np.full((2, 17), np.nan), 0))
    assert nothing == blocks.start()
    assert verdict.kind is VerdictKind.NO_DATA


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32), cuts=st.lists(st.integers(0, 700), max_size=6), shift=st.floats(-1.0, 1.0))
def test_batches_never_matter(seed: int, cuts: list[int], shift: float) -> None:
    rows = binned(PROFILE, columns(np.random.default_rng(seed), 700, shift=shift))
    judge = by_rows(promise="5% ever")
    whole, verdict = judge.update(judge.start(), rows)
    state = judge.start()
    last = verdict
    for start, end in pairwise([0, *sorted(cuts), len(rows)]):
        state, last = judge.update(state, rows[start:end])
    assert (state.count, state.crossed, state.waiting) == (whole.count, whole.crossed, whole.waiting)
    assert last.evidence == pytest.approx(verdict.evidence, rel=1e-9)


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32), order=st.permutations([0, 1, 2]))
def test_the_order_of_features_never_matters(seed: int, order: list[int]) -> None:
    rows = binned(PROFILE, columns(np.random.default_rng(seed), 300, shift=0.3))
    features = tuple(PROFILE.features[place] for place in order)
    turned = Drift(features=features, tolerance=0.02, promise=PROMISE)
    _, one = by_rows().update(by_rows().start(), rows)
    _, other = turned.update(turned.start(), rows[:, order])
    assert other.evidence == pytest.approx(one.evidence)
    assert other.kind == one.kind


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32), shift=st.floats(0.1, 1.0))
def test_up_and_down_are_mirrors(seed: int, shift: float) -> None:
    """A profile of the mirrored reference finds the mirrored rows as likely, and says the opposite."""
    rng = np.random.default_rng(9)
    reference_rows = rng.integers(0, 30, 3000).astype(float)  # each value has a bin of its own
    new = np.random.default_rng(seed).integers(0, 30, 300) + np.round(10 * shift)
    found = []
    for sign in (1.0, -1.0):
        profile = profile_of({"x": sign * reference_rows}, blocks=np.arange(3000) // 50, joint=False)
        judge = Drift(features=profile.features, tolerance=0.02, promise=PROMISE)
        found.append(judge.update(judge.start(), binned(profile, {"x": sign * new}))[1])
    assert found[0].evidence == pytest.approx(found[1].evidence, rel=1e-2, abs=1e-2)


def test_nothing_underflows_in_a_long_life() -> None:
    """After ten million quiet rows the evidence is finite, and a change is still seen."""
    judge = by_rows()
    rng = np.random.default_rng(10)
    state, _ = judge.update(judge.start(), binned(PROFILE, columns(rng, 100)))
    logs = np.frombuffer(state.logs) - 1e4  # as a long life leaves it
    state = msgspec.structs.replace(state, logs=logs.tobytes(), count=10_000_000)
    state, verdict = judge.update(state, binned(PROFILE, columns(rng, 1000)))
    assert np.isfinite(verdict.evidence)
    _, verdict = judge.update(state, binned(PROFILE, columns(rng, 2000, shift=0.5)))
    assert verdict.kind is VerdictKind.ALARM
