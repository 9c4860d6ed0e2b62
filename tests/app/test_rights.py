"""Every endpoint with every kind of token: a generated table, so that a new endpoint is in it or fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from lossloop.access import AccessRole, Right
from lossloop.app.http import ROUTES, Endpoint
from lossloop.core.clock import SystemClock
from tests.app.desk import policy_text
from tests.app.server import Reply, Server, within

VIEWERS = {"viewer", "operator", "approver", "admin"}
SENDERS = {"predictions", "both", "operator", "admin"}
OPERATORS = {"operator", "admin"}
ALL = {"viewer", "predictions", "outcomes", "both", "operator", "approver", "admin"}
MAY = {
    "GET /v1/health": ALL,
    "GET /metrics": VIEWERS,
    "GET /v1/models": ALL,
    "GET /v1/models/{model}": VIEWERS,
    "GET /v1/models/{model}/decisions": VIEWERS,
    "GET /v1/models/{model}/serving": VIEWERS,
    "GET /v1/models/{model}/labels": VIEWERS,
    "GET /v1/models/{model}/charts": VIEWERS,
    "GET /v1/models/{model}/metrics": VIEWERS,
    "GET /v1/models/{model}/labels/wanted": VIEWERS,
    "GET /v1/models/{model}/predictions/{id:path}": VIEWERS,
    "POST /v1/models/{model}/predict": SENDERS,
    "POST /v1/predictions": SENDERS,
    "POST /v1/outcomes": {"outcomes", "both", "admin"},
    "POST /v1/losses": ALL,
    "PUT /v1/policy": {"admin"},
    "POST /v1/models/{model}/loss": {"admin"},
    "POST /v1/models/{model}/experiment": OPERATORS,
    "POST /v1/models/{model}/versions": OPERATORS,
    "POST /v1/models/{model}/rollout": OPERATORS,
    "POST /v1/models/{model}/promote": OPERATORS,
    "POST /v1/models/{model}/rollback": OPERATORS,
    "POST /v1/freeze": OPERATORS,
    "DELETE /v1/freeze": OPERATORS,
    "POST /v1/clock": {"admin"},
}
"""Who may ask what, written out by hand: a new endpoint is to be thought about here too."""
CLOSED = [endpoint for endpoint in ROUTES if not endpoint.open]
REFUSED = (401, 403)


def name_of(endpoint: Endpoint) -> str:
    return f"{endpoint.method} {endpoint.path}"


each_endpoint = pytest.mark.parametrize("endpoint", CLOSED, ids=name_of)


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """One of each kind, good and not."""

    good: Mapping[str, str]
    elsewhere: Mapping[str, str]
    """Of the same kinds, but for another model."""
    revoked: str
    expired: str


@pytest.fixture(scope="module")
def tokens(server: Server) -> Tokens:
    book = server.home.tokens
    kinds: dict[str, tuple[AccessRole, dict[str, Any]]] = {
        each.value: (each, {}) for each in AccessRole if each is not AccessRole.SENDER
    }
    scopes = {"predictions": (Right.PREDICTIONS,), "outcomes": (Right.OUTCOMES,)}
    kinds |= {name: (AccessRole.SENDER, {"scopes": held}) for name, held in scopes.items()}
    kinds["both"] = (AccessRole.SENDER, {})
    good = {name: book.create(f"good-{name}", role, **more).text for name, (role, more) in kinds.items()}
    elsewhere = {
        name: book.create(f"else-{name}", role, models=("elsewhere",), **more).text
        for name, (role, more) in kinds.items()
    }
    gone = book.create("gone", AccessRole.ADMIN).text
    book.revoke("gone")
    late = book.create("late", AccessRole.ADMIN, expires=SystemClock().now() + 1_000).text
    within(lambda: "expired" in str(server.call("GET", "/v1/models", token=late).body))
    return Tokens(good=good, elsewhere=elsewhere, revoked=gone, expired=late)


def ask(server: Server, endpoint: Endpoint, model: str, token: str | None) -> Reply:
    """A request that does nothing, whoever may send it: its body cannot be read."""
    path = endpoint.path.replace("{model}", model).replace("{id:path}", "none")
    if endpoint.answers == "text/plain":
        answer = server.pool.request(
            "GET", server.up.url + path, headers={"Authorization": f"Bearer {token}"}
        )
        return Reply(status=answer.status, headers=answer.headers, body={"detail": answer.data.decode()})
    return server.call(endpoint.method, path, None if endpoint.body is None else b"{nothing", token=token)


def test_every_endpoint_stands_in_the_table_above() -> None:
    assert {name_of(endpoint) for endpoint in ROUTES} == {*MAY}


@each_endpoint
@pytest.mark.parametrize("kind", sorted(ALL))
def test_each_kind_of_token_may_do_what_it_is_for(
    server: Server, tokens: Tokens, model: str, endpoint: Endpoint, kind: str
) -> None:
    reply = ask(server, endpoint, model, tokens.good[kind])
    if kind in MAY[name_of(endpoint)]:
        assert reply.status not in (*REFUSED, 500)
        return
    assert reply.status == 403
    assert "; this needs " in reply.detail
    assert any(role in reply.detail.partition("; this needs ")[2] for role in (*AccessRole, "one for"))


@each_endpoint
@pytest.mark.parametrize("kind", ["admin", "both"])
def test_a_token_for_another_model_opens_nothing_of_this_one(
    server: Server, tokens: Tokens, model: str, endpoint: Endpoint, kind: str
) -> None:
    if "{model}" not in endpoint.path:
        return
    reply = ask(server, endpoint, model, tokens.elsewhere[kind])
    assert reply.status == 403
    if kind == "admin":
        assert reply.detail == f"the token 'else-admin' is for elsewhere, not for '{model}'"


@each_endpoint
def test_a_token_that_was_revoked_or_has_expired_opens_nothing(
    server: Server, tokens: Tokens, model: str, endpoint: Endpoint
) -> None:
    revoked, expired = (ask(server, endpoint, model, each) for each in (tokens.revoked, tokens.expired))
    assert (revoked.status, expired.status) == (401, 401)
    assert "the token 'gone' was revoked" in revoked.detail
    assert "the token 'late' expired at" in expired.detail
    assert revoked.headers["WWW-Authenticate"] == 'Bearer realm="lossloop"'


def test_a_model_that_only_the_body_names_is_held_to_the_token(
    server: Server, tokens: Tokens, model: str
) -> None:
    for path, kind, rows in (
        ("/v1/predictions", "predictions", {"predictions": []}),
        ("/v1/outcomes", "outcomes", {"outcomes": []}),
        ("/v1/predictions", "admin", {"columns": {}}),
    ):
        reply = server.call("POST", path, {"model": model, **rows}, token=tokens.elsewhere[kind])
        assert reply.status == 403
        assert f"is for elsewhere, not for '{model}'" in reply.detail
    body = {"text": policy_text(model=model)}
    text = server.call("PUT", "/v1/policy", body, token=tokens.elsewhere["admin"])
    assert text.status == 403


def test_what_concerns_all_models_is_not_for_a_token_of_one(server: Server, tokens: Tokens) -> None:
    for method, path in (("POST", "/v1/freeze"), ("DELETE", "/v1/freeze"), ("POST", "/v1/clock")):
        reply = server.call(method, path, {}, token=tokens.elsewhere["admin"])
        assert reply.status == 403
        assert "this concerns all models" in reply.detail


def test_the_list_of_models_has_only_those_that_the_token_is_for(
    server: Server, tokens: Tokens, model: str
) -> None:
    assert server.call("GET", "/v1/models", token=tokens.elsewhere["viewer"]).body == {"models": []}
    assert model in server.call("GET", "/v1/models", token=tokens.good["predictions"]).body["models"]


def test_a_running_server_learns_of_a_new_token_and_of_its_end(server: Server) -> None:
    text = server.home.tokens.create("fresh", AccessRole.VIEWER).text
    within(lambda: server.call("GET", "/v1/models", token=text).status == 200)
    server.home.tokens.revoke("fresh")
    within(lambda: server.call("GET", "/v1/models", token=text).status == 401)


@pytest.mark.parametrize("kind", sorted(SENDERS))
def test_only_who_operates_may_name_the_version_that_answers(
    server: Server, tokens: Tokens, model: str, kind: str
) -> None:
    """Rows that a version was asked for by its number are no evidence: a sender could hide harm so."""
    headers = {"Authorization": f"Bearer {tokens.good[kind]}", "Lossloop-Version": "1"}
    answer = server.pool.request(
        "POST", f"{server.up.url}/v1/models/{model}/predict", headers=headers, body=b"{nothing"
    )
    assert answer.status == (400 if kind in OPERATORS else 403)
