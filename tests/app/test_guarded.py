"""A served model between its callers and a version that fails: what they are answered, and what is seen."""

from __future__ import annotations

from typing import Any

import pytest
from onnx import TensorProto, helper

from lossloop.app import operate
from lossloop.app.commands import Promote
from tests.app.server import Server, tiny_manifest, within

SERVING: dict[str, Any] = {
    "breaker": {"errors": 2, "of": 4, "within": "60s", "retry_after": "60s"},
    "limits": [
        {"high": 0.75},
        {"high": 0.1, "where": {"colour": ["grey"]}, "then": "refuse"},
    ],
    "constraints": [{"loss": "constraint_violation(high=0.2).where(colour='red')", "then": "fall_back"}],
}


def moody_model() -> bytes:
    """Answers 0.5, and raises where x is 10 or more: there is no such place in its table."""
    kinds = {"x": TensorProto.FLOAT, "y": TensorProto.FLOAT, "colour": TensorProto.STRING}
    inputs = [helper.make_tensor_value_info(name, kind, ["n", 1]) for name, kind in kinds.items()]
    nodes = [
        helper.make_node("Constant", [], ["table"], value_floats=[0.5] * 10),
        helper.make_node("Cast", ["x"], ["place"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "place"], ["y_pred"]),
        helper.make_node("Identity", ["y"], ["y_unused"]),
        helper.make_node("Identity", ["colour"], ["colour_unused"]),
    ]
    output = helper.make_tensor_value_info("y_pred", TensorProto.FLOAT, ["n", 1])
    model = helper.make_model(
        helper.make_graph(nodes, "moody", inputs, [output]), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 10
    return bytes(model.SerializeToString())


@pytest.fixture(scope="module")
def guarded(server: Server) -> str:
    """A model whose champion, version 2, raises at times; version 1 was champion before."""
    model = server.model(serving=SERVING, on={"circuit": [{"notify": "oncall"}]})
    operate.register(server.home, model, tiny_manifest("moody"), moody_model())
    operate.obey(server.home, Promote(model=model, version=2))
    within(lambda: said(server, model, x=0.0)["version"] == 2)
    return model


def said(server: Server, model: str, id: str | None = None, **features: Any) -> dict[str, Any]:
    row = {"features": features} if id is None else {"id": id, "features": features}
    reply = server.predict(model, row)
    assert reply.status == 200, reply.body
    found: dict[str, Any] = reply.body["predictions"][0]
    return found


def shown(server: Server, model: str, version: int) -> dict[str, Any]:
    body = server.call("GET", f"/v1/models/{model}/serving").body
    return next(each for each in body["versions"] if each["version"] == version)


def test_an_answer_beyond_a_limit_is_cut_and_says_so(server: Server, guarded: str) -> None:
    operate.obey(server.home, Promote(model=guarded, version=1))
    within(lambda: said(server, guarded, x=0.0)["version"] == 1)
    found = said(server, guarded, "cut", x=3.0)
    assert (found["y_pred"], found["limited"]) == (0.75, "y_pred <= 0.75")
    assert said(server, guarded, "cut", x=3.0) == found, "asked again, answered the same"
    assert "limited" not in said(server, guarded, x=0.0)
    kept = server.kept(guarded, "cut")
    assert kept is not None
    assert (kept["y_pred"], kept["limited"]) == (0.75, "y_pred <= 0.75")
    assert kept["raw_y_pred"] == pytest.approx(0.9525741)
    operate.obey(server.home, Promote(model=guarded, version=2))
    within(lambda: said(server, guarded, x=0.0)["version"] == 2)


def test_what_may_not_leave_is_a_problem_of_its_row(server: Server, guarded: str) -> None:
    grey, red = {"x": 1.0, "colour": "grey"}, {"x": 1.0, "colour": "red"}
    reply = server.predict(guarded, {"features": grey}, {"features": red}, {"features": {"x": 1.0}})
    assert reply.status == 422
    assert [each["y_pred"] for each in reply.body["predictions"]] == [0.5]
    refused, stopped = (each["detail"] for each in reply.body["errors"])
    words = "beyond the limit y_pred <= 0.1 where colour is grey"
    assert refused == f"the answer may not leave: {guarded}:2: {words}"
    assert f"{guarded}:2: against the constraint" in stopped
    assert f"{guarded}:1: against the constraint" in stopped, "who was asked next was held to it too"


def test_a_version_that_fails_is_left_out_and_everybody_can_see_it(server: Server, guarded: str) -> None:
    for number in range(3):
        found = said(server, guarded, f"bad-{number}", x=50.0)
        assert (found["version"], found["y_pred"]) == (1, 0.75), "the champion before"
    assert said(server, guarded, x=0.0)["version"] == 1, "also where it might have answered"
    now = shown(server, guarded, 2)
    assert (now["circuit"], now["ready"]) == ("open", True)
    assert shown(server, guarded, 1)["circuit"] == "closed"
    head = {"Authorization": f"Bearer {server.home.tokens.read()}"}
    text = server.pool.request("GET", f"{server.up.url}/metrics", headers=head).data.decode()
    assert f'lossloop_circuit{{model="{guarded}",version="2"}} 2' in text
    assert f'lossloop_limited_total{{model="{guarded}",then="clamp",version="1"}}' in text

    def told() -> list[str]:
        decisions = server.call("GET", f"/v1/models/{guarded}/decisions").body["decisions"]
        return [each["action"] for each in decisions if each["watch"] == "circuit"]

    within(lambda: told() == ["open_circuit", "notify"])
    (circuit,) = server.call("GET", f"/v1/models/{guarded}").body["circuits"]
    assert circuit["version"] == 2
    assert circuit["server"] == server.call("GET", f"/v1/models/{guarded}/serving").body["server"]


def test_where_nobody_can_answer_it_is_503_and_says_who_failed(server: Server) -> None:
    model = server.model(versions=0, serving={"fallback": {"previous": False}})
    operate.register(server.home, model, tiny_manifest("moody"), moody_model())
    operate.obey(server.home, Promote(model=model, version=2))
    within(lambda: server.predict(model, {"features": {"x": 0.0}}).status == 200)
    reply = server.predict(model, {"features": {"x": 50.0}})
    assert reply.status == 503
    assert reply.headers["Retry-After"] == "1"
    assert reply.detail.startswith(f"no version could answer: {model}:2: ")
    assert server.predict(model, {"features": {"x": 1.0}}).status == 200


def test_the_policys_own_answer_is_of_no_version(server: Server) -> None:
    model = server.model(versions=0, serving={"fallback": {"previous": False, "answer": 0.25}})
    operate.register(server.home, model, tiny_manifest("moody"), moody_model())
    operate.obey(server.home, Promote(model=model, version=2))
    within(lambda: server.predict(model, {"features": {"x": 0.0}}).status == 200)
    found = said(server, model, "static", x=50.0)
    assert (found["version"], found["role"], found["y_pred"]) == (0, "champion", 0.25)
    kept = server.kept(model, "static")
    assert kept is not None
    assert (kept["version"], kept["y_pred"], kept["propensity"]) == (0, 0.25, 1.0)
    assert server.call("GET", f"/v1/models/{model}/serving").body["answer"] == 0.25


def test_there_is_no_serving_of_a_model_that_is_not_there(server: Server) -> None:
    assert server.call("GET", "/v1/models/nobody/serving").status == 404
