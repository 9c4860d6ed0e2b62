"""Predicting: a batch of rows that were drawn to one arm becomes answers, and facts to log.

A version that fails, or answers what is no answer, or what may not leave, costs nobody theirs where another
can answer: a challenger's rows are the champion's then, the champion's those of the champion before. Such a
row is not evidence. The failure is: it is logged as a prediction of its own, so that gates see it. A row to
which nobody has a valid answer, though none of them raised, is refused: its features are to blame. Where no
version answers at all, the policy's own answer is given, if it has one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lossloop.core.clock import Micros
from lossloop.core.ids import new_id
from lossloop.core.records import Role
from lossloop.ledger.frames import Kind
from lossloop.serve.arms import Arms, Turn
from lossloop.serve.asked import Asked, joined
from lossloop.serve.assign import UNDRAWN, Drawn
from lossloop.serve.guarding import CIRCUIT_OPEN, Patience, Said
from lossloop.serve.lanes import LATE, NO_ANSWER, Lane, Value
from lossloop.serve.merging import Draft
from lossloop.serve.repeats import Answer
from lossloop.serve.unanswered import Unanswered

NO_VERSION = 0
"""What stands for the version where the policy's own answer was given."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """What became of a batch of rows."""

    answers: Sequence[Answer | Unanswered]
    """Each row's answer, or why there is none."""
    draft: Draft | None
    """What is logged of it."""


async def answer(
    arms: Arms, drawn: Drawn, parts: Sequence[Asked], patience: Patience, *, now: Micros
) -> Answered:
    """Answer the rows of several requests, all drawn to one arm.

    Each version runs once, on the rows that are left to it. Where one raises, it is asked again request by
    request: one request's rows do not cost the others theirs.
    """
    asked = joined(parts, arms.schema)
    beside = None
    shadow = None if drawn.shadow is None else arms.lanes.get(drawn.shadow)
    if shadow is not None:
        beside = asyncio.ensure_future(_ask(arms, shadow, asked, None, patience))
    made, left = _Made(model=arms.traffic.model, drawn=drawn, asked=asked), None
    for turn in arms.after(drawn):
        for places, said in await _shares(arms, turn.lane, asked, left, parts, patience):
            made.take(turn, places, said)
        left = made.left()
        if not left:
            break
    if drawn.role is not Role.OVERRIDE:
        made.fill(arms.traffic.serving.fallback.answer)
    unseen = None if beside is None else (await beside).run.values
    return Answered(answers=made.answers, draft=made.draft(unseen, now))


_Share = tuple[Sequence[int] | None, Said]
"""Some rows, None for all of them, and what a version said to them."""


async def _shares(
    arms: Arms, lane: Lane, asked: Asked, places: Sequence[int] | None, parts: Sequence[Asked],
    patience: Patience,
) -> list[_Share]:  # fmt: skip
    said = await _ask(arms, lane, asked, places, patience)
    if not said.run.broke or said.run.why in (LATE, CIRCUIT_OPEN) or len(parts) == 1:
        return [(places, said)]
    shares: list[_Share] = []
    start, left = 0, range(len(asked)) if places is None else places
    for part in parts:
        stop = start + len(part)
        mine = [place for place in left if start <= place < stop]
        if mine:
            shares.append((mine, await _ask(arms, lane, asked, mine, patience)))
        start = stop
    return shares


async def _ask(
    arms: Arms, lane: Lane, asked: Asked, places: Sequence[int] | None, patience: Patience
) -> Said:
    columns: Any = asked.features
    if places is not None:
        columns = {name: values[list(places)] for name, values in columns.items()}
    count = len(asked) if places is None else len(places)
    return await arms.guards.ask(lane, columns, count, patience)


@dataclass(frozen=True, slots=True)
class _Failure:
    """A row that a version gave no answer to."""

    place: int
    turn: Turn
    latency: float
    why: str


@dataclass(kw_only=True, slots=True)
class _Made:
    """Answers as they are made, and what is logged with them."""

    model: str
    drawn: Drawn
    asked: Asked
    answers: list[Answer | Unanswered] = field(default_factory=list)
    latencies: list[tuple[Turn | None, float]] = field(default_factory=list)
    """Who answered, None for nobody, and how long that took."""
    failed: list[_Failure] = field(default_factory=list)
    cut: dict[int, tuple[str, Value]] = field(default_factory=dict)

    def take(self, turn: Turn, places: Sequence[int] | None, said: Said) -> None:
        """Take what a version said to some rows, None for all."""
        ids, number, role, run = self.asked.ids, turn.version, turn.role, said.run
        by = (turn, run.latency)
        if not self.answers and places is None and None not in run.values and not said.cut:
            self.answers = [
                Answer(id=id, version=number, role=role, y_pred=value)
                for id, value in zip(ids, run.values, strict=True)
                if value is not None
            ]
            self.latencies = [by] * len(ids)
            return
        if not self.answers:
            self.answers, self.latencies = [Unanswered()] * len(ids), [by] * len(ids)
        for row, (place, value) in enumerate(
            zip(range(len(ids)) if places is None else places, run.values, strict=True)
        ):
            self.latencies[place] = by
            if value is None:
                self._fail(place, turn, said, row)
                continue
            limit, raw = said.cut.get(row, ("", value))
            if limit:
                self.cut[place] = limit, raw
            self.answers[place] = Answer(
                id=ids[place], version=number, role=role, y_pred=value, limited=limit
            )

    def _fail(self, place: int, turn: Turn, said: Said, row: int) -> None:
        why = said.stopped.get(row, said.run.why)
        before = self.answers[place]
        assert isinstance(before, Unanswered), "who has an answer is not asked again"
        self.answers[place] = before.after(turn.version, why, refused=row in said.refused)
        self.failed.append(_Failure(place, turn, said.run.latency, why))

    def left(self) -> list[int]:
        """Rows that another version may answer."""
        return [
            place
            for place, each in enumerate(self.answers)
            if isinstance(each, Unanswered) and not each.refused
        ]

    def fill(self, answer: float | tuple[float, ...] | None) -> None:
        """Give the policy's own answer where no version has one."""
        if answer is None:
            return
        if not self.answers:  # there was no version to be asked
            self.answers = [Unanswered()] * len(self.asked)
            self.latencies = [(None, 0.0)] * len(self.asked)
        for place in self.left():
            self.latencies[place] = (None, 0.0)
            self.answers[place] = Answer(
                id=self.asked.ids[place], version=NO_VERSION, role=Role.CHAMPION,
                y_pred=list(answer) if isinstance(answer, tuple) else answer,
            )  # fmt: skip

    def draft(self, shadow: Sequence[Value | None] | None, now: Micros) -> Draft | None:
        """What is logged; None where nothing is."""
        asked = self.asked
        if not self.failed:
            good: Sequence[int] = range(len(asked))
            rows = asked
        else:
            good = [place for place, each in enumerate(self.answers) if isinstance(each, Answer)]
            rows = asked.take(good)
        answers: list[Any] = [self.answers[place] for place in good]
        took = [self.latencies[place] for place in good]
        shadows = [None] * len(good) if shadow is None else [shadow[place] for place in good]
        columns: dict[str, list[Any]] = {
            "id": rows.ids,
            "time": rows.times,
            "unit": rows.units,
            "content": rows.contents,
            "version": [each.version for each in answers],
            "role": [each.role for each in answers],
            "y_pred": [each.y_pred for each in answers],
            "propensity": [UNDRAWN if turn is None else turn.propensity for turn, _ in took],
            "shadow_version": [None if value is None else self.drawn.shadow for value in shadows],
            "shadow_y_pred": shadows,
            "latency_ms": [latency for _, latency in took],
            "error": [None] * len(good),
        }
        if self.cut:
            cut = [self.cut.get(place, (None, None)) for place in good]
            columns["limited"], columns["raw_y_pred"] = (list(each) for each in zip(*cut, strict=True))
        lost = self._lost()
        places = [*good, *(each.place for each in lost)]
        if not places:
            return None
        if lost:
            self._add(columns, lost)
        features: Any = asked.features
        if self.failed:
            features = {name: values[places] for name, values in features.items()}
        return Draft(
            kind=Kind.PREDICTION, time=now, model=self.model, count=len(places),
            columns=columns, features=features,
        )  # fmt: skip

    def _lost(self) -> list[_Failure]:
        """Failures that are evidence.

        A version broke, or what it said may not leave, or it had no valid answer where another had. One that
        was not asked failed those whom it was to answer, not those who came to it for want of another.
        """
        return [
            each
            for each in self.failed
            if (each.why != NO_ANSWER or isinstance(self.answers[each.place], Answer))
            and (each.why != CIRCUIT_OPEN or each.turn.version == self.drawn.version)
        ]

    def _add(self, columns: dict[str, list[Any]], lost: Sequence[_Failure]) -> None:
        asked = self.asked
        more: dict[str, list[Any]] = {
            # An id is answered once: one that failed has its own, and may be asked for again.
            "id": [new_id() for _ in lost],
            "time": [asked.times[each.place] for each in lost],
            "unit": [asked.units[each.place] for each in lost],
            "version": [each.turn.version for each in lost],
            "role": [each.turn.role for each in lost],
            "propensity": [each.turn.propensity for each in lost],
            "latency_ms": [each.latency for each in lost],
            "error": [each.why for each in lost],
        }
        for name, values in columns.items():
            columns[name] = [*values, *more.get(name, [None] * len(lost))]
