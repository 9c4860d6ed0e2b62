"""Versions that fail in every way, over a real server: whoever asks gets the champion's answer, or is told.

The ledger says which version failed, and how.
"""

from __future__ import annotations

import base64
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from lossloop.access import AccessRole, signing
from lossloop.access.keys import KeyBook
from lossloop.app import operate
from lossloop.core.errors import Forbidden
from lossloop.core.ids import digest
from lossloop.registry import Approval, Manifest
from lossloop.registry.process import Process
from tests.app.server import FEATURES, Reply, Server, within
from tests.serve.code import ORDERS

MiB = 1 << 20
LIMITS = Process(seconds=2.0, memory=180 * MiB)
ASKED = 400
"""Rows after which one has met a challenger at half of the traffic, but for a chance of 1 in 10^120."""


def manifest(runtime: str = "python", notes: str = "") -> Manifest:
    return Manifest(runtime=runtime, features=FEATURES, process=LIMITS, notes=notes)


@dataclass
class Rollout:
    """A model of which half of the units meet version 2, which does what a row's category tells it to."""

    server: Server
    model: str
    asked: int = 0

    def ask(self, colour: str = "", *, unit: str) -> Reply:
        self.asked += 1
        row = {"id": f"{unit}-{self.asked}", "unit": unit, "features": {"x": 0.5, "colour": colour}}
        return self.server.predict(self.model, row)

    def answer(self, colour: str = "", *, unit: str) -> dict[str, Any]:
        reply = self.ask(colour, unit=unit)
        assert reply.status == 200, reply.body
        found: dict[str, Any] = reply.body["predictions"][0]
        return found

    def meeting(self) -> str:
        """A unit that meets version 2."""
        for number in range(ASKED):
            if self.answer(unit=f"u{number}")["version"] == 2:
                return f"u{number}"
        raise AssertionError("nobody meets version 2")

    def errors(self) -> dict[str, int]:
        """Why predictions failed, and how many."""
        found: dict[str, int] = self.server.call("GET", f"/v1/models/{self.model}").body["errors"]
        return found

    def back(self, unit: str) -> None:
        """Wait until version 2 answers again."""
        within(lambda: self.answer(unit=unit)["version"] == 2)


@pytest.fixture(scope="module")
def rollout(server: Server) -> Rollout:
    # The breaker is tried elsewhere: here a version is asked again and again, however often it fails.
    model = server.model(serving={"breaker": {"errors": 0}})
    operate.register(server.home, model, manifest(), ORDERS)
    reply = server.call("POST", f"/v1/models/{model}/rollout", {"version": 2}, wait=20)
    assert reply.status == 200, reply.body
    return Rollout(server=server, model=model)


@pytest.fixture(scope="module")
def unit(rollout: Rollout) -> str:
    return rollout.meeting()


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("fail here", "ModelRaised"),
        ("shape 1,2,3", "ModelRaised"),
        ("want 99999999999", "ModelRaised"),
        ("nan", "no valid answer"),
        ("shape 3", "InputError"),
        ("shape 1,3", "no valid answer"),
        ("end 3", "ModelEnded"),
        ("noise", "ModelBadAnswer"),
    ],
)
def test_a_challenger_that_fails_costs_nobody_an_answer(
    rollout: Rollout, unit: str, fault: str, why: str
) -> None:
    rollout.back(unit)
    before = rollout.errors().get(why, 0)
    found = rollout.answer(fault, unit=unit)
    assert (found["version"], found["role"]) == (1, "champion")
    within(lambda: rollout.errors().get(why, 0) == before + 1)
    rollout.back(unit)


def test_a_challenger_that_hangs_is_left_behind_killed_and_started_again(rollout: Rollout, unit: str) -> None:
    rollout.back(unit)
    pid = rollout.answer("pid", unit=unit)["y_pred"]
    assert rollout.answer("hang", unit=unit)["version"] == 1
    within(lambda: rollout.answer("pid", unit=unit)["y_pred"] != pid)
    rollout.back(unit)
    assert sum(rollout.errors().values()) >= 1


def test_a_challenger_that_leaks_is_exchanged_and_no_row_fails(rollout: Rollout, unit: str) -> None:
    rollout.back(unit)
    before = sum(rollout.errors().values())
    for _ in range(3):
        assert rollout.answer(f"leak {64 * MiB}", unit=unit)["version"] == 2
    within(lambda: rollout.answer("asked", unit=unit)["y_pred"] < 0.003)
    assert sum(rollout.errors().values()) == before


# Who may bring code.


def body(artifact: bytes, given: Manifest, signature: Approval | None = None) -> dict[str, Any]:
    told: dict[str, Any] = {
        "manifest": {
            "runtime": given.runtime, "notes": given.notes,
            "features": [
                {"name": each.name, "kind": each.kind, "nullable": each.nullable} for each in FEATURES
            ],
        },
        "artifact": base64.b64encode(artifact).decode(),
    }  # fmt: skip
    if signature is not None:
        told["signature"] = {"key": signature.key, "signature": signature.signature}
    return told


def signed(pair: signing.Pair, artifact: bytes, given: Manifest) -> Approval:
    named = digest(artifact)
    whole = Manifest(runtime=given.runtime, features=FEATURES, notes=given.notes, artifact=named)
    key = signing.id_of(pair.public)
    return Approval(key=key, signature=signing.sign(pair.secret, named, whole.digest))


PICKLE = pickle.dumps(pickle.Pickler)
"""A class: it says nothing, but it is loaded."""


@pytest.fixture(scope="module")
def operator(server: Server) -> Iterator[str]:
    made = server.home.tokens.create("faults-operator", AccessRole.OPERATOR).text
    within(lambda: server.call("GET", "/v1/models", token=made).status == 200)
    yield made
    server.home.tokens.revoke("faults-operator")


def test_code_is_an_admin_s_and_nobody_else_s(server: Server, model: str, operator: str) -> None:
    path = f"/v1/models/{model}/versions"
    code = b"def predict(columns): return columns['x'] * 0 + 0.25"
    refused = server.call("POST", path, body(code, manifest(notes="a")), token=operator)
    assert refused.status == 403
    assert "runs code of its own: registering it needs an admin's token, or a signature" in refused.detail
    taken = server.call("POST", path, body(code, manifest(notes="a")))
    assert taken.status == 200, taken.body
    number = taken.body["version"]
    shown = server.call("GET", f"/v1/models/{model}").body["versions"]
    assert any(each["version"] == number for each in shown)


def test_an_operator_registers_what_a_trusted_key_signed_and_only_that(
    server: Server, model: str, operator: str
) -> None:
    path, pair = f"/v1/models/{model}/versions", signing.make_pair()
    code, given = b"def predict(columns): return columns['x'] * 0 + 0.5", manifest(notes="signed")
    sent = body(code, given, signed(pair, code, given))
    unknown = server.call("POST", path, sent, token=operator)
    assert (unknown.status, "is not trusted here" in unknown.detail) == (403, True)
    KeyBook(server.home.path).trust("ana", pair.public)
    other = server.call("POST", path, body(code + b"#", given, signed(pair, code, given)), token=operator)
    assert (other.status, "is not of this artifact" in other.detail) == (403, True)
    assert server.call("POST", path, sent, token=operator).status == 200


def test_a_pickle_is_refused_unless_it_is_signed_whoever_registers_it(server: Server, model: str) -> None:
    for runtime in ("pickle", "joblib"):
        reply = server.call("POST", f"/v1/models/{model}/versions", body(PICKLE, manifest(runtime)))
        assert reply.status == 403
        assert "is refused unless a trusted key has signed it, whoever registers it" in reply.detail
        with pytest.raises(Forbidden, match="is refused unless a trusted key has signed it"):
            operate.register(server.home, model, manifest(runtime), PICKLE)


def test_what_is_signed_but_cannot_be_loaded_is_not_registered(server: Server, model: str) -> None:
    pair, code, given = signing.make_pair(), b"raise ValueError('never')", manifest(notes="broken")
    KeyBook(server.home.path).trust("eve", pair.public)
    path = f"/v1/models/{model}/versions"
    reply = server.call("POST", path, body(code, given, signed(pair, code, given)))
    assert reply.status >= 400
    assert "ValueError: never" in reply.detail


# What happens at a load.


def champion_of(server: Server, model: str) -> int:
    answers = server.predict(model, {"features": {"x": 0.5}}).body.get("predictions")
    return int(answers[0]["version"]) if answers else 0


def test_a_corrupt_artifact_of_a_challenger_is_refused_and_the_champion_answers(server: Server) -> None:
    model = server.model(versions=2)
    document = server.call("GET", f"/v1/models/{model}").body
    assert document["traffic"]["champion"] == 1
    made = operate.register(
        server.home, model, manifest(notes="corrupt"), b"def predict(columns): return columns['x'] * 0 + 0.75"
    )
    name = digest(b"def predict(columns): return columns['x'] * 0 + 0.75")
    stored = server.home.artifacts.directory / name
    stored.write_bytes(stored.read_bytes() + b"#")
    server.call("POST", f"/v1/models/{model}/rollout", {"version": made.version}, wait=20)
    asked = [server.predict(model, {"unit": f"u{n}", "features": {"x": 0.5}}) for n in range(20)]
    assert {each.status for each in asked} == {200}
    assert {each.body["predictions"][0]["version"] for each in asked} == {1}


def test_what_a_revoked_key_signed_is_not_loaded_and_the_champion_answers(server: Server) -> None:
    model, pair = server.model(versions=1), signing.make_pair()
    code, given = b"def predict(columns): return columns['x'] * 0 + 0.125", manifest(notes="revoked")
    whole = Manifest(runtime="python", features=FEATURES, notes="revoked", process=LIMITS)
    named = digest(code)
    seal = signing.sign(pair.secret, named, Manifest(
        runtime="python", features=FEATURES, notes="revoked", process=LIMITS, artifact=named
    ).digest)  # fmt: skip
    book = KeyBook(server.home.path)
    key = book.trust("mallory", pair.public).id
    approval = Approval(key=key, signature=seal)
    made = operate.register(server.home, model, whole, code, signed=approval)
    assert given.digest == whole.digest
    book.revoke(key)
    server.call("POST", f"/v1/models/{model}/rollout", {"version": made.version}, wait=20)
    assert {champion_of(server, model) for _ in range(10)} == {1}
    with pytest.raises(Forbidden, match="was revoked; sign with another, and register again"):
        operate.register(server.home, model, whole, code, signed=approval)


@pytest.mark.parametrize("fault", ["fail alone", "end 3", "nan", "hang"])
def test_the_champion_before_answers_for_one_that_fails_and_without_one_the_caller_is_told(
    server: Server, alone: tuple[str, str], fault: str
) -> None:
    before, nobody = alone
    row = {"features": {"x": 0.5, "colour": fault}}
    for model in alone:
        within(lambda model=model: champion_of(server, model) == 2)  # type: ignore[misc]
    found = server.predict(before, row)
    assert found.status == 200, found.body
    assert found.body["predictions"][0]["version"] == 1
    told = server.predict(nobody, row)
    assert (told.status, told.body.get("predictions")) in FAULTS, told.body
    assert any(word in told.detail for word in WORDS), told.body


WORDS = ("ModelRaised", "ModelEnded", "no valid answer", "ModelTimedOut", "DeadlineExceeded")
FAULTS: list[tuple[int, list[Any] | None]] = [
    (422, None), (422, []), (503, None), (503, []),
]  # fmt: skip


@pytest.fixture(scope="module")
def alone(server: Server) -> tuple[str, str]:
    """Two models with such a champion: one with a champion before it, and one without any that can answer."""
    free = {"serving": {"breaker": {"errors": 0}}}
    models = (server.model(versions=1, **free), server.model(versions=0, **free))
    for model in models:
        operate.register(server.home, model, manifest(notes="alone"), ORDERS)
        server.call("POST", f"/v1/models/{model}/promote", {"version": 2}, wait=20)
        within(lambda model=model: champion_of(server, model) == 2)  # type: ignore[misc]
    return models
