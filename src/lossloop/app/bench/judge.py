"""`lossloop bench judge`: how fast the judges are, how soon they see a change, and what they promise."""

from __future__ import annotations

from collections.abc import Collection

from lossloop.app.bench import replaying, speed
from lossloop.app.bench.base import Part, measured
from lossloop.app.bench.contest import figures as contest
from lossloop.app.bench.figure import Figure
from lossloop.app.bench.judge_base import JudgeBench
from lossloop.app.bench.judge_sizes import JudgeSizes
from lossloop.app.bench.judge_targets import TARGETS
from lossloop.app.bench.machine import Machine
from lossloop.app.bench.screen import Screen
from lossloop.core.errors import UnknownName

PARTS: tuple[Part[JudgeBench], ...] = (
    speed.PART,
    replaying.PART,
    contest.ORACLE,
    contest.PEERS,
    contest.PROMISES,
)
"""In the order in which they are measured."""


def run(sizes: JudgeSizes, screen: Screen, *, only: Collection[str] = ()) -> tuple[Machine, list[Figure]]:
    """Measure; a figure that cannot be measured says why.

    Args:
        sizes: How much to measure.
        screen: Where to say what goes on.
        only: Ids of figures; all where empty. Figures that are measured together are measured together.

    Raises:
        UnknownName: There is no such figure.
    """
    for id in only:
        if id not in TARGETS:
            raise UnknownName("figure", id, list(TARGETS), field="only")
    found: dict[str, Figure] = {}
    bench = JudgeBench(sizes=sizes, screen=screen)
    for part in PARTS:
        if only and not set(part.ids).intersection(only):
            continue
        for each in measured(part, bench, TARGETS):
            if not only or each.id in only:
                found[each.id] = each
                screen.figure(each)
    return Machine.here(), [found[id] for id in TARGETS if id in found]
