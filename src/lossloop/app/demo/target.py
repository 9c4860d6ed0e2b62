"""The retraining that the demo's policy names: the first training months, and all that came since."""

from __future__ import annotations

from datetime import date

import numpy as np
import pyarrow as pa

from lossloop import losses
from lossloop.act.retrain import Trained, TrainingData
from lossloop.app.demo import flights
from lossloop.app.demo.train import train_version
from lossloop.core.clock import format_time
from lossloop.ledger.facts import micros

FIRST, LAST = date(2013, 1, 1), date(2013, 2, 28)
"""The months that version 1 is trained on."""


def train(data: TrainingData) -> Trained:
    """Train on January and February and on every flight that the ledger knows the outcome of."""
    winter = _columns(flights.between(flights.load(), FIRST, LAST))
    return make(pa.concat_tables([winter, _columns(_from_ledger(data.rows))]), loss=data.loss)


def make(table: pa.Table, *, loss: str) -> Trained:
    """Train a version on flights with the columns `time`, `late` and the features."""
    scored = losses.parse(loss)
    made = train_version(table, loss=scored, loss_name=loss, most=scored.bounds[1])
    span = {"trained_from": format_time(made.first), "trained_to": format_time(made.last)}
    return Trained(
        artifact=made.artifact, runtime="onnx", features=made.features, reference=made.reference,
        profile=made.profile, lineage={"trained_rows": made.rows, **span},
    )  # fmt: skip


def _from_ledger(rows: pa.Table) -> pa.Table:
    time = pa.array(np.concatenate([micros(chunk) for chunk in rows["time"].chunks]))
    return rows.set_column(rows.schema.get_field_index("time"), "time", time).rename_columns(
        ["late" if name == "y_true" else name for name in rows.column_names]
    )


def _columns(table: pa.Table) -> pa.Table:
    types = {"time": pa.int64(), "late": pa.float64()}
    names = ["time", "late", *(feature.name for feature in flights.FEATURES)]
    kinds = {
        feature.name: pa.string() if feature.kind == "category" else pa.float64()
        for feature in flights.FEATURES
    }
    return pa.table({name: table[name].cast({**types, **kinds}[name]) for name in names})
