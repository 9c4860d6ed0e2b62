"""From the start of all processes until the loop closes again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import urllib3

from lossloop.app.bench import rows
from lossloop.app.bench.base import Bench, Part, Spread
from lossloop.app.bench.figure import Figure
from lossloop.app.bench.targets import figure
from lossloop.app.home import Home
from lossloop.core.clock import SystemClock
from lossloop.core.errors import StateError
from lossloop.ledger.joined.keys import Int64

PATIENCE = 60
_AT_ONCE = 1 << 24


def measure(bench: Bench) -> Iterator[Figure]:
    """Serving begins when the server answers; joining when the first outcome sent over HTTP is folded."""
    house, sizes = bench.house, bench.sizes
    bench.screen.phase(f"restart_s: {sizes.open:,} open predictions")
    house.grow(sizes.open, bench.screen)
    joining, answering = [], []
    for _ in range(sizes.repeats):
        numbers = house.take(1)
        started = time.perf_counter()
        with house.up() as up:
            answering.append(time.perf_counter() - started)
            tell(up.url, house.home, numbers)
            joining.append(time.perf_counter() - started)
    whole = Spread.of(joining)
    floor = _read(house.home.state_file, house.home.state_file.with_suffix(".parts"))
    yield figure(
        "restart_s", whole.median, floor=floor, low=whole.low, high=whole.high,
        answering_s=Spread.of(answering).median,
    )  # fmt: skip


def tell(url: str, home: Home, numbers: Int64) -> None:
    """Send outcomes, and wait until they are folded.

    Raises:
        StateError: They were refused, or nothing folded them.
    """
    batch = rows.happened(numbers, SystemClock().now())
    headers = {"Authorization": f"Bearer {home.tokens.read()}", "Prefer": f"wait={PATIENCE}"}
    answer = urllib3.request(
        "POST", f"{url}/v1/outcomes", body=rows.as_json("outcomes", batch), headers=headers, retries=False,
        timeout=2 * PATIENCE,
    )  # fmt: skip
    if answer.status != 200 or not msgspec.json.decode(answer.data).get("folded"):
        raise StateError(f"an outcome was not folded: {answer.status} {answer.data[:200].decode()}")


def _read(*places: Path) -> float:
    """Seconds to read all files that derived state lies in."""
    started = time.perf_counter()
    for place in places:
        for path in [place] if place.is_file() else sorted(place.glob("*")):
            with path.open("rb") as file:
                while file.read(_AT_ONCE):
                    pass
    return time.perf_counter() - started


PART = Part(ids=("restart_s",), house="open", measure=measure)
