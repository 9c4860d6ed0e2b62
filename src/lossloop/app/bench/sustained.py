"""Both ways at once at a fixed rate: predictions and outcomes come whether or not anybody keeps up."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from lossloop.app.bench import rows
from lossloop.app.bench.base import Bench, Part, quantile
from lossloop.app.bench.clients import clients, sent
from lossloop.app.bench.figure import Figure
from lossloop.app.bench.floors import Joined, appended
from lossloop.app.bench.lag import Lag
from lossloop.app.bench.load import Report, Stream
from lossloop.app.bench.targets import figure
from lossloop.app.bench.usage import Usage
from lossloop.core.clock import SystemClock
from lossloop.core.errors import LossloopError

SIZE, CONNECTIONS = 1_000, 8
IDS = ("sustained_predictions", "sustained_outcomes", "sustained_ack_p99_ms", "sustained_lag_s")


def measure(bench: Bench) -> Iterator[Figure]:
    """The waiting time of a request counts from when it was due, not from when a connection was free."""
    sizes, house = bench.sizes, bench.house
    bench.screen.phase(f"sustained: {sizes.open:,} open predictions")
    house.grow(sizes.open, bench.screen)
    offered = SIZE * sizes.rate
    bench.screen.phase(f"sustained: {sizes.sustained_s:g} s of 2 times {offered:,.0f} events/s")
    try:
        report, lags, shares = _sent(bench)
    except LossloopError as error:
        yield from (figure(id, None, problem=str(error)) for id in IDS)
        return
    floors = _floors(bench)
    predictions, outcomes = report.streams
    waited = predictions.waited_ms + outcomes.waited_ms
    for id, told in (("sustained_predictions", predictions), ("sustained_outcomes", outcomes)):
        yield figure(
            id, told.acknowledged / told.seconds, floor=offered, seconds=told.seconds, refused=told.refused,
            **shares,
        )  # fmt: skip
    yield figure(
        "sustained_ack_p99_ms", quantile(waited, 0.99), floor=1000 * floors["append_p99"],
        median=quantile(waited, 0.5), high=max(waited),
    )  # fmt: skip
    yield figure(
        "sustained_lag_s", quantile(lags, 0.99), floor=floors["join"], median=quantile(lags, 0.5),
        high=max(lags),
    )  # fmt: skip


def _sent(bench: Bench) -> tuple[Report, list[float], dict[str, Any]]:
    """What became of the requests, how long facts waited for the fold, and who took how many cores."""
    house, requests = bench.house, round(bench.sizes.rate * bench.sizes.sustained_s)
    streams = {
        what: Stream(
            what=what, form="arrow", numbers="", size=SIZE, connections=CONNECTIONS, rate=bench.sizes.rate
        )
        for what in ("predictions", "outcomes")
    }
    rows = requests * SIZE
    given = [(streams["outcomes"], house.take(rows)), (streams["predictions"], house.fresh(rows))]
    token = house.home.tokens.read()
    with house.up() as up:
        ready = clients(up.url, token, given[::-1], bench.directory)
        house.folded()
        with Lag(house.home) as lag:
            usage = Usage(up)
            report = sent(ready)
            shares = usage.shares(clients=report.cpu_seconds)
            house.folded()
    return report, lag.seconds(), shares


def _floors(bench: Bench) -> Mapping[str, float]:
    """A request's bytes made durable; the same, read back and joined. Seconds."""
    now = SystemClock().now()
    bodies = [rows.as_arrow(rows.predicted(bench.house.any(SIZE), now)) for _ in range(200)]
    times = appended(bench.directory, bodies)
    joined = Joined(bench.sizes.open, bench.directory)
    path = bench.directory / "request"
    try:
        path.write_bytes(bodies[0])
        started = time.perf_counter()
        path.read_bytes()
        joined.take(*joined.batch(SIZE))
        return {
            "append_p99": quantile(times, 0.99),
            "join": quantile(times, 0.5) + time.perf_counter() - started,
        }
    finally:
        path.unlink()
        joined.close()


PART = Part(ids=IDS, house="open", measure=measure)
