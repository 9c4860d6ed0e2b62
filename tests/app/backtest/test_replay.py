"""A backtest of the policy in force gives the verdicts that happened, bit for bit."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossloop.app.backtest import Backtest, Candidate, Question, Replayed, backtest
from lossloop.app.books import Point
from lossloop.app.commands import Command, Promote, Register, RollBack, SetPolicy, name_of
from lossloop.ledger.facts import command
from lossloop.ledger.frames import Frame
from tests.app.desk import (
    MODEL,
    ROLLOUT,
    WATCH,
    Desk,
    asked,
    external,
    happened,
    moment,
    policy_text,
    ticked,
)

ROWS_WATCH = {"kind": "guardrail", "limit": 0.2, "promise": "1 per 100 outcomes"}
TWO = {"worse": WATCH, "rows": ROWS_WATCH}
ON = {"worse": [{"retrain": "again"}], "rows": [{"notify": "log"}]}
RETRAINS = {"retrain": {"again": "somewhere:train"}}

Places = pytest.TempPathFactory


def tried(desk: Desk, **question: Any) -> Backtest:
    """The policy in force, tried on its own past."""
    with desk.books() as books:
        policy = books.policy(MODEL)
    candidate = Candidate(name="in force", policy=policy)
    return backtest(desk.home, [candidate], Question(model=MODEL, **question))


def replayed(desk: Desk) -> dict[str, Replayed]:
    (outcome,) = tried(desk).outcomes
    return {each.replayed.watch: each.replayed for each in outcome.accounts}


def as_bytes(points: list[Point]) -> list[bytes]:
    """Points as bytes; a mean to twelve digits, as the loop adds up those of a quarter of an hour."""
    rounded = [
        point if point.mean is None else msgspec.structs.replace(point, mean=round(point.mean, 12))
        for point in points
    ]
    return [msgspec.json.encode(point) for point in rounded]


def agree(desk: Desk) -> None:
    """Every watch's points are those that the loop recorded."""
    for name, found in replayed(desk).items():
        recorded = sorted(desk.points(name), key=lambda point: point.at)
        assert as_bytes(list(found.points)) == as_bytes(recorded), name


def scene(place: Path, seed: int) -> Desk:
    """Weeks of days good and bad: releases, rollbacks, late and missing outcomes, days without any.

    Facts come in the order of their times, as they do to a server.
    """
    draw = random.Random(seed)
    desk = Desk.ready(
        place, versions=2, settings=RETRAINS, watches=TWO, on=ON, probation="5d",
        cooldown=draw.choice(["1d", "3d", "14d"]), rollout={**ROLLOUT, "shadow": draw.choice([0, 3])},
    )  # fmt: skip
    hour, steps = 1.0, draw.randint(4, 14)
    breaks = draw.randint(0, steps)
    for number in range(steps):
        champion, what = desk.champion() or 1, draw.random()
        if what < 0.12:
            desk.obey(Promote(model=MODEL, version=3 - champion))
        elif what < 0.2 and champion == 2:
            desk.obey(RollBack(model=MODEL))
        elif what < 0.4:
            hour = _canary(desk, draw, hour)
        bad = number >= breaks or draw.random() < 0.2
        hour = _day(desk, draw, hour, desk.champion() or champion, bad=bad)
    return desk


def _canary(desk: Desk, draw: random.Random, hour: float) -> float:
    with desk.books() as books:
        rollout = books.rollout(MODEL)
        if rollout is not None and rollout.running:
            return hour
    desk.rollout(3 - (desk.champion() or 1))
    mine, theirs = desk.ids(20), desk.ids(20)
    other = 3 - (desk.champion() or 1)
    desk.send(
        asked(hour, [0.1] * 20, mine, version=3 - other, propensity=0.8),
        asked(hour + 0.1, [draw.choice([0.1, 0.9])] * 20, theirs, version=other, role="challenger",
              propensity=0.2),
        happened(hour + 0.2, mine + theirs),
        ticked(hour + 6.7),
    )  # fmt: skip
    return hour + 6.7


def _day(desk: Desk, draw: random.Random, hour: float, champion: int, *, bad: bool) -> float:
    rows = draw.randint(1, 30)
    losses = [draw.choice([0.05, 0.9, 0.9]) if bad else 0.1 for _ in range(rows)]
    units = [draw.choice(["a", "b", None]) for _ in range(rows)]
    ids = desk.predict(hour, losses, version=champion, units=units)
    known = [id for id in ids if draw.random() < 0.9]
    hour += draw.choice([1.3, 5.3, 8.3])  # the last one comes behind the judging age
    if known:
        desk.know(hour, known)
    hour += draw.choice([0.4, 20.4, 30.4, 100.4])
    desk.tick(hour)
    return hour + 0.2


@pytest.mark.parametrize("seed", range(3))
def test_the_policy_in_force_gives_the_verdicts_that_happened(tmp_path_factory: Places, seed: int) -> None:
    agree(scene(tmp_path_factory.mktemp("s") / "s", seed))


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 1 << 30))
def test_so_it_does_over_random_histories(tmp_path_factory: Places, seed: int) -> None:
    agree(scene(tmp_path_factory.mktemp("s") / "s", seed))


# In live use, time is that of receipt.


def live(place: Path, seed: int) -> Desk:
    """A month by receipt times, at odd moments: late labels, a promotion in the middle of a day, silence."""
    draw = random.Random(seed)
    desk = Desk.at(place, clock="receipt", retrain=RETRAINS["retrain"])
    text = policy_text(watches=TWO, on=ON, cooldown="3d")
    orders: list[Command] = [
        SetPolicy(text=text), Register(model=MODEL, manifest=external("one")),
        Register(model=MODEL, manifest=external("two")), Promote(model=MODEL, version=1),
    ]  # fmt: skip
    frames = [_order(0.001 * place, each) for place, each in enumerate(orders, start=1)]
    champion, hour = 1, 1.0
    while hour < 20 * 24:
        hour += draw.choice([0.77, 3.1, 9.3, 31.7])
        if draw.random() < 0.08:
            champion = 3 - champion
            frames.append(_order(hour, Promote(model=MODEL, version=champion)))
        ids = desk.ids(draw.randint(1, 12))
        bad = hour > 9 * 24
        losses = [draw.choice([0.1, 0.9]) if bad else 0.1 for _ in ids]
        frames.append(_received(hour + 0.01, asked(hour, losses, ids, version=champion)))
        known = [id for id in ids if draw.random() < 0.9]
        if known:
            frames.append(_received(hour + draw.choice([0.3, 5.13, 8.19]), happened(hour, known)))
        frames.append(_received(hour + draw.choice([6.21, 24.17]), ticked(hour)))
    writer = desk.home.log.writer()
    writer.append(sorted(frames, key=lambda frame: frame.time))
    writer.close()
    desk.fold()
    return desk


def _received(hour: float, frame: Frame) -> Frame:
    return replace(frame, time=moment(hour))


def _order(hour: float, order: Command) -> Frame:
    body = msgspec.to_builtins(order)
    return command(f"o{hour}", name_of(order), body, now=moment(hour))


@pytest.mark.parametrize("seed", range(3))
def test_in_live_use_too_it_gives_the_verdicts_that_happened(tmp_path: Path, seed: int) -> None:
    desk = live(tmp_path / "s", seed)
    assert desk.points("worse")
    assert desk.points("rows")
    agree(desk)
