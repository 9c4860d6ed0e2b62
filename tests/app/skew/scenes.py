"""A service that makes features by itself, and a version that says how they should be made."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from onnx import TensorProto, helper

from lossloop.act.settings import Settings
from lossloop.app import operate
from lossloop.app.commands import Promote
from lossloop.app.home import Home, init
from lossloop.ledger.facts import predictions
from lossloop.ledger.frames import Frame, Kind
from lossloop.registry import By, Feature, FeatureKind, Manifest, Transform
from tests.app.desk import policy_text
from tests.serve.transforms.graphs import graph

MODEL = "m"
NOW = 1_714_557_600_000_000
ROWS = 400
RAW = (
    Feature(name="metres"),
    Feature(name="minute"),
    Feature(name="income", nullable=True),
    Feature(name="paint", kind=FeatureKind.CATEGORY, nullable=True),
)
MADE = (
    Feature(name="kilometres"),
    Feature(name="hour"),
    Feature(name="income", nullable=True),
    Feature(name="paint", kind=FeatureKind.CATEGORY, nullable=True),
)
Row = dict[str, Any]
Service = Callable[[Row], Row]


def feature_code() -> bytes:
    """kilometres = metres / 1000, hour = floor(minute / 60); the others as they are."""
    nodes = [
        helper.make_node("Constant", [], ["thousand"], value_float=1000.0),
        helper.make_node("Constant", [], ["sixty"], value_float=60.0),
        helper.make_node("Div", ["metres", "thousand"], ["kilometres"]),
        helper.make_node("Div", ["minute", "sixty"], ["hours"]),
        helper.make_node("Floor", ["hours"], ["hour"]),
    ]
    number = TensorProto.FLOAT
    return graph(nodes, {"metres": number, "minute": number}, {"kilometres": number, "hour": number})


def model() -> bytes:
    """kilometres + hour + income, or 1 for none."""
    number = TensorProto.FLOAT
    nodes = [
        helper.make_node("Constant", [], ["one"], value_float=1.0),
        helper.make_node("IsNaN", ["income"], ["missing"]),
        helper.make_node("Where", ["missing", "one", "income"], ["filled"]),
        helper.make_node("Sum", ["kilometres", "hour", "filled"], ["sum"]),
        helper.make_node(
            "LabelEncoder", ["paint"], ["shade"], domain="ai.onnx.ml", keys_strings=["red"],
            values_floats=[10.0], default_float=0.0,
        ),
        helper.make_node("Sum", ["sum", "shade"], ["y_pred"]),
    ]  # fmt: skip
    inputs = dict.fromkeys(("kilometres", "hour", "income"), number) | {"paint": TensorProto.STRING}
    return graph(nodes, inputs, {"y_pred": number})


def rows(count: int = ROWS) -> list[Row]:
    """Raw inputs as they lie in a warehouse."""
    return [
        {
            "order": f"o{place}",
            "metres": 100.0 * place,
            "minute": float(place * 7 % 1440),
            "income": None if place % 4 == 0 else 1000.0 + place,
            "paint": [None, "red", "blue"][place % 3],
        }
        for place in range(count)
    ]


def right(row: Row) -> Row:
    """The features of a row as they should be."""
    return {
        "kilometres": row["metres"] / 1000.0, "hour": float(row["minute"] // 60), "income": row["income"],
        "paint": row["paint"],
    }  # fmt: skip


def said(features: Row) -> float:
    """What the model says to features."""
    income = 1.0 if features["income"] is None else features["income"]
    shade = 10.0 if features["paint"] == "red" else 0.0
    return float(np.float32(features["kilometres"] + features["hour"] + income + shade))


def house(path: Path, *, by: By = By.CALLER, runtime: str = "onnx") -> Home:
    """A champion with a transform."""
    home = init(path, Settings(salt="salt"))
    operate.set_policy(home, policy_text(model=MODEL, task="regression", loss="squared"))
    transform = Transform(runtime="onnx", inputs=RAW, features=MADE, by=by)
    manifest = Manifest(runtime=runtime, transform=transform)
    artifact = None if runtime == "external" else model()
    operate.register(home, MODEL, manifest, artifact, transform=feature_code())
    operate.obey(home, Promote(model=MODEL, version=1))
    return home


def serve(
    home: Home, service: Service, *, answer: Callable[[Row], float] = said, as_json: bool = False
) -> None:
    """The service answers every row, and records what it did."""
    made = [service(row) for row in rows()]
    columns = {
        each.name: pa.array(
            [row[each.name] for row in made], pa.float64() if each.kind == "number" else pa.string()
        )
        for each in MADE
    }
    struct = pa.StructArray.from_arrays(list(columns.values()), list(columns))
    batch = predictions(
        {
            "id": [row["order"] for row in rows()],
            "version": [1] * len(made),
            "time": [NOW + place for place in range(len(made))],
            "y_pred": [answer(row) for row in made],
            "features": [json.dumps(row) for row in made] if as_json else struct,
        },
        model=MODEL,
    )
    writer = home.log.writer()
    writer.append([Frame(kind=Kind.PREDICTION, time=NOW, batch=batch)])
    writer.close()
    operate.fold_here(home)


def warehouse(path: Path, count: int = ROWS) -> Path:
    """A file of raw inputs."""
    pq.write_table(pa.Table.from_pylist(rows(count)), path)
    return path
