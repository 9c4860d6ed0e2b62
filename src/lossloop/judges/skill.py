"""Is a model worse than a simple predictor? Both answer the same rows, so what hits both alike cancels.

With g the model's loss less the baseline's, known to lie in [-reach, reach], `r = (g + reach) / (d + reach)`
is a fair bet against "the model is worse by at most d": a shadow's rollback (statistics.md, 2c), for as long
as the model lives.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import msgspec
import numpy as np
import numpy.typing as npt

from lossloop.core.errors import InputError
from lossloop.core.records import Verdict
from lossloop.judges.absolute import Guardrail, RiskState
from lossloop.judges.base import losses_array
from lossloop.judges.promise import Promise

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Skill:
    """Alarm when the model's loss exceeds a baseline's by more than `tolerance`.

    Evidence is the model's loss less the baseline's, rows or block means of shape (n,), in prediction order;
    NaN, where the label never came, counts as the least there is. The effect is the mean difference: below 0
    where the model is worth its while.
    """

    tolerance: float
    promise: Promise
    reach: float
    """The largest difference of two losses; larger ones are cut where `clips`."""
    clips: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.reach) and self.reach > 0.0):
            raise InputError(
                f"losses that differ by up to {self.reach:g} need clip_difference, such as 0.5",
                field="clip_difference",
            )
        if not (math.isfinite(self.tolerance) and 0.0 <= self.tolerance < self.reach):
            raise InputError(
                f"tolerance {self.tolerance:g} must be at least 0, and below {self.reach:g}, the largest "
                "difference",
                field="tolerance",
            )

    def start(self) -> RiskState:
        """Nothing judged yet."""
        return self._guardrail.start()

    def update(self, state: RiskState, evidence: Array, /) -> tuple[RiskState, Verdict]:
        """Judge differences, in prediction order."""
        found = losses_array(evidence, name="difference")
        found = np.where(np.isnan(found), -self.reach, found)
        if self.clips:
            found = np.clip(found, -self.reach, self.reach)
        elif (over := found > self.reach * (1.0 + 1e-9)).any():
            found = np.where(over, math.inf, found)  # beyond what was declared: nothing of it can be judged
        state, verdict = self._guardrail.update(state, found)
        clipped = f" clipped to [-{self.reach:g}, {self.reach:g}]" if self.clips else ""
        return state, msgspec.structs.replace(
            verdict,
            assumption=f"the difference{clipped} lies in [-{self.reach:g}, {self.reach:g}]; "
            "the baseline does not change",
            reason=f"against the baseline: {verdict.reason}",
        )

    @cached_property
    def _guardrail(self) -> Guardrail:
        return Guardrail(limit=self.tolerance, promise=self.promise, floor=-self.reach)
