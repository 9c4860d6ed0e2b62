"""A real server over a real state directory, and a model small enough to be made in a line."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import urllib3
from onnx import TensorProto, helper

from lossloop.act.settings import Settings
from lossloop.app import operate
from lossloop.app.commands import Promote
from lossloop.app.home import Home, init
from lossloop.app.up import Up, running
from lossloop.registry import Feature, FeatureKind, Manifest
from tests.app.desk import external, policy_text

PATIENCE = 60.0
"""Seconds that a test waits for what must happen."""
FEATURES = (
    Feature(name="x"),
    Feature(name="y", nullable=True),
    Feature(name="colour", kind=FeatureKind.CATEGORY, nullable=True),
)
_numbers = itertools.count()


def tiny_model(bias: float = 0.0) -> bytes:
    """An ONNX model of FEATURES whose answer is sigmoid(x + bias)."""
    inputs = [
        helper.make_tensor_value_info(name, kind, ["n", 1])
        for name, kind in (("x", TensorProto.FLOAT), ("y", TensorProto.FLOAT), ("colour", TensorProto.STRING))
    ]
    nodes = [
        helper.make_node("Constant", [], ["bias"], value_float=bias),
        helper.make_node("Add", ["x", "bias"], ["sum"]),
        helper.make_node("Sigmoid", ["sum"], ["y_pred"]),
        helper.make_node("Identity", ["y"], ["y_unused"]),
        helper.make_node("Identity", ["colour"], ["colour_unused"]),
    ]
    output = helper.make_tensor_value_info("y_pred", TensorProto.FLOAT, ["n", 1])
    graph = helper.make_graph(nodes, "tiny", inputs, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 10
    return bytes(model.SerializeToString())


def tiny_manifest(notes: str = "") -> Manifest:
    return Manifest(runtime="onnx", features=FEATURES, notes=notes)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What the server answered."""

    status: int
    headers: Mapping[str, str]
    body: dict[str, Any]

    @property
    def detail(self) -> str:
        return str(self.body["detail"])

    @property
    def errors(self) -> list[tuple[int, str]]:
        """Row and field of each bad row."""
        return [(each["row"], each["field"]) for each in self.body["errors"]]


@dataclass(kw_only=True)
class Server:
    """Where a test sends its requests."""

    home: Home
    up: Up
    pool: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(retries=False, timeout=30))

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = "",
        wait: float = 0,
        **given: Any,
    ) -> Reply:
        """Send a request; a body that is no text or bytes is sent as JSON. A token of None sends none."""
        raw = body if body is None or isinstance(body, (bytes, str)) else json.dumps(body)
        headers = {"Prefer": f"wait={wait}"} if wait else {}
        if token is not None:
            headers["Authorization"] = f"Bearer {token or self.home.tokens.read()}"
        answer = self.pool.request(method, self.up.url + path, body=raw, headers=headers, **given)
        return Reply(status=answer.status, headers=answer.headers, body=json.loads(answer.data or b"{}"))

    def predict(self, model: str, *rows: Any, wait: float = 10) -> Reply:
        return self.call("POST", f"/v1/models/{model}/predict", {"rows": list(rows)}, wait=wait)

    def record(self, model: str, *rows: Any) -> Reply:
        return self.call("POST", "/v1/predictions", {"model": model, "predictions": list(rows)}, wait=10)

    def outcomes(self, model: str, *rows: Any) -> Reply:
        return self.call("POST", "/v1/outcomes", {"model": model, "outcomes": list(rows)}, wait=10)

    def kept(self, model: str, id: str) -> dict[str, Any] | None:
        """A prediction as it is stored, None where it is not."""
        found = self.call("GET", f"/v1/models/{model}/predictions/{id}")
        assert found.status in (200, 404)
        return found.body if found.status == 200 else None

    def model(self, *, versions: int = 1, **policy: Any) -> str:
        """A new model; its first version is champion. With no version of ours, another system serves it."""
        name = f"model-{next(_numbers)}"
        plan = {"steps": ["50%"], "promote_if_within": 0.1, "roll_back_if_worse_by": 0.1}
        operate.set_policy(self.home, policy_text(**{"model": name, "rollout": plan, **policy}))
        for number in range(versions):
            operate.register(self.home, name, tiny_manifest(f"number {number}"), tiny_model(float(number)))
        if not versions:
            operate.register(self.home, name, external())
        operate.obey(self.home, Promote(model=name, version=1))
        ready = "'predictions'" if versions else "served by another system"
        within(lambda: ready in str(self.predict(name, {"features": {"x": 0.0}}).body))
        return name


def within(condition: Callable[[], Any], seconds: float = PATIENCE) -> None:
    """Wait until something holds; fail where it does not come to that."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"still not so after {seconds:g} s"
        time.sleep(0.02)


@contextmanager
def serving(path: Path, *, grpc_port: int | None = None, **settings: Any) -> Iterator[Server]:
    """All parts of a running Lossloop over a new directory."""
    home = init(path, Settings(**settings))
    with running(home, grpc_port=grpc_port) as up:
        yield Server(home=home, up=up)
