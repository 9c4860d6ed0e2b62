"""One server for clients of others, and the environment apart in which they run."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto, helper

from lossloop.app import operate
from lossloop.app.commands import Promote
from lossloop.registry import Feature, Manifest
from tests.app.desk import policy_text
from tests.app.server import Server, serving, within
from tests.serve.models import additive, classes, manifest

HERE = Path(__file__).parent
APART = Path(f"{sys.prefix}-apart") / "bin"
TABLE, MIXED, CLASSES = "table", "mixed", "classes"
"""The models: two numbers a and b, answered a + 10 b; x, y and a colour as in tests.serve.models; classes."""


def program(name: str) -> Path:
    """A program of the environment apart; without it the test fails, for nothing was shown."""
    path = APART / name
    if not path.exists():
        pytest.fail(f"there is no {path}; run `make setup`, which makes the environment of others' clients")
    return path


@dataclass(frozen=True, kw_only=True)
class Place:
    """A server, and how it is reached."""

    server: Server
    rest: str
    grpc: str
    token: str

    def run(self, script: str) -> dict[str, str]:
        """What each case of a script said: nothing where it passed."""
        told = json.dumps({"rest": self.rest, "grpc": self.grpc, "token": self.token})
        done = subprocess.run(
            [program("python"), HERE / script, told], capture_output=True, text=True, timeout=240, check=False
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
        return found


def cases(script: str) -> list[str]:
    """The names of a script's cases."""
    tree = ast.parse((HERE / script).read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [node.name for node in tree.body if isinstance(node, kinds) and node.name.startswith("case_")]


def two_numbers(bias: float = 0.0) -> bytes:
    """a + 10 b + bias as ONNX."""
    nodes = [
        helper.make_node("Constant", [], ["ten"], value_float=10.0),
        helper.make_node("Constant", [], ["bias"], value_float=bias),
        helper.make_node("Mul", ["b", "ten"], ["tens"]),
        helper.make_node("Sum", ["a", "tens", "bias"], ["sum"]),
    ]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1]) for name in "ab"]
    output = helper.make_tensor_value_info("sum", TensorProto.FLOAT, ["n", 1])
    model = helper.make_model(
        helper.make_graph(nodes, "two", inputs, [output]), opset_imports=[helper.make_opsetid("", 17)]
    )
    model.ir_version = 8
    return bytes(model.SerializeToString())


@contextmanager
def place(path: Path) -> Iterator[Place]:
    """A running server with the three models; of the first there are two versions, the first is champion."""
    with serving(path, grpc_port=0) as server:
        table = Manifest(runtime="onnx", features=(Feature(name="a"), Feature(name="b")))
        made: dict[str, tuple[str, Callable[[], Any]]] = {
            TABLE: ("regression", lambda: operate.register(server.home, TABLE, table, two_numbers())),
            MIXED: ("regression", lambda: operate.register(server.home, MIXED, manifest(), additive())),
            CLASSES: ("multiclass", lambda: operate.register(server.home, CLASSES, manifest(), classes())),
        }
        for name, (task, register) in made.items():
            loss = "brier_multiclass" if task == "multiclass" else "squared"
            operate.set_policy(server.home, policy_text(model=name, task=task, loss=loss, watches={}))
            register()
            operate.obey(server.home, Promote(model=name, version=1))
        later = Manifest(runtime="onnx", features=table.features, notes="later")
        operate.register(server.home, TABLE, later, two_numbers(1000.0))
        for name in made:
            within(lambda name=name: server.call("GET", f"/v2/models/{name}/ready").status == 200)  # type: ignore[misc]
        grpc = f"{server.up.host}:{server.up.grpc_port}"
        yield Place(server=server, rest=server.up.url, grpc=grpc, token=server.home.tokens.read())
