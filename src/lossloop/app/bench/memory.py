"""How much memory the applier has once it has folded many predictions, and after it was started again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lossloop.app.bench import rows
from lossloop.app.bench.base import Bench, Part
from lossloop.app.bench.figure import Figure
from lossloop.app.bench.house import AT_ONCE
from lossloop.app.bench.restart import tell
from lossloop.app.bench.targets import figure
from lossloop.app.up import Up
from lossloop.core.errors import StateError

MB = 1e6
ROW_BYTES = 40
COUNTED = 10


def measure(bench: Bench) -> Iterator[Figure]:
    """The predictions are written to the log; the applier's own process folds them."""
    count, house = bench.sizes.many, bench.house
    bench.screen.phase(f"memory_10m_mb: {count:,} predictions")
    with house.up() as up:
        numbers = house.fresh(count - house.count)
        for start in range(0, len(numbers), AT_ONCE):
            house.append("predictions", numbers[start : start + AT_ONCE])
            bench.screen.progress(start / count)
        house.folded()
        tell(up.url, house.home, house.take(1))
        folded, highest = resident(up)
    with house.up() as up:
        tell(up.url, house.home, house.take(1))
        again, _ = resident(up)
    yield figure(
        "memory_10m_mb", folded, floor=count * ROW_BYTES / MB, peer=_dict_mb(count), high=highest,
        after_restart=again, rows=count,
    )  # fmt: skip


def resident(up: Up) -> tuple[float, float]:
    """Megabytes of the applier's memory, now and at most.

    Raises:
        StateError: The system does not say.
    """
    path = Path(f"/proc/{up.pids()['applier']}/status")
    if not path.exists():
        raise StateError("memory is read from /proc, which this system does not have")
    lines = dict(line.split(":", 1) for line in path.read_text().splitlines())
    now, high = (int(lines[name].split()[0]) * 1024 / MB for name in ("VmRSS", "VmHWM"))
    return now, high


def _dict_mb(count: int) -> float:
    """What a dict of ids to row numbers takes; counted for some, and as much for all others."""
    part = max(1, count // COUNTED)
    ids = rows.ids(np.arange(part)).to_pylist()
    table = {id: row for row, id in enumerate(ids)}
    size = sys.getsizeof(table) + part * (sys.getsizeof(ids[0]) + sys.getsizeof(part))
    return size * count / part / MB


PART = Part(ids=("memory_10m_mb",), house="many", measure=measure)
