"""The figures of the contest, each from the simulation that it says, and honest where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lossloop.app.bench.base import measured
from lossloop.app.bench.contest import figures, ours
from lossloop.app.bench.contest.cells import CELLS, Row
from lossloop.app.bench.figure import Figure
from lossloop.app.bench.judge_base import JudgeBench
from lossloop.app.bench.judge_sizes import QUICK, JudgeSizes
from lossloop.app.bench.judge_targets import TARGETS
from lossloop.app.bench.screen import Quiet
from lossloop.judges import Mode, Promise, parse

SIZES = JudgeSizes(
    repeats=1, outcomes=100, single=10, streams=10, delays=30, healthy=60,
    horizon=300, states=60, peers=4, slow=2, until=200,
)  # fmt: skip


def bench() -> JudgeBench:
    return JudgeBench(sizes=SIZES, screen=Quiet())


def only(found: list[Figure]) -> Figure:
    (figure,) = found
    return figure


# The oracle.


def test_the_worst_change_is_the_figure() -> None:
    found = only(list(figures.measure_oracle(bench())))
    assert sorted(found.more) == ["to_0.12", "to_0.15", "to_0.20"]
    assert found.value == max(found.more.values())
    assert not found.at_least


def test_a_worse_risk_is_seen_sooner() -> None:
    delays = [figures.worst_delay(risk, 60) for risk in (0.2, 0.3, 0.5)]
    assert delays == sorted(delays, reverse=True)
    assert figures.worst_delay(0.3, 60) == figures.worst_delay(0.3, 60)
    oracle = [figures.oracle_delay(risk, states=150) for risk in (0.12, 0.15, 0.20)]
    assert oracle == sorted(oracle, reverse=True)


# The promises.


@pytest.mark.parametrize("losses", list(figures.HEALTHY))
def test_healthy_losses_have_their_limit_as_their_mean(losses: str) -> None:
    limit, draw = figures.HEALTHY[losses]
    drawn = draw(np.random.default_rng(0), (1000, 1000))
    assert (drawn >= 0.0).all()
    tolerance = 0.2 if losses.startswith("Pareto") else 0.02
    assert drawn.mean() == pytest.approx(limit, rel=tolerance)


@pytest.mark.parametrize("name", list(ours.PROMISES))
def test_a_promise_is_held_to_what_it_says(name: str) -> None:
    promise = ours.PROMISES[name]
    found = figures.kept(name, promise, "0 or 1", SIZES)
    expected = SIZES.horizon / promise.threshold if promise.mode is Mode.RATE else 0.05
    assert found.bound == pytest.approx(expected)
    assert (found.streams, found.broken) == (60, False)
    assert 0.0 <= found.share <= 1.0


def test_a_promise_that_nobody_could_keep_is_seen_to_be_broken() -> None:
    """Losses at twice the limit, as if they were healthy."""
    limit, draw = figures.HEALTHY["0 or 1"]
    wrong = {"0 or 1": (0.4 * limit, draw)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "HEALTHY", wrong)
        assert figures.kept("once", parse("5% once"), "0 or 1", SIZES).broken
        assert figures.kept("life", parse("5% ever"), "0 or 1", SIZES).broken


@pytest.mark.parametrize(
    ("share", "streams", "broken"),
    [(0.05, 100, False), (0.11, 100, False), (0.12, 100, True), (0.08, 1000, True)],
)
def test_a_promise_is_broken_by_more_than_chance(share: float, streams: int, *, broken: bool) -> None:
    assert figures.Kept("life", "0 or 1", share, 0.05, streams).broken is broken


def test_a_rate_s_mean_time_is_at_least_its_number() -> None:
    found = [figures.mean_time_to_false_alarm(threshold, 150) for threshold in (50.0, 200.0)]
    assert 50.0 * 0.9 < found[0] < found[1]
    assert found[1] > 200.0 * 0.9


def test_all_promises_are_counted() -> None:
    found = only(list(figures.measure_promises(bench())))
    assert found.value == len(found.more["broken"]) == 0
    assert found.more["of"] == 1 + len(ours.PROMISES) * len(figures.HEALTHY)
    assert found.met


# The peers.


def test_a_peer_with_many_false_alarms_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = Row(ours.OURS, 0.02, (50.0,) * len(CELLS))
    quiet = Row("quiet", 0.05, (80.0,) * 8 + (20.0,))
    loud = Row("loud", 0.30, (1.0,) * len(CELLS))
    monkeypatch.setattr(figures, "rows", lambda bench: (mine, [quiet, loud]))
    found = only(list(figures.measure_peers(bench())))
    assert found.value == 8
    assert found.more["behind_in"] == ["0.20 after 10,000"]
    assert found.more["compared_with"] == ["quiet"]
    assert found.more["too_many_false_alarms"] == {"loud": 0.30}


def test_without_river_the_other_figures_are_still_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "river", None)
    lost = only(list(measured(figures.PEERS, bench(), TARGETS)))
    assert (lost.id, lost.value, lost.met) == ("cells_ahead_of_peers", None, None)
    assert "pip install 'lossloop[peers]'" in lost.problem
    kept = only(list(measured(figures.PROMISES, bench(), TARGETS)))
    assert kept.value == 0


def test_the_command_says_what_is_lacking_and_ends_with_one(tmp_path: Path) -> None:
    (tmp_path / "river.py").write_text("raise ImportError('not here')\n")
    path = os.pathsep.join((str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])))
    command = [
        sys.executable,
        "-m",
        "lossloop",
        "bench",
        "judge",
        "--quick",
        "--only",
        "cells_ahead_of_peers",
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path}
    )
    assert done.returncode == 1
    assert "not measured: StateError: River is not installed" in done.stdout
    assert "the figures say nothing about speed" in done.stdout


def test_a_promise_of_ours_is_one_of_each_kind() -> None:
    assert {promise.mode for promise in ours.PROMISES.values()} == {Mode.RATE, Mode.LIFE, Mode.ONCE}
    assert ours.PROMISES[ours.OURS] == Promise(
        mode=Mode.RATE,
        threshold=2e5,
        counts=ours.PROMISES[ours.OURS].counts,
        words="1 per 200,000 outcomes",
    )
    assert QUICK.horizon < 10_000
