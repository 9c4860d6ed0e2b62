"""`lossloop bench ledger`: every figure that the ledger promises, on this machine and this disk."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator
from itertools import groupby
from pathlib import Path

from lossloop.app.bench import http, join, memory, postgres, recompute, restart, sustained
from lossloop.app.bench.base import Bench, Part, measured
from lossloop.app.bench.figure import Figure
from lossloop.app.bench.house import House
from lossloop.app.bench.machine import Machine
from lossloop.app.bench.places import directory_at
from lossloop.app.bench.screen import Screen
from lossloop.app.bench.sizes import Sizes
from lossloop.app.bench.targets import TARGETS
from lossloop.core.errors import UnknownName

PARTS: tuple[Part[Bench], ...] = (
    http.PART,
    join.PART,
    restart.PART,
    sustained.PART,
    memory.PART,
    recompute.PART,
    postgres.PART,
)
"""In the order in which they are measured; those of one house come one after the other."""


def run(
    place: Path, sizes: Sizes, screen: Screen, *, only: Collection[str] = ()
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
    wanted = [part for part in PARTS if not only or set(part.ids).intersection(only)]
    found: dict[str, Figure] = {}
    with directory_at(place) as directory:
        machine = Machine.here(directory)
        for name, parts in groupby(wanted, key=lambda part: part.house):
            for each in _in_house(directory / name, list(parts), sizes, screen):
                if not only or each.id in only:
                    found[each.id] = each
                    screen.figure(each)
    return machine, [found[id] for id in TARGETS if id in found]


def _in_house(directory: Path, parts: list[Part[Bench]], sizes: Sizes, screen: Screen) -> Iterator[Figure]:
    """All figures of parts that share a state directory, which is removed then."""
    directory.mkdir()
    try:
        house = House(directory / "state")
        bench = Bench(directory=directory, sizes=sizes, screen=screen, house=house)
        for part in parts:
            yield from measured(part, bench, TARGETS)
        house.close()
    finally:
        shutil.rmtree(directory)
