"""Predicting: a batch of rows that were drawn to one arm becomes answers, and facts to log.

A version that fails, or answers what is no answer, costs nobody theirs where another can answer: a
challenger's rows are the champion's then, the champion's those of the champion before. Such a row is not
evidence. The failure is: it is logged as a prediction of its own, so that gates see it. A row to which nobody
has a valid answer, though none of them raised, is refused: its features are to blame.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lossloop.core.clock import Micros
from lossloop.core.ids import new_id
from lossloop.ledger.frames import Kind
from lossloop.serve.arms import Arms, Turn
from lossloop.serve.asked import Asked, joined
from lossloop.serve.assign import Drawn
from lossloop.serve.lanes import LATE, NO_ANSWER, Lane, Run, Value
from lossloop.serve.merging import Draft
from lossloop.serve.repeats import Answer


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How long a version is waited for, in seconds."""

    deadline: float
    """By this caller."""
    limit: float
    """By anyone: a lane that works at one batch for longer is not waited for at all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """What became of a batch of rows."""

    answers: Sequence[Answer | str]
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
        beside = asyncio.ensure_future(_run(shadow, asked, None, patience))
    made, left = _Made(model=arms.traffic.model, drawn=drawn, asked=asked), None
    for turn in arms.after(drawn):
        for places, run in await _runs(turn.lane, asked, left, parts, patience):
            made.take(turn, places, run)
        left = made.left()
        if not left:
            break
    unseen = None if beside is None else (await beside).values
    return Answered(answers=made.answers, draft=made.draft(unseen, now))


_Share = tuple[Sequence[int] | None, Run]
"""Some rows, None for all of them, and what a version said to them."""


async def _runs(
    lane: Lane, asked: Asked, places: Sequence[int] | None, parts: Sequence[Asked], patience: Patience
) -> list[_Share]:
    run = await _run(lane, asked, places, patience)
    if not run.broke or run.why == LATE or len(parts) == 1:
        return [(places, run)]
    shares: list[_Share] = []
    start, left = 0, range(len(asked)) if places is None else places
    for part in parts:
        stop = start + len(part)
        mine = [place for place in left if start <= place < stop]
        if mine:
            shares.append((mine, await _run(lane, asked, mine, patience)))
        start = stop
    return shares


async def _run(lane: Lane, asked: Asked, places: Sequence[int] | None, patience: Patience) -> Run:
    columns: Any = asked.features
    if places is not None:
        columns = {name: values[list(places)] for name, values in columns.items()}
    count = len(asked) if places is None else len(places)
    return await lane.run(columns, count, patience.deadline, patience.limit)


@dataclass(kw_only=True, slots=True)
class _Made:
    """Answers as they are made, and what is logged with them."""

    model: str
    drawn: Drawn
    asked: Asked
    answers: list[Answer | str] = field(default_factory=list)
    latencies: list[tuple[Turn, float]] = field(default_factory=list)
    failed: list[tuple[int, Turn, Run]] = field(default_factory=list)

    def take(self, turn: Turn, places: Sequence[int] | None, run: Run) -> None:
        ids, number, role, by = self.asked.ids, turn.version, turn.role, (turn, run.latency)
        if places is None:
            self.answers = [
                run.why if value is None else Answer(id=id, version=number, role=role, y_pred=value)
                for id, value in zip(ids, run.values, strict=True)
            ]
            self.latencies = [by] * len(ids)
            places = range(len(ids))
        else:
            if not self.answers:
                self.answers, self.latencies = [NO_ANSWER] * len(ids), [by] * len(ids)
            for place, value in zip(places, run.values, strict=True):
                self.latencies[place] = by
                self.answers[place] = (
                    run.why
                    if value is None
                    else Answer(id=ids[place], version=number, role=role, y_pred=value)
                )
        if None in run.values:
            self.failed += [
                (place, turn, run) for place, value in zip(places, run.values, strict=True) if value is None
            ]

    def left(self) -> list[int]:
        """Rows without an answer."""
        return [place for place, each in enumerate(self.answers) if isinstance(each, str)]

    def draft(self, shadow: Sequence[Value | None] | None, now: Micros) -> Draft | None:
        """What is logged; None where nothing is."""
        asked = self.asked
        if not self.failed:
            good: Sequence[int] = range(len(asked))
            rows = asked
        else:
            good = [place for place, each in enumerate(self.answers) if not isinstance(each, str)]
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
            "propensity": [turn.propensity for turn, _ in took],
            "shadow_version": [None if value is None else self.drawn.shadow for value in shadows],
            "shadow_y_pred": shadows,
            "latency_ms": [latency for _, latency in took],
            "error": [None] * len(good),
        }
        lost = self._lost()
        places = [*good, *(place for place, _, _ in lost)]
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

    def _lost(self) -> list[tuple[int, Turn, Run]]:
        """Failures that are evidence: of a version that broke, or did not answer where another did."""
        return [
            (place, turn, run)
            for place, turn, run in self.failed
            if run.broke or not isinstance(self.answers[place], str)
        ]

    def _add(self, columns: dict[str, list[Any]], lost: Sequence[tuple[int, Turn, Run]]) -> None:
        asked = self.asked
        more: dict[str, list[Any]] = {
            # An id is answered once: one that failed has its own, and may be asked for again.
            "id": [new_id() for _ in lost],
            "time": [asked.times[place] for place, _, _ in lost],
            "unit": [asked.units[place] for place, _, _ in lost],
            "version": [turn.version for _, turn, _ in lost],
            "role": [turn.role for _, turn, _ in lost],
            "propensity": [turn.propensity for _, turn, _ in lost],
            "latency_ms": [run.latency for _, _, run in lost],
            "error": [run.why for _, _, run in lost],
        }
        for name, values in columns.items():
            columns[name] = [*values, *more.get(name, [None] * len(lost))]
