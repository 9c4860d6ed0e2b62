"""A model that adds, files of rows for it, and what a batch makes of them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from lossloop.act.settings import Settings
from lossloop.app import operate
from lossloop.app.commands import Promote
from lossloop.app.home import Home, init
from lossloop.app.importing import settle
from lossloop.app.predicting import Naming, Order, Output, Report, inputs, open_output, predict_batch
from lossloop.core.thresholds import Thresholds
from lossloop.ledger.base import LogWriter
from lossloop.pipelines.executors import Executor, open_executor
from lossloop.registry import Manifest
from tests.app.desk import policy_text
from tests.app.importing import pasts
from tests.serve.models import FEATURES, additive, classes

MODEL = "m"
COLOURS = ["red", "blue", None]
BY_ID = Naming(id="id")


def house(path: Path, *, task: str = "regression", thresholds: Thresholds | None = None) -> Home:
    """A state directory in live use; version 1, which adds without a bias, is the champion."""
    home = init(path, Settings(salt="salt"))
    loss = {"regression": "squared", "binary": "brier", "multiclass": "brier_multiclass"}[task]
    operate.set_policy(home, policy_text(task=task, loss=loss))
    artifact = classes() if task == "multiclass" else additive()
    operate.register(
        home, MODEL, Manifest(runtime="onnx", features=FEATURES, thresholds=thresholds), artifact
    )
    operate.obey(home, Promote(model=MODEL, version=1))
    return home


def another(home: Home, bias: float) -> int:
    """A further version; its number."""
    manifest = Manifest(runtime="onnx", features=FEATURES, notes=str(bias))
    operate.register(home, MODEL, manifest, additive(bias))
    state = home.state()
    try:
        return len(state.all("version", msgspec.Raw, prefix=f"{MODEL}/"))
    finally:
        state.close()


def rows(count: int, *, first: int = 0) -> pa.Table:
    """Rows to be answered: x is their number, y is missing in every seventh."""
    places = np.arange(first, first + count)
    return pa.table(
        {
            "id": [f"r{place}" for place in places],
            "x": places.astype(np.float64),
            "y": pa.array([None if place % 7 == 0 else float(place % 5) for place in places], pa.float64()),
            "colour": pa.array([COLOURS[place % 3] for place in places], pa.string()),
            "who": [f"u{place % 10}" for place in places],
        }
    )


def expected(table: pa.Table, bias: float = 0.0) -> list[float]:
    """What the model says to them, by arithmetic of our own."""
    shade = {"red": 10.0, "blue": 0.0, None: 0.5}
    return [
        x + (1.0 if y is None else y) + shade[colour] + bias
        for x, y, colour in zip(
            *(table[name].to_pylist() for name in ("x", "y", "colour")), strict=True
        )
    ]  # fmt: skip


def parquet(path: Path, table: pa.Table) -> Path:
    pq.write_table(table, path)
    return path


def arrow(path: Path, table: pa.Table, *, stream: bool = False) -> Path:
    with path.open("wb") as file:
        opened = pa.ipc.new_stream if stream else pa.ipc.new_file
        with opened(file, table.schema) as writer:
            writer.write_table(table, max_chunksize=64)
    return path


def csv_of(path: Path, table: pa.Table) -> Path:
    pa_csv.write_csv(table, path)
    return path


def read(path: Path) -> pa.Table:
    """A file that a batch has written."""
    if path.suffix == ".parquet":
        return pq.read_table(path)
    if path.suffix == ".csv":
        return pa_csv.read_csv(path)
    with pa.ipc.open_file(path) as file:
        return file.read_all()


def answer(
    home: Home,
    said: Sequence[str | Path],
    output: str | Path | Output,
    *,
    naming: Naming = BY_ID,
    version: int | None = None,
    table: str = "",
    writer: LogWriter | None = None,
    executor: Executor | None = None,
    **more: Any,
) -> Report:
    """Answer a batch, and fold what came of it."""
    order = Order(
        model=MODEL, inputs=inputs([str(each) for each in said]), naming=naming, version=version,
        output=open_output(str(output), table) if isinstance(output, str | Path) else output,
    )  # fmt: skip
    with closing(writer or home.log.writer()) as log:
        if executor is not None:
            report = predict_batch(home, order, log, executor, **more)
        else:
            with open_executor() as mine:
                report = predict_batch(home, order, log, mine, **more)
    if report.position is not None:
        assert settle(home, report.position)
    else:
        operate.fold_here(home)
    return report


def counts(home: Home) -> dict[str, int]:
    """What the loop counted of predictions, without what is none."""
    found = pasts.counts(home)
    found.pop("decisions", None)
    return found


def rejected(report: Report) -> list[dict[str, str]]:
    assert report.rejects is not None
    with report.rejects.open(newline="") as file:
        return list(csv.DictReader(file))
