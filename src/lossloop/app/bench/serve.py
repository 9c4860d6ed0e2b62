"""`lossloop bench serve`: what a prediction costs, and what happens to requests while versions move."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from lossloop.app.bench import serve_cpu, serve_moves
from lossloop.app.bench.base import Part, measured
from lossloop.app.bench.figure import Figure
from lossloop.app.bench.machine import Machine
from lossloop.app.bench.places import directory_at
from lossloop.app.bench.screen import Screen
from lossloop.app.bench.serve_base import ServeBench, ServeSizes
from lossloop.app.bench.serve_targets import TARGETS
from lossloop.core.errors import UnknownName

PARTS: tuple[Part[ServeBench], ...] = (serve_cpu.PART, serve_moves.COLD, serve_moves.MOVES)
"""In the order in which they are measured."""


def run(
    place: Path, sizes: ServeSizes, screen: Screen, *, only: Collection[str] = ()
) -> tuple[Machine, list[Figure]]:
    """Measure; a figure that cannot be measured says why.

    Args:
        place: A directory on the disk that is to be measured; what is written there is removed again.
        sizes: How much to measure.
        screen: Where to say what goes on.
        only: Ids of figures; all where empty. Figures that are measured together are measured together.

    Raises:
        UnknownName: There is no such figure.
        StateError: Nothing can be written there.
    """
    for id in only:
        if id not in TARGETS:
            raise UnknownName("figure", id, list(TARGETS), field="only")
    found: dict[str, Figure] = {}
    with directory_at(place) as directory:
        machine = Machine.here(directory)
        bench = ServeBench(directory=directory, sizes=sizes, screen=screen)
        for part in PARTS:
            if only and not set(part.ids).intersection(only):
                continue
            for each in measured(part, bench, TARGETS):
                if not only or each.id in only:
                    found[each.id] = each
                    screen.figure(each)
    return machine, [found[id] for id in TARGETS if id in found]
