"""Watches that look at arrivals say in a backtest what they said in the loop, bit for bit."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossloop.act.policy import read_policy
from lossloop.app import operate
from lossloop.app.backtest import Candidate, Question, backtest
from lossloop.app.commands import Command, Promote, Register, SetPolicy, name_of
from lossloop.app.keeping import prune
from lossloop.ledger.facts import command
from lossloop.ledger.files.sealing import seal
from lossloop.ledger.frames import Frame
from lossloop.registry import Manifest
from tests.app.backtest.test_replay import agree, replayed, tried
from tests.app.desk import DAY, MODEL, Desk, happened, moment, policy_text, ticked
from tests.app.test_drift import ANSWERS, BLOCKS, PROFILE, answers, inputs, sent
from tests.app.test_drift import ROWS as DRIFT
from tests.app.test_estimates import RICH

WATCHES: dict[str, dict[str, Any]] = {
    "inputs": {**DRIFT, "promise": "1 per 2,000 predictions"},
    "jointly": {**DRIFT, "promise": "1 per 2,000 predictions", "joint": True},
    "daily": {**BLOCKS, "promise": "1 per 20 blocks"},
    "answers": {**ANSWERS, "promise": "1 per 2,000 predictions"},
    "shift": {"kind": "prediction_shift", "promise": "1 per 20 blocks"},
    "rows": {"kind": "estimate", "limit": 0.19, "promise": "1 per 500 predictions"},
    "blocks": {"kind": "estimate", "limit": 0.19, "promise": "1 per 10 blocks"},
    "errors": {"kind": "errors", "tolerance": 0.01, "promise": "1 per 200 predictions"},
    "slow": {"kind": "latency", "slower_than": "20ms", "tolerance": 0.05, "promise": "1 per 20 blocks"},
    "outcomes": {"kind": "guardrail", "limit": 0.5, "promise": "1 per 20 blocks"},
}
ON = {name: [{"notify": "log"}] for name in WATCHES}
FEATURES = {name: WATCHES[name] for name in ("inputs", "daily")}


def manifest(notes: str) -> Manifest:
    return Manifest(runtime="external", profile=PROFILE, reference=RICH, notes=notes)


def ready(path: Path, watches: dict[str, Any] = WATCHES, **policy: Any) -> Desk:
    """Two versions that every kind of watch can judge."""
    desk = Desk.at(path / "s")
    desk.send(ticked(0))
    desk.policy()
    for notes in ("one", "two"):
        assert operate.register(desk.home, MODEL, manifest(notes)).ok
    desk.obey(Promote(model=MODEL, version=1))
    on = {name: ON[name] for name in watches}
    assert desk.policy(watches=watches, on=on, **{"cooldown": "3d", **policy}).ok
    return desk


def frame(desk: Desk, draw: random.Random, hour: float, *, bad: bool, **more: Any) -> Frame:
    """A batch with features, as JSON, as a struct, or without; some rows belong to a challenger."""
    rng, rows = np.random.default_rng(draw.randrange(1 << 30)), draw.choice([1, 7, 60, 150])
    found: Any = inputs(rng, rows, age=60.0 if bad else 40.0)
    if draw.random() < 0.3:
        names = list(found)
        found = [msgspec.json.encode(dict(zip(names, row, strict=True))).decode()
                 for row in zip(*found.values(), strict=True)]  # fmt: skip
    if draw.random() < 0.1:
        found = None
    return sent(desk, hour, found, answers(rng, rows, power=3.0 if bad else 1.0), **more)


def story(path: Path, seed: int, *, days: int = 7) -> Desk:
    """Days good and bad, several frames in a quarter of an hour, repeats, promotions in mid-day."""
    draw = random.Random(seed)
    desk, hour, champion = ready(path, cooldown=draw.choice(["6h", "1d", "5d"])), 1.0, 1
    broken = draw.randint(1, days // 2)
    while hour < days * DAY:
        bad = hour > broken * DAY and draw.random() < 0.8
        frames = []
        for _ in range(draw.randint(1, 4)):
            hour += draw.choice([0.01, 0.1, 0.3])
            frames.append(frame(desk, draw, hour, bad=bad, version=champion))
            if draw.random() < 0.3:
                frames.append(frame(desk, draw, hour, bad=True, version=3 - champion, role="challenger"))
            if draw.random() < 0.2:
                frames.append(frames[-1])  # sent twice
        desk.send(*frames)
        if draw.random() < 0.1:
            champion = 3 - champion
            desk.obey(Promote(model=MODEL, version=champion))
        hour += draw.choice([3.1, 9.7, 30.3])
        desk.tick(hour)
        hour += 0.2
    return desk


@pytest.mark.parametrize("seed", range(2))
def test_the_policy_in_force_gives_the_verdicts_that_happened(tmp_path: Path, seed: int) -> None:
    desk = story(tmp_path, seed)
    agree(desk)
    found = replayed(desk)
    assert all(each.points for each in found.values())
    assert any(each.alarms for each in found.values())


@settings(max_examples=2, deadline=None)
@given(seed=st.integers(0, 1 << 30))
def test_so_it_does_over_random_histories(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    agree(story(tmp_path_factory.mktemp("s"), seed, days=5))


@pytest.mark.parametrize("seed", range(2))
def test_in_live_use_too(tmp_path: Path, seed: int) -> None:
    """Where time is that of receipt."""
    draw = random.Random(seed)
    desk = Desk.at(tmp_path / "s", clock="receipt")
    orders: list[Command] = [
        SetPolicy(text=policy_text(watches=WATCHES, on=ON, cooldown="2d")),
        Register(model=MODEL, manifest=manifest("one")), Register(model=MODEL, manifest=manifest("two")),
        Promote(model=MODEL, version=1),
    ]  # fmt: skip
    frames = [
        command(f"o{place}", name_of(order), msgspec.to_builtins(order), now=moment(0.001 * place))
        for place, order in enumerate(orders, start=1)
    ]
    hour = 1.0
    while hour < 7 * DAY:
        hour += draw.choice([0.02, 0.2, 5.1, 20.7])
        frames.append(replace(frame(desk, draw, hour, bad=hour > 2 * DAY), time=moment(hour)))
        if draw.random() < 0.5:
            frames.append(replace(ticked(hour), time=moment(hour + 0.01)))
    writer = desk.home.log.writer()
    writer.append(frames)
    writer.close()
    desk.fold()
    agree(desk)
    assert any(each.alarms for each in replayed(desk).values())


def test_outcomes_are_judged_at_their_own_moments_beside_arrivals(tmp_path: Path) -> None:
    """Blocks of arrivals are over earlier than those of outcomes are old enough."""
    desk = ready(tmp_path)
    for day in range(4):
        ids = desk.ids(20)
        rng = np.random.default_rng(day)
        desk.send(
            sent(desk, day * DAY + 1, inputs(rng, 20), answers(rng, 20), ids=ids),
            happened(day * DAY + 2, ids, 0.0), ticked(day * DAY + DAY + 9),
        )  # fmt: skip
    agree(desk)
    assert len(replayed(desk)["outcomes"].points) == len(replayed(desk)["shift"].points) == 4


def test_another_policy_is_replayed_on_what_came(tmp_path: Path) -> None:
    """One that was never in force: by each step of time, and blocks at their end."""
    desk = story(tmp_path, 1)
    so = replayed(desk)
    mine = {f"my {name}": WATCHES[name] for name in ("inputs", "shift")}
    policy = read_policy(policy_text(watches=mine, cooldown="3d"))
    (outcome,) = backtest(desk.home, [Candidate(name="mine", policy=policy)], Question(model=MODEL)).outcomes
    for account, name in zip(outcome.accounts, ("inputs", "shift"), strict=True):
        found = account.replayed
        assert found.points[0].evidence == so[name].points[0].evidence
        assert sum(point.rows for point in found.points) == sum(point.rows for point in so[name].points)
        assert found.counts == ("predictions" if name == "inputs" else "blocks")


def test_a_span_is_replayed_from_its_beginning(tmp_path: Path) -> None:
    desk = ready(tmp_path, {"shift": WATCHES["shift"], "answers": WATCHES["answers"]})
    for day in range(6):
        rng = np.random.default_rng(day)
        desk.send(sent(desk, day * DAY + 1, None, answers(rng, 30)), ticked((day + 1) * DAY))
    (outcome,) = tried(desk, since="2024-01-03", until="2024-01-06").outcomes
    shift, rows = (each.replayed for each in outcome.accounts)
    assert [point.block for point in shift.points] == ["2024-01-03", "2024-01-04", "2024-01-05"]
    assert sum(point.rows for point in rows.points) == 90


def test_features_that_have_expired_make_a_watch_of_features_impossible(tmp_path: Path) -> None:
    """And no other: what was predicted stays. Behind what has expired features are there again."""
    watches = {name: WATCHES[name] for name in ("inputs", "daily", "shift", "answers")}
    desk = ready(tmp_path, watches)
    for day in range(3):
        rng = np.random.default_rng(day)
        desk.send(sent(desk, day * DAY + 1, inputs(rng, 30), answers(rng, 30)), ticked((day + 1) * DAY))
    before = replayed(desk)
    state = desk.home.state()
    seal(desk.home.segments.directory, state.offsets())
    state.close()
    assert prune(desk.home, MODEL, larger_than=0).predictions == 90
    for day in range(3, 6):
        rng = np.random.default_rng(day)
        desk.send(sent(desk, day * DAY + 1, inputs(rng, 30), answers(rng, 30)), ticked((day + 1) * DAY))
    found = replayed(desk)
    for name in ("inputs", "daily"):
        assert "what was sent with 90 predictions is not in the log any more" in found[name].problems[0]
        assert found[name].points == ()
        assert before[name].points
    for name in ("shift", "answers"):
        assert found[name].points[:3] == before[name].points
        assert sum(point.rows for point in found[name].points) == 180
    (outcome,) = tried(desk, since="2024-01-04").outcomes
    daily = {each.replayed.watch: each.replayed for each in outcome.accounts}["daily"]
    assert [point.block for point in daily.points] == ["2024-01-04", "2024-01-05", "2024-01-06"]


def test_a_watch_that_could_not_judge_a_champion_says_why(tmp_path: Path) -> None:
    desk = ready(tmp_path, {"outcomes": WATCHES["outcomes"]})
    assert operate.register(desk.home, MODEL, Manifest(runtime="external", notes="bare")).ok
    desk.obey(Promote(model=MODEL, version=3))
    desk.send(sent(desk, 2, None, [0.5], version=3), ticked(2 * DAY))
    policy = read_policy(policy_text(watches={"shift": WATCHES["shift"]}))
    (outcome,) = backtest(desk.home, [Candidate(name="mine", policy=policy)], Question(model=MODEL)).outcomes
    (account,) = outcome.accounts
    assert "m:3 has no profile" in account.replayed.problems[0]
