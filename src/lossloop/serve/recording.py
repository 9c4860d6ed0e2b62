"""Recording: predictions that another system made, and what happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import msgspec
import pyarrow as pa

from lossloop.core.clock import Micros
from lossloop.core.errors import InputError, UnknownName
from lossloop.core.ids import new_id
from lossloop.core.records import Role
from lossloop.core.tasks import Label, read_label, read_prediction
from lossloop.core.traffic import Traffic
from lossloop.ledger.facts import predictions
from lossloop.serve.reading import content, moment, text, whole
from lossloop.serve.repeats import Answer, Sent

PREDICTION_KEYS = ("id", "version", "y_pred", "time", "unit", "role", "propensity", "features")
OUTCOME_KEYS = ("id", "y_true", "time")


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """One prediction of another system."""

    sent: Sent
    answer: Answer
    propensity: float
    features: str
    """As JSON."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Happened:
    """One outcome."""

    id: str
    y_true: Label
    time: Micros


def read_recorded(
    traffic: Traffic,
    known: AbstractSet[int],
    row: Mapping[str, Any],
    place: int,
    *,
    now: Micros,
    replays: bool,
) -> Recorded:
    """Read a recorded prediction; raise InputError with its place where it cannot be taken."""
    number = whole(row, "version", place)
    if number not in known:
        names = [str(version) for version in known]
        raise UnknownName(f"version of {traffic.model}", str(number), names, field="version", row=place)
    features, role = row.get("features", {}), row.get("role", Role.CHAMPION)
    if not isinstance(features, dict):
        raise InputError("features must be an object of names to values", field="features", row=place)
    if role not in tuple(Role):
        raise InputError(f"role must be one of {', '.join(Role)}, not {role!r}", field="role", row=place)
    sent = Sent(
        id=text(row, "id", place) or new_id(),
        unit=text(row, "unit", place),
        content=content(row),
        time=moment(row, place, now=now, replays=replays),
    )
    y_pred = read_prediction(traffic.task, row.get("y_pred"), row=place)
    return Recorded(
        sent=sent,
        answer=Answer(id=sent.id, version=number, role=str(role), y_pred=y_pred),
        propensity=_propensity(row, place),
        features=msgspec.json.encode(features).decode(),
    )


def _propensity(row: Mapping[str, Any], place: int) -> float:
    value = row.get("propensity", 1.0)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1:
        raise InputError(f"propensity must lie in (0, 1], not {value!r}", field="propensity", row=place)
    return float(value)


def recorded_facts(model: str, rows: Sequence[Recorded]) -> pa.RecordBatch:
    """Recorded predictions as facts to log."""
    return predictions(
        {
            "id": [row.sent.id for row in rows],
            "time": [row.sent.time for row in rows],
            "unit": [row.sent.unit for row in rows],
            "content": [row.sent.content for row in rows],
            "version": [row.answer.version for row in rows],
            "role": [row.answer.role for row in rows],
            "y_pred": [row.answer.y_pred for row in rows],
            "propensity": [row.propensity for row in rows],
            "shadow_version": [None] * len(rows),
            "shadow_y_pred": [None] * len(rows),
            "features": pa.array([row.features for row in rows], pa.string()),
        },
        model=model,
    )


def read_happened(
    traffic: Traffic, row: Mapping[str, Any], place: int, *, now: Micros, replays: bool
) -> Happened:
    """Read an outcome; raise InputError with its place where it cannot be taken."""
    id = text(row, "id", place)
    if id is None:
        raise InputError("an outcome needs the id of its prediction", field="id", row=place)
    if "y_true" not in row:
        raise InputError("an outcome needs y_true; null says that it is missing", field="y_true", row=place)
    label = read_label(traffic.task, row["y_true"], row=place)
    return Happened(id=id, y_true=label, time=moment(row, place, now=now, replays=replays))
