"""A row of a batch that is recorded, by itself: read, or refused in words.

Small batches are read like this altogether. Of larger ones, which are checked by column, only a row that does
not fit is, so that it says what is wrong with it: the same rules stand here and in `serve.columns`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from lossloop.core.clock import Micros
from lossloop.core.errors import InputError, UnknownName
from lossloop.core.ids import new_id
from lossloop.core.records import Role
from lossloop.core.tasks import read_label, read_prediction
from lossloop.core.traffic import Traffic
from lossloop.serve.reading import MOST_LATENCY, check_shape, moment, text, whole

PREDICTION_KEYS = (
    "id", "version", "y_pred", "time", "unit", "role", "propensity", "features", "latency_ms", "error"
)  # fmt: skip
PREDICTION_NEEDS = ("version", "y_pred")
OUTCOME_KEYS = ("id", "y_true", "time", "reason")
OUTCOME_NEEDS = ("id", "y_true")
ROLES = tuple(str(role) for role in Role)
encoded = msgspec.json.Encoder().encode


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """What a batch is held against."""

    traffic: Traffic
    now: Micros
    replays: bool
    known: frozenset[int] = frozenset()
    """The numbers of the model's versions."""


def read_recorded(row: Any, place: int, terms: Terms) -> dict[str, Any]:
    """A recorded prediction as columns of the log; raise InputError where it cannot be taken."""
    check_shape(row, place, PREDICTION_KEYS)
    number = whole(row, "version", place)
    if number not in terms.known:
        names = [str(version) for version in terms.known]
        kind = f"version of {terms.traffic.model}"
        raise UnknownName(kind, str(number), names, field="version", row=place)
    features, role, error = row.get("features"), row.get("role"), text(row, "error", place)
    if features is not None and not isinstance(features, dict):
        raise InputError("features must be an object of names to values", field="features", row=place)
    if role is not None and role not in ROLES:
        raise InputError(f"role must be one of {', '.join(ROLES)}, not {role!r}", field="role", row=place)
    return {
        "id": text(row, "id", place) or new_id(),
        "version": number,
        "y_pred": _answer(row, error, place, terms),
        "time": moment(row, place, now=terms.now, replays=terms.replays),
        "unit": text(row, "unit", place),
        "role": role or ROLES[0],
        "propensity": _propensity(row.get("propensity"), place),
        "features": None if features is None else encoded(features).decode(),
        "latency_ms": _latency(row.get("latency_ms"), place),
        "error": error,
    }


def _answer(row: Any, error: str | None, place: int, terms: Terms) -> float | list[float] | None:
    """What was predicted; None where that failed."""
    if error is None:
        return read_prediction(terms.traffic.task, row.get("y_pred"), row=place)
    if row.get("y_pred") is not None:
        raise InputError(
            "an error says why there is no y_pred; send one of the two", field="error", row=place
        )
    return None


def _latency(value: Any, place: int) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= MOST_LATENCY:
        raise InputError(
            f"latency_ms must be a number from 0 to {MOST_LATENCY:g} (100 years), not {_short(value)}",
            field="latency_ms",
            row=place,
        )
    return float(value)


def _short(value: Any) -> str:
    """A value as it is told: somebody may have sent a number of thousands of digits, or a long text."""
    if isinstance(value, int) and abs(value) > MOST_LATENCY:
        return "a larger one"
    return format(value, ".6g") if isinstance(value, float) else f"{value!r:.40}"


def _propensity(value: Any, place: int) -> float:
    if value is None:
        return 1.0
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1:
        raise InputError(f"propensity must lie in (0, 1], not {value!r}", field="propensity", row=place)
    return float(value)


def read_happened(row: Any, place: int, terms: Terms) -> dict[str, Any]:
    """An outcome as columns of the log; raise InputError where it cannot be taken."""
    check_shape(row, place, OUTCOME_KEYS)
    id = text(row, "id", place)
    if id is None:
        raise InputError("an outcome needs the id of its prediction", field="id", row=place)
    if "y_true" not in row:
        raise InputError("an outcome needs y_true; null says that it is missing", field="y_true", row=place)
    label = read_label(terms.traffic.task, row["y_true"], row=place)
    reason = text(row, "reason", place)
    if reason is not None and label is not None:
        raise InputError(
            "a reason says why y_true is missing; send one of the two", field="reason", row=place
        )
    return {
        "id": id,
        "y_true": label,
        "time": moment(row, place, now=terms.now, replays=terms.replays),
        "reason": reason,
    }
