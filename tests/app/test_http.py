"""The HTTP door itself: tokens, bodies, paths, commands and the document that describes it all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lossloop.app.http import ROUTES, Endpoint
from lossloop.app.http.endpoints import ARROW
from lossloop.app.http.inference import INFERENCE_ROUTES
from lossloop.app.http.server import MOST_BYTES
from tests.app.desk import WATCH, policy_text
from tests.app.server import Reply, Server, within

MORE = MOST_BYTES + 1


def address(endpoint: Endpoint, model: str) -> str:
    return endpoint.path.replace("{model}", model).replace("{id:path}", "none")


CLOSED = [endpoint for endpoint in ROUTES if not endpoint.open]


# Tokens.


@pytest.mark.parametrize("endpoint", CLOSED, ids=lambda each: f"{each.method} {each.path}")
def test_nothing_but_health_answers_without_the_token(server: Server, model: str, endpoint: Endpoint) -> None:
    path = address(endpoint, model)
    without = server.call(endpoint.method, path, token=None)
    assert without.status == 401
    assert "send the token as 'Authorization: Bearer ...'" in without.detail
    wrong = server.call(endpoint.method, path, token="ll_wrong")
    assert wrong.status == 401
    assert "this token is not known here" in wrong.detail


@pytest.mark.parametrize("header", [b"Basic abc", b"Bearer", b"bearer token", b"Bearer \xff\xfe", b""])
def test_a_header_that_is_no_token_is_refused(server: Server, header: bytes) -> None:
    headers = {"Authorization": header.decode("latin-1")}
    answer = server.pool.request("GET", f"{server.up.url}/v1/models", headers=headers)
    assert answer.status == 401


def test_health_answers_anybody_and_tells_nobody_s_names(server: Server, model: str) -> None:
    reply = server.call("GET", "/v1/health", token=None)
    assert reply.status == 200
    assert reply.body["status"] == "ok"
    assert reply.body["models"] >= 1
    assert model not in str(reply.body)
    within(lambda: not server.call("GET", "/v1/health").body["behind"])


# Bodies.


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "Object missing required field `rows`"),
        (b"{", "the body is not JSON"),
        (b"not json", "the body is not JSON"),
        (b'{"rows": [}', "the body is not JSON"),
        (b'{"rows": [{"features": {"x": 1, "colour": "\xff"}}]}', "the body is not JSON"),
        (b'{"rows": [{"features": {"x": 1, "colour": "\\ud800"}}]}', "the body is not JSON"),
        (b'{"rows": [{"features": {"x": NaN, "colour": "\\ud800"}}]}', "the body is not JSON"),
        (b'{"rows": [NaN', "the body is not JSON"),
        (b"\xff\xfe" + '{"rows": []}'.encode("utf-16-le"), "the body is not JSON"),
        (b'{"rows": ' + b"[" * 5000 + b"]" * 5000 + b"}", "the body is not JSON: maximum recursion depth"),
        (b'{"rows": ' + b"[" * 5000 + b"NaN" + b"]" * 5000 + b"}", "the body is not JSON: maximum recursion"),
        (b"[]", "Expected `object`, got `array`"),
        (b"null", "Expected `object`, got `null`"),
        (b'{"rows": 1}', "Expected `array`, got `int`"),
        (b'{"rows": [], "model": "m"}', "Object contains unknown field `model`"),
    ],
)
def test_a_body_that_cannot_be_read_is_a_bad_request(
    server: Server, model: str, body: bytes, words: str
) -> None:
    reply = server.call("POST", f"/v1/models/{model}/predict", body)
    assert reply.status == 400
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert words in reply.detail


def test_a_field_of_the_wrong_kind_is_named(server: Server, model: str) -> None:
    reply = server.call("POST", f"/v1/models/{model}/rollout", {"version": "two"})
    assert (reply.status, reply.body["field"]) == (400, "version")
    assert server.call("POST", f"/v1/models/{model}/rollout", {"version": 10**40}).status == 400


def test_a_batch_of_nothing_or_of_too_much_is_refused(server: Server, model: str) -> None:
    empty = server.predict(model)
    assert (empty.status, empty.detail) == (422, "send a list of one row or more")
    many = server.call("POST", f"/v1/models/{model}/predict", {"rows": [0] * 100_001})
    assert (many.status, many.detail) == (422, "100001 rows in one request; at most 100000 are taken")


def test_a_body_over_the_limit_is_refused(server: Server, model: str) -> None:
    reply = server.call("POST", f"/v1/models/{model}/predict", b" " * MORE)
    assert reply.status == 413
    assert reply.detail == f"the body has more than {MOST_BYTES} bytes: send smaller batches"


def test_a_body_over_the_limit_is_refused_also_where_its_length_is_not_declared(
    server: Server, model: str
) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(18):
            yield b" " * 1024 * 1024

    reply = server.call("POST", f"/v1/models/{model}/predict", b"".join(parts()), chunked=True)
    assert reply.status == 413
    assert reply.detail == f"the body has more than {MOST_BYTES} bytes: send smaller batches"
    assert server.call("GET", "/v1/health").status == 200


# Paths.


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/", 404, "no GET /; GET /openapi.json lists what there is"),
        ("GET", "/v1/predictions/", 404, "no GET /v1/predictions/"),
        ("GET", "/v3/health", 404, "no GET /v3/health"),
        ("PATCH", "/v1/models", 405, "no PATCH /v1/models; there is: GET, HEAD"),
        ("DELETE", "/v1/outcomes", 405, "there is: POST"),
    ],
)
def test_what_is_not_there_is_said_in_the_one_shape_of_errors(
    server: Server, method: str, path: str, status: int, words: str
) -> None:
    reply = server.call(method, path)
    assert reply.status == status == reply.body["status"]
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert words in reply.detail


@pytest.mark.parametrize(
    "endpoint", [each for each in CLOSED if "{model}" in each.path], ids=lambda e: e.path
)
def test_an_unknown_model_is_named_with_those_there_are(
    server: Server, model: str, endpoint: Endpoint
) -> None:
    bodies = {
        "predict": {"rows": [{"features": {"x": 1}}]},
        "loss": {"text": policy_text(model="nobody")},
        "experiment": {"arms": [{"version": 2, "share": 0.1}]},
        "versions": {"manifest": {"runtime": "python"}, "artifact": "eA=="},
    }
    body = bodies.get(endpoint.path.rpartition("/")[2], {"version": 1})
    sent = body if endpoint.body is not None and not endpoint.path.endswith("rollback") else None
    reply = server.call(endpoint.method, address(endpoint, "nobody"), sent)
    assert reply.status == 404
    if not endpoint.path.endswith("{id:path}"):
        assert "unknown model 'nobody'" in reply.detail


def test_an_unknown_model_in_a_body_is_not_found(server: Server) -> None:
    for path, body in (
        ("/v1/predictions", {"model": "nobody", "predictions": [{"version": 1, "y_pred": 0.5}]}),
        ("/v1/outcomes", {"model": "nobody", "outcomes": [{"id": "a", "y_true": 1}]}),
    ):
        reply = server.call("POST", path, body)
        assert (reply.status, reply.body["field"]) == (404, "model")


def test_a_model_without_a_champion_says_what_to_run(server: Server) -> None:
    server.call("PUT", "/v1/policy", {"text": policy_text(model="young")})
    reply = server.predict("young", {"features": {"x": 1}})
    assert (reply.status, reply.detail) == (
        409,
        "young has no champion yet; run: lossloop promote young VERSION",
    )


def test_a_model_of_another_system_says_where_to_send_its_predictions(server: Server) -> None:
    model = server.model(versions=0)
    reply = server.predict(model, {"features": {"x": 1}})
    assert reply.status == 409
    assert "is served by another system; send its predictions to /v1/predictions" in reply.detail


# What is read.


def test_models_versions_and_predictions_can_be_read(server: Server) -> None:
    model = server.model(versions=2)
    assert model in server.call("GET", "/v1/models").body["models"]
    told = server.call("GET", f"/v1/models/{model}").body
    assert told["aliases"] == {"champion": 1}
    assert [each["version"] for each in told["versions"]] == [1, 2]
    assert told["traffic"]["champion"] == 1
    (decision,) = server.call("GET", f"/v1/models/{model}/decisions").body["decisions"]
    assert (decision["action"], decision["by"], decision["id"]) == ("promote", "operator", f"{model}/000000")
    missing = server.call("GET", f"/v1/models/{model}/predictions/none")
    assert (missing.status, missing.body["field"]) == (404, "id")


def test_how_late_labels_come_can_be_read(server: Server, model: str) -> None:
    server.predict(model, {"features": {"x": 1}}, wait=5)
    told = server.call("GET", f"/v1/models/{model}/labels").body
    assert told["model"] == model
    assert told["predictions"] >= 1
    assert told["mature_after"]["recommended"] is None
    assert server.call("GET", "/v1/models/none/labels").status == 404
    refused = server.call("GET", f"/v1/models/{model}/labels/wanted")
    assert (refused.status, refused.body["field"]) == (422, "watches")


def test_metrics_can_be_read(server: Server) -> None:
    model = server.model(versions=1)
    answer = server.predict(model, {"features": {"x": 9}}, {"features": {"x": -9}}, wait=5).body
    server.outcomes(model, *({"id": each["id"], "y_true": 1} for each in answer["predictions"]))
    (figure,) = server.call("GET", f"/v1/models/{model}/metrics").body["figures"]
    assert (figure["version"], figure["labelled"]) == (1, 2)
    assert figure["metrics"]["recall"] == {"value": 0.5, "interval": None, "gap": None, "between": None}
    assert figure["metrics"]["auc"]["value"] is None
    assert server.call("GET", "/v1/models/none/metrics").status == 404


def test_a_caller_may_wait_for_the_fold(server: Server, model: str) -> None:
    row = {"features": {"x": 1}}
    plain = server.predict(model, row, wait=0)
    assert set(plain.body) == {"predictions"}
    waited = server.predict(model, row, wait=5)
    assert waited.body["folded"] is True
    assert {"pending", "decisions"} <= set(waited.body)


@pytest.mark.parametrize(
    "prefer", ["wait", "wait=soon", "respond-async", "handling=strict, wait=5", "WAIT=5"]
)
def test_what_else_a_caller_prefers_does_no_harm(server: Server, model: str, prefer: str) -> None:
    answer = server.pool.request(
        "POST", f"{server.up.url}/v1/models/{model}/predict", json={"rows": [{"features": {"x": 1}}]},
        headers={"Prefer": prefer, "Authorization": f"Bearer {server.home.tokens.read()}"},
    )  # fmt: skip
    assert answer.status == 200
    assert ("folded" in answer.json()) == ("wait=5" in prefer)


# Commands.


def order(server: Server, model: str, verb: str, **body: Any) -> Reply:
    return server.call("POST", f"/v1/models/{model}/{verb}", body)


def test_a_release_can_be_led_over_http(server: Server) -> None:
    model = server.model(versions=3)
    started = order(server, model, "rollout", version=2, plan={"steps": ["20%"]}, reason="try it")
    assert (started.status, started.body["message"]) == (200, f"{model}:2 is at 20% of the traffic")
    assert order(server, model, "rollout", version=3).status == 409
    assert order(server, model, "rollback", reason="enough").body["message"] == "version 2 is off the traffic"
    assert order(server, model, "promote", version=3).body["version"] == 3
    assert server.predict(model, {"features": {"x": 0}}).body["predictions"][0]["version"] == 3
    assert order(server, model, "rollback").body["message"] == "version 1 is the champion again"
    made = server.call("GET", f"/v1/models/{model}/decisions").body["decisions"]
    assert [(each["action"], each["version"]) for each in made] == [
        ("promote", 1), ("start_rollout", 2), ("roll_back", 2), ("promote", 3), ("roll_back", 1)
    ]  # fmt: skip
    assert [each["reason"] for each in made[1:3]] == ["try it", "enough"]


@pytest.mark.parametrize(
    ("verb", "body", "words"),
    [
        ("rollout", {"version": 9}, "unknown version"),
        ("rollout", {"version": -1}, "unknown version"),
        ("rollout", {"version": 1}, "version 1 is the champion already"),
        ("rollout", {"version": 2, "plan": {"stops": 1}}, "unknown key 'stops'; did you mean 'steps'?"),
        ("rollout", {"version": 2, "plan": {"steps": "all"}}, "must be a list"),
        ("promote", {"version": 9}, "unknown version"),
        ("promote", {}, "no rollout is running; name the version to promote"),
        ("rollback", {}, "has no previous champion to go back to"),
    ],
)
def test_a_command_that_cannot_be_obeyed_says_why(
    server: Server, model: str, verb: str, body: dict[str, Any], words: str
) -> None:
    reply = order(server, model, verb, **body)
    assert 400 <= reply.status < 500
    assert words in reply.detail


def test_freezing_and_unfreezing(server: Server, model: str) -> None:
    frozen = server.call("POST", "/v1/freeze", {"reason": "fire"})
    assert frozen.body["message"] == "frozen: verdicts are given, nothing is done"
    assert server.call("GET", "/v1/health").body["frozen"] is True
    assert server.call("GET", f"/v1/models/{model}").body["frozen"]["reason"] == "fire"
    assert server.call("DELETE", "/v1/freeze").body["message"] == "actions go on"
    assert server.call("GET", "/v1/health").body["frozen"] is False


def test_a_live_clock_is_nobody_s_to_move(server: Server) -> None:
    reply = server.call("POST", "/v1/clock", {"time": "2030-01-01T00:00:00Z"})
    assert reply.status == 409
    assert "only a replay's clock can be moved" in reply.detail


# Policies.


def test_a_policy_can_be_put_in_force(server: Server) -> None:
    text = policy_text(
        model="by-http", mode="observe", watches={"cost": {**WATCH}}, on={"cost": [{"notify": "oncall"}]}
    )
    assert server.call("PUT", "/v1/policy", {"text": text}).status == 200
    assert server.call("GET", "/v1/models/by-http").body["mode"] == "observe"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model: m\ntask: binary\nlos: brier\nlabels: {mature_after: 1h}\n",
         "policy, line 3: los: unknown key 'los'; did you mean 'loss'?"),
        (policy_text(task="binray"), "task: 'binray' is not possible; did you mean 'binary'?"),
        ("model: [\n", "policy, line 2: not readable as YAML"),
        ("", "the file is empty"),
        ("[" * 5000, "policy"),
        ("model: m\ntask: binary\nloss: brier\nlabels: {mature_after: !!int soon}\n", "policy, line 4"),
        (policy_text(loss="nope"), "unknown loss 'nope'"),
        (policy_text(watches={"w": WATCH}, on={"w": [{"notify": "everyone"}]}),
         "notify 'everyone' is not in settings.yaml"),
        (policy_text(watches={"w": WATCH}, on={"w": [{"retrain": "os:system"}]}),
         "retrain 'os:system' is not in settings.yaml"),
    ],
)  # fmt: skip
def test_a_policy_that_cannot_be_is_refused_with_its_line(server: Server, text: str, words: str) -> None:
    before = server.call("GET", "/v1/models").body
    reply = server.call("PUT", "/v1/policy", {"text": text})
    assert reply.status in (404, 422)
    assert words in reply.detail
    assert server.call("GET", "/v1/models").body == before


# The document.


def test_the_openapi_document_describes_every_endpoint(server: Server) -> None:
    reply = server.call("GET", "/openapi.json", token=None)
    assert reply.status == 200
    assert reply.body["openapi"] == "3.1.0"
    paths = reply.body["paths"]
    described = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    known = {(each.method, each.path) for each in ROUTES} | {
        (each.method, each.path) for each in INFERENCE_ROUTES
    }
    assert described == {(method, path.replace(":path", "")) for method, path in known}
    for endpoint in ROUTES:
        operation = paths[endpoint.path.replace(":path", "")][endpoint.method.lower()]
        assert operation["summary"].endswith(".")
        assert (operation["security"] == []) == endpoint.open
        assert ("requestBody" in operation) == (endpoint.body is not None)
        streams = {"model"} if endpoint.stream is not None else set()
        assert {each["name"] for each in operation["parameters"]} == _names_in(endpoint.path) | streams
        assert (ARROW in str(operation.get("requestBody"))) == (endpoint.stream is not None)
        assert list(operation["responses"]["200"]["content"]) == [endpoint.answers]
    identifiers = [operation["operationId"] for path in paths.values() for operation in path.values()]
    assert len(set(identifiers)) == len(described)


def test_every_reference_of_the_document_leads_somewhere(server: Server) -> None:
    document = server.call("GET", "/openapi.json").body
    for reference in _references(document):
        found: Any = document
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]
        assert found.get("type") == "object" or "enum" in found


def _names_in(path: str) -> set[str]:
    return {part.strip("{}").removesuffix(":path") for part in path.split("/") if part.startswith("{")}


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def test_charts_are_there_before_anything_was_judged(server: Server) -> None:
    model = server.model()
    assert server.call("GET", f"/v1/models/{model}/charts").body == {"model": model, "charts": []}
    assert server.call("GET", "/v1/models/nobody/charts").status == 404


@pytest.mark.parametrize(
    ("version", "status", "words"),
    [
        ("1", 200, None),
        ("9", 404, "unknown loaded version of"),
        ("two", 422, "'two' is not the number of a version"),
        ("-1", 422, "'-1' is not the number of a version"),
        ("1" * 30, 422, "is not the number of a version"),
    ],
)
def test_a_tester_may_name_a_version(server: Server, version: str, status: int, words: str | None) -> None:
    model = server.model(versions=1)
    headers = {"Authorization": f"Bearer {server.home.tokens.read()}", "Lossloop-Version": version}
    reply = server.pool.request(
        "POST", f"{server.up.url}/v1/models/{model}/predict", headers=headers,
        json={"rows": [{"features": {"x": 1.0}}]},
    )  # fmt: skip
    assert reply.status == status
    if words is None:
        answer = reply.json()["predictions"][0]
        assert (answer["version"], answer["role"]) == (1, "override")
    else:
        assert words in reply.json()["detail"]


@pytest.mark.parametrize(
    ("deadline", "status", "words"),
    [
        ("30s", 200, None),
        ("soon", 422, "'soon' is not a duration; write a number and one of"),
        ("0ms", 422, "a deadline must last longer than nothing"),
    ],
)
def test_a_caller_may_be_in_a_hurry(server: Server, deadline: str, status: int, words: str | None) -> None:
    model = server.model(versions=1)
    headers = {"Authorization": f"Bearer {server.home.tokens.read()}", "Lossloop-Deadline": deadline}
    reply = server.pool.request(
        "POST", f"{server.up.url}/v1/models/{model}/predict", headers=headers,
        json={"rows": [{"features": {"x": 1.0}}]},
    )  # fmt: skip
    assert reply.status == status
    if words is not None:
        assert reply.json()["field"] == "Lossloop-Deadline"
        assert reply.json()["detail"].startswith(words)
