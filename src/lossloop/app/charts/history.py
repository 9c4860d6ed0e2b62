"""What charts of verdicts are drawn from: a model's points and decisions, read from the state once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from lossloop.act.policy import Policy, read_policy
from lossloop.app.books import Books, Point
from lossloop.app.charts.courses import Course, read_courses
from lossloop.app.charts.spec import Plain
from lossloop.app.eras import switches
from lossloop.app.judging import Lens
from lossloop.app.reading import plain
from lossloop.app.references import version_under
from lossloop.app.watches import by_rows, judge_of
from lossloop.core.clock import SECOND, Micros, to_datetime
from lossloop.core.errors import InputError
from lossloop.core.records import Decision, Verdict
from lossloop.judges import Audited, Estimated, Guardrail, Regression, SeasonalGuardrail, Share, Skill
from lossloop.judges.base import Judge
from lossloop.registry import Version

_GOOD, _BAD = ("promote", "ramp"), ("roll_back", "refuse")


@dataclass(frozen=True, kw_only=True)
class Measure:
    """What a mean loss, or a share, is measured by, in its own unit."""

    limit: float
    what: str = "mean loss"
    reference: float | None = None
    """What the effect is a difference from; None where the effect is the mean itself."""
    steps: bool = True
    """Whether the mean of a step is in the same unit as the effect."""
    usual: tuple[float, float] | None = None
    """Mean and standard deviation of the reference's blocks; None where rows are judged."""


@dataclass(frozen=True, kw_only=True)
class History:
    """The verdicts of a model's watches and rollouts, and what was decided."""

    policy: Policy
    points: Sequence[Point]
    decisions: Sequence[Decision]
    measures: Mapping[tuple[str, int, int], Measure]
    """Of watches on a champion's mean loss, by watch, version and era."""
    earlier: Sequence[Policy] = ()
    """The policies that other losses judged under, by era."""
    courses: Sequence[Course] = ()
    """The losses of champions by block, where there is more than one loss."""

    @property
    def eras(self) -> Sequence[Policy]:
        """The policy of each era; the last one is in force."""
        return (*self.earlier, self.policy)

    def wall(self, moment: Micros) -> int:
        """A moment as seconds on the wall clock of the policy's time zone, on which blocks are cut."""
        offset = to_datetime(moment).astimezone(ZoneInfo(self.policy.timezone)).utcoffset()
        return moment // SECOND + (0 if offset is None else round(offset.total_seconds()))

    def label(self, moment: Micros) -> str:
        """A moment as people of that time zone write it, to the minute."""
        return str(np.datetime64(self.wall(moment), "s").astype("datetime64[m]")).replace("T", " ")

    def marks(self, first: int, last: int) -> list[Plain]:
        """A numbered mark for each decision between two times of the wall clock; all of them are counted."""
        found = enumerate((self.wall(each.at), each) for each in self.decisions)
        return [
            {"n": number + 1, "x": at, "role": mark_of(plain(each))}
            for number, (at, each) in found
            if first <= at <= last
        ]


def read_history(books: Books, model: str) -> History:
    """The history of a model; raise UnknownName where there is no such model."""
    lens = books.lens(model)
    earlier = [read_policy(switch.before) for switch in switches(books.documents, model)]
    eras = [Lens(policy=policy, thresholds=lens.thresholds) for policy in earlier]
    found = history_of(books, lens, books.points(model), eras=eras)
    return replace(found, courses=read_courses(books, model))


def history_of(books: Books, lens: Lens, points: Sequence[Point], *, eras: Sequence[Lens] = ()) -> History:
    """What some points say under a policy, and those of other losses before, beside what was decided."""
    return History(
        policy=lens.policy, points=points, decisions=books.decisions(lens.policy.model),
        measures=_measures(books, [*eras, lens], points), earlier=[each.policy for each in eras],
    )  # fmt: skip


def _measures(
    books: Books, eras: Sequence[Lens], points: Sequence[Point]
) -> dict[tuple[str, int, int], Measure]:
    found: dict[tuple[str, int, int], Measure] = {}
    for number, era in {(point.version, point.era) for point in points if point.era < len(eras)}:
        version = version_under(books.documents, eras[era], number)
        for name, judge in _judges(eras[era], version):
            if isinstance(judge, Regression):
                usual = None if by_rows(eras[era].policy.watches[name]) else _usual(version)
                found[name, number, era] = Measure(
                    limit=judge.limit, reference=judge.reference.estimate, usual=usual
                )
            elif isinstance(judge, Skill):
                found[name, number, era] = Measure(limit=judge.tolerance, what="difference to the baseline")
            elif isinstance(judge, SeasonalGuardrail):
                found[name, number, era] = Measure(
                    limit=0.0, what="loss above its season's limit", steps=False
                )
            elif isinstance(judge, Audited | Estimated | Guardrail | Share):
                what = f"share {judge.what}" if isinstance(judge, Share) else "mean loss"
                found[name, number, era] = Measure(limit=judge.limit, what=what)
    return found


def _usual(version: Version) -> tuple[float, float] | None:
    means = () if version.manifest.reference is None else version.manifest.reference.block_means
    deviation = float(np.std(means, ddof=1)) if len(means) > 1 else 0.0
    return (float(np.mean(means)), deviation) if deviation > 0.0 else None


def risk_judges(lens: Lens, version: Version) -> dict[str, Guardrail | Regression]:
    """The judges of a champion's mean loss by watch, without those that cannot judge it."""
    return {
        name: judge for name, judge in _judges(lens, version) if isinstance(judge, Guardrail | Regression)
    }


def _judges(lens: Lens, version: Version) -> Iterator[tuple[str, Judge[Any, Any, Verdict]]]:
    """The judges of a champion by watch, without those that cannot judge it."""
    for name, watch in lens.policy.watches.items():
        # Where one cannot, the watch's own verdict says so, among the decisions and in status.
        with contextlib.suppress(InputError):
            yield name, judge_of(lens, watch, version)


def mark_of(decision: Plain) -> str:
    """The colour of a decision's mark: better, alarm, or none."""
    kind = (decision.get("verdict") or {}).get("kind")
    if decision["action"] in _GOOD and decision.get("by") != "operator":
        return "better"
    return "alarm" if decision["action"] in _BAD or kind == "alarm" else ""
