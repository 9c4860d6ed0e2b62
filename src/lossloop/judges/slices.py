"""Many slices at once: a bet per slice, and e-BH over all of them (statistics.md, 2e).

Each slice has a process of the kind `life`, so what it has won is an e-value whenever anyone looks. Those
that alarm are the largest k with `e_(k) g_(k) >= 1 / (k q)`: of the slices named, a share of at most q is
healthy on average, however slices depend on each other. The shares g are set when a slice joins, before
anything of it was judged, and add up to 1 at most. Slices that are there from the start share nine tenths
alike, which is the usual rule with S/.9 in place of S; the rest is for slices that come later, a half of it
for the first that come together, a sixth for the next, a twelfth, and so on. If S only counted the slices
seen so far, slices that come one by one would spend q again and again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from lossloop.core.errors import InputError
from lossloop.core.records import Interval, Record, Verdict, VerdictKind
from lossloop.judges.base import e_value, problem_in
from lossloop.judges.intervals import FEWEST, asymptotic_interval
from lossloop.judges.moments import Moments
from lossloop.judges.promise import AMONG_EXAMPLES, Mode, Promise
from lossloop.judges.reference import Reference
from lossloop.judges.sliced import Run, SliceLosses, SliceState

_NAMED = 3
"""Slices that a verdict's reason names."""


class SliceFinding(Record, frozen=True, omit_defaults=False):
    """How one slice is doing. Evidence and what it needs alone are logarithms; `mean` is None of nothing."""

    slice: str
    kind: VerdictKind
    mean: float | None
    limit: float
    effect: Interval | None
    """The mean less what it is measured against: the reference's estimate, or the limit."""
    count: int
    """Blocks, or rows, judged."""
    rows: int
    share: float
    """Of all rows that were judged."""
    missing: float
    """Of the slice's rows, those whose outcome did not come in time."""
    evidence: float | None
    needs: float
    """The evidence at which this slice alone would alarm; where several do, each needs less."""
    first: bool
    """Whether it stood among those that raised the alarm."""


@dataclass(frozen=True, kw_only=True)
class Slices:
    """Alarm when the risk of some slice exceeds its limit; says which.

    Args:
        promise: ``5% false among alarms`` (e-BH), or ``5% ever``: a chance of at most 5% that any healthy
            slice ever alarms. A rate cannot be promised (arXiv 2501.04130).
        limit: For every slice; or None for the upper bound of a reference, plus `tolerance`.
        references: Of slices that have one.
        reference: Of those that have none.
        floor: No loss lies below.
    """

    promise: Promise
    limit: float | None = None
    references: Mapping[str, Reference] = field(default_factory=dict)
    reference: Reference | None = None
    tolerance: float = 0.0
    floor: float = 0.0

    def __post_init__(self) -> None:
        if self.promise.mode not in (Mode.AMONG, Mode.LIFE):
            raise InputError(
                f"{self.promise.words!r} cannot be promised of slices: a false discovery rate cannot be kept "
                "together with a finite time between false alarms (arXiv 2501.04130), and one that is 'once' "
                f"suits a single stream; write {AMONG_EXAMPLES}",
                field="promise",
            )
        if (self.limit is None) == (self.reference is None):
            raise InputError("slices need either a limit or a reference", field="limit")
        for limit in (self.limit_of(name) for name in ("", *self.references)):
            if not (math.isfinite(limit) and math.isfinite(self.floor) and self.floor < limit):
                raise InputError(
                    f"limit {limit:g} must be above floor {self.floor:g}, both finite", field="limit"
                )

    def limit_of(self, name: str) -> float:
        """The risk above which a slice alarms."""
        found = self._reference_of(name)
        return float(self.limit or 0.0) if found is None else found.upper + self.tolerance

    def start(self) -> SliceState:
        """Nothing judged yet."""
        return SliceState()

    def update(self, state: SliceState, evidence: SliceLosses, /) -> tuple[SliceState, Verdict]:
        """Judge more moments, in prediction order."""
        if problem := problem_in(evidence.loss, self.floor, math.inf):
            return state, self._verdict(state, problem=problem)
        if not len(evidence):
            return state, self._verdict(state)
        run = self._run(state, evidence.names)
        crossed_at = run.judge(evidence)
        after = run.state(evidence)
        return after, self._verdict(after, crossed_at=crossed_at)

    def findings(self, state: SliceState) -> list[SliceFinding]:
        """How each slice is doing: those that alarm first, and among them the worst."""
        run = self._run(state)
        standing = set(run.standing().tolist())
        order = sorted(range(len(run.names)), key=lambda row: (row not in standing, -run.weighed[row], row))
        return [self._finding(run, row, row in standing) for row in order]

    def _run(self, state: SliceState, known: Sequence[str] = ()) -> Run:
        return Run(self.promise, self.limit_of, self.floor, state, known)

    def _finding(self, run: Run, row: int, alarms: bool) -> SliceFinding:
        seen = {name: float(values[row]) for name, values in run.seen.items()}
        name, rows, count = run.names[row], int(seen["rows"]), int(seen["count"])
        limit, mean = float(run.limits[row]), None if not count else run.limits[row] + seen["total"] / count
        return SliceFinding(
            slice=name,
            kind=VerdictKind.ALARM if alarms else _quiet(seen),
            mean=None if mean is None else float(mean),
            limit=limit,
            effect=self._effect(name, seen),
            count=count,
            rows=rows,
            share=rows / run.before.rows if run.before.rows else 0.0,
            missing=1.0 - seen["labelled"] / rows if rows else 0.0,
            evidence=float(run.logs[row]) if count else None,
            needs=self._log_needed - math.log(seen["share"]),
            first=bool(seen["first"]),
        )

    def _effect(self, name: str, seen: Mapping[str, float]) -> Interval | None:
        reference = self._reference_of(name)
        against = self.limit_of(name) if reference is None else reference.estimate
        count = int(seen["count"])
        mean = seen["total"] / count + self.limit_of(name) - against if count else 0.0
        deviations = max(seen["squares"] - seen["total"] ** 2 / max(count, 1), 0.0)
        return asymptotic_interval(Moments(count=count, mean=mean, deviations=deviations))

    def _reference_of(self, name: str) -> Reference | None:
        return self.references.get(name, self.reference)

    @property
    def _log_needed(self) -> float:
        return self.promise.log_threshold

    @cached_property
    def _assumption(self) -> str:
        least = (
            f"each loss is at least {self.floor:g}, and what is known of a slice when it joins tells no luck"
        )
        if self.reference is None:
            return least
        ref = self.reference
        own = f"{len(self.references):,} slices have a reference of their own; " if self.references else ""
        nearly = ", approximately" if ref.approximate else ""
        return f"{least}; {own}each reference bounds its risk at {100 * ref.confidence:g}%{nearly}"

    def _verdict(self, state: SliceState, *, problem: str = "", crossed_at: int | None = None) -> Verdict:
        run = self._run(state)
        if problem:
            kind, reason = VerdictKind.ERROR, f"{problem}; nothing of this batch was judged"
        elif not state.count:
            kind, reason = VerdictKind.NO_DATA, "nothing was judged yet"
        else:
            alarm = state.crossed is not None
            kind = (
                VerdictKind.ALARM if alarm else VerdictKind.HEALTHY if run.labelled else VerdictKind.NO_DATA
            )
            reason = self._reason(run)
        effect = None
        if len(run.names) and state.count:
            worst = int(np.argmax(run.weighed))
            effect = self._effect(
                run.names[worst], {key: float(each[worst]) for key, each in run.seen.items()}
            )
        return Verdict(
            kind=kind, evidence=run.evidence, threshold=self._log_needed, count=state.count, effect=effect,
            crossed_at=crossed_at, promise=self.promise.words, assumption=self._assumption, reason=reason,
        )  # fmt: skip

    def _reason(self, run: Run) -> str:
        if not run.names:
            return "no row belongs to a slice yet"
        standing, total = run.standing(), f"{len(run.names):,} slices"
        needed, crossed = e_value(self._log_needed), run.before.crossed
        if crossed is None:
            worst = self._words(run, np.argsort(-run.weighed, kind="stable")[:1])
            return f"none of {total} alarms: evidence {e_value(run.evidence)} of {needed}, most by {worst}"
        more = f" and {len(standing) - _NAMED:,} more" if len(standing) > _NAMED else ""
        now = f"{self._words(run, standing[:_NAMED])}{more}" if len(standing) else "none now"
        return f"{len(standing):,} of {total} alarm: {now}; alarmed first at number {crossed:,}"

    def _words(self, run: Run, rows: npt.NDArray[np.integer]) -> str:
        return ", ".join(
            f"{each.slice} (mean {'-' if each.mean is None else f'{each.mean:.4g}'} over {each.count:,}, "
            f"limit {each.limit:.4g}, evidence {'-' if each.evidence is None else e_value(each.evidence)})"
            for each in (self._finding(run, row, True) for row in rows.tolist())
        )


def _quiet(seen: Mapping[str, float]) -> VerdictKind:
    """What a slice is said to be that does not alarm: few losses, or losses all alike, are no health."""
    if not seen["labelled"]:
        return VerdictKind.NO_DATA
    few = seen["count"] < FEWEST or seen["low"] == seen["high"]
    return VerdictKind.INCONCLUSIVE if few else VerdictKind.HEALTHY
