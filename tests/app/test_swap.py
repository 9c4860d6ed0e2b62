"""Traffic moves while requests come: none fails, and each answer is in the log exactly once."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from lossloop.app import operate
from lossloop.client import Client
from lossloop.ledger.facts import model_of
from lossloop.ledger.frames import Frame, Kind
from tests.app.server import Server, tiny_manifest, tiny_model, within

THREADS, ROWS = 3, 3
ROUNDS = 3
"""How often a version is rolled out, rolled back and promoted meanwhile."""
PAUSE = 0.002
"""Seconds between two requests: the loop has to keep up, and shares the processors with those who ask."""


SAID_NOTHING = {"role": "champion", "propensity": 1.0, "shadow_version": None, "shadow_y_pred": None}
"""What a row of the log is that does not say so."""


@dataclass
class Asking:
    """A service that asks on and on until it is told to stop, and remembers what it was answered."""

    server: Server
    model: str
    name: str
    answers: list[dict[str, Any]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    requests: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def __call__(self) -> None:
        with Client(self.server.up.url, token=self.server.home.tokens.read()) as client:
            while not self.stop.is_set():
                number = self.requests
                rows = [
                    {
                        "id": f"{self.name}-{number}-{row}",
                        "unit": f"{self.name}-{number % 9}",
                        "features": {"x": 0.0},
                    }
                    for row in range(ROWS)
                ]
                try:
                    self.answers += client.predict(self.model, rows)["predictions"]
                except Exception as error:  # noqa: BLE001 - whatever it is, it is what must not happen
                    self.failures.append(repr(error))
                self.requests += 1
                time.sleep(PAUSE)

    def goes_on(self, *, more: int = 2) -> None:
        """Wait until it has asked again: at least one whole request began after this call."""
        until = self.requests + more
        within(lambda: self.requests >= until)

    def hears_of(self, version: int) -> None:
        """Wait until that version answers."""
        within(lambda: self.failures or (self.answers and self.answers[-1]["version"] == version))


def swaps(server: Server, model: str, asking: list[Asking]) -> Iterator[Any]:
    """Every way in which traffic moves, one after the other, with versions that were never loaded before."""
    for number in range(ROUNDS):
        made = operate.register(
            server.home, model, tiny_manifest(f"swap {number}"), tiny_model(2.0 + number)
        ).version
        yield server.call(
            "POST", f"/v1/models/{model}/rollout", {"version": made, "plan": {"shadow": "3 blocks"}}
        )
        yield server.call("POST", f"/v1/models/{model}/rollback", {})
        yield server.call("POST", f"/v1/models/{model}/rollout", {"version": made})
        yield server.call("POST", f"/v1/models/{model}/promote", {})
        yield server.call("POST", f"/v1/models/{model}/rollback", {})
        yield server.call("POST", f"/v1/models/{model}/promote", {"version": made})
        for each in asking:
            each.hears_of(made or 0)


@pytest.fixture(scope="module")
def asked(server: Server) -> list[Asking]:
    """Requests of several threads while the traffic moved."""
    model = server.model(versions=1)
    asking = [Asking(server, model, f"thread{number}") for number in range(THREADS)]
    threads = [threading.Thread(target=each) for each in asking]
    for thread in threads:
        thread.start()
    replies = []
    try:
        for reply in swaps(server, model, asking):
            replies.append(reply)
            for each in asking:
                each.goes_on()
    finally:
        for each in asking:
            each.stop.set()
        for thread in threads:
            thread.join()
    assert {reply.status for reply in replies} == {200}
    assert len(replies) == 6 * ROUNDS
    return asking


def logged(asked: list[Asking]) -> list[dict[str, Any]]:
    """The predictions of these requests as they lie in the log."""
    log, model = asked[0].server.home.log.reader(), asked[0].model
    frames, after = [], dict[str, int]()
    while entries := list(log.read(after)):  # a read gives no more than so many bytes
        after.update((entry.position.segment, entry.position.offset) for entry in entries)
        frames += [entry.frame for entry in entries]
    log.close()
    rows = [
        {**SAID_NOTHING, **row}
        for frame in frames
        if isinstance(frame, Frame) and frame.kind is Kind.PREDICTION and model_of(frame.batch) == model
        for row in frame.batch.to_pylist()
    ]
    return [row for row in rows if row["id"].startswith("thread")]


def test_no_request_fails(asked: list[Asking]) -> None:
    assert [failure for each in asked for failure in each.failures] == []
    assert [len(each.answers) for each in asked] == [each.requests * ROWS for each in asked]
    assert min(each.requests for each in asked) >= 6 * ROUNDS


def test_every_answer_is_logged_exactly_once_and_as_it_was_given(asked: list[Asking]) -> None:
    answers = {answer["id"]: answer for each in asked for answer in each.answers}
    rows = logged(asked)
    assert Counter(row["id"] for row in rows) == dict.fromkeys(answers, 1)
    for row in rows:
        given = answers[row["id"]]
        assert {key: row[key] for key in ("version", "role", "y_pred")} == {
            key: given[key] for key in ("version", "role", "y_pred")
        }


def test_every_answer_is_that_of_the_version_it_names(asked: list[Asking]) -> None:
    for answer in (answer for each in asked for answer in each.answers):
        bias = 0.0 if answer["version"] == 1 else float(answer["version"])
        assert answer["y_pred"] == pytest.approx(1 / (1 + math.exp(-bias)), abs=1e-6)


def test_several_versions_answered_and_the_chance_of_each_arm_was_logged(asked: list[Asking]) -> None:
    rows = logged(asked)
    assert len({row["version"] for row in rows}) >= 1 + ROUNDS
    split = [row for row in rows if row["propensity"] < 1]
    assert {row["propensity"] for row in split} <= {0.5}
    assert {row["role"] for row in split} <= {"champion", "challenger"}
    shadowed = [row for row in rows if row["shadow_version"] is not None]
    for row in shadowed:
        assert row["shadow_y_pred"] == pytest.approx(1 / (1 + math.exp(-row["shadow_version"])), abs=1e-6)


def test_a_unit_keeps_its_arm_while_a_share_stays(server: Server) -> None:
    model = server.model(versions=2)
    server.call("POST", f"/v1/models/{model}/rollout", {"version": 2})
    rows = [{"unit": f"user {number}", "features": {"x": 0.0}} for number in range(60)]
    first, second = (server.predict(model, *rows).body["predictions"] for _ in range(2))
    versions = [each["version"] for each in first]
    assert versions == [each["version"] for each in second]
    assert 15 <= versions.count(2) <= 45
