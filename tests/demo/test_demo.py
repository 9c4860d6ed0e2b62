"""The demo itself, for three weeks: the bad release is rolled back, and a kill -9 changes no decision."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lossloop.app.demo.run import Told, play
from lossloop.app.home import Home, init
from lossloop.app.reading import overview
from lossloop.core.errors import StateError
from lossloop.ledger.facts import model_of
from lossloop.ledger.frames import Frame, Kind
from tests.app.processes import lossloop, on_linux
from tests.app.server import within

UNTIL = date(2013, 3, 22)
PROGRAM = """
import sys
from datetime import date
from pathlib import Path
from lossloop.app.cli.screen import DemoScreen
from lossloop.app.demo.run import play

with DemoScreen(quiet=True) as screen:
    play(Path(sys.argv[1]), screen, salt="demo", resume=True, until=date.fromisoformat(sys.argv[2]))
"""


@dataclass
class Screen:
    """Remembers what it was shown."""

    phases: list[str] = field(default_factory=list)
    days: list[tuple[date, float]] = field(default_factory=list)
    decisions: list[dict[str, Any]] = field(default_factory=list)

    def phase(self, words: str) -> None:
        self.phases.append(words)

    def progress(self, day: date, done: float) -> None:
        self.days.append((day, done))

    def decided(self, decision: dict[str, Any]) -> None:
        self.decisions.append(decision)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's directory before the first hour: trained, registered, version 1 live."""
    path = tmp_path_factory.mktemp("demo") / "stage"
    subprocess.run([sys.executable, "-m", "lossloop.app.demo.story", str(path), "demo"], check=True)
    return path


@pytest.fixture(scope="module")
def played(stage: Path) -> tuple[Path, Screen, Told]:
    """Three weeks without a break."""
    path, screen = stage.parent / "whole", Screen()
    shutil.copytree(stage, path)
    return path, screen, play(path, screen, salt="demo", resume=True, until=UNTIL)


@pytest.mark.slow
def test_the_bad_release_is_rolled_back_by_itself(played: tuple[Path, Screen, Told]) -> None:
    decisions = played[2].decisions
    assert [(each["action"], each["version"], each["status"], each["by"]) for each in decisions] == [
        ("promote", 1, "done", "operator"),
        ("start_rollout", 2, "done", "operator"),
        ("roll_back", 2, "done", "policy"),
    ]
    assert [each["at"][:10] for each in decisions] == ["2013-03-01", "2013-03-18", "2013-03-19"]
    verdict = decisions[-1]["verdict"]
    assert verdict["kind"] == "alarm"
    assert verdict["evidence"] >= verdict["threshold"]
    assert verdict["count"] < 1000


def propensities(batch: pa.RecordBatch) -> list[float]:
    """The chance of each row's arm; a batch in which all were certain leaves it out."""
    names = batch.schema.names
    chances: list[float] = batch.column("propensity").to_pylist() if "propensity" in names else [1.0]
    return chances if "propensity" in names else chances * batch.num_rows


def test_the_bad_release_met_few_and_all_of_them_in_its_first_step(played: tuple[Path, Screen, Told]) -> None:
    log = Home(path=played[0]).log.reader()
    frames = [entry.frame for entry in log.read({})]
    log.close()
    batches = [frame.batch for frame in frames if isinstance(frame, Frame) and frame.kind is Kind.PREDICTION]
    assert {model_of(batch) for batch in batches} == {"flight-delay"}
    rows = [
        row
        for batch in batches
        for row in zip(batch.column("version").to_pylist(), propensities(batch), strict=True)
    ]
    exposed = [propensity for version, propensity in rows if version == 2]
    assert 0 < len(exposed) < 60
    assert set(exposed) == {0.01}
    assert len(rows) > 18_000


def test_the_screen_was_shown_every_day_and_every_decision(played: tuple[Path, Screen, Told]) -> None:
    _, screen, told = played
    assert screen.decisions == told.decisions
    assert len({day for day, _ in screen.days}) >= 21
    done = [share for _, share in screen.days]
    assert done == sorted(done)
    assert done[-1] <= 1


def test_elapsed_times_stand_apart_from_what_is_the_same_every_time(
    played: tuple[Path, Screen, Told],
) -> None:
    plain = json.loads(json.dumps(played[2].plain()))
    assert set(plain) == {"decisions", "comparison", "timings"}
    assert {each["at"][:4] for each in plain["decisions"]} == {"2013"}
    assert [each["id"] for each in plain["decisions"]] == [
        f"flight-delay/{number:06d}" for number in range(3)
    ]
    assert plain["timings"]["rows"] > 30_000
    safe = plain["timings"]["safe_traffic_ms"]
    assert [each["action"] for each in safe] == ["roll_back"]
    assert 0 < safe[0]["ms"] < 5_000


def test_the_comparison_counts_every_flight_that_arrived(played: tuple[Path, Screen, Told]) -> None:
    courses = played[2].courses
    march = {name: course[0] for name, course in courses.items()}
    assert {month.month for month in march.values()} == {"2013-03"}
    assert len({month.flights for month in march.values()}) == 1
    assert march["with the loop"].mean_loss < march["version 2 for everyone"].mean_loss
    assert march["with the loop"].mean_loss == pytest.approx(march["version 1 for ever"].mean_loss, abs=0.01)


@pytest.mark.slow
@on_linux
def test_cut_off_by_kill_9_and_resumed_it_decides_the_same(
    stage: Path, played: tuple[Path, Screen, Told]
) -> None:
    path = stage.parent / "cut"
    shutil.copytree(stage, path)
    command = [sys.executable, "-c", PROGRAM, str(path), UNTIL.isoformat()]
    process = subprocess.Popen(command, start_new_session=True)
    try:
        within(lambda: _clock(path) >= "2013-03-18T15", 60)  # the canary is on
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert len(_told(path)) == 2
    assert (
        play(path, Screen(), salt="demo", resume=True, until=UNTIL).plain()["comparison"]
        == (played[2].plain()["comparison"])
    )
    assert json.dumps(_told(path)) == json.dumps(played[2].decisions)


def _clock(path: Path) -> str:
    state = Home(path=path).state()
    found = overview(state)["clock"]
    state.close()
    return str(found)


def _told(path: Path) -> list[dict[str, Any]]:
    done = lossloop("decisions", "flight-delay", "--json", state=path)
    found: list[dict[str, Any]] = json.loads(done.stdout)["decisions"]
    return found


# What it does not touch.


def test_only_a_demo_s_own_directory_is_cleared(tmp_path: Path) -> None:
    live = init(tmp_path / "live")
    done = lossloop("demo", "--state", str(live.path), "--report", str(tmp_path / "r.html"))
    assert done.returncode == 1
    assert "is a state directory in use, not a demo's" in done.stderr
    assert live.check() == live
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "thesis.tex").write_text("")
    done = lossloop("demo", "--state", str(tmp_path / "papers"))
    assert done.returncode == 1
    assert "holds other things than a demo" in done.stderr
    assert (tmp_path / "papers" / "thesis.tex").exists()


def test_there_must_be_something_to_resume(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="is no state directory"):
        play(tmp_path / "nowhere", Screen(), salt="demo", resume=True)
    init(tmp_path / "s")
    with pytest.raises(StateError, match="holds no demo that had begun; run without --resume"):
        play(tmp_path / "s", Screen(), salt="demo", resume=True)
