"""Why a mean loss moved between two periods: which slices carry it, and whether inputs or answers changed.

Means are over rows; their spread is judged over blocks, which are resampled whole (a block bootstrap, Kunsch
1989), so that what a day's rows share is not taken for many proofs. Every interval is approximate.

    change = sum over slices of  within_s + mix_s
    within_s = p1_s (m1_s - m0_s)            the slice's own loss moved
    mix_s    = (p1_s - p0_s) (m0_s - m0)     there are more or fewer rows of a slice that is worse than others

    change = inputs + answers
    inputs  = m0(w) - m0                     the old losses, weighed to the new inputs
    answers = m1 - m0(w)                     other losses for the same inputs

with shares p, means m, period 0 before and 1 after, and w the density ratio of inputs, after to before
(Sugiyama, Krauledat, Mueller, "Covariate shift adaptation by importance weighted cross validation", 2007).
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
import numpy.typing as npt

from lossloop.core.errors import InputError
from lossloop.core.records import Interval, Record

Array = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

RESAMPLES = 1000
LEVEL = 0.95
FEWEST_BLOCKS = 5
"""In each period, for an interval: a few blocks say nothing of how blocks vary."""
LEAST_OVERLAP = 0.05
"""Of the old rows, how many must count after weighing; below, too few resemble the new inputs."""
MOST_UNSEEN = 0.2
"""Of the new rows, how many may be unlike all old ones: of those the old losses say nothing."""


class Cause(StrEnum):
    """What a change comes from."""

    INPUTS = "inputs"
    """Other inputs came, and the model answers them as before."""
    ANSWERS = "answers"
    """The same inputs have other losses: the world, the labels or the model changed."""
    BOTH = "both"
    NEITHER = "neither"
    """Nothing is shown to have changed."""
    CANNOT_TELL = "cannot_tell"


class Change(Record, frozen=True):
    """A mean loss before and after; the interval is of after minus before."""

    before: float
    after: float
    difference: Interval


class Contribution(Record, frozen=True):
    """What a slice gives to the change, in the loss's unit; over all slices it adds up to the change."""

    slice: int
    share_before: float
    share_after: float
    mean_before: float | None
    """None where it had no rows."""
    mean_after: float | None
    within: float
    mix: float
    total: Interval


class Split(Record, frozen=True):
    """The change as what inputs and what answers give; None where it cannot be told."""

    cause: Cause
    inputs: Interval | None
    answers: Interval | None
    overlap: float
    """The effective share of the old rows after weighing: (sum w)^2 / (n sum w^2), 1 for equal inputs."""
    reason: str


class Period(Record, frozen=True):
    """Sums of losses by block and slice, each b x s little-endian float64; made by `period`."""

    blocks: int
    slices: int
    counts: bytes
    sums: bytes

    @property
    def tables(self) -> tuple[Array, Array]:
        """Counts and sums, shape (b, s) each."""
        shape = self.blocks, self.slices
        return np.frombuffer(self.counts).reshape(shape), np.frombuffer(self.sums).reshape(shape)


def period(losses: Array, blocks: Codes, slices: Codes | None = None, *, most: int = 1) -> Period:
    """Sum a period's losses.

    Args:
        losses: Shape (n,), finite; rows without a loss are left out before.
        blocks: Shape (n,): the block of each row.
        slices: Shape (n,), from 0: the slice of each row; None for one slice.
        most: How many slices there are in both periods.

    Raises:
        InputError: There is no row, or a loss is not finite.
    """
    if not len(losses):
        raise InputError("a period without any loss cannot be compared", field="losses")
    if not np.isfinite(losses).all():
        row = int((~np.isfinite(losses)).argmax())
        raise InputError(f"loss {losses[row]} at row {row} is not finite", field="losses", row=row)
    names, place = np.unique(blocks, return_inverse=True)
    cell = place * most + (0 if slices is None else slices)
    counts = np.bincount(cell, minlength=len(names) * most).astype(np.float64)
    sums = np.bincount(cell, weights=losses, minlength=len(names) * most)
    return Period(blocks=len(names), slices=most, counts=counts.tobytes(), sums=sums.tobytes())


def change_of(before: Period, after: Period, *, seed: int = 0) -> Change:
    """The means of two periods, and the interval of their difference."""
    (n0, s0), (n1, s1) = (_drawn(each, seed + side) for side, each in enumerate((before, after)))
    means0, means1 = s0.sum(axis=1) / n0.sum(axis=1), s1.sum(axis=1) / n1.sum(axis=1)
    return Change(
        before=float(means0[0]), after=float(means1[0]),
        difference=_interval(means1 - means0, enough=_enough(before, after)),
    )  # fmt: skip


def contributions(before: Period, after: Period, *, seed: int = 0) -> list[Contribution]:
    """What each slice gives to the change, the largest first; slices without any row are left out.

    A slice that is new is measured against the old mean of all.
    """
    if before.slices != after.slices:
        raise InputError("both periods need the same slices", field="slices")
    (n0, s0), (n1, s1) = (_drawn(each, seed + side) for side, each in enumerate((before, after)))
    within, mix = _parts(n0, s0, n1, s1)
    enough = _enough(before, after)
    found = [
        Contribution(
            slice=place,
            share_before=float(n0[0, place] / n0[0].sum()),
            share_after=float(n1[0, place] / n1[0].sum()),
            mean_before=_mean(n0[0, place], s0[0, place]),
            mean_after=_mean(n1[0, place], s1[0, place]),
            within=float(within[0, place]),
            mix=float(mix[0, place]),
            total=_interval(within[:, place] + mix[:, place], enough=enough),
        )
        for place in np.flatnonzero(n0[0] + n1[0]).tolist()
    ]
    return sorted(found, key=lambda each: (-abs(each.total.estimate), each.slice))


def split_of(
    before: Array,
    weights: Array,
    before_blocks: Codes,
    after: Array,
    after_blocks: Codes,
    *,
    unseen: float = 0.0,
    seed: int = 0,
) -> Split:
    """Split a change into what inputs and what answers give.

    Args:
        before: Losses of the first period, shape (n,), finite.
        weights: Their density ratios, shape (n,), at least 0: how much likelier each input is afterwards.
        before_blocks: Their blocks, shape (n,).
        after: Losses of the second period, shape (m,), finite.
        after_blocks: Their blocks, shape (m,).
        unseen: The share of the second period's rows that are unlike all of the first.
        seed: Of the resampling.
    """
    if not (np.isfinite(weights).all() and (weights >= 0.0).all()):
        raise InputError("weights must be finite and at least 0", field="weights")
    overlap = float(weights.sum() ** 2 / (len(weights) * max(np.square(weights).sum(), 1e-300)))
    plain = period(before, before_blocks)
    # Two "slices" of the same blocks carry the sums of w and of w L through the same resamples.
    weighed = _of_sums(before_blocks, weights, weights * before)
    later = period(after, after_blocks)
    if overlap < LEAST_OVERLAP or unseen > MOST_UNSEEN:
        words = (
            f"the new inputs were hardly seen before: {unseen:.1%} of them are unlike all old ones, and "
            f"{overlap:.1%} of the old ones count when weighed to them"
        )
        return Split(cause=Cause.CANNOT_TELL, inputs=None, answers=None, overlap=overlap, reason=words)
    (n0, s0), (w0, v0), (n1, s1) = _drawn(plain, seed), _drawn(weighed, seed), _drawn(later, seed + 1)
    old, new = s0[:, 0] / n0[:, 0], s1[:, 0] / n1[:, 0]
    same = v0[:, 0] / np.maximum(w0[:, 0], 1e-300)
    enough = _enough(plain, later)
    inputs, answers = _interval(same - old, enough=enough), _interval(new - same, enough=enough)
    if not enough:
        words = f"it takes {FEWEST_BLOCKS} blocks in each period, not {plain.blocks} and {later.blocks}"
        return Split(cause=Cause.CANNOT_TELL, inputs=inputs, answers=answers, overlap=overlap, reason=words)
    cause, words = _cause(inputs, answers, _interval(new - old, enough=True))
    return Split(cause=cause, inputs=inputs, answers=answers, overlap=overlap, reason=words)


def _cause(inputs: Interval, answers: Interval, whole: Interval) -> tuple[Cause, str]:
    by_inputs, by_answers = (_shown(each, whole) for each in (inputs, answers))
    if by_inputs and by_answers:
        return Cause.BOTH, "the inputs changed, and so did the answer to the same inputs"
    if by_inputs:
        return Cause.INPUTS, "the inputs changed; that the answer to the same inputs did is not shown"
    if by_answers:
        return Cause.ANSWERS, "the answer to the same inputs changed; that the inputs did is not shown"
    if whole.low <= 0.0 <= whole.high:
        return Cause.NEITHER, "the change is within what blocks vary by"
    return Cause.CANNOT_TELL, "the loss moved, but not clearly by the one or the other"


def _shown(part: Interval, whole: Interval) -> bool:
    """Whether a part is not zero, and moves the loss the way that it moved."""
    return not part.low <= 0.0 <= part.high and part.estimate * whole.estimate > 0.0


def _parts(n0: Array, s0: Array, n1: Array, s1: Array) -> tuple[Array, Array]:
    """`within` and `mix` of each slice in each resample, shape (r, s)."""
    p0, p1 = n0 / n0.sum(axis=1, keepdims=True), n1 / n1.sum(axis=1, keepdims=True)
    all0 = s0.sum(axis=1, keepdims=True) / n0.sum(axis=1, keepdims=True)
    m0 = np.where(n0 > 0, s0 / np.maximum(n0, 1e-300), all0)
    m1 = np.where(n1 > 0, s1 / np.maximum(n1, 1e-300), m0)
    within: Array = p1 * (m1 - m0)
    mix: Array = (p1 - p0) * (m0 - all0)
    return within, mix


def _drawn(one: Period, seed: int) -> tuple[Array, Array]:
    """Counts and sums of a period as it was, then of its resamples: shape (1 + r, s) each."""
    counts, sums = one.tables
    random = np.random.default_rng(seed)
    times = random.multinomial(one.blocks, np.full(one.blocks, 1.0 / one.blocks), size=RESAMPLES)
    weights: Array = np.concatenate((np.ones((1, one.blocks)), times.astype(np.float64)))
    return np.asarray(weights @ counts), np.asarray(weights @ sums)


def _of_sums(blocks: Codes, counts: Array, sums: Array) -> Period:
    names, place = np.unique(blocks, return_inverse=True)
    return Period(
        blocks=len(names), slices=1,
        counts=np.bincount(place, weights=counts, minlength=len(names)).tobytes(),
        sums=np.bincount(place, weights=sums, minlength=len(names)).tobytes(),
    )  # fmt: skip


def _interval(values: Array, *, enough: bool) -> Interval:
    """Of a figure and its resamples, the figure first; infinite where there are too few blocks."""
    tail = 50.0 * (1.0 - LEVEL)
    low, high = np.percentile(values[1:], [tail, 100.0 - tail]) if enough else (-np.inf, np.inf)
    return Interval(
        estimate=float(values[0]), low=float(low), high=float(high), level=LEVEL, approximate=True
    )


def _enough(*periods: Period) -> bool:
    return all(each.blocks >= FEWEST_BLOCKS for each in periods)


def _mean(count: float, total: float) -> float | None:
    return float(total / count) if count else None
