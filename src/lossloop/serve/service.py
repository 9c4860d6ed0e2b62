"""Predicting and recording, free of any transport: HTTP and gRPC say the same things to this object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lossloop.core.clock import Clock
from lossloop.core.errors import InputError
from lossloop.ledger.base import Position
from lossloop.ledger.facts import outcomes
from lossloop.ledger.frames import Frame, Kind
from lossloop.ledger.state import State
from lossloop.registry import Version, versions
from lossloop.serve.fleet import Fleet
from lossloop.serve.predicting import Arms, Asked, answer, read_asked
from lossloop.serve.reading import read_rows
from lossloop.serve.recorder import Recorder
from lossloop.serve.recording import (
    OUTCOME_KEYS,
    PREDICTION_KEYS,
    Happened,
    Recorded,
    read_happened,
    read_recorded,
    recorded_facts,
)
from lossloop.serve.repeats import Answer, Repeats

MOST_ROWS = 100_000
ASKED_KEYS = ("id", "unit", "time", "features")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a batch: an answer or a problem per row, and where the log stands."""

    answers: dict[int, Answer]
    problems: list[InputError]
    position: Position | None


class Service:
    """Serves what the fleet has loaded; nothing is answered before it is durable.

    Args:
        state: Read-only.
        fleet: The versions and the traffic.
        recorder: Where facts go.
        clock: Tells the receipt time.
        replays: Whether event times are trusted, as only a replay may.
    """

    def __init__(
        self, state: State, fleet: Fleet, recorder: Recorder, clock: Clock, *, replays: bool
    ) -> None:
        self._state = state
        self._fleet = fleet
        self._recorder = recorder
        self._clock = clock
        self._replays = replays
        self._repeats = Repeats(state)

    async def predict(self, model: str, rows: Sequence[Any]) -> Outcome:
        """Answer rows and log the answers; a row asked for again is answered as the first time."""
        _check_size(rows)
        # From here to the answer nothing is awaited, so one request is answered by one traffic.
        traffic, now = self._fleet.traffic(model), self._clock.now()
        arms = Arms(
            traffic=traffic,
            champion=self._fleet.champion(traffic),
            challenger=self._fleet.challenger(traffic),
        )

        def read(row: Mapping[str, Any], place: int) -> Asked:
            return read_asked(arms.champion[0], row, place, now=now, replays=self._replays)

        readings = read_rows(rows, read, ASKED_KEYS)
        sent = [(place, asked.sent) for place, asked in readings.rows]
        answers, places = self._repeats.sort(model, sent, readings.problems)
        fresh = [(place, asked) for place, asked in readings.rows if place in places]
        if not fresh:
            return Outcome(answers=answers, problems=readings.problems, position=None)
        made, batch = answer(arms, [asked for _, asked in fresh])
        position = None
        with self._repeats.held(model, [asked.sent for _, asked in fresh]):
            if batch is not None:
                position = await self._recorder.append([Frame(kind=Kind.PREDICTION, time=now, batch=batch)])
            for (place, asked), each in zip(fresh, made, strict=True):
                if each is None:
                    readings.problems.append(_unanswered(arms.champion[0], place))
                    continue
                answers[place] = each
                self._repeats.remember(model, asked.sent.content, each)
        return Outcome(answers=answers, problems=readings.problems, position=position)

    async def record_predictions(self, model: str, rows: Sequence[Any]) -> Outcome:
        """Log predictions that another system made."""
        _check_size(rows)
        traffic, now = self._fleet.traffic(model), self._clock.now()
        known = {version.number for version in versions.versions(self._state, model)}

        def read(row: Mapping[str, Any], place: int) -> Recorded:
            return read_recorded(traffic, known, row, place, now=now, replays=self._replays)

        readings = read_rows(rows, read, PREDICTION_KEYS)
        sent = [(place, recorded.sent) for place, recorded in readings.rows]
        answers, places = self._repeats.sort(model, sent, readings.problems)
        fresh = [recorded for place, recorded in readings.rows if place in places]
        answers |= {place: recorded.answer for place, recorded in readings.rows if place in places}
        position = None
        with self._repeats.held(model, [recorded.sent for recorded in fresh]):
            if fresh:
                frame = Frame(kind=Kind.PREDICTION, time=now, batch=recorded_facts(model, fresh))
                position = await self._recorder.append([frame])
            for recorded in fresh:
                self._repeats.remember(model, recorded.sent.content, recorded.answer)
        return Outcome(answers=answers, problems=readings.problems, position=position)

    async def record_outcomes(self, model: str, rows: Sequence[Any]) -> Outcome:
        """Log what happened; an outcome whose prediction is not known yet is kept and waits for it."""
        _check_size(rows)
        traffic, now = self._fleet.traffic(model), self._clock.now()

        def read(row: Mapping[str, Any], place: int) -> Happened:
            return read_happened(traffic, row, place, now=now, replays=self._replays)

        readings = read_rows(rows, read, OUTCOME_KEYS)
        happened = [reading for _, reading in readings.rows]
        position = None
        if happened:
            columns = zip(*((each.id, each.y_true, each.time) for each in happened), strict=True)
            batch = outcomes(*columns, model=model)
            position = await self._recorder.append([Frame(kind=Kind.OUTCOME, time=now, batch=batch)])
        return Outcome(answers={}, problems=readings.problems, position=position)


def _unanswered(champion: Version, row: int) -> InputError:
    return InputError(
        f"{champion.name} has no valid answer to this row; are its features unlike any that it knows?",
        field="features",
        row=row,
    )


def _check_size(rows: Sequence[Any]) -> None:
    if not isinstance(rows, list) or not rows:
        raise InputError("send a list of one row or more", field="rows")
    if len(rows) > MOST_ROWS:
        raise InputError(f"{len(rows)} rows in one request; at most {MOST_ROWS} are taken", field="rows")


__all__ = ["Answer", "Outcome", "Service"]
