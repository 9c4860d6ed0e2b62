"""Every kind of watch says in a backtest what it said in the loop."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lossloop.act.policy import read_policy
from lossloop.app.backtest import Candidate, Question, Replayed, backtest
from lossloop.app.labels import wanted_at
from lossloop.core.seasons import Season
from tests.app.backtest.test_replay import agree, replayed
from tests.app.desk import DAY, MODEL, Desk, policy_text, ticked
from tests.app.test_drift import answers, inputs, sent, watched
from tests.app.test_estimates import ready
from tests.app.test_slices import fail, sliced

ROWS = {"kind": "slices", "limit": 0.3, "promise": "5% false among alarms over outcomes"}
WEEK = dict(zip(Season.WEEKDAY.names, [0.1] * 5 + [0.9] * 2, strict=True))
OF_SEASONS: tuple[dict[str, Any], ...] = (
    {"kind": "seasonal", "season": "weekday", "limits": WEEK, "promise": "1 per 20 blocks"},
    {"kind": "seasonal", "season": "month", "limit": 0.11, "promise": "1 per 20 blocks"},
    {"kind": "baseline", "tolerance": 0.0, "promise": "1 per 10 blocks"},
)
OF_ARRIVALS: tuple[dict[str, Any], ...] = (
    {"kind": "estimate", "tolerance": 0.02, "promise": "1 per 20 blocks"},
)


@pytest.mark.parametrize("watch", [None, ROWS], ids=["blocks", "rows"])
def test_slices_are_replayed_with_the_slices_that_rows_have(tmp_path: Path, watch: Any) -> None:
    desk = sliced(tmp_path, watch=watch)
    fail(desk)
    assert desk.points("where")
    agree(desk)
    assert replayed(desk)["where"].alarms


@pytest.mark.parametrize("watch", OF_SEASONS, ids=lambda watch: watch["kind"])
def test_seasons_and_baselines_are_replayed(tmp_path: Path, watch: dict[str, Any]) -> None:
    desk = ready(tmp_path, watch, cooldown="3d")
    for day in range(12):
        desk.day(day, 0.9 if day > 3 else 0.05, rows=2)
    agree(desk)
    assert replayed(desk)["w"].alarms


def test_an_audit_is_replayed_on_the_labels_that_were_drawn(tmp_path: Path) -> None:
    watch = {"kind": "estimate", "limit": 0.2, "audit": "30%", "promise": "1 per 8 blocks"}
    desk = ready(tmp_path, watch, labels={"mature_after": "6h"})
    for day in range(8):
        ids = desk.predict(day * DAY + 8, [0.8] * 12)
        drawn = {each["id"] for each in wanted_at(desk.home, MODEL)["wanted"]}
        desk.know(day * DAY + 9, sorted(drawn), 0.0)
        desk.know(day * DAY + 9.5, sorted(set(ids) - drawn), 1.0)
        desk.tick(day * DAY + DAY + 7)
    agree(desk)
    assert replayed(desk)["w"].alarms


@pytest.mark.parametrize("watch", OF_ARRIVALS, ids=lambda watch: watch["kind"])
def test_a_watch_of_answers_is_replayed_from_the_columns(tmp_path: Path, watch: dict[str, Any]) -> None:
    desk: Desk = ready(tmp_path, watch)
    for number in range(12):
        desk.day(number, 0.9 if number > 3 else 0.05, rows=8)
    agree(desk)
    assert len(desk.points("w")) == 12


def drifting(place: Path, **watches: Any) -> Desk:
    """Days of a hundred rows, whose ages have moved; every other day sends its features as JSON, one none."""
    desk, rng = watched(place, **watches), np.random.default_rng(3)
    for number in range(9):
        features: Any = inputs(rng, 100, age=52.0)
        if number % 2:
            rows = zip(*features.values(), strict=True)
            features = [json.dumps(dict(zip(features, row, strict=True))) for row in rows]
        desk.send(
            sent(desk, DAY * number + 1, None if number == 4 else features, answers(rng, 100)),
            ticked(DAY * (number + 1)),
        )
    desk.tick(DAY * 9 + 7)
    return desk


def test_drift_by_block_is_replayed_with_the_features_in_the_log(tmp_path: Path) -> None:
    desk = drifting(tmp_path, inputs={"kind": "drift", "promise": "1 per 20 blocks"})
    agree(desk)
    found = replayed(desk)["inputs"]
    assert [point.kind for point in found.points].count("alarm") > 0
    assert len(found.alarms) == 1
    assert found.alarms[0].at == found.points[len(found.points) - 1 - _behind(found)].at


def _behind(found: Replayed) -> int:
    """Points behind the first alarm."""
    kinds = [point.kind for point in found.points]
    return len(kinds) - 1 - kinds.index("alarm")


def test_drift_by_row_is_replayed_and_waits_for_no_outcome(tmp_path: Path) -> None:
    desk = drifting(tmp_path, inputs={"kind": "drift", "promise": "1 per 500 predictions"})
    found, recorded = replayed(desk)["inputs"], desk.points("inputs")
    assert found.counts == "predictions"
    assert [(point.kind, point.evidence) for point in found.points] == [
        (point.kind, point.evidence) for point in recorded
    ]
    (alarm,) = found.alarms
    assert 0 <= alarm.made - alarm.at < 100  # in a replay of events a frame comes with its first event


def test_without_a_profile_a_replay_says_what_is_missing(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s")
    desk.day(0, 0.1)
    watch = {"kind": "drift", "promise": "1 per 20 blocks"}
    policy = read_policy(policy_text(watches={"inputs": watch}))
    found = backtest(desk.home, [Candidate(name="p", policy=policy)], Question(model=MODEL))
    replay = found.outcomes[0].accounts[0].replayed
    assert "no profile of its reference rows" in replay.problems[0]
    assert replay.points == ()


def test_failures_and_latencies_are_replayed(tmp_path: Path) -> None:
    watches = {
        "errors": {"kind": "errors", "tolerance": 0.01, "promise": "1 per 20 blocks"},
        "slow": {"kind": "latency", "slower_than": "20ms", "tolerance": 0.05, "promise": "1 per 20 blocks"},
        "each": {
            "kind": "latency",
            "slower_than": "20ms",
            "tolerance": 0.05,
            "promise": "1 per 30 predictions",
        },
    }
    desk = Desk.ready(tmp_path / "s", watches=watches)
    desk.day(0, 0.1)
    failed = [float("nan")] * 2
    for day in range(1, 5):
        frame = sent(desk, day * DAY + 1, None, [*failed, 0.5, 0.5])
        took = pa.array([None, 25.0, 30.0, 3.0], pa.float64())
        desk.send(
            replace(frame, batch=frame.batch.append_column("latency_ms", took)), ticked(DAY * (day + 1))
        )
    desk.tick(5 * DAY + 7)
    agree(desk)
    found = replayed(desk)
    assert [point.mean for point in found["errors"].points] == [0.0, 0.5, 0.5, 0.5, 0.5]
    assert [point.mean for point in found["slow"].points][1:] == [0.5] * 4  # of those that answered
    assert found["each"].alarms
