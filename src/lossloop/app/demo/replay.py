"""The replay: every flight of the year through the real HTTP server, hour by hour.

Each hour the outcomes that have come since are sent, then the flights scheduled in that hour are asked about.
The next hour begins once the loop has folded this one and no retraining is under way, so the decisions do not
depend on the speed of the machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from lossloop.app.demo.flights import FEATURES
from lossloop.client import Client, Unreachable
from lossloop.core.clock import DAY, HOUR, Micros, format_time
from lossloop.core.errors import StateError

MODEL = "flight-delay"
FLIGHTS = "flights.arrow"
"""The file of all flights in the demo's state directory; it is there once the stage is set."""
T = TypeVar("T")
PATIENCE = 600.0
"""Seconds to wait for a fold, or for a retraining, before giving up."""


@dataclass(frozen=True, kw_only=True)
class Hour:
    """What happens at the start of an hour: outcomes up to it, and flights in it."""

    start: Micros
    outcomes: list[dict[str, Any]]
    flights: list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Timed:
    """How long it took from sending the deciding rows until the new traffic was served."""

    decision: dict[str, Any]
    seconds: float


@dataclass(kw_only=True)
class Replay:
    """Sends hours; keeps what was decided, and how long that took."""

    client: Client
    decided: int = 0
    sent: int = 0
    requests: int = 0
    waited: float = 0.0
    """Seconds spent waiting for retrainings."""
    timed: list[Timed] = field(default_factory=list)

    def send(self, hour: Hour) -> list[dict[str, Any]]:
        """Send one hour and return the decisions that it led to."""
        made: list[dict[str, Any]] = []
        if hour.outcomes:
            made += self._timed(lambda: self.client.outcomes(MODEL, hour.outcomes, wait=60))
        if hour.flights:
            made += self._timed(lambda: self.client.predict(MODEL, hour.flights, wait=60))
        self.sent += len(hour.outcomes) + len(hour.flights)
        return made

    def close(self, end: Micros) -> list[dict[str, Any]]:
        """Let the clock run on until the last day is judged."""
        return self._timed(lambda: self.client.move_clock(format_time(end), wait=60))

    def _timed(self, request: Callable[[], dict[str, Any]]) -> list[dict[str, Any]]:
        began = time.perf_counter()
        reply = _insist(request)
        seconds = time.perf_counter() - began
        self.requests += 1
        if not reply["folded"]:
            raise StateError("the loop did not fold an hour within a minute; see the messages above")
        new = self.news() if reply["decisions"] > self.decided else []
        self.timed += [Timed(decision=decision, seconds=seconds) for decision in new]
        if reply["pending"]:
            self.wait_for_effects()
            new += self.news()
        return new

    def news(self) -> list[dict[str, Any]]:
        """Decisions made since the last look."""
        new = _insist(lambda: self.client.decisions(MODEL))[self.decided :]
        self.decided += len(new)
        return new

    def wait_for_effects(self) -> None:
        """Hold the clock while a retraining runs: in a replay it takes no time."""
        began = time.perf_counter()
        while self._is_busy():
            if time.perf_counter() - began > PATIENCE:
                raise StateError(f"an effect was still pending after {PATIENCE:g} s; see the messages above")
            time.sleep(0.02)
        self.waited += time.perf_counter() - began

    def _is_busy(self) -> bool:
        health = _insist(self.client.health)
        return bool(health["behind"] or health["pending"])


def _insist(request: Callable[[], T]) -> T:
    """Ask until there is an answer: a killed part is started again, and sending twice changes nothing."""
    began = time.perf_counter()
    while True:
        try:
            return request()
        except Unreachable:
            if time.perf_counter() - began > PATIENCE:
                raise
            time.sleep(0.1)


def hours(flights: pa.Table, *, first: Micros, last: Micros) -> Iterator[Hour]:
    """Cut flights, sorted by time, into the hours of [first, last) in which anything happens."""
    times = flights["time"].to_numpy()
    known = flights.filter(flights["outcome_time"].is_valid()).sort_by(
        [("outcome_time", "ascending"), ("id", "ascending")]
    )
    arrivals = known["outcome_time"].to_numpy()
    moments = np.arange(first, last + DAY, HOUR)
    if not len(moments):  # a finished replay, resumed
        return
    asked = np.searchsorted(times, np.append(moments, moments[-1] + HOUR))
    came = np.searchsorted(arrivals, moments, side="right")
    features = flights.select([feature.name for feature in FEATURES])
    for index, start in enumerate(moments.tolist()):
        before = came[index - 1] if index else np.searchsorted(arrivals, start - HOUR, side="right")
        outcomes = _outcomes(known, int(before), int(came[index]))
        rows = _rows(flights, features, asked[index], asked[index + 1])
        if outcomes or rows:
            yield Hour(start=start, outcomes=outcomes, flights=rows)


def _rows(flights: pa.Table, features: pa.Table, start: int, end: int) -> list[dict[str, Any]]:
    size = end - start
    ids = flights["id"].slice(start, size).to_pylist()
    times = map(format_time, flights["time"].slice(start, size).to_pylist())
    wanted = features.slice(start, size).to_pylist()
    return [
        {"id": id, "unit": id, "time": moment, "features": row}
        for id, moment, row in zip(ids, times, wanted, strict=True)
    ]


def _outcomes(known: pa.Table, start: int, end: int) -> list[dict[str, Any]]:
    part = known.slice(start, end - start)
    columns = (
        part["id"].to_pylist(),
        part["late"].to_pylist(),
        map(format_time, part["outcome_time"].to_pylist()),
    )
    return [{"id": id, "y_true": late, "time": moment} for id, late, moment in zip(*columns, strict=True)]
