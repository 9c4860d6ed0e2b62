"""Webhooks, against a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from lossloop.act.notify import post
from lossloop.core.errors import LossloopError
from tests.client.answering import Answering, answering, nobody


@pytest.fixture
def server() -> Iterator[Answering]:
    with answering() as made:
        yield made


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_a_webhook_is_told_once_with_its_key(server: Answering, status: int) -> None:
    server.answer(status, b"" if status == 204 else b"thanks")
    said = post(server.url + "/hook?a=1", {"action": "promote", "é": None}, key="m/000001")
    assert said == f"webhook answered {status}"
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("POST", "/hook?a=1")
    assert asked.headers["Idempotency-Key"] == "m/000001"
    assert asked.headers["Content-Type"] == "application/json"
    assert json.loads(asked.body) == {"action": "promote", "é": None}


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
def test_any_other_answer_is_a_failure_and_is_not_repeated_here(server: Answering, status: int) -> None:
    server.answer(status, b"the token is secret")
    with pytest.raises(LossloopError, match=f"^webhook answered {status}$"):
        post(server.url, {}, key="k")
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(server: Answering, status: int) -> None:
    """Else whoever answers could send our decisions to an address that no admin has listed."""
    with answering() as elsewhere:
        server.answer(status, b"", Location=elsewhere.url)
        with pytest.raises(LossloopError, match=f"webhook answered {status}"):
            post(server.url, {}, key="k")
        assert not elsewhere.asked


def test_nobody_there_is_a_failure() -> None:
    with pytest.raises(LossloopError, match="webhook not reached: "):
        post(nobody(), {}, key="k")


@pytest.mark.parametrize(
    "address", ["http://", "http://a..b/", "http://[::1", "http://127.0.0.1:99999/", "https:x"]
)
def test_an_address_that_is_none_is_a_failure(address: str) -> None:
    with pytest.raises(LossloopError, match="webhook not reached: "):
        post(address, {}, key="k")
