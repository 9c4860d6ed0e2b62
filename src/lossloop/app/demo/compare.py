"""What the loop was worth: the same flights with it, with version 1 for ever, with version 2 for all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lossloop import losses
from lossloop.app.demo import flights
from lossloop.core.clock import DAY, Micros
from lossloop.losses import loss
from lossloop.registry import Manifest
from lossloop.serve.runtimes import load
from lossloop.serve.schema import of_arrow

Floats = np.ndarray[Any, np.dtype[np.float64]]


@loss(bounds=(0, 20), unit="USD", kind="probability")
def delay_cost(y_true: Any, y_pred: Any, *, missed: float = 20.0, false_alarm: float = 10.0) -> Any:
    """Cost per flight of a wrong late-arrival warning."""
    late, warned = y_true, y_pred >= false_alarm / (missed + false_alarm)
    return missed * (late & ~warned) + false_alarm * (~late & warned)


@dataclass(frozen=True, kw_only=True)
class Month:
    """One month of one course of events."""

    month: str
    flights: int
    mean_loss: float
    usd: float


Courses = dict[str, list[Month]]


def compare(
    table: pa.Table,
    served: Mapping[str, float],
    artifacts: Mapping[int, bytes],
    *,
    live: Micros,
    release: Micros,
) -> Courses:
    """Mean log loss and USD by month over all flights from `live` on that have an outcome.

    Args:
        table: The flights.
        served: What was answered with the loop, by flight.
        artifacts: Versions 1 and 2.
        live: When version 1 went live.
        release: When version 2 was released.
    """
    known = table.filter((pc.field("time") >= live) & pc.field("late").is_valid())
    late = known["late"].cast(pa.float64()).to_numpy()
    first, second = (_predict(artifacts[number], known) for number in (1, 2))
    after = known["time"].to_numpy() >= release
    courses = {
        "with the loop": np.array([served[id] for id in known["id"].to_pylist()]),
        "version 1 for ever": first,
        "version 2 for everyone": np.where(after, second, first),
    }
    months = _months(known)
    return {name: _by_month(months, late, y_pred) for name, y_pred in courses.items()}


def _predict(artifact: bytes, table: pa.Table) -> Floats:
    columns = {
        feature.name: of_arrow(
            table[feature.name]
            .cast(pa.string() if feature.kind == "category" else pa.float64())
            .combine_chunks()
        )
        for feature in flights.FEATURES
    }
    return load(Manifest(runtime="onnx", features=flights.FEATURES), artifact).predict(columns)


def _months(table: pa.Table) -> list[str]:
    days = flights.CALENDAR.blocks(table["time"].to_numpy()) // DAY
    return [str(month) for month in days.astype("datetime64[D]").astype("datetime64[M]")]


def _by_month(months: list[str], late: Floats, y_pred: Floats) -> list[Month]:
    names = np.array(months)
    log_loss = np.asarray(losses.get("log_loss", cap=5)(late, y_pred))
    usd = np.asarray(delay_cost(late, y_pred))
    found = []
    for month in sorted(set(months)):
        here = names == month
        found.append(
            Month(
                month=month,
                flights=int(here.sum()),
                mean_loss=float(log_loss[here].mean()),
                usd=float(usd[here].sum()),
            )
        )
    return found
