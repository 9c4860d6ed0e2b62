"""A ledger in PostgreSQL: two machines on one database, killed in turn, count everything once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import urllib3

from lossloop.act.settings import Settings
from lossloop.app import operate
from lossloop.app.commands import Promote
from lossloop.app.home import STORE, Home, init
from lossloop.app.labels import label_delay_at, wanted_at
from lossloop.app.up import Up, running
from lossloop.client import Client
from lossloop.core.errors import LossloopError, StateError
from tests.app.desk import Desk, external
from tests.app.server import PATIENCE, within
from tests.app.test_estimates import RICH
from tests.app.test_estimates_kept import WATCHES
from tests.ledger.postgres import server as postgres

MODEL = "m"
POLICY = f"model: {MODEL}\ntask: binary\nloss: brier\nlabels: {{mature_after: 1s}}\n"


@pytest.fixture(scope="module")
def database() -> Iterator[postgres.Server]:
    with postgres.running() as server:
        yield server


@pytest.fixture(scope="module")
def machines(database: postgres.Server, tmp_path_factory: pytest.TempPathFactory) -> list[Home]:
    """Two directories, each with its own token, over one database."""
    place = tmp_path_factory.mktemp("machines")
    homes = [init(place / f"m{number}", Settings(store=database.url())) for number in range(2)]
    operate.set_policy(homes[0], POLICY)
    operate.register(homes[1], MODEL, external())
    operate.obey(homes[0], Promote(model=MODEL, version=1))
    return homes


@pytest.fixture(scope="module")
def ups(machines: list[Home]) -> Iterator[list[Up]]:
    with running(machines[0]) as one, running(machines[1]) as other:
        yield [one, other]


class Sender:
    """Sends through one machine until it is taken; an id that is sent again counts once."""

    def __init__(self, home: Home, up: Up) -> None:
        self._home = home
        self._up = up

    def insist(self, send: str, rows: list[dict[str, Any]]) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                with Client(self._up.url, token=self._home.tokens.read(), timeout=20) as client:
                    getattr(client, send)(MODEL, rows)
                    return
            except LossloopError:
                assert time.monotonic() < deadline, "still refused"
                time.sleep(0.1)

    def batch(self, name: str, count: int = 20) -> None:
        self.insist("predictions", [{"id": f"{name}-{i}", "version": 1, "y_pred": 0.5} for i in range(count)])

    def labels(self, name: str, count: int = 20) -> None:
        self.insist("outcomes", [{"id": f"{name}-{i}", "y_true": 1} for i in range(count)])

    def counts(self) -> dict[str, int]:
        with Client(self._up.url, token=self._home.tokens.read(), timeout=20) as client:
            return dict(client.status(MODEL)["counts"])


@pytest.fixture
def senders(machines: list[Home], ups: list[Up]) -> list[Sender]:
    return [Sender(home, up) for home, up in zip(machines, ups, strict=True)]


def settled(sender: Sender, predictions: int, outcomes: int) -> None:
    def is_so() -> bool:
        try:
            counts = sender.counts()
        except LossloopError:
            return False
        return (counts.get("predictions"), counts.get("outcomes")) == (predictions, outcomes)

    within(is_so)


def before(sender: Sender) -> tuple[int, int]:
    counts = sender.counts()
    return counts.get("predictions", 0), counts.get("outcomes", 0)


def test_machines_agree_on_the_salt_that_units_are_assigned_by(machines: list[Home]) -> None:
    salts = {home.settings().salt for home in machines}
    assert len(salts) == 1
    assert salts != {""}


def test_what_one_machine_is_told_the_other_knows(senders: list[Sender]) -> None:
    predictions, outcomes = before(senders[0])
    for number in range(5):
        senders[number % 2].batch(f"shared{number}")
        senders[(number + 1) % 2].labels(f"shared{number}")
    settled(senders[0], predictions + 100, outcomes + 100)
    settled(senders[1], predictions + 100, outcomes + 100)


def test_an_applier_that_dies_is_replaced_and_nothing_is_counted_twice(
    senders: list[Sender], ups: list[Up]
) -> None:
    predictions, outcomes = before(senders[0])
    for number in range(4):
        senders[0].batch(f"killed{number}")
        victim = ups[number % 2].pids()["applier"]
        os.kill(victim, signal.SIGKILL)
        senders[1].labels(f"killed{number}")
        senders[1].labels(f"killed{number}")
        within(lambda up=ups[number % 2], victim=victim: up.pids().get("applier", victim) != victim)  # type: ignore[misc]
    settled(senders[0], predictions + 80, outcomes + 80)


@pytest.mark.slow
def test_a_database_that_is_killed_comes_back_with_all_that_was_acknowledged(
    senders: list[Sender], database: postgres.Server
) -> None:
    predictions, outcomes = before(senders[0])
    for number in range(2):
        senders[0].batch(f"crash{number}")
        database.kill()
        database.start()
        senders[1].batch(f"crash{number}")
        senders[1].labels(f"crash{number}")
    settled(senders[0], predictions + 40, outcomes + 40)


def test_servers_answer_while_the_database_is_away_and_go_on_when_it_is_back(
    senders: list[Sender], ups: list[Up], machines: list[Home], database: postgres.Server
) -> None:
    predictions, outcomes = before(senders[0])
    pids = [up.pids()["server"] for up in ups]
    health = [f"{up.url}/v1/health" for up in ups]
    model = f"{ups[0].url}/v1/models/{MODEL}"
    token = {"Authorization": f"Bearer {machines[0].tokens.read()}"}
    database.kill()
    try:
        for _ in range(20):
            for url in health:
                answer = urllib3.request("GET", url, retries=False, timeout=PATIENCE)
                assert answer.status == 503
                assert answer.headers["Retry-After"] == "1"
                assert "does not answer" in answer.json()["detail"]
            time.sleep(0.1)
        asked = urllib3.request("GET", model, headers=token, retries=False, timeout=PATIENCE)
        assert asked.status == 503
    finally:
        database.start()
    for url in health:
        within(lambda url=url: urllib3.request("GET", url, retries=False, timeout=PATIENCE).status == 200)  # type: ignore[misc]
    assert [up.pids()["server"] for up in ups] == pids, "no server had to be started again"
    senders[1].batch("away")
    senders[0].labels("away")
    settled(senders[0], predictions + 20, outcomes + 20)


def test_commands_that_need_files_say_so(machines: list[Home]) -> None:
    with pytest.raises(StateError, match=r"lies in postgresql://.*; this works on a log of files only"):
        _ = machines[0].segments
    with pytest.raises(StateError, match="its appliers write it"):
        machines[0].writable_state()


def test_the_store_may_stand_in_a_variable(
    machines: list[Home], database: postgres.Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = (machines[0].path / "settings.yaml").read_text().replace(database.url(), "env:THE_STORE")
    (tmp_path / "settings.yaml").write_text(text)
    monkeypatch.setenv("THE_STORE", database.url())
    assert Home(path=tmp_path).settings().salt == machines[0].settings().salt
    monkeypatch.delenv("THE_STORE")
    with pytest.raises(StateError, match="from a variable that is not set"):
        _ = Home(path=tmp_path).log
    monkeypatch.setenv(STORE, database.url())
    assert Home(path=tmp_path).database is not None


def test_labels_are_told_and_audits_listed_as_they_are_of_files(
    database: postgres.Server, tmp_path: Path
) -> None:
    with psycopg.connect(database.url(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE labels")
    found = {}
    for name, store in (("files", ""), ("database", database.url("labels"))):
        desk = Desk.at(tmp_path / name, store=store)
        desk.tick(0)
        desk.policy()
        desk.register("version 1", RICH)
        desk.obey(Promote(model=MODEL, version=1))
        assert desk.policy(watches=WATCHES).ok
        desk.know(9, desk.predict(8, [0.1] * 20)[:15])
        desk.predict(10, [0.2] * 30)
        desk.tick(14.5)
        found[name] = (wanted_at(desk.home, MODEL), label_delay_at(desk.home, MODEL))
    assert found["database"][1] == found["files"][1]
    assert found["files"][1]["judged"]["missing"] == 5
    for wanted, _ in found.values():  # a database has a salt of its own, and so another draw
        ids = [each["id"] for each in wanted["wanted"]]
        assert ids
        assert set(ids) <= {f"p{number:06d}" for number in range(20, 50)}
