"""Ledgers with a history, and all that was derived from them, wherever they lie."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from lossloop.act import outbox
from lossloop.act.settings import Settings
from lossloop.app.books import Books
from lossloop.app.commands import Command, Promote, Register, SetPolicy, Settle, name_of
from lossloop.app.fold import Folding
from lossloop.app.home import Home, init
from lossloop.app.reading import status
from lossloop.core.records import Decision
from lossloop.ledger.facts import command
from lossloop.ledger.frames import Frame, Kind
from lossloop.ledger.joined.places import FRAMES
from lossloop.ledger.joined.stream import Stream, stacked
from lossloop.ledger.postgres.frames import partition_of
from lossloop.ledger.sqlite.state import State
from tests.app.desk import (
    DAY,
    EMPTY,
    MODEL,
    START,
    WATCH,
    asked,
    external,
    happened,
    moment,
    policy_text,
    ticked,
)
from tests.app.test_determinism import SETTINGS
from tests.app.test_determinism import facts as fortnight
from tests.ledger.postgres import server as postgres

OTHER = "late"


def emptied(server: postgres.Server) -> str:
    """The address of a server's database, after whatever ledger was there has gone."""
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("SET client_min_messages = error")
        connection.execute("DROP SCHEMA IF EXISTS lossloop CASCADE")
    return server.url()


def append(home: Home, frames: Sequence[Frame], *, writers: int = 1) -> None:
    """Add facts, each to the next of some segments; fold them, as an applier does."""
    logs = [home.log.writer() for _ in range(writers)]
    for place, frame in enumerate(frames):
        logs[place % writers].append([frame])
    for log in logs:
        log.close()
    folding = Folding(home)
    folding.drain()
    folding.close()


def storied(path: Path) -> Home:
    """Duplicates, corrections, outcomes first, absent ones, a policy, versions, rollouts, decisions, effects.

    All effects were carried out, or were given up.
    """
    home = init(path, SETTINGS)
    frames = [replace(frame, time=START + place) for place, frame in enumerate(fortnight())]
    append(home, frames)
    again = [frame for frame in frames if frame.kind in (Kind.PREDICTION, Kind.OUTCOME)][3:9]
    append(home, [replace(frame, time=START + 1000) for frame in again])
    settled = [
        order(Settle(key=key, ok=True, detail="done"), number) for number, key in enumerate(pending(home))
    ]
    append(home, settled)
    return home


def two_models(path: Path) -> Home:
    """By receipt time: a model falls silent before its alarm, which comes while another one is sent facts."""
    home = init(path, Settings(salt="salt"))
    labels = {"mature_after": "30h", "absent_means": 0, "after": "24h"}
    frames = [
        order(SetPolicy(text=policy_text(labels=labels)), 0),
        order(
            SetPolicy(
                text=policy_text(model=OTHER, watches={"worse": WATCH}, on={"worse": [{"notify": "log"}]})
            ),
            1,
        ),
        order(Register(model=OTHER, manifest=external("one")), 2),
        order(Promote(model=OTHER, version=1), 3),
    ]
    frames = [replace(frame, time=START + place) for place, frame in enumerate(frames)]
    for hour in range(1, 9 * DAY, 3):
        frames.append(received(hour, asked(hour, [0.1], [f"m{hour}"])))
        if hour % 2:
            frames.append(received(hour + 1, happened(hour + 1, [f"m{hour}"])))
        if hour < 4 * DAY:
            frames.append(received(hour + 0.5, asked(hour, [0.9] * 3, _ids(hour), model=OTHER)))
            frames.append(received(hour + 1.5, happened(hour + 1, _ids(hour), model=OTHER)))
    frames.append(received(9 * DAY, asked(9 * DAY, [0.1], ["o-last"], model=OTHER)))
    frames.append(received(40 * DAY, ticked(40 * DAY)))
    append(home, sorted(frames, key=lambda frame: frame.time), writers=3)
    keys = pending(home)
    append(home, [order(Settle(key=key, ok=True, detail="done"), 100 + n) for n, key in enumerate(keys)])
    return home


def _ids(hour: int) -> list[str]:
    return [f"o{hour}-{row}" for row in range(3)]


def received(hour: float, frame: Frame) -> Frame:
    return replace(frame, time=moment(hour))


def order(asked_for: Command, number: int) -> Frame:
    """A command, received by now."""
    return command(f"o{number}", name_of(asked_for), msgspec.to_builtins(asked_for), now=moment(41 * DAY))


def pending(home: Home) -> list[str]:
    """Effects that are still to be carried out."""
    state = home.state()
    try:
        return [effect.key for effect in outbox.pending(state)]
    finally:
        state.close()


def decided(home: Home) -> list[Decision]:
    """Decisions on all models, by their ids."""
    state = home.state()
    try:
        books = Books(state)
        found = [each for model in books.models() for each in books.decisions(model)]
        return sorted(found, key=lambda decision: decision.id)
    finally:
        state.close()


def figures(home: Home) -> dict[str, Any]:
    """What is shown of each model; each part of a database has a clock of its own."""
    state = home.state()
    try:
        books = Books(state)
        return {model: {**status(books, model), "clock": None} for model in books.models()}
    finally:
        state.close()


def derived(home: Home, model: str = MODEL) -> dict[str, Any]:
    """All that was derived of a model's facts, but for where in the log they lie and how columns are cut."""
    state = home.state()
    try:
        names = [name for name in state.streams("") if not name.startswith(f"{FRAMES}/")]
        columns = {name: stacked(list(Stream(state, name).read()), EMPTY) for name in names}
        return {
            "documents": dict(_documents(home, model)),
            **{
                name: {key: (values.dtype.str, values.tobytes()) for key, values in found.items()}
                for name, found in columns.items()
            },
        }
    finally:
        state.close()


def _documents(home: Home, model: str) -> Iterator[tuple[tuple[str, str], Any]]:
    if home.database is None:
        state = home.state()
        assert isinstance(state, State)
        rows = list(state.connection.execute("SELECT kind, key, body FROM documents"))
        state.close()
    else:
        with psycopg.connect(home.database.url) as connection:
            rows = connection.execute(
                "SELECT kind, key, body FROM lossloop.documents WHERE partition = %s",
                [partition_of(model, 8)],
            ).fetchall()
    for kind, key, body in rows:
        yield (kind, key), json.loads(body)
