"""What is sent: predictions and outcomes made by chance, in batches that can be told apart in the log."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lossloop.core.clock import Micros, format_time

MODELS = ("m0", "m1", "m2")
PREDICTIONS, OUTCOMES = "predictions", "outcomes"
FIRST: Micros = 1_704_067_200_000_000
"""The event time of batch 0; every batch has a microsecond of its own, by which the log tells them apart."""
LARGEST = 1000
REASONS = ("withdrawn", "never measured")
BAD = "bad-"
"""How ids begin whose rows must not be taken."""


class Prediction(NamedTuple):
    """A row of predictions, but for its id."""

    version: int
    role: str
    propensity: float
    unit: str | None
    y_pred: float

    def says_as(self, other: Prediction) -> bool:
        """Whether another one under the same id is a repeat, and no conflict."""
        return (self.version, self.unit, self.y_pred) == (other.version, other.unit, other.y_pred)


class Outcome(NamedTuple):
    """A row of outcomes, but for its id."""

    y_true: float | None
    reason: str | None


Row = Prediction | Outcome


@dataclass(slots=True)
class Batch:
    """Rows that are sent together, as often as it takes, and now and then once more."""

    number: int
    model: str
    kind: str
    rows: Mapping[str, Any]
    """Predictions or outcomes by id."""
    bad: int = 0
    """How many bad rows are sent along."""
    acknowledged: int = 0
    """How many times all rows were taken."""
    unanswered: int = 0
    """How many times nobody knows whether they were."""
    copies: dict[str, int] = field(default_factory=dict)
    """How often each row was found in the log."""

    @property
    def time(self) -> str:
        """The event time of all rows."""
        return format_time(FIRST + self.number)

    def columns(self) -> dict[str, list[Any]]:
        """What is sent, by column; bad rows come last."""
        ids = [*self.rows, *(f"{BAD}{self.number}-{place}" for place in range(self.bad))]
        wrong = Prediction(1, "champion", 1.0, None, 2.0) if self.kind == PREDICTIONS else Outcome(7.0, None)
        rows = [*self.rows.values(), *[wrong] * self.bad]
        columns: dict[str, list[Any]] = {"id": ids, "time": [self.time] * len(ids)}
        for place, name in enumerate(type(wrong)._fields):
            values = [row[place] for row in rows]
            if name in ("unit", "reason") and not any(values):
                continue
            columns[name] = values
        return columns


class Maker:
    """Makes a sender's batches; ids are its own, so that only it corrects what it said.

    Args:
        sender: The sender's number.
        senders: How many there are.
        chance: Decides everything.
    """

    def __init__(self, sender: int, senders: int, chance: random.Random) -> None:
        self._name = f"s{sender}"
        self._next = sender
        self._step = senders
        self._chance = chance
        self._ids = 0
        self._open: dict[str, list[str]] = {model: [] for model in MODELS}
        self._early: dict[str, list[str]] = {model: [] for model in MODELS}
        self._told: dict[str, list[str]] = {model: [] for model in MODELS}
        self._said: dict[str, Prediction] = {}

    def batch(self) -> Batch:
        """Another batch: of predictions, some of which have an outcome already, or of outcomes."""
        model = self._chance.choice(MODELS)
        size = round(LARGEST ** (self._chance.random() ** 3))  # many small ones, a few large
        kind = OUTCOMES if self._chance.random() < 0.5 else PREDICTIONS
        rows = self._predictions(model, size) if kind == PREDICTIONS else self._outcomes(model, size)
        number, self._next = self._next, self._next + self._step
        bad = self._chance.randint(1, 3) if self._chance.random() < 0.05 else 0
        return Batch(number, model, kind, rows, bad=bad)

    def _predictions(self, model: str, size: int) -> dict[str, Prediction]:
        awaited = self._taken(self._early[model], size // 2)
        again = self._some([*self._open[model][-50:]], size // 20)
        fresh = self._new(max(size - len(awaited) - len(again), 1))
        rows = {id: self._prediction() for id in (*awaited, *fresh)}
        rows |= {id: self._said[id] if self._chance.random() < 0.5 else self._prediction() for id in again}
        self._open[model] += fresh
        self._told[model] += awaited
        self._said.update({id: rows[id] for id in fresh})
        return self._shuffled(rows)

    def _outcomes(self, model: str, size: int) -> dict[str, Outcome]:
        known = self._taken(self._open[model], int(size * 0.7))
        corrected = self._some(self._told[model][-5000:], size // 5)
        early = self._new(max(size - len(known) - len(corrected), 0) or int(not known))
        self._told[model] += known
        self._early[model] += early
        for id in known:
            self._said.pop(id, None)
        return self._shuffled({id: self._outcome() for id in (*known, *corrected, *early)})

    def _prediction(self) -> Prediction:
        chance = self._chance
        share = chance.choice((0.1, 0.5, 0.9))
        second = chance.random() < 0.3
        return Prediction(
            version=2 if second else 1,
            role="challenger" if second and chance.random() < 0.8 else "champion",
            propensity=1.0 if chance.random() < 0.5 else share,
            unit=f"u{chance.randrange(500)}" if chance.random() < 0.5 else None,
            y_pred=round(chance.random(), 6),
        )

    def _outcome(self) -> Outcome:
        if self._chance.random() < 0.03:
            return Outcome(None, self._chance.choice((*REASONS, None)))
        return Outcome(float(self._chance.random() < 0.3), None)

    def _new(self, count: int) -> list[str]:
        self._ids += count
        return [f"{self._name}-{number}" for number in range(self._ids - count, self._ids)]

    def _taken(self, ids: list[str], most: int) -> list[str]:
        """Some ids, which are there no more afterwards."""
        start = self._chance.randint(0, max(len(ids) - most, 0))
        found = ids[start : start + most]
        del ids[start : start + most]
        return found

    def _some(self, ids: Sequence[str], most: int) -> list[str]:
        return self._chance.sample(ids, min(most, len(ids)))

    def _shuffled(self, rows: dict[str, Any]) -> dict[str, Any]:
        ids = list(rows)
        self._chance.shuffle(ids)
        return {id: rows[id] for id in ids}
