"""Ingest over HTTP: acknowledged events a second, while the applier folds what comes."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lossloop.app.bench import bare, rows
from lossloop.app.bench.base import Bench, Part, Spread, quantile
from lossloop.app.bench.clients import clients, sent
from lossloop.app.bench.figure import Figure
from lossloop.app.bench.floors import appended
from lossloop.app.bench.keyed import keyed
from lossloop.app.bench.load import Report, Stream
from lossloop.app.bench.targets import figure
from lossloop.app.bench.usage import Usage
from lossloop.app.up import Up
from lossloop.core.clock import SystemClock
from lossloop.core.errors import LossloopError

GROUP = 8
"""Requests of one write at the floor: as many as there are clients."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Requests of one kind."""

    form: str
    size: int
    connections: int
    requests: int

    def stream(self) -> Stream:
        return Stream(what="predictions", form=self.form, size=self.size, connections=self.connections)


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What repetitions of a shape gave: requests a second, milliseconds, and shares of one core."""

    requests: Spread
    p99: Spread
    shares: dict[str, Any]
    """Of all repetitions, as Usage tells them."""


def measure(bench: Bench) -> Iterator[Figure]:
    """All processes run as `lossloop up` starts them; the clients are a process of their own."""
    sizes = bench.sizes
    with bench.house.up() as up:
        arrow = Shape(form="arrow", size=1_000, connections=8, requests=sizes.arrow_requests)
        json = Shape(form="json", size=1_000, connections=8, requests=sizes.json_requests)
        single = Shape(form="json", size=1, connections=32, requests=sizes.single_requests)
        yield from _thousands(bench, up, "http_arrow_1000", arrow)
        yield from _thousands(bench, up, "http_json_1000", json)
        yield from _singles(bench, up, single)


def _thousands(bench: Bench, up: Up, id: str, shape: Shape) -> Iterator[Figure]:
    try:
        given = _sent(bench, up, id, shape)
    except LossloopError as error:
        yield figure(id, None, problem=str(error))
        return
    if shape.form == "arrow":
        floor = _append_rate(bench, shape)
    else:
        floor = shape.size * _bare(bench, shape).requests.median
    with keyed(bench.directory) as table:
        numbers = bench.house.any(50 * shape.size)
        peer = len(numbers) / sum(table.insert(numbers, shape.size))
    yield figure(
        id, shape.size * given.requests.median, floor=floor, peer=peer, low=shape.size * given.requests.low,
        high=shape.size * given.requests.high, ack_p99_ms=given.p99.median, **given.shares,
    )  # fmt: skip


def _singles(bench: Bench, up: Up, shape: Shape) -> Iterator[Figure]:
    try:
        given = _sent(bench, up, "http_json_1", shape)
    except LossloopError as error:
        for id in ("http_json_1", "http_json_1_p99_ms"):
            yield figure(id, None, problem=str(error))
        return
    floor = _bare(bench, shape)
    with keyed(bench.directory) as table:
        seconds = table.insert(bench.house.any(min(1_000, shape.requests)), 1)
    yield figure(
        "http_json_1", given.requests.median, floor=floor.requests.median, peer=len(seconds) / sum(seconds),
        low=given.requests.low, high=given.requests.high, **given.shares,
    )  # fmt: skip
    yield figure(
        "http_json_1_p99_ms", given.p99.median, floor=floor.p99.median, peer=1000 * quantile(seconds, 0.99),
        low=given.p99.low, high=given.p99.high,
    )  # fmt: skip


def _sent(bench: Bench, up: Up, id: str, shape: Shape) -> Sent:
    """Repetitions against the real server; between them the applier comes to the end of the log."""
    bench.screen.phase(f"{id}: {bench.sizes.repeats} times {shape.requests:,} requests")
    token, warm = bench.house.home.tokens.read(), shape.size * bench.sizes.warm_up
    sent(clients(up.url, token, [(shape.stream(), bench.house.fresh(warm))], bench.directory))
    reports, shares = [], []
    for _ in range(bench.sizes.repeats):
        numbers = bench.house.fresh(shape.size * shape.requests)
        ready = clients(up.url, token, [(shape.stream(), numbers)], bench.directory)
        bench.house.folded()
        usage = Usage(up)
        reports.append(sent(ready))
        shares.append(usage.shares(clients=reports[-1].cpu_seconds))
    return _summary(reports, shares)


def _bare(bench: Bench, shape: Shape) -> Sent:
    bench.screen.phase(f"{shape.requests:,} requests to a bare handler")
    numbers = bench.house.any(shape.size * shape.requests)
    with bare.serving() as floor:
        return _summary([sent(clients(floor.url, "none", [(shape.stream(), numbers)], bench.directory))])


def _append_rate(bench: Bench, shape: Shape) -> float:
    """Events a second where the bodies of some requests are appended by one write, and synced."""
    now, writes = SystemClock().now(), max(1, min(shape.requests, 400) // GROUP)
    bodies = [rows.as_arrow(rows.predicted(bench.house.any(shape.size), now)) * GROUP for _ in range(writes)]
    return writes * GROUP * shape.size / sum(appended(bench.directory, bodies))


def _summary(reports: Sequence[Report], shares: Sequence[Mapping[str, float]] = ()) -> Sent:
    told = [report.streams[0] for report in reports]
    return Sent(
        requests=Spread.of([len(each.waited_ms) / each.seconds for each in told]),
        p99=Spread.of([quantile(each.waited_ms, 0.99) for each in told]),
        shares={name: statistics.mean(each[name] for each in shares) for name in (shares or [{}])[0]},
    )


PART = Part(
    ids=("http_arrow_1000", "http_json_1000", "http_json_1", "http_json_1_p99_ms"),
    house="http",
    measure=measure,
)
