"""The client, against a real server: what it sends, and what it makes of answers of every kind."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lossloop.client import Client, Refused, Unreachable, connection
from lossloop.core.errors import LossloopError
from tests.client.answering import Answering, answering, nobody


@pytest.fixture
def server() -> Iterator[Answering]:
    with answering() as made:
        yield made


@pytest.fixture
def client(server: Answering) -> Iterator[Client]:
    with Client(server.url + "/", token="ll_token", timeout=5) as made:
        yield made


CALLS: list[tuple[Callable[[Client], Any], str, str, Any]] = [
    (lambda c: c.predict("m", [{"features": {"x": 1}}]), "POST", "/v1/models/m/predict",
     {"rows": [{"features": {"x": 1}}]}),
    (lambda c: c.predictions("m", [{"id": "a"}]), "POST", "/v1/predictions",
     {"model": "m", "predictions": [{"id": "a"}]}),
    (lambda c: c.outcomes("m", [{"id": "a", "y_true": None}]), "POST", "/v1/outcomes",
     {"model": "m", "outcomes": [{"id": "a", "y_true": None}]}),
    (lambda c: c.losses("brier", [1], [0.5]), "POST", "/v1/losses",
     {"loss": "brier", "y_true": [1], "y_pred": [0.5]}),
    (lambda c: c.losses("violation", None, [0.5]), "POST", "/v1/losses",
     {"loss": "violation", "y_true": None, "y_pred": [0.5]}),
    (lambda c: c.status("m"), "GET", "/v1/models/m", None),
    (lambda c: c.health(), "GET", "/v1/health", None),
    (lambda c: c.rollout("m", 2, plan={"shadow": 0}, reason="r"), "POST", "/v1/models/m/rollout",
     {"version": 2, "plan": {"shadow": 0}, "reason": "r"}),
    (lambda c: c.rollout("m", 2), "POST", "/v1/models/m/rollout", {"version": 2, "plan": {}, "reason": ""}),
    (lambda c: c.promote("m"), "POST", "/v1/models/m/promote", {"version": None, "reason": ""}),
    (lambda c: c.promote("m", 3, reason="r"), "POST", "/v1/models/m/promote", {"version": 3, "reason": "r"}),
    (lambda c: c.rollback("m", reason="r"), "POST", "/v1/models/m/rollback", {"reason": "r"}),
    (lambda c: c.move_clock("2013-03-01T00:00:00Z"), "POST", "/v1/clock", {"time": "2013-03-01T00:00:00Z"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "method", "path", "body"), CALLS, ids=[f"{p}-{n}" for n, (*_, p, _) in enumerate(CALLS)]
)
def test_a_call_is_one_request(
    server: Answering, client: Client, call: Callable[[Client], Any], method: str, path: str, body: Any
) -> None:
    server.answer(200, b'{"answer": 42}')
    assert call(client) == {"answer": 42}
    (asked,) = server.asked
    assert (asked.method, asked.path) == (method, path)
    assert asked.headers["Authorization"] == "Bearer ll_token"
    assert (json.loads(asked.body) if asked.body else None) == body
    assert "Prefer" not in asked.headers


def test_decisions_are_a_list(server: Answering, client: Client) -> None:
    server.answer(200, b'{"decisions": [{"id": "m/0"}]}')
    assert client.decisions("m") == [{"id": "m/0"}]


@pytest.mark.parametrize(("wait", "said"), [(2, "wait=2"), (0.5, "wait=0.5")])
def test_waiting_is_asked_for_in_the_words_of_http(
    server: Answering, client: Client, wait: float, said: str
) -> None:
    client.outcomes("m", [], wait=wait)
    assert server.asked[0].headers["Prefer"] == said


@pytest.mark.parametrize(("model", "path"), [("a/b", "a%2Fb"), ("a?b=c", "a%3Fb%3Dc"), ("é", "%C3%A9")])
def test_a_name_cannot_lead_elsewhere(server: Answering, client: Client, model: str, path: str) -> None:
    client.promote(model)
    assert server.asked[0].path == f"/v1/models/{path}/promote"


def test_one_connection_serves_many_calls(server: Answering, client: Client) -> None:
    for _ in range(3):
        client.health()
    assert len(server.asked) == 3


@pytest.mark.parametrize("status", [302, 400, 401, 404, 409, 413, 422, 500, 503, 507])
def test_a_refusal_has_the_servers_words(server: Answering, client: Client, status: int) -> None:
    problem = {"status": status, "title": "No", "detail": "row 1 is bad", "errors": [{"row": 1}]}
    server.answer(status, json.dumps(problem).encode())
    with pytest.raises(Refused, match=r"^row 1 is bad$") as caught:
        client.outcomes("m", [{}])
    assert caught.value.status == status
    assert caught.value.problem == problem


@pytest.mark.parametrize("body", [b"{}", b'{"detail": null}', b'{"error": "no"}'])
def test_a_refusal_in_other_words_is_a_refusal(server: Answering, client: Client, body: bytes) -> None:
    server.answer(418, body)
    with pytest.raises(Refused) as caught:
        client.health()
    assert caught.value.status == 418
    server.answer(418, b'{"status": "teapot"}')
    with pytest.raises(Refused, match="the server refused the request") as caught:
        client.health()
    assert caught.value.status == 500


@pytest.mark.parametrize("status", [200, 502])
@pytest.mark.parametrize("body", [b"", b"<html>Bad Gateway</html>", b"[1]", b'"ok"', b'{"a": "\xff"}', b"{"])
def test_what_is_no_json_is_no_lossloop(server: Answering, client: Client, status: int, body: bytes) -> None:
    server.answer(status, body)
    with pytest.raises(Unreachable, match=f"answered {status} without JSON; is it a Lossloop server\\?"):
        client.health()


def test_an_answer_without_an_end_is_not_read_to_it(
    server: Answering, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was kept whole, in the memory of the service that sends."""
    monkeypatch.setattr(connection, "LARGEST_ANSWER", 100)
    server.answer(200, b'{"status": "' + b"x" * 100 + b'"}')
    with pytest.raises(Unreachable, match="answered with more than 100 bytes; is it a Lossloop server"):
        client.health()
    server.answer(200, b'{"status": "' + b"x" * 86 + b'"}')
    assert len(client.health()["status"]) == 86


def test_a_redirect_is_not_followed(server: Answering, client: Client) -> None:
    """A token goes to the server that it was given for, and to no other."""
    with answering() as elsewhere:
        server.answer(307, b"", Location=elsewhere.url)
        with pytest.raises(LossloopError):
            client.health()
        assert not elsewhere.asked
    assert len(server.asked) == 1


def test_nobody_there_is_unreachable() -> None:
    url = nobody()
    with (
        Client(url, token="t", timeout=1) as client,
        pytest.raises(Unreachable, match=f"no answer from {url}: "),
    ):
        client.health()


def test_a_request_is_never_repeated_by_itself(server: Answering, client: Client) -> None:
    server.answer(503, b'{"status": 503, "detail": "later"}')
    with pytest.raises(Refused):
        client.predict("m", [])
    assert len(server.asked) == 1
