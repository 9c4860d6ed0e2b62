"""Between a version and its caller: whether it is asked at all, and which of its answers leave."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lossloop.core.traffic import Traffic
from lossloop.serve.circuits import Circuits
from lossloop.serve.counters import Counters
from lossloop.serve.lanes import LATE, Lane, Run, Value
from lossloop.serve.limits import Columns, Cost, Guarded, guard

CIRCUIT_OPEN = "CircuitOpen"
"""Why a version was not asked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How long a version is waited for, in seconds."""

    deadline: float
    """By this caller."""
    limit: float
    """By anyone: a lane that works at one batch for longer is not waited for at all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """What a version said to rows, as far as it leaves: what was stopped is None among the run's values."""

    run: Run
    cut: Mapping[int, tuple[str, Value]] = field(default_factory=dict)
    """Rows whose answer was cut: the limit, and what the version had said."""
    stopped: Mapping[int, str] = field(default_factory=dict)
    """Rows whose answer does not leave, and why."""
    refused: frozenset[int] = frozenset()
    """Those of them that no other answer is looked for."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Guards:
    """What stands between a model's versions and its callers, from one swap of its traffic to the next."""

    traffic: Traffic
    circuits: Circuits
    costs: Mapping[str, Cost]
    """The constraints' losses, by their text."""
    counters: Counters

    async def ask(self, lane: Lane, columns: Columns, count: int, patience: Patience) -> Said:
        """Ask a version for n rows, unless its circuit is open; look at what it says before that leaves.

        Args:
            lane: Where it runs.
            columns: The rows.
            count: How many.
            patience: How long it is waited for. That it was too slow for a caller in more of a hurry than the
                policy is no fault of its.
        """
        key, rule = (self.traffic.model, lane.version.number), self.traffic.serving.breaker
        permit = self.circuits.ask(key, rule)
        if permit is None:
            return Said(run=Run(values=[None] * count, latency=0.0, why=CIRCUIT_OPEN))
        run = await lane.run(columns, count, patience.deadline, patience.limit)
        if run.why != LATE or patience.deadline >= patience.limit:
            failed = run.broke or all(value is None for value in run.values)
            self.circuits.tell(key, rule, permit, run.why if failed else "")
        return self._looked(lane.version.number, run, columns)

    def _looked(self, version: int, run: Run, columns: Columns) -> Said:
        serving = self.traffic.serving
        if not serving.limits and not serving.constraints:
            return Said(run=run)
        rows = [place for place, value in enumerate(run.values) if value is not None]
        if not rows:
            return Said(run=run)
        found = guard(serving, self.costs, _array(run.values, rows), columns, rows)
        if not found.clamped and not found.stopped:
            return Said(run=run)
        self._count(version, found)
        cut = {place: (words, _said(run, place)) for place, words in found.clamped.items()}
        values = list(run.values)
        for place in found.clamped:
            values[place] = found.values[place].tolist()
        for place in found.stopped:
            values[place] = None
        return Said(run=replace(run, values=values), cut=cut, stopped=found.stopped, refused=found.refused)

    def _count(self, version: int, found: Guarded) -> None:
        whose = {"model": self.traffic.model, "version": str(version)}
        self.counters.add("limited", len(found.clamped), then="clamp", **whose)
        self.counters.add("limited", len(found.stopped) - len(found.refused), then="fall_back", **whose)
        self.counters.add("limited", len(found.refused), then="refuse", **whose)


class Guarding:
    """Makes the guards of each model; what they share outlasts their traffic.

    Args:
        cost_of: The cost of answers by the loss that a text names, for constraints.
    """

    def __init__(self, cost_of: Callable[[str], Cost] | None = None) -> None:
        self.circuits = Circuits()
        self.counters = Counters()
        self._cost_of = cost_of or _unknown

    def of(self, traffic: Traffic) -> Guards:
        """The guards of a model's traffic."""
        texts = [constraint.loss for constraint in traffic.serving.constraints]
        return Guards(
            traffic=traffic, circuits=self.circuits, counters=self.counters,
            costs={text: self._cost_of(text) for text in texts},
        )  # fmt: skip


def _unknown(text: str) -> Cost:
    """Where no losses are known, what is held to one does not leave."""
    return lambda values, columns: np.full(len(values), np.nan)


def _array(values: Sequence[Value | None], rows: Sequence[int]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Answers (n,) or (n, k); NaN where there is none."""
    one = values[rows[0]]
    none: Any = [np.nan] * len(one) if isinstance(one, list) else np.nan
    return np.array([none if value is None else value for value in values], dtype=np.float64)


def _said(run: Run, place: int) -> Value:
    value = run.values[place]
    assert value is not None, "only answers are cut"
    return value
