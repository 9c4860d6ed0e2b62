"""What a request costs the server, beside what it costs a bare handler."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lossloop.app.bench import bare, serve_bare, serve_model
from lossloop.app.bench.apart import Apart
from lossloop.app.bench.base import Part, Spread, quantile
from lossloop.app.bench.clients import job, sent
from lossloop.app.bench.figure import Figure
from lossloop.app.bench.load import Report, Stream
from lossloop.app.bench.serve_base import ServeBench
from lossloop.app.bench.serve_targets import figure
from lossloop.app.bench.usage import seconds_of
from lossloop.app.home import Home
from lossloop.app.up import running


@dataclass(kw_only=True)
class Cost:
    """What repetitions gave: microseconds of a processor for each request, and what goes with it."""

    us: list[float] = field(default_factory=list)
    applier_us: list[float] = field(default_factory=list)
    rate: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)

    def add(self, report: Report, server: float, applier: float = 0.0) -> None:
        told = report.streams[0]
        self.us.append(1e6 * server / told.sent)
        self.applier_us.append(1e6 * applier / told.sent)
        self.rate.append(told.sent / told.seconds)
        self.p99_ms.append(quantile(told.waited_ms, 0.99))


def measure(bench: ServeBench) -> Iterator[Figure]:
    """Both servers stay up, and are asked in turns: what else the machine does meets both."""
    home = serve_model.made(bench.directory / "state")
    artifact = bench.directory / "model.onnx"
    artifact.write_bytes(serve_model.logistic())
    with running(home) as up, bare.serving(serve_bare.__name__, str(artifact)) as floor:
        costs = {}
        for rows, requests in ((1, bench.sizes.singles), (64, bench.sizes.many)):
            bench.screen.phase(f"cpu_us_{rows}: {bench.sizes.repeats} times {requests:,} requests, in turns")
            ours, theirs = Cost(), Cost()
            mine, its = _asks(bench, home, up.url, rows), _asks(bench, None, floor.url, rows)
            mine(bench.sizes.warm_up)
            its(bench.sizes.warm_up)
            for _ in range(bench.sizes.repeats):
                before = [seconds_of(up.pids()[part]) for part in ("server", "applier")]
                report = mine(requests)
                after = [seconds_of(up.pids()[part]) for part in ("server", "applier")]
                ours.add(report, after[0] - before[0], after[1] - before[1])
                since = seconds_of(floor.pid)
                theirs.add(its(requests), seconds_of(floor.pid) - since)
            costs[rows] = (ours, theirs)
            yield _figure(f"cpu_us_{rows}", ours, theirs)
    ours, theirs = costs[1]
    ratios = [one / other for one, other in zip(ours.us, theirs.us, strict=True) if other]
    spread = Spread.of(ratios) if ratios else None
    yield figure(
        "over_bare_handler", None if spread is None else spread.median,
        problem="" if spread else "the bare handler took too little to be told",
        **({} if spread is None else {"low": spread.low, "high": spread.high}),
    )  # fmt: skip


def _figure(id: str, ours: Cost, theirs: Cost) -> Figure:
    spread = Spread.of(ours.us)
    return figure(
        id, spread.median, floor=statistics.median(theirs.us), low=spread.low, high=spread.high,
        applier_us=statistics.median(ours.applier_us), requests_s=statistics.median(ours.rate),
        p99_ms=statistics.median(ours.p99_ms), bare_requests_s=statistics.median(theirs.rate),
    )  # fmt: skip


def _asks(bench: ServeBench, home: Home | None, url: str, rows: int) -> Callable[[int], Report]:
    """What sends so many requests to a server, and tells how that went."""
    token = "none" if home is None else home.tokens.read()

    def ask(requests: int) -> Report:
        stream = asking(bench.directory, rows, requests, connections=bench.sizes.connections)
        return sent(Apart("load", job(url, token, [stream])))

    return ask


def asking(directory: Path, rows: int, requests: int, *, connections: int, rate: float = 0.0) -> Stream:
    """Requests for predictions, all alike."""
    file = directory / f"body-{rows}.json"
    file.write_bytes(serve_model.body(rows))
    return Stream(
        what="predict", form="json", body=str(file), count=requests, size=rows, connections=connections,
        rate=rate, path=f"/v1/models/{serve_model.MODEL}/predict",
    )  # fmt: skip


PART = Part(ids=("cpu_us_1", "cpu_us_64", "over_bare_handler"), measure=measure)
