"""Predicting: rows to answers, each by the version that its unit meets.

A challenger that fails, or answers what is no answer, costs nobody theirs: the champion's is given, and that
row is not evidence. The failure is: it is logged as a prediction of its own, so that gates see it. So is
one of a champion that raises; a row to which it has no valid answer is refused, as its features are to blame.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
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

NO_ANSWER = "no valid answer"
"""Why a prediction failed that is none, such as NaN."""
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
    latency: float
    """Of the version that answered, in ms: what it took for all rows that it was asked at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed:
    """A row that a version gave no answer to."""

    asked: Asked
    version: int
    role: str
    propensity: float
    why: str
    latency: float


@dataclass(frozen=True, kw_only=True, slots=True)
class _Run:
    """What a version said to rows, None where that is no answer, and how long it took, in ms."""

    values: Sequence[Value | None]
    latency: float
    why: str = NO_ANSWER


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
    traffic, mine = arms.traffic, _run(arms.champion, arms.traffic.task, asked)
    meets = [_meets_challenger(arms, row) for row in asked]
    theirs = _challenge(arms, asked, meets)
    rows = [
        _made(traffic, row, meet, (value, mine.latency), (other, theirs.latency))
        for row, meet, value, other in zip(asked, meets, mine.values, theirs.values, strict=True)
    ]
    made = [row for row in rows if row is not None]
    failed: list[Failed] = []
    if arms.challenger is not None and not traffic.shadow:
        failed = [
            _failed(arms, row.asked, meet, theirs, challenger=True)
            for row, meet, value in zip(rows, meets, theirs.values, strict=True)
            if row is not None and meet and value is None
        ]
    answers = [None if row is None else row.answer for row in rows]
    return answers, _facts(arms, made, failed) if made else None


def failures(arms: Arms, asked: Sequence[Asked], why: str, latency: float) -> pa.RecordBatch:
    """The facts to log where the champion has raised: none of the rows has an answer."""
    run = _Run(values=(), latency=latency, why=why)
    return _facts(arms, [], [_failed(arms, row, _meets_challenger(arms, row), run) for row in asked])


def since(began: float) -> float:
    """Milliseconds since a moment of `time.perf_counter`, to the microsecond."""
    return round((perf_counter() - began) * 1000.0, 3)


def _failed(arms: Arms, asked: Asked, meets: bool, run: _Run, *, challenger: bool = False) -> Failed:
    return Failed(
        asked=asked, version=_number(arms.traffic, challenger), role=_role(challenger),
        propensity=_propensity(arms.traffic, meets, challenger), why=run.why, latency=run.latency,
    )  # fmt: skip


def _made(
    traffic: Traffic, asked: Asked, meets: bool, champion: tuple[Value | None, float],
    challenger: tuple[Value | None, float],
) -> Made | None:  # fmt: skip
    # A row that was to go to the challenger and got no answer there is the champion's, and not evidence.
    arrived = meets and challenger[0] is not None
    value, latency = challenger if arrived else champion
    if value is None:
        return None
    return Made(
        asked=asked,
        answer=Answer(id=asked.sent.id, version=_number(traffic, arrived), role=_role(arrived), y_pred=value),
        propensity=_propensity(traffic, meets, arrived),
        shadow=challenger[0] if traffic.shadow else None,
        latency=latency,
    )


def _facts(arms: Arms, rows: Sequence[Made], failed: Sequence[Failed]) -> pa.RecordBatch:
    features, challenger = arms.champion[0].manifest.features, arms.traffic.challenger
    both: Sequence[Made | Failed] = [*rows, *failed]
    none = [None] * len(failed)
    return predictions(
        {
            # An id is answered once: one that failed has its own, and may be asked for again.
            "id": [*(row.asked.sent.id for row in rows), *(new_id() for _ in failed)],
            "time": [row.asked.sent.time for row in both],
            "unit": [row.asked.sent.unit for row in both],
            "content": [*(row.asked.sent.content for row in rows), *none],
            "version": [*(row.answer.version for row in rows), *(row.version for row in failed)],
            "role": [*(row.answer.role for row in rows), *(row.role for row in failed)],
            "y_pred": [*(row.answer.y_pred for row in rows), *none],
            "propensity": [row.propensity for row in both],
            "shadow_version": [*(None if row.shadow is None else challenger for row in rows), *none],
            "shadow_y_pred": [*(row.shadow for row in rows), *none],
            "features": struct(columns(features, [row.asked.features for row in both])),
            "latency_ms": [row.latency for row in both],
            "error": [*(None for _ in rows), *(row.why for row in failed)] if failed else None,
        },
        model=arms.traffic.model,
    )


def _meets_challenger(arms: Arms, row: Asked) -> bool:
    """A unit keeps its arm; a row without a unit is drawn by its own id."""
    traffic = arms.traffic
    if traffic.challenger is None or traffic.share <= 0 or traffic.shadow:
        return False
    return goes_to_challenger(traffic.salt, row.sent.unit or row.sent.id, traffic.share)


def _challenge(arms: Arms, asked: Sequence[Asked], meets: Sequence[bool]) -> _Run:
    """What the challenger says where it is asked: for its own arm, or for all rows in shadow."""
    chosen = [place for place, meet in enumerate(meets) if meet or arms.traffic.shadow]
    values: list[Value | None] = [None] * len(asked)
    if not chosen or arms.challenger is None:
        return _Run(values=values, latency=0.0)
    began = perf_counter()
    try:
        found = _run(arms.challenger, arms.traffic.task, [asked[place] for place in chosen])
    except Exception as error:  # noqa: BLE001 - whatever a new model raises, the champion's answer is there
        print(f"{arms.challenger[0].name} failed: {error}", file=sys.stderr, flush=True)
        return _Run(values=values, latency=since(began), why=type(error).__name__)
    for place, value in zip(chosen, found.values, strict=True):
        values[place] = value
    return _Run(values=values, latency=found.latency)


def _valid(task: Task, value: Any) -> Value | None:
    try:
        return read_prediction(task, value)
    except InputError:
        return None


def _run(loaded: Loaded, task: Task, asked: Sequence[Asked]) -> _Run:
    version, runtime = loaded
    began = perf_counter()
    found = runtime.predict(columns(version.manifest.features, [row.features for row in asked]))
    if len(found) != len(asked):
        raise InputError(f"{version.name} gave {len(found)} answers to {len(asked)} rows", field="y_pred")
    latency = since(began)
    return _Run(values=[_valid(task, value) for value in found.tolist()], latency=latency)


def _number(traffic: Traffic, arm: bool) -> int:
    return (traffic.challenger if arm else traffic.champion) or 0


def _role(arm: bool) -> str:
    return Role.CHALLENGER if arm else Role.CHAMPION


def _propensity(traffic: Traffic, meant: bool, arrived: bool) -> float:
    """The chance that this arm had; 1, so never judged, where a row could not go where it was drawn to."""
    if meant != arrived:
        return 1.0
    return traffic.share if arrived else 1.0 - traffic.share
