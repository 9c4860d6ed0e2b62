"""Has what a model is asked, or answers, moved away from its reference (statistics.md, 2d)? Needs no label.

Each statistic of each feature is bet on, upwards and downwards, and the wealths are averaged: over the sides
of a feature, then over the features. An average of such wealths keeps the promise as each of them does, so
however many features there are, "any of them drifts" is judged under one promise; and each feature's own
share says which.

`Drift` judges rows, in steps of 100; `BlockDrift` one ratio per block, where rows of a block vary together.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import msgspec
import numpy as np
import numpy.typing as npt

from lossloop.core.errors import InputError
from lossloop.core.profile import FeatureProfile, Moment
from lossloop.core.records import Record, Verdict, VerdictKind
from lossloop.judges.base import e_value
from lossloop.judges.domain import RECENT, WINDOW, Domain
from lossloop.judges.ebh import e_bh
from lossloop.judges.engine import KAPPAS, log_bets
from lossloop.judges.holding import log_mean
from lossloop.judges.promise import Counts, Mode, Promise
from lossloop.judges.reference import MOST_DESIGN_EFFECT
from lossloop.judges.restarts import log_restart_mass
from lossloop.judges.shifts import Shifts, block_shifts, row_shifts

Array = npt.NDArray[np.float64]
Bins = npt.NDArray[np.uint8]
Evidence = npt.NDArray[np.integer] | npt.NDArray[np.floating]

STEP = 100
"""Rows are judged in steps of so many: the evidence does not depend on how they come in batches."""
_JOINT_ERROR = 0.05
"""The chance that the domain classifier's limits are wrong, ever; beside the confidence of the profile."""
_MEMORY, _BLOCK_MEMORY = 8, 4
"""Over how many steps, or blocks, what is shown as "now" is averaged."""
_SHARE = 20.0
"""A feature is named if its evidence is at least this part of the greatest."""
_NAMED = 5
"""At most so many features are named in a reason."""


class DriftState(Record, frozen=True):
    """All wealths, and what is needed to go on; arrays as little-endian float64 bytes."""

    logs: bytes
    """Log wealth of each side's gamblers."""
    joint: bytes
    """Log wealth of the bets on the domain classifier."""
    recent: bytes
    """The statistics' means of late; the last one is the classifier's AUC."""
    count: int = 0
    """How many rows (or blocks) were judged."""
    crossed: int | None = None
    crossed_evidence: float = 0.0
    moved: str = ""
    """What had moved when the threshold was reached."""
    waiting: bytes = b""
    """Rows that do not fill a step yet, a byte for each feature."""
    past: bytes = b""
    """The last rows that were judged, for the domain classifier."""


@dataclass(frozen=True, kw_only=True)
class _Tests(ABC):
    """What judging rows and judging blocks have in common."""

    features: tuple[FeatureProfile, ...]
    tolerance: float
    promise: Promise

    def __post_init__(self) -> None:
        if not self.features:
            raise InputError("drift needs one feature or more", field="features")
        if not (math.isfinite(self.tolerance) and 0.0 <= self.tolerance < 1.0):
            raise InputError(
                f"a drift's tolerance is a share, from 0 to below 1, not {self.tolerance}", field="tolerance"
            )
        _ = self._shifts
        if self.promise.counts not in (Counts.EITHER, self._counts):
            raise InputError(
                f"the promise {self.promise.words!r} counts {self.promise.counts}, and what is judged is "
                f"{self._counts}",
                field="promise",
            )

    def start(self) -> DriftState:
        """Nothing judged yet."""
        return DriftState(
            logs=_pack(np.full((len(self._shifts.sides), len(KAPPAS)), -np.inf)),
            joint=_pack(np.full(len(KAPPAS), -np.inf)),
            recent=_pack(np.zeros(int(self._shifts.starts[-1]) + 1)),
        )

    @property
    @abstractmethod
    def _counts(self) -> Counts:
        """What a promise may count."""

    @property
    @abstractmethod
    def _shifts(self) -> Shifts:
        """The tests."""

    @property
    @abstractmethod
    def assumption(self) -> str:
        """What the promise rests on, and what the test cannot see."""

    def by_feature(self, state: DriftState) -> dict[str, float]:
        """Each feature's log evidence now; empty before anything was judged."""
        if not state.count:
            return {}
        found = self._shifts.by_feature(self._logs(state))
        return {feature.name: float(log) for feature, log in zip(self.features, found, strict=True)}

    def _logs(self, state: DriftState) -> Array:
        return _unpack(state.logs).reshape(-1, len(KAPPAS))

    def _named(self, evidence: Sequence[float], joint: float, *, alarm: bool) -> list[int]:
        """The features to name: by e-BH under a promise "ever", else those with much of the evidence."""
        order = sorted(range(len(evidence)), key=lambda place: (-evidence[place], place))
        if not alarm:
            return order[:1]
        if self.promise.mode is not Mode.RATE and (found := e_bh(evidence, 1.0 / self.promise.threshold)):
            return found
        least = max(joint, evidence[order[0]]) - math.log(_SHARE)
        return [place for place in order if evidence[place] >= least]

    def _moved(self, logs: Array, recent: Array, joint: float = -math.inf, *, alarm: bool) -> str:
        """Which features moved, and how; the strongest first."""
        evidence = self._shifts.by_feature(logs).tolist()
        named = self._named(evidence, joint, alarm=alarm)
        words = [self._shifts.words(self._shifts.strongest(logs, place), recent) for place in named[:_NAMED]]
        if len(named) > _NAMED:
            words.append(f"and {len(named) - _NAMED} more")
        if joint > max(evidence):
            jointly = f"features go together differently (a classifier's AUC is {recent[-1]:.2f})"
            words = [jointly, *words] if alarm else [jointly]
        return "; ".join(words)

    def _verdict(self, state: DriftState, evidence: float, crossed_at: int | None, moved: str) -> Verdict:
        alarm = state.crossed is not None
        needed = e_value(self.promise.log_threshold)
        if alarm:
            said = f"evidence {e_value(evidence)} reached {needed} at number {state.crossed:,}: {state.moved}"
        else:
            said = f"evidence {e_value(evidence)} of {needed}; most: {moved}"
        return Verdict(
            kind=VerdictKind.ALARM if alarm else VerdictKind.HEALTHY,
            evidence=evidence,
            threshold=self.promise.log_threshold,
            count=state.count,
            crossed_at=crossed_at,
            promise=self.promise.words,
            assumption=self.assumption,
            reason=said,
        )

    def _nothing(self, kind: VerdictKind, state: DriftState, reason: str) -> Verdict:
        return Verdict(
            kind=kind,
            evidence=self._evidence(state),
            threshold=self.promise.log_threshold,
            count=state.count,
            promise=self.promise.words,
            assumption=self.assumption,
            reason=reason,
        )

    def _evidence(self, state: DriftState) -> float:
        """The log evidence now, or when it reached the threshold; 0 while nothing was judged."""
        if state.crossed is not None or not state.count:
            return state.crossed_evidence
        return self._together(self._logs(state), _unpack(state.joint))

    def _together(self, logs: Array, joint: Array) -> float:
        return float(self._shifts.together(logs))


@dataclass(frozen=True, kw_only=True)
class Drift(_Tests):
    """Judge rows, which must not depend on each other: evidence is the bins of rows, shape (n, features).

    With `joint` a domain classifier is bet on too, and has half of the weight. Alarms are raised at the end
    of a step of 100 rows; a promise counts rows. Raises InputError where the rows of a feature vary by block.
    """

    joint: Domain | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        worst = max(self.features, key=lambda feature: feature.design_effect)
        if worst.design_effect > MOST_DESIGN_EFFECT:
            raise InputError(
                f"the design effect of {worst.name!r} on the reference is {worst.design_effect:.3g}, above "
                f"{MOST_DESIGN_EFFECT:g}: rows of one block vary together, and judged one by one they would "
                "raise false alarms; write the promise per blocks, such as '1 per 3650 blocks'",
                field="block",
            )

    def update(self, state: DriftState, evidence: Evidence, /) -> tuple[DriftState, Verdict]:
        """Judge rows in prediction order; a row of NaN says nothing, and is left out."""
        said = np.flatnonzero(~np.isnan(evidence).all(axis=-1))
        if problem := self._problem(evidence, said):
            return state, self._nothing(
                VerdictKind.ERROR, state, f"{problem}; nothing of this batch was judged"
            )
        before = np.frombuffer(state.waiting, dtype=np.uint8).reshape(-1, len(self.features))
        rows = np.concatenate((before, evidence[said].astype(np.uint8)))
        whole = len(rows) // STEP * STEP
        at = None
        counts = self._shifts.count(rows[:whole], STEP)
        for step in range(len(counts)):
            first, crossed = step * STEP, state.crossed
            state = self._step(state, rows[first : first + STEP], counts[step])
            if state.crossed != crossed:
                at = int(said[first + STEP - 1 - len(before)])
        state = _replace(state, waiting=rows[whole:].tobytes())
        if not state.count:
            return state, self._nothing(
                VerdictKind.NO_DATA, state, f"{len(rows)} of the first {STEP} rows came"
            )
        moved = "" if state.crossed is not None else self._now(state, alarm=False)
        return state, self._verdict(state, self._evidence(state), at, moved)

    def _step(self, state: DriftState, rows: Bins, counts: Array) -> DriftState:
        """Bet on one step; all restart mass is placed at its start."""
        mass, means = log_restart_mass(self.promise.mode, state.count, STEP), self._shifts.means(counts, STEP)
        logs = self._shifts.sums(counts) + np.logaddexp(self._logs(state), mass)
        ranks, gained = self._bet_jointly(state, rows)
        joint = gained + np.logaddexp(_unpack(state.joint), mass)
        recent = _averaged(_unpack(state.recent), np.append(means, ranks), state.count // STEP, _MEMORY)
        past = b"" if self.joint is None else self._past(state, rows)
        moved = _replace(
            state,
            logs=_pack(logs),
            joint=_pack(joint),
            recent=_pack(recent),
            count=state.count + STEP,
            past=past,
        )
        if state.crossed is not None:
            return moved
        evidence = self._together(logs, joint)
        if evidence < self.promise.log_threshold:
            return moved
        return _replace(
            moved, crossed=moved.count, crossed_evidence=evidence, moved=self._now(moved, alarm=True)
        )

    def _bet_jointly(self, state: DriftState, rows: Bins) -> tuple[float, Array]:
        """The mean rank of the rows by a classifier of the rows before them, and what betting on it gains."""
        learnt = state.count // WINDOW * WINDOW
        if self.joint is None or not learnt:
            return 0.5, np.zeros(len(KAPPAS))
        past = np.frombuffer(state.past, dtype=np.uint8).reshape(-1, len(self.features))
        known = past[: len(past) - (state.count - learnt)][-RECENT:]
        ranks = self.joint.ranks(known, rows)
        limit = 0.5 + self.joint.margin(state.count // WINDOW, _JOINT_ERROR) + self.tolerance
        return float(ranks.mean()), log_bets(ranks / limit).sum(axis=0)

    def _past(self, state: DriftState, rows: Bins) -> bytes:
        return (state.past + rows.tobytes())[-(RECENT + WINDOW + STEP) * len(self.features) :]

    def _together(self, logs: Array, joint: Array) -> float:
        alone = super()._together(logs, joint)
        return alone if self.joint is None else float(np.logaddexp(alone, log_mean(joint)) - math.log(2.0))

    def _now(self, state: DriftState, *, alarm: bool) -> str:
        joint = -math.inf if self.joint is None else float(log_mean(_unpack(state.joint)))
        return self._moved(self._logs(state), _unpack(state.recent), joint, alarm=alarm)

    def _problem(self, evidence: Evidence, said: npt.NDArray[np.int64]) -> str:
        if evidence.ndim != 2 or evidence.shape[1] != len(self.features):
            raise InputError(f"rows are bins of shape (n, {len(self.features)})")
        found = evidence[said]
        bad = ~((found >= 0) & (found < np.diff(self._shifts.bins)) & (np.floor(found) == found))
        if not bad.any():
            return ""
        row, place = (int(number) for number in np.argwhere(bad)[0])
        return f"row {said[row]} has no such bin of {self.features[place].name!r}: {found[row, place]:g}"

    @property
    def _counts(self) -> Counts:
        return Counts.OUTCOMES

    @cached_property
    def _shifts(self) -> Shifts:
        return row_shifts(self.features, self.tolerance)

    @cached_property
    def assumption(self) -> str:
        """What the promise rests on, and what the test cannot see."""
        least = max(self._hidden(feature.moments[0]) for feature in self.features)
        return (
            "predictions do not depend on each other; the profile's intervals hold; a mean rank or share "
            f"that moves by less than {least:.2g} may lie within them and the tolerance"
        )

    def _hidden(self, moment: Moment) -> float:
        """By how much a mean can move without being seen."""
        return max(moment.high - moment.mean, moment.mean - moment.low) + self.tolerance


@dataclass(frozen=True, kw_only=True, eq=False)
class Averages:
    """Blocks, oldest first: what their rows say on average."""

    mean: Array
    """Of each statistic, shape (blocks, statistics); NaN where no row said anything."""
    rows: Array
    """Over how many rows, shape (blocks,)."""

    def __post_init__(self) -> None:
        if self.rows.shape != self.mean.shape[:1]:
            raise InputError("each block has its mean, and a number of rows", field="rows")

    def __len__(self) -> int:
        return len(self.mean)

    def __getitem__(self, blocks: slice, /) -> Self:
        return type(self)(mean=self.mean[blocks], rows=self.rows[blocks])


@dataclass(frozen=True, kw_only=True)
class BlockDrift(_Tests):
    """Judge blocks by the means of their rows' statistics.

    A promise counts blocks, which must not depend on each other. `usual` is how many rows a block of the
    reference had, on average: the mean of fewer varies more, and must lie further off to say as much.
    """

    usual: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (math.isfinite(self.usual) and self.usual > 0.0):
            raise InputError(f"a block has some rows, not {self.usual}", field="profile.rows")

    def statistics(self, rows: npt.NDArray[np.integer]) -> Array:
        """What rows say, from their bins, to be averaged over a block: (n, features) to (n, statistics)."""
        return self._shifts.statistics(rows)

    def update(self, state: DriftState, evidence: Averages, /) -> tuple[DriftState, Verdict]:
        """Judge blocks, oldest first; a block of NaN says nothing, and is left out."""
        means = evidence.mean
        said = np.flatnonzero(~np.isnan(means).all(axis=-1))
        if problem := self._problem(means, said):
            return state, self._nothing(
                VerdictKind.ERROR, state, f"{problem}; nothing of this batch was judged"
            )
        if not len(said) and not state.count:
            return state, self._nothing(VerdictKind.NO_DATA, state, "no block was judged yet")
        wider = np.sqrt(np.maximum(self.usual / np.maximum(evidence.rows[said], 1.0), 1.0))
        at, bets = None, log_bets(self._shifts.block_ratios(means[said], wider))
        for place, row in enumerate(said):
            crossed = state.crossed
            state = self._bet(state, means[row], bets[place])
            at = int(row) if state.crossed != crossed else at
        moved = ""
        if state.crossed is None:
            moved = self._moved(self._logs(state), _unpack(state.recent), alarm=False)
        return state, self._verdict(
            state, self._evidence(state), None if at is None else int(said[at]), moved
        )

    def _bet(self, state: DriftState, means: Array, bets: Array) -> DriftState:
        """Bet on one block: means of shape (statistics,), log bets of shape (sides, gamblers)."""
        logs = bets + np.logaddexp(self._logs(state), log_restart_mass(self.promise.mode, state.count, 1))
        recent = _averaged(_unpack(state.recent), np.append(means, 0.5), state.count, _BLOCK_MEMORY)
        moved = _replace(state, logs=_pack(logs), recent=_pack(recent), count=state.count + 1)
        evidence = self._together(logs, _unpack(state.joint))
        if state.crossed is not None or evidence < self.promise.log_threshold:
            return moved
        words = self._moved(logs, recent, alarm=True)
        return _replace(moved, crossed=moved.count, crossed_evidence=evidence, moved=words)

    def _problem(self, evidence: Array, said: npt.NDArray[np.int64]) -> str:
        if evidence.ndim != 2 or evidence.shape[1] != self._shifts.starts[-1]:
            raise InputError(f"blocks are means of shape (n, {self._shifts.starts[-1]})")
        found = evidence[said]
        bad = ~((found >= -1e-9) & (found <= 1.0 + 1e-9)).all(axis=1)
        if not bad.any():
            return ""
        return f"the means of row {said[int(bad.argmax())]} are not all numbers from 0 to 1"

    @property
    def _counts(self) -> Counts:
        return Counts.BLOCKS

    @cached_property
    def _shifts(self) -> Shifts:
        return block_shifts(self.features, self.tolerance)

    @cached_property
    def assumption(self) -> str:
        """What the promise rests on, and what the test cannot see."""
        return (
            "blocks do not depend on each other; the profile's limits hold, approximately (Student's t); "
            "a block's predictions count alike"
        )


def _averaged(before: Array, new: Array, steps: int, memory: int) -> Array:
    """What is shown as "now": the mean of the first steps, then one that forgets."""
    weight = 1.0 / min(steps + 1, memory)
    return before + weight * (new - before)


def _replace(state: DriftState, **changes: object) -> DriftState:
    return msgspec.structs.replace(state, **changes)


def _pack(values: Array) -> bytes:
    return values.astype("<f8", copy=False).tobytes()


def _unpack(raw: bytes) -> Array:
    return np.frombuffer(raw, dtype="<f8")
