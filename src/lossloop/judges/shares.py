"""How many of all answers are of one kind: slower than a limit, or none at all.

A quantile is such a share: "the 99th percentile is at most 200 ms" says that at most 1% take longer. So it is
judged as rows of 0 and 1, whatever law the times follow, and no tail is too heavy for the promise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from lossloop.core.errors import InputError
from lossloop.core.records import Verdict, VerdictKind
from lossloop.judges.absolute import RiskState
from lossloop.judges.base import error_of, losses_array, problem_in, reached, verdict_of
from lossloop.judges.engine import Engine
from lossloop.judges.intervals import asymptotic_interval
from lossloop.judges.promise import Counts, Promise

Array = npt.NDArray[np.float64]

_KINDS = (VerdictKind.ALARM, VerdictKind.HEALTHY)


@dataclass(frozen=True, kw_only=True)
class Share:
    """Alarm when more than `limit` of all rows are of one kind: `r = x / limit`, x 1 for those that are.

    Evidence is an array of 0 and 1, or of shares of whole blocks, shape (n,) or (n, 1), in prediction order;
    where a row does not say (NaN) it is left out. The effect is the share since the start.
    """

    limit: float
    """Between 0 and 1."""
    promise: Promise
    what: str = "of that kind"
    """Which rows are counted, in words: ``slower than 200ms``."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.limit) and 0.0 < self.limit < 1.0):
            raise InputError(f"a share lies above 0 and below 1, not at {self.limit:g}", field="tolerance")

    def start(self) -> RiskState:
        """Nothing judged yet."""
        return RiskState(wealth=self._engine.start())

    def update(self, state: RiskState, evidence: Array, /) -> tuple[RiskState, Verdict]:
        """Judge rows, or blocks, in prediction order."""
        flat = losses_array(np.asarray(evidence, dtype=np.float64).reshape(-1), name="share")
        said = flat[~np.isnan(flat)]
        if problem := problem_in(said, 0.0, 1.0, name="share"):
            return state, error_of(self._engine, state.wealth, problem, assumption=self._assumption)
        wealth, step = self._engine.update(state.wealth, said.clip(0.0, 1.0) / self.limit)
        seen = state.seen.add(said)
        share, most = (f"{100.0 * each:.4g}%" for each in (seen.mean, self.limit))
        found = f"{share} {self.what} over {seen.count:,} {self._unit}, at most {most} allowed"
        return RiskState(wealth=wealth, seen=seen), verdict_of(
            self._engine,
            wealth,
            step,
            _KINDS,
            effect=asymptotic_interval(seen),
            assumption=self._assumption,
            reason=f"{found}: {reached(self._engine, wealth, step.evidence)}",
        )

    @property
    def _unit(self) -> str:
        return "blocks" if self.promise.counts is Counts.BLOCKS else "rows"

    @cached_property
    def _assumption(self) -> str:
        each = "block, on average," if self._unit == "blocks" else "row"
        return (
            f"while all is well each {each} is {self.what} with a chance of at most {self.limit:g}, "
            "whatever came before it; nothing of how times are distributed"
        )

    @cached_property
    def _engine(self) -> Engine:
        return Engine(self.promise)
