"""Versions that move under load: what fails, how long a roll-back takes; and how long a start takes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import urllib3

from lossloop.app import operate
from lossloop.app.bench import serve_model
from lossloop.app.bench.apart import Apart
from lossloop.app.bench.base import Part, Spread, quantile
from lossloop.app.bench.clients import job
from lossloop.app.bench.figure import Figure
from lossloop.app.bench.load import Report, Told
from lossloop.app.bench.serve_base import ServeBench
from lossloop.app.bench.serve_cpu import asking
from lossloop.app.bench.serve_targets import figure
from lossloop.app.home import Home
from lossloop.app.up import running
from lossloop.core.errors import StateError
from lossloop.serve.runtimes.libraries import library

STEP = 0.4
"""Seconds between two moves."""
CANARY = '"role":"challenger"'
_BARE = "import granian, onnxruntime"


class Mover:
    """Moves a model's traffic over HTTP, as an operator would."""

    def __init__(self, home: Home, url: str) -> None:
        self._home = home
        self._url = f"{url}/v1/models/{serve_model.MODEL}"
        self._headers = {"Authorization": f"Bearer {home.tokens.read()}"}
        self.rolled_back: list[tuple[float, float]] = []
        """When each roll-back was decided, and when nothing of the canary is to be expected any more."""

    def register(self, number: int) -> int:
        """A version that was never loaded before."""
        made = operate.register(
            self._home,
            serve_model.MODEL,
            serve_model.manifest(str(number)),
            serve_model.logistic(0.01 * number),
        )
        assert made.version is not None
        return made.version

    def swap(self, number: int, *, back: bool) -> None:
        """Ramp a version up, roll it back if asked to, then give it all the traffic."""
        version = self.register(number)
        self._post("rollout", version=version)
        time.sleep(STEP)
        if back:
            decided = time.time()
            self._post("rollback")
            time.sleep(STEP)
            self.rolled_back.append((decided, time.time()))
            self._post("promote", version=version)
        else:
            self._post("promote")
        time.sleep(STEP)

    def _post(self, verb: str, **body: Any) -> None:
        answer = urllib3.request(
            "POST", f"{self._url}/{verb}", json=body, headers=self._headers, retries=False
        )
        if answer.status != 200:
            raise StateError(f"{verb}: {answer.status} {answer.data[:300].decode(errors='replace')}")


def moves(bench: ServeBench) -> Iterator[Figure]:
    """One process asks at a steady rate while versions are moved."""
    sizes = bench.sizes
    bench.screen.phase(f"swap_failed_requests: {sizes.swaps} versions, {sizes.rate:,.0f} requests/s")
    home = serve_model.made(bench.directory / "moves")
    seconds = 2 * STEP * sizes.swaps + STEP * sizes.rollbacks + 2.0
    with running(home) as up:
        stream = asking(
            bench.directory,
            1,
            int(1.5 * sizes.rate * seconds),
            connections=sizes.connections,
            rate=sizes.rate,
        )
        ready = Apart("load", job(up.url, home.tokens.read(), [msgspec.structs.replace(stream, mark=CANARY)]))
        mover = Mover(home, up.url)
        ready.go()
        time.sleep(1.0)
        for number in range(sizes.swaps):
            bench.screen.progress(number / sizes.swaps)
            mover.swap(number + 1, back=number < sizes.rollbacks)
        report = ready.report(Report)
    told = report.streams[0]
    yield figure(
        "swap_failed_requests", float(sum(told.refused.values())), requests=told.sent,
        requests_s=told.sent / told.seconds, longest_ms=max(told.waited_ms, default=0.0),
        p99_ms=quantile(told.waited_ms, 0.99), p50_ms=quantile(told.waited_ms, 0.5), swaps=sizes.swaps,
        first_failure=told.problem,
    )  # fmt: skip
    longest = max(lasted(told, mover), default=0.0)
    yield figure("rollback_ms", longest, rollbacks=len(mover.rolled_back), canary_answers=len(told.marked))


def lasted(told: Told, mover: Mover) -> list[float]:
    """For each roll-back, how long the canary answered after the decision, in ms."""
    return [
        1000.0 * max((moment - decided for moment in told.marked if decided <= moment < until), default=0.0)
        for decided, until in mover.rolled_back
    ]


def cold_start(bench: ServeBench) -> Iterator[Figure]:
    """All processes of `lossloop up`, started over a directory with a champion."""
    bench.screen.phase("cold_start_s")
    home, took, floors = serve_model.made(bench.directory / "cold"), [], []
    library("onnxruntime", "onnx")
    for _ in range(bench.sizes.repeats):
        began = time.perf_counter()
        with running(home) as up:
            _answered(up.url, home)
            took.append(time.perf_counter() - began)
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", _BARE], check=True)
        floors.append(time.perf_counter() - began)
    whole = Spread.of(took)
    yield figure("cold_start_s", whole.median, floor=Spread.of(floors).median, low=whole.low, high=whole.high)


def _answered(url: str, home: Home) -> None:
    """Ask for a row until it is answered."""
    headers, until = {"Authorization": f"Bearer {home.tokens.read()}"}, time.monotonic() + 60.0
    while time.monotonic() < until:
        answer = urllib3.request(
            "POST", f"{url}/v1/models/{serve_model.MODEL}/predict", body=serve_model.body(1), headers=headers,
            retries=False,
        )  # fmt: skip
        if answer.status == 200:
            return
        time.sleep(0.005)
    raise StateError(f"no row was answered within a minute: {answer.status} {answer.data[:300].decode()}")


COLD = Part(ids=("cold_start_s",), measure=cold_start)
MOVES = Part(ids=("swap_failed_requests", "rollback_ms"), measure=moves)
