"""What the loop keeps between facts, by name: policies, watches, rollouts, counts, decisions."""

from __future__ import annotations

from functools import lru_cache

import msgspec

from lossloop.act.policy import Policy, read_policy
from lossloop.act.rollout import Rollout
from lossloop.app.eras import era
from lossloop.app.judging import Lens
from lossloop.core.clock import Micros
from lossloop.core.documents import Documents
from lossloop.core.errors import UnknownName
from lossloop.core.records import Decision, Interval, Record, Verdict
from lossloop.core.thresholds import Thresholds
from lossloop.core.traffic import Traffic
from lossloop.registry import versions

STEPS = 96
"""Into how many parts a block is cut for points of rows: quarters of an hour, where it is a day."""


class WatchState(Record, frozen=True):
    """A watch of a model: what was judged, the last verdict, and the incident that is open, if any."""

    version: int
    since: Micros
    """When that version became champion; the watch begins anew with each reign."""
    judged: msgspec.Raw
    """The state of the watch's judge, as JSON: each kind has its own."""
    verdict: Verdict | None = None
    incident: Micros | None = None
    """When it raised the alarm that was last answered."""
    answered: tuple[str, ...] = ()
    """``verb:status`` of what was proposed in this incident, so that each is recorded once."""


class Cursor(Record, frozen=True):
    """How far a model's predictions were judged: the last row and the last block."""

    seq: int = 0
    absent: int = 0
    """The last row of which it was looked whether its outcome is absent."""
    block: int = -(1 << 62)


class Point(Record, frozen=True):
    """One step of evidence, for charts: times in microseconds, evidence as a natural logarithm."""

    at: Micros
    watch: str
    version: int
    kind: str
    evidence: float
    threshold: float
    block: str = ""
    era: int = 0
    """How often the loss had been switched."""
    mean: float | None = None
    rows: int = 0
    labelled: int = 0
    effect: Interval | None = None
    """Of all that was judged by then, not of this step alone."""

    def alike(self, other: Point) -> bool:
        """Whether two steps may be shown as one."""
        return (self.version, self.kind, self.era) == (other.version, other.kind, other.era)

    def after(self, before: Point | None) -> Point:
        """This step and an earlier one as one: rows add up, evidence and effect are the later ones."""
        if before is None:
            return self
        rows, mean = before.rows + self.rows, self.mean
        if mean is not None and before.mean is not None and rows:
            mean = (before.mean * before.rows + mean * self.rows) / rows
        return msgspec.structs.replace(self, rows=rows, labelled=before.labelled + self.labelled, mean=mean)


class Counts(Record, frozen=True):
    """What came, of one model."""

    predictions: int = 0
    outcomes: int = 0
    """Predictions that have, or had, an outcome."""
    absent: int = 0
    """Predictions whose outcome is that none came."""
    corrections: int = 0
    waiting: int = 0
    """Outcomes that wait for their prediction now."""
    repeats: int = 0
    conflicts: int = 0
    decisions: int = 0


class Freeze(Record, frozen=True):
    """All actions are stopped since `at`."""

    at: Micros
    reason: str


class Crowned(Record, frozen=True):
    """When the present champion of a model took over, and by what."""

    version: int
    at: Micros
    seq: int
    by_rollout: bool


class PolicyText(Record, frozen=True):
    """A policy as it was written."""

    text: str
    at: Micros


class Books:
    """Typed access to the documents of the loop; several models, one Books."""

    def __init__(self, documents: Documents) -> None:
        self.documents = documents

    def models(self) -> list[str]:
        return list(self.documents.all("policy", PolicyText))

    def policy(self, model: str) -> Policy:
        """The policy in force.

        Raises:
            UnknownName: No such model.
        """
        return read_policy(self.policy_text(model))

    def policy_text(self, model: str) -> str:
        """The policy in force, as it was written; raise UnknownName where there is no such model."""
        found = self.documents.get("policy", model, PolicyText)
        if found is None:
            made = "a policy makes a model: lossloop policy FILE"
            raise UnknownName("model", model, self.models(), field="model", fix=made)
        return found.text

    def lens(self, model: str) -> Lens:
        """How the policy in force looks at rows."""
        found = _lens(self.policy_text(model), ())
        if not any(each.of_actions for each in (found, *found.beside)):
            return found
        return _lens(self.policy_text(model), versions.thresholds(self.documents, model))

    def cursor(self, model: str) -> Cursor:
        return self.documents.get("cursor", model, Cursor) or Cursor()

    def rollout(self, model: str) -> Rollout | None:
        """The present rollout, or the last one."""
        return self.documents.get("rollout", model, Rollout)

    def past_rollouts(self, model: str) -> list[Rollout]:
        """Every rollout the model has had, oldest first, the present one included."""
        return list(self.documents.all("rollout_past", Rollout, prefix=f"{model}/").values())

    def put_rollout(self, rollout: Rollout) -> None:
        self.documents.put("rollout", rollout.model, rollout)
        self.documents.put("rollout_past", f"{rollout.model}/{rollout.id}", rollout)

    def watch(self, model: str, name: str) -> WatchState | None:
        return self.documents.get("watch", f"{model}/{name}", WatchState)

    def put_watch(self, model: str, name: str, state: WatchState) -> None:
        self.documents.put("watch", f"{model}/{name}", state)

    def traffic(self, model: str) -> Traffic | None:
        return self.documents.get("traffic", model, Traffic)

    def crowned(self, model: str) -> Crowned | None:
        return self.documents.get("crowned", model, Crowned)

    def counts(self, model: str) -> Counts:
        return self.documents.get("counts", model, Counts) or Counts()

    def add_counts(self, model: str, **more: int) -> None:
        """Add to the named counts."""
        counts = self.counts(model)
        made = {name: getattr(counts, name) + number for name, number in more.items()}
        self.documents.put("counts", model, msgspec.structs.replace(counts, **made))

    def frozen(self) -> Freeze | None:
        return self.documents.get("freeze", "all", Freeze)

    def decisions(self, model: str) -> list[Decision]:
        """Every decision on a model, oldest first."""
        return list(self.documents.all("decision", Decision, prefix=f"{model}/").values())

    def points(self, model: str) -> list[Point]:
        """The evidence of a model's watches and rollouts, by watch and time."""
        return list(self.documents.all("point", Point, prefix=f"{model}/").values())

    def put_point(self, model: str, point: Point) -> None:
        """Keep a step: one for each block, or, where rows are judged, one for each 96th of a block.

        So what is kept grows with time, and not with traffic. A step that changes the verdict stands alone.
        """
        part = point.at
        if not point.block:
            part -= point.at % max(1, self.policy(model).block // STEPS)
        key = f"{model}/{point.watch}/{part:020d}/{point.block}"
        before = None if point.block else self.documents.get("point", key, Point)
        point = msgspec.structs.replace(point, era=era(self.documents, model).number)
        if before is not None and not before.alike(point):
            key, before, same = f"{model}/{point.watch}/{point.at:020d}/{point.block}", None, 0
            while self.documents.get("point", key, Point) is not None:  # of the same moment
                same += 1
                key = f"{model}/{point.watch}/{point.at:020d}/{point.block}#{same:06d}"
        self.documents.put("point", key, point.after(before))

    def now(self) -> Micros:
        """Where the clock stands: everything up to it was judged."""
        return self.documents.get("clock", "now", int) or 0


@lru_cache(maxsize=256)
def _lens(text: str, thresholds: tuple[tuple[int, Thresholds], ...]) -> Lens:
    """One lens per policy text, since parsing a loss takes longer than judging an hour."""
    return Lens(policy=read_policy(text), thresholds=thresholds)
