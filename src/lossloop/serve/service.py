"""Predicting and recording, free of any transport: HTTP and gRPC say the same things to this object."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from lossloop.core.clock import Clock
from lossloop.core.errors import InputError, LossloopError, UnknownName
from lossloop.core.thresholds import Thresholds
from lossloop.ledger.base import LogReader, Position
from lossloop.ledger.facts import outcomes, predictions
from lossloop.ledger.frames import Frame, Kind
from lossloop.ledger.store import Store
from lossloop.registry import versions
from lossloop.serve.arms import Arms
from lossloop.serve.asked import Asked, Read, read
from lossloop.serve.assign import Drawn
from lossloop.serve.batch import Batch
from lossloop.serve.batching import Batches, Reply
from lossloop.serve.counters import BAD_ROW, reason_of
from lossloop.serve.fleet import Fleet
from lossloop.serve.given import Given
from lossloop.serve.guarding import Patience
from lossloop.serve.merging import Draft, Item
from lossloop.serve.predicting import NO_VERSION
from lossloop.serve.recorder import Recorder
from lossloop.serve.recording import Taken, take_outcomes, take_predictions
from lossloop.serve.repeats import Answer, Repeats, Sent
from lossloop.serve.rowwise import Terms
from lossloop.serve.telling import Teller
from lossloop.serve.unanswered import Unanswered, problem_of, raise_where_all_failed
from lossloop.serve.wishes import USUAL, Wish


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
        self.fleet = fleet
        self._recorder = recorder
        self._clock = clock
        self._replays = replays
        self._repeats = Repeats()
        self._under_way: set[asyncio.Task[Reply]] = set()
        self._known: dict[str, frozenset[int]] = {}
        self._thresholds: dict[tuple[str, int], Thresholds | None] = {}
        self._batches = Batches(partial(self._append, "predict"), clock)
        self.counters = fleet.guarding.counters
        self.teller = Teller(fleet.guarding.circuits, recorder, clock)

    def recall(self, reader: LogReader) -> None:
        """Read back what was answered before a restart, so that it is answered the same again."""
        self._repeats.recall(reader, self._state.offsets())

    async def predict(self, model: str, rows: Sequence[Any] | Given, wish: Wish = USUAL) -> Outcome:
        """Answer rows and log the answers; a row asked for again is answered as the first time.

        Raises:
            UnknownName: There is no such model.
            Conflict: It has no version that could answer.
            VersionFailed: None of the rows could be answered, as a version failed.
        """
        arms = self.fleet.arms(model)
        found = read(arms.schema, rows, now=self._clock.now(), replays=self._replays)
        answers: dict[int, Answer] = {}
        sent, asked, places = found.sent, found.asked, found.places
        if sent:
            answers, asked, places, sent = self._sort(model, found)
        position = None
        if len(asked):
            said, position = await (self._once if sent else self._ask)(arms, asked, wish, sent)
            self.teller.tell()
            for place, each in zip(places, said, strict=True):
                if isinstance(each, Answer):
                    answers[place] = each
                else:
                    found.problems.append(problem_of(model, each, place))
            if not answers:
                raise_where_all_failed(model, [each for each in said if isinstance(each, Unanswered)])
        if found.problems:
            self.counters.add("rows_refused", len(found.problems), kind="predict", reason=BAD_ROW)
        return self._outcome(model, answers, found.problems, position)

    def _sort(
        self, model: str, found: Read
    ) -> tuple[dict[int, Answer], Asked, list[int], list[tuple[int, Sent]]]:
        """Answers of rows that came before, and the rows that are left, with their places."""
        answers, fresh = self._repeats.sort(
            model, [(found.places[place], each) for place, each in found.sent], found.problems
        )
        known = {place for place, _ in found.sent}
        kept = [number for number, place in enumerate(found.places) if place in fresh or number not in known]
        if len(kept) == len(found.places):
            return answers, found.asked, found.places, found.sent
        new = {number: place for place, number in enumerate(kept)}
        sent = [(new[number], each) for number, each in found.sent if number in new]
        return answers, found.asked.take(kept), [found.places[number] for number in kept], sent

    async def _once(self, arms: Arms, asked: Asked, wish: Wish, sent: Sequence[tuple[int, Sent]]) -> Reply:
        """The same of rows that may be sent again; who goes away meanwhile meets the same answers then."""
        with contextlib.ExitStack() as held:
            held.enter_context(self._repeats.held(arms.traffic.model, [each for _, each in sent]))
            work = asyncio.ensure_future(self._remembered(held.pop_all(), arms, asked, wish, sent))
        self._under_way.add(work)  # a task that nobody holds may be collected
        work.add_done_callback(self._under_way.discard)
        return await asyncio.shield(work)

    async def _remembered(
        self,
        held: contextlib.ExitStack,
        arms: Arms,
        asked: Asked,
        wish: Wish,
        sent: Sequence[tuple[int, Sent]],
    ) -> Reply:
        with held:
            said, position = await self._ask(arms, asked, wish, sent)
            found = list(said)
            for place, known in sent:
                each = found[place]
                if isinstance(each, Answer):
                    found[place] = self._repeats.remember(arms.traffic.model, known.content, each)
        return found, position

    async def _ask(self, arms: Arms, asked: Asked, wish: Wish, sent: Sequence[tuple[int, Sent]]) -> Reply:
        """What became of each row, and where the log stands."""
        patience = _patience(arms, wish)
        if wish.version is not None:
            lane = self.fleet.lane(arms.traffic.model, wish.version)
            return await self._batches.ask(*arms.override(wish.version, lane), asked, patience)
        if arms.always is not None:
            return await self._batches.ask(arms, arms.always, asked, patience)
        drawn = arms.draw(asked)
        parts: dict[Drawn, list[int]] = {}
        for place, each in enumerate(drawn):
            parts.setdefault(each, []).append(place)
        if len(parts) == 1:
            return await self._batches.ask(arms, drawn[0], asked, patience)
        replies = await asyncio.gather(
            *(self._batches.ask(arms, each, asked.take(places), patience) for each, places in parts.items())
        )
        said: list[Answer | Unanswered] = [Unanswered()] * len(asked)
        for places, (part, _) in zip(parts.values(), replies, strict=True):
            for place, what in zip(places, part, strict=True):
                said[place] = what
        return said, _last(position for _, position in replies)

    def _outcome(
        self, model: str, answers: dict[int, Answer], problems: list[InputError], position: Position | None
    ) -> Outcome:
        actions: dict[int, str] = {}
        for version in {each.version for each in answers.values()}:
            thresholds = self._thresholds_of(model, version)
            if thresholds is None:
                continue
            for place, each in answers.items():
                if each.version == version and isinstance(each.y_pred, float):
                    actions[place] = thresholds.action(each.y_pred)
        return Outcome(answers=answers, actions=actions, problems=problems, position=position)

    def _thresholds_of(self, model: str, version: int) -> Thresholds | None:
        """Those of a version, which never change: of one that answered before a restart too."""
        key = (model, version)
        if version == NO_VERSION:
            return None
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
        traffic = self.fleet.traffic(model)
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


def _patience(arms: Arms, wish: Wish) -> Patience:
    usual = arms.patience
    if wish.deadline is None or wish.deadline >= usual.limit:
        return usual
    return Patience(deadline=wish.deadline, limit=usual.limit)


def _last(positions: Iterable[Position | None]) -> Position | None:
    """The position that is reached only once all of these are."""
    return max((each for each in positions if each is not None), default=None, key=_place)


def _place(position: Position) -> tuple[str, int]:
    return position.segment, position.offset


__all__ = ["Answer", "Outcome", "Receipt", "Service"]
