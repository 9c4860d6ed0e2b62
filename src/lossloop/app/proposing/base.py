"""What a check of a policy finds: what was measured, what it would change, and what that costs in delay."""

from __future__ import annotations

from lossloop.app.planning import WatchPlan
from lossloop.core.clock import Micros
from lossloop.core.records import Record


class Span(Record, frozen=True):
    """What blocks of one length say."""

    block: Micros
    blocks: int
    design_effect: float
    """Variance of block means over that of a mean of as many independent rows."""
    carries_over: float
    """The correlation of a block's mean with the next one's."""
    enough: bool
    """Whether blocks of this length may be taken for independent."""


class Change(Record, frozen=True):
    """A key that should be another."""

    path: tuple[str, ...]
    present: str
    proposed: str
    why: str
    before: WatchPlan | None = None
    """What to expect of the watch as it is."""
    after: WatchPlan | None = None
    """And with the change."""


class Checked(Record, frozen=True):
    """A policy held against the past."""

    model: str
    policy: str
    rows: int
    spans: tuple[Span, ...] = ()
    changes: tuple[Change, ...] = ()
    warnings: tuple[str, ...] = ()
    text: str = ""
    """The policy file with the changes."""
    diff: str = ""

    @property
    def fine(self) -> bool:
        """Whether there is nothing to change and nothing to warn of."""
        return not (self.changes or self.warnings)
