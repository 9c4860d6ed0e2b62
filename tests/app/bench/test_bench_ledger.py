"""`lossloop bench ledger`: every promised figure is measured, at tiny sizes, and told in one shape."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lossloop.app.bench import Figure
from lossloop.app.bench.base import Bench, Part, measured
from lossloop.app.bench.house import House
from lossloop.app.bench.ledger import PARTS
from lossloop.app.bench.ledger import run as run_ledger
from lossloop.app.bench.screen import Quiet
from lossloop.app.bench.sizes import QUICK
from lossloop.app.bench.targets import TARGETS, figure
from lossloop.app.home import STORE
from lossloop.core.errors import StateError, UnknownName

PROMISED = [
    *("http_arrow_1000", "http_json_1000", "http_json_1", "http_json_1_p99_ms", "join_100k", "join_1k"),
    *("restart_s", "sustained_predictions", "sustained_outcomes", "sustained_ack_p99_ms", "sustained_lag_s"),
    *("memory_10m_mb", "recompute_10m_s", "postgres_in", "postgres_join"),
]
"""What the ledger is held to."""
PEERLESS = {
    *("restart_s", "recompute_10m_s"),
    *("sustained_predictions", "sustained_outcomes", "sustained_ack_p99_ms", "sustained_lag_s"),
}


@dataclass(frozen=True, kw_only=True)
class Said:
    """How a bench ended, what it said, and what it left behind."""

    code: int
    out: str
    err: str
    left: list[str]


def bench(place: Path, *arguments: str, **environment: str) -> Said:
    """Run `lossloop bench ledger` as a program."""
    place.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "lossloop", "bench", "ledger", "--at", str(place), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    left = [path.name for path in place.iterdir()]
    return Said(code=done.returncode, out=done.stdout, err=done.stderr, left=left)


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Said:
    return bench(tmp_path_factory.mktemp("bench"), "--quick", "--json")


@pytest.fixture(scope="module")
def told(everything: Said) -> dict[str, Any]:
    return dict(json.loads(everything.out))


def found(told: dict[str, Any], id: str) -> dict[str, Any]:
    return next(each for each in told["figures"] if each["id"] == id)


@pytest.mark.slow
def test_it_ends_well_and_leaves_nothing(everything: Said) -> None:
    assert (everything.code, everything.left) == (0, []), everything.err + everything.out


def test_every_promised_figure_is_told_in_order(told: dict[str, Any]) -> None:
    assert [each["id"] for each in told["figures"]] == PROMISED == list(TARGETS)
    assert (told["bench"], told["quick"]) == ("ledger", True)


def test_the_parts_make_what_is_promised() -> None:
    assert sorted(id for part in PARTS for id in part.ids) == sorted(PROMISED)


@pytest.mark.parametrize("id", PROMISED)
def test_a_figure_has_value_target_floor_and_peer(told: dict[str, Any], id: str) -> None:
    each = found(told, id)
    assert list(each)[:7] == ["id", "value", "unit", "target", "floor", "peer", "met"]
    assert each["value"] is not None, each.get("problem")
    assert each["value"] >= 0
    assert each["floor"] > 0
    assert (each["target"], each["unit"]) == (TARGETS[id].value, TARGETS[id].unit)
    assert isinstance(each["met"], bool)
    assert (each["peer"] is None) == (id in PEERLESS)
    assert bool(TARGETS[id].peer) == (id not in PEERLESS)


def test_the_machine_is_told(told: dict[str, Any]) -> None:
    machine = told["machine"]
    assert machine["cores"] >= 1
    assert machine["fdatasync_p99_ms"] >= machine["fdatasync_ms"] > 0
    assert {"python", "system", "memory_gb"} <= machine.keys()


def test_what_was_sent_was_taken(told: dict[str, Any]) -> None:
    for id in ("sustained_predictions", "sustained_outcomes"):
        assert found(told, id)["refused"] == {}
    assert found(told, "memory_10m_mb")["rows"] == QUICK.many
    assert found(told, "recompute_10m_s")["rows"] >= QUICK.many
    assert found(told, "postgres_join")["open"] >= QUICK.open_on_postgres


def test_repetitions_are_told_beside_the_median(told: dict[str, Any]) -> None:
    each = found(told, "join_1k")
    assert each["low"] <= each["value"] <= each["high"]


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="this system does not say who takes the cores")
def test_who_took_the_cores_is_told(told: dict[str, Any]) -> None:
    names = {"server_cpu", "applier_cpu", "worker_cpu", "clients_cpu", "bench_cpu", "others_cpu"}
    for id in ("http_arrow_1000", "sustained_predictions"):
        each = found(told, id)
        assert names <= each.keys()
        assert all(each[name] >= 0 for name in names)


def test_progress_goes_to_standard_error(everything: Said) -> None:
    for id in PROMISED:
        assert f"{id}  " in everything.err
    assert "2 times 10,000 events/s" in everything.err


def test_people_get_a_table_and_what_the_figures_are(tmp_path: Path) -> None:
    said = bench(tmp_path / "b", "--quick", "--only", "recompute_10m_s", COLUMNS="200")
    assert (said.code, said.left) == (0, []), said.err
    (row,) = [line for line in said.out.splitlines() if line.startswith("recompute_10m_s  ")]
    assert "≤ 1" in row
    assert "fdatasync" in said.out
    assert f"floor: {TARGETS['recompute_10m_s'].floor}" in said.out
    assert "the figures say nothing about speed" in said.out
    assert "join_1k" not in said.out


def test_one_figure_can_be_asked_for(tmp_path: Path) -> None:
    machine, figures = run_ledger(tmp_path, QUICK, Quiet(), only=["join_1k"])
    assert [each.id for each in figures] == ["join_1k"]
    assert machine.fdatasync_ms is not None
    assert list(tmp_path.iterdir()) == []


def test_a_figure_that_is_not_there_is_an_error_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="join_1k"):
        run_ledger(tmp_path, QUICK, Quiet(), only=["join_1"])


def test_a_place_that_is_no_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="choose another with --at"):
        run_ledger(tmp_path / "nowhere", QUICK, Quiet())


def test_a_database_in_use_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STORE, "postgresql://postgres@/production")
    with pytest.raises(StateError, match=f"unset it|{STORE}"):
        run_ledger(tmp_path, QUICK, Quiet(), only=["join_1k"])


def test_a_part_that_fails_says_so_and_keeps_what_it_had(tmp_path: Path) -> None:
    def measure(bench: Bench) -> Iterator[Figure]:
        yield figure("join_100k", 1.0)
        raise OSError("the disk is gone")

    part = Part(ids=("join_100k", "join_1k"), house="open", measure=measure)
    house = House(tmp_path / "s")
    at_hand = Bench(directory=tmp_path, sizes=QUICK, screen=Quiet(), house=house)
    had, failed = measured(part, at_hand, TARGETS)
    house.close()
    assert (had.value, had.problem) == (1.0, "")
    assert (failed.id, failed.value, failed.met) == ("join_1k", None, None)
    assert failed.problem == "OSError: the disk is gone"


def test_a_figure_that_could_not_be_measured_ends_with_one(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100)  # PostgreSQL's socket would have a longer path than a socket can have
    deep.mkdir()
    said = bench(tmp_path / "b", "--quick", "--only", "postgres_in", "--json", TMPDIR=str(deep))
    (each,) = json.loads(said.out)["figures"]
    assert (said.code, said.left, each["value"]) == (1, [], None)
    assert "PostgreSQL" in each["problem"]
    assert each["problem"] in said.err
