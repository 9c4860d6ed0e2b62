"""The scripts that hold the judges against others, and against many releases, in short."""

from __future__ import annotations

import json

import pytest

from benchmarks.judges import peers, releases
from lossloop.app.bench.contest import ours
from lossloop.app.bench.contest.cells import CELLS, HORIZON, ahead, compete
from lossloop.app.bench.contest.peers import as_configured


def test_peers_prints_both_tables(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "_ADWIN", (0.002,))
    monkeypatch.setattr(peers, "_DDM", (5.0,))
    monkeypatch.setattr(peers, "_PAGE_HINKLEY", (70.0,))
    monkeypatch.setattr(ours, "PROMISES", {ours.OURS: ours.PROMISES[ours.OURS]})
    arguments = ["--streams", "4", "--until", "300", "--learners", "15"]
    peers.main([*arguments, "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert [row["detector"] for row in printed["ours"]] == [ours.OURS, "1 per 400,000 outcomes and 2.5% ever"]
    assert len(printed["as_configured"]) == 11
    assert printed["tuned"][0]["detector"].startswith("t-test every 100, z=")
    assert {len(row["delays"]) for rows in ("ours", "as_configured", "tuned") for row in printed[rows]} == {9}


def test_a_big_change_is_seen_before_all_that_may_be_compared() -> None:
    """Of the nine cells those to .20, with the peers that take little time."""
    mine = compete(ours.OURS, ours.judge(ours.PROMISES[ours.OURS]), streams=16, until=1_000, seed=3)
    quick = {name: detect for name, detect in as_configured(3).items() if name != "KSWIN"}
    others = [compete(name, detect, streams=16, until=1_000, seed=3) for name, detect in quick.items()]
    assert mine.false_alarms <= 0.05 + 3 * (0.05 * 0.95 / 16) ** 0.5
    assert {cell for cell in CELLS if cell.changed == 0.20} <= set(ahead(mine, others))
    found = {row.detector: row.false_alarms for row in others}
    assert found["DDM"] > 0.2
    assert found["Argo: 3 failures allowed, 1.2x"] == 1.0
    assert found["ADWIN"] <= 0.05
    assert HORIZON == 10_000


def test_releases_that_each_promise_for_themselves_break_it(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--replications", "150", "--releases", "20", "--outcomes", "400"]
    releases.main([*arguments, "--json"])
    each, in_all, budget = json.loads(capsys.readouterr().out)["rows"]
    assert each["any_false_alarm"] > 0.08
    assert in_all["any_false_alarm"] <= 0.05 + 3 * (0.05 * 0.95 / 150) ** 0.5
    assert budget["any_false_alarm"] <= 0.05 + 3 * (0.05 * 0.95 / 150) ** 0.5
    assert each["delay"] < in_all["delay"]
    releases.main(["--replications", "5", "--releases", "2", "--outcomes", "100"])
    assert len(capsys.readouterr().out.splitlines()) == 4
