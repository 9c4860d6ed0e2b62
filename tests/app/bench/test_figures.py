"""Figures, their table, and the machine beside them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from rich.console import Console

from lossloop.app.bench import Figure, Machine, as_json
from lossloop.app.bench.base import Spread, quantile
from lossloop.app.bench.machine import synced
from lossloop.app.bench.targets import TARGETS, figure
from lossloop.app.cli.bench import figures_table, held_against

MACHINE = Machine(
    cores=2, fdatasync_ms=0.25, fdatasync_p99_ms=3.0, memory_gb=23.5, python="3.11.7", system="Linux"
)


def shown(*figures: Figure) -> str:
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(figures_table(figures, MACHINE))
    console.print(held_against(figures))
    console.file.close()
    return console.export_text()


@pytest.mark.parametrize(
    ("value", "at_least", "met"),
    [(2.0, True, True), (0.5, True, False), (0.5, False, True), (2.0, False, False)],
)
def test_a_target_is_a_least_or_a_most(value: float, at_least: bool, met: bool) -> None:
    assert Figure(id="x", value=value, unit="s", target=1.0, at_least=at_least).met is met


def test_nothing_is_met_where_nothing_was_promised_or_measured() -> None:
    assert Figure(id="x", value=1.0, unit="s").met is None
    assert Figure(id="x", value=None, unit="s", target=1.0).met is None


def test_a_figure_says_which_way_its_target_lies() -> None:
    assert "(at least 1)" in str(Figure(id="x", value=2.0, unit="s", target=1.0, at_least=True))
    assert "(at most 1)" in str(Figure(id="x", value=2.0, unit="s", target=1.0))
    assert str(Figure(id="x", value=None, unit="s", problem="no disk")).split() == ["x", "-", "no", "disk"]


def test_numbers_have_as_many_digits_as_they_are_good_for() -> None:
    plain = Figure(
        id="x", value=123456.789, unit="s", floor=0.0123456, more={"low": 1.23456, "rows": 7}
    ).plain()
    assert plain == {
        "id": "x", "value": 123500.0, "unit": "s", "target": None, "floor": 0.01235, "peer": None,
        "met": None, "low": 1.235, "rows": 7,
    }  # fmt: skip


def test_a_figure_without_a_value_says_why() -> None:
    plain = figure("join_1k", None, problem="the disk is full").plain()
    assert (plain["value"], plain["problem"], plain["target"]) == (None, "the disk is full", 90_000)


def test_figures_are_json_with_the_machine() -> None:
    told = as_json("ledger", [figure("join_1k", 100_000.0, floor=3.0)], MACHINE)
    assert json.loads(json.dumps(told)) == told
    assert told["machine"]["fdatasync_ms"] == 0.25
    assert told["figures"][0]["met"] is True


def test_every_target_says_what_it_is_and_what_it_is_held_against() -> None:
    for id, target in TARGETS.items():
        assert target.value > 0, id
        assert target.what, id
        assert target.floor, id
        assert target.at_least == ("/s" in target.unit), id


def test_a_table_shows_value_target_floor_and_peer() -> None:
    text = shown(figure("join_1k", 180_000.0, floor=360_000.0, peer=20_000.0))
    (row,) = [line for line in text.splitlines() if line.startswith("join_1k  ")]
    assert row.split() == [
        "join_1k",
        "180,000",
        "outcomes/s",
        "≥",
        "90,000",
        "yes",
        "360,000",
        "0.5",
        "20,000",
    ]
    assert "2 cores, 24 GB, Python 3.11.7 on Linux, fdatasync 0.25 ms (median)" in text
    assert f"peer: {TARGETS['join_1k'].peer}" in text


def test_a_table_shows_a_target_that_was_missed() -> None:
    text = shown(figure("restart_s", 6.5, floor=0.5))
    (row,) = [line for line in text.splitlines() if line.startswith("restart_s  ")]
    assert row.split() == ["restart_s", "6.5", "s", "≤", "5", "no", "0.5", "13"]
    assert "peer:" not in text


def test_a_table_shows_what_could_not_be_measured() -> None:
    text = shown(figure("join_1k", None, problem="[the disk] is full"))
    assert "not measured: [the disk] is full" in text
    assert "floor:" not in text


def test_a_machine_is_measured_where_it_is_asked_for(tmp_path: Path) -> None:
    assert Machine.here().fdatasync_ms is None
    here = Machine.here(tmp_path, writes=5)
    assert here.fdatasync_ms is not None
    assert here.fdatasync_ms > 0
    assert here.plain()["cores"] >= 1
    assert list(tmp_path.iterdir()) == []


def test_every_write_is_timed(tmp_path: Path) -> None:
    times = synced(tmp_path, 7)
    assert len(times) == 7
    assert all(time > 0 and math.isfinite(time) for time in times)


def test_a_spread_is_of_all_repetitions() -> None:
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(median=2.0, low=1.0, high=3.0)
    assert Spread.of([5.0]) == Spread(median=5.0, low=5.0, high=5.0)


def test_a_quantile_is_one_of_the_values() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert quantile(values, 0.5) == 51.0
    assert quantile(values, 0.99) == 100.0
    assert quantile([7.0], 0.99) == 7.0
