"""Predicting and recording, free of any transport: HTTP and gRPC say the same things to this object."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

from lossloop.core.clock import Clock
from lossloop.core.errors import InputError, LossloopError, UnknownName
from lossloop.core.thresholds import Thresholds
from lossloop.ledger.base import LogReader, Position
from lossloop.ledger.facts import outcomes, predictions
from lossloop.ledger.frames import Frame, Kind
from lossloop.ledger.store import Store
from lossloop.registry import Version, versions
from lossloop.serve.batch import Batch, check_size
from lossloop.serve.counters import BAD_ROW, Counters, reason_of
from lossloop.serve.fleet import Fleet
from lossloop.serve.given import Given
from lossloop.serve.merging import Draft, Item
from lossloop.serve.predicting import Arms, Asked, answer, failures, read_asked, since
from lossloop.serve.reading import read_rows
from lossloop.serve.recorder import Recorder
from lossloop.serve.recording import Taken, take_outcomes, take_predictions
from lossloop.serve.repeats import Answer, Repeats
from lossloop.serve.rowwise import Terms
from lossloop.serve.wishes import USUAL, Wish

ASKED_KEYS = ("id", "unit", "time", "features")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of rows to predict: an answer or a problem for each, and where the log stands."""

    answers: dict[int, Answer]
    actions: dict[int, str]
    """What is done about rows that were answered by a version with thresholds."""
    problems: list[InputError]
    position: Position | None


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What became of a batch that was recorded, and where the log stands.

    `ids` has the id of each row where any was made here, None for a row that was not taken.
    """

    accepted: int
    problems: list[InputError]
    ids: list[str | None] | None
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
        self, state: Store, fleet: Fleet, recorder: Recorder, clock: Clock, *, replays: bool
    ) -> None:
        self._state = state
        self._fleet = fleet
        self._recorder = recorder
        self._clock = clock
        self._replays = replays
        self._repeats = Repeats()
        self._known: dict[str, frozenset[int]] = {}
        self._thresholds: dict[tuple[str, int], Thresholds | None] = {}
        self.counters = Counters()

    def recall(self, reader: LogReader) -> None:
        """Read back what was answered before a restart, so that it is answered the same again."""
        self._repeats.recall(reader, self._state.offsets())

    async def predict(self, model: str, rows: Sequence[Any] | Given, wish: Wish = USUAL) -> Outcome:
        """Answer rows and log the answers; a row asked for again is answered as the first time."""
        if isinstance(rows, Given):
            rows = rows.rows()
        check_size(len(rows) if isinstance(rows, list) else 0)
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
            self.counters.add("rows_refused", len(readings.problems), kind="predict", reason=BAD_ROW)
            return self._outcome(model, answers, readings.problems, None)
        began = perf_counter()
        try:
            made, batch = answer(arms, [asked for _, asked in fresh])
        except Exception as error:
            lost = failures(arms, [asked for _, asked in fresh], type(error).__name__, since(began))
            with contextlib.suppress(LossloopError):  # a full disk, say: what the model raised goes on
                await self._append("predict", 0, Frame(kind=Kind.PREDICTION, time=now, batch=lost))
            raise
        position = None
        with self._repeats.held(model, [asked.sent for _, asked in fresh]):
            if batch is not None:
                frame = Frame(kind=Kind.PREDICTION, time=now, batch=batch)
                position = await self._append("predict", sum(each is not None for each in made), frame)
            for (place, asked), each in zip(fresh, made, strict=True):
                if each is None:
                    readings.problems.append(_unanswered(arms.champion[0], place))
                    continue
                answers[place] = each
                self._repeats.remember(model, asked.sent.content, each)
        self.counters.add("rows_refused", len(readings.problems), kind="predict", reason=BAD_ROW)
        return self._outcome(model, answers, readings.problems, position)

    def _outcome(
        self, model: str, answers: dict[int, Answer], problems: list[InputError], position: Position | None
    ) -> Outcome:
        actions = {}
        for place, each in answers.items():
            thresholds = self._thresholds_of(model, each.version)
            if thresholds is not None and isinstance(each.y_pred, float):
                actions[place] = thresholds.action(each.y_pred)
        return Outcome(answers=answers, actions=actions, problems=problems, position=position)

    def _thresholds_of(self, model: str, version: int) -> Thresholds | None:
        """Those of a version, which never change: of one that answered before a restart too."""
        key = (model, version)
        if key not in self._thresholds:
            self._thresholds[key] = versions.find(self._state, *key).manifest.thresholds
        return self._thresholds[key]

    async def record_predictions(self, model: str, batch: Batch) -> Receipt:
        """Log predictions that another system made."""
        terms = replace(self._terms(model), known=self._known.get(model) or self._versions(model))
        taken = take_predictions(batch, terms)
        if any(isinstance(problem, UnknownName) for problem in taken.problems):
            terms = replace(terms, known=self._versions(model))  # one may have been registered since
            taken = take_predictions(batch, terms)
        return await self._keep(Kind.PREDICTION, batch, taken, terms)

    async def record_outcomes(self, model: str, batch: Batch) -> Receipt:
        """Log what happened; an outcome whose prediction is not known yet is kept and waits for it."""
        terms = self._terms(model)
        return await self._keep(Kind.OUTCOME, batch, take_outcomes(batch, terms), terms)

    def _terms(self, model: str) -> Terms:
        traffic = self._fleet.traffic(model)
        return Terms(traffic=traffic, now=self._clock.now(), replays=self._replays)

    def _versions(self, model: str) -> frozenset[int]:
        """The numbers of a model's versions, read anew: they are only ever added to."""
        known = frozenset(version.number for version in versions.versions(self._state, model))
        self._known[model] = known
        return known

    async def _keep(self, kind: Kind, batch: Batch, taken: Taken, terms: Terms) -> Receipt:
        position = None
        if taken.count:
            position = await self._append(kind.name.lower(), taken.count, _item(kind, taken, terms))
        self.counters.add("rows_refused", len(taken.problems), kind=kind.name.lower(), reason=BAD_ROW)
        return Receipt(accepted=taken.count, problems=taken.problems, ids=taken.ids, position=position)

    async def _append(self, kind: str, rows: int, item: Item) -> Position:
        try:
            position = await self._recorder.append([item])
        except LossloopError as error:
            self.counters.add("rows_refused", rows, kind=kind, reason=reason_of(error))
            raise
        self.counters.add("rows", rows, kind=kind)
        return position


def _item(kind: Kind, taken: Taken, terms: Terms) -> Item:
    """What is logged: a frame, or its draft where there are few rows."""
    model, facts = terms.traffic.model, taken.facts
    if isinstance(facts["id"], list):
        return Draft(kind=kind, time=terms.now, model=model, count=taken.count, columns=facts)
    if kind is Kind.PREDICTION:
        batch = predictions(facts, model=model)
    else:
        batch = outcomes(facts["id"], facts["y_true"], facts["time"], facts.get("reason"), model=model)
    return Frame(kind=kind, time=terms.now, batch=batch)


def _unanswered(champion: Version, row: int) -> InputError:
    return InputError(
        f"{champion.name} has no valid answer to this row; are its features unlike any that it knows?",
        field="features",
        row=row,
    )


__all__ = ["Answer", "Outcome", "Receipt", "Service"]
