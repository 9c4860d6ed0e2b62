"""Predicting: rows to answers, each by the version that its unit meets.

A challenger that fails, or answers what is no answer, costs nobody theirs: the champion's is given, and the
row is not evidence.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from lossloop.core.clock import Micros
from lossloop.core.errors import InputError
from lossloop.core.ids import new_id
from lossloop.core.records import Role
from lossloop.core.tasks import Task, read_prediction
from lossloop.core.traffic import Traffic
from lossloop.ledger.facts import predictions
from lossloop.registry import Version
from lossloop.serve.assign import goes_to_challenger
from lossloop.serve.reading import content, moment, text
from lossloop.serve.repeats import Answer, Sent
from lossloop.serve.runtimes import Runtime
from lossloop.serve.schema import columns, problem, struct

Value = float | list[float]
Loaded = tuple[Version, Runtime]


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """One row to predict."""

    sent: Sent
    features: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Arms:
    """Who answers one request."""

    traffic: Traffic
    champion: Loaded
    challenger: Loaded | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """One answer, and what is logged with it."""

    asked: Asked
    answer: Answer
    propensity: float
    shadow: Value | None


def read_asked(version: Version, row: Mapping[str, Any], place: int, *, now: Micros, replays: bool) -> Asked:
    """Read a row to predict; raise InputError with its place where it cannot be taken."""
    features = row.get("features")
    if not isinstance(features, dict):
        raise InputError("features must be an object of names to values", field="features", row=place)
    wrong = problem(version.manifest.features, features, place)
    if wrong is not None:
        raise wrong
    sent = Sent(
        id=text(row, "id", place) or new_id(),
        unit=text(row, "unit", place),
        content=content(row),
        time=moment(row, place, now=now, replays=replays),
    )
    return Asked(sent=sent, features=features)


def answer(arms: Arms, asked: Sequence[Asked]) -> tuple[list[Answer | None], pa.RecordBatch | None]:
    """Answer rows that fit the champion's schema; return the answers and the facts to log.

    A row to which the champion's answer is none, such as NaN, has None and is not logged.
    """
    traffic = arms.traffic
    mine = [_valid(traffic.task, value) for value in _run(arms.champion, asked)]
    meets = [_meets_challenger(arms, row) for row in asked]
    theirs = _challenge(arms, asked, meets)
    rows = [_made(traffic, *each) for each in zip(asked, meets, mine, theirs, strict=True)]
    made = [row for row in rows if row is not None]
    answers = [None if row is None else row.answer for row in rows]
    return answers, _facts(arms, made) if made else None


def _made(
    traffic: Traffic, asked: Asked, meets: bool, champion: Value | None, challenger: Value | None
) -> Made | None:
    # A row that was to go to the challenger and got no answer there is the champion's, and not evidence.
    arrived = meets and challenger is not None
    value = challenger if arrived else champion
    if value is None:
        return None
    return Made(
        asked=asked,
        answer=Answer(id=asked.sent.id, version=_number(traffic, arrived), role=_role(arrived), y_pred=value),
        propensity=_propensity(traffic, meets, arrived),
        shadow=challenger if traffic.shadow else None,
    )


def _facts(arms: Arms, rows: Sequence[Made]) -> pa.RecordBatch:
    features, challenger = arms.champion[0].manifest.features, arms.traffic.challenger
    return predictions(
        {
            "id": [row.asked.sent.id for row in rows],
            "time": [row.asked.sent.time for row in rows],
            "unit": [row.asked.sent.unit for row in rows],
            "content": [row.asked.sent.content for row in rows],
            "version": [row.answer.version for row in rows],
            "role": [row.answer.role for row in rows],
            "y_pred": [row.answer.y_pred for row in rows],
            "propensity": [row.propensity for row in rows],
            "shadow_version": [None if row.shadow is None else challenger for row in rows],
            "shadow_y_pred": [row.shadow for row in rows],
            "features": struct(features, [row.asked.features for row in rows]),
        },
        model=arms.traffic.model,
    )


def _meets_challenger(arms: Arms, row: Asked) -> bool:
    """A unit keeps its arm; a row without a unit is drawn by its own id."""
    traffic = arms.traffic
    if traffic.challenger is None or traffic.share <= 0 or traffic.shadow:
        return False
    return goes_to_challenger(traffic.salt, row.sent.unit or row.sent.id, traffic.share)


def _challenge(arms: Arms, asked: Sequence[Asked], meets: Sequence[bool]) -> list[Value | None]:
    """The challenger's answers where it is asked: for its own arm, or for all rows in shadow."""
    chosen = [place for place, meet in enumerate(meets) if meet or arms.traffic.shadow]
    values: list[Value | None] = [None] * len(asked)
    if not chosen or arms.challenger is None:
        return values
    try:
        found = _run(arms.challenger, [asked[place] for place in chosen])
    except Exception as error:  # noqa: BLE001 - whatever a new model raises, the champion's answer is there
        print(f"{arms.challenger[0].name} failed: {error}", file=sys.stderr, flush=True)
        return values
    for place, value in zip(chosen, found, strict=True):
        values[place] = _valid(arms.traffic.task, value)
    return values


def _valid(task: Task, value: Any) -> Value | None:
    try:
        return read_prediction(task, value)
    except InputError:
        return None


def _run(loaded: Loaded, asked: Sequence[Asked]) -> list[Any]:
    version, runtime = loaded
    found = runtime.predict(columns(version.manifest.features, [row.features for row in asked]))
    if len(found) != len(asked):
        raise InputError(f"{version.name} gave {len(found)} answers to {len(asked)} rows", field="y_pred")
    return list(found.tolist())


def _number(traffic: Traffic, arm: bool) -> int:
    return (traffic.challenger if arm else traffic.champion) or 0


def _role(arm: bool) -> str:
    return Role.CHALLENGER if arm else Role.CHAMPION


def _propensity(traffic: Traffic, meant: bool, arrived: bool) -> float:
    """The chance that this arm had; 1, so never judged, where a row could not go where it was drawn to."""
    if meant != arrived:
        return 1.0
    return traffic.share if arrived else 1.0 - traffic.share
