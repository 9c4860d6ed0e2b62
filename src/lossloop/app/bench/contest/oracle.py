"""The oracle: a CUSUM that knows the risk that is to come, calibrated to a mean time to a false alarm.

No detector with that many false alarms has a shorter worst mean delay (Moustakides 1986). Both means come
from a Markov chain over the statistic (Brook, Evans 1972), not from simulation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

STATES = 1200
"""Of the chain: twice as many change a mean delay by a thousandth."""


@dataclass(frozen=True)
class Oracle:
    """A CUSUM of log-likelihood ratios of `changed` against `risk`: the alarm comes above `threshold`."""

    risk: float
    changed: float
    threshold: float
    states: int = STATES

    def mean_delay(self) -> float:
        """Mean outcomes to the alarm once the risk is `changed`, from 0: the worst that it can start from."""
        return self._mean_time(self.changed)

    def mean_time_to_false_alarm(self) -> float:
        """Mean outcomes to an alarm while the risk is `risk`."""
        return self._mean_time(self.risk)

    def _mean_time(self, true: float) -> float:
        """Mean time from 0 until the statistic exceeds the threshold, where the risk is `true`."""
        grid = np.linspace(0.0, self.threshold, self.states)
        chain = np.eye(self.states)
        up, down = math.log(self.changed / self.risk), math.log((1.0 - self.changed) / (1.0 - self.risk))
        for chance, step in ((true, up), (1.0 - true, down)):
            _add(chain, grid, np.maximum(grid + step, 0.0), chance)
        return float(np.linalg.solve(chain, np.ones(self.states))[0])


def calibrated(risk: float, changed: float, mean_time: float, *, states: int = STATES) -> Oracle:
    """The oracle with that mean time to a false alarm; its logarithm is close to a line in the threshold."""
    low, high = math.log(mean_time) - 5.0, math.log(mean_time)
    goal = math.log(mean_time)

    def miss(threshold: float) -> float:
        return math.log(Oracle(risk, changed, threshold, states).mean_time_to_false_alarm()) - goal

    before, after = miss(low), miss(high)
    for _ in range(12):
        if abs(after) < 1e-4:
            break
        low, high, before = high, high - after * (high - low) / (after - before), after
        after = miss(high)
    return Oracle(risk, changed, high, states)


def _add(chain: Array, grid: Array, to: Array, chance: float) -> None:
    """Take a step away from the identity: where it leads is split over the two states around."""
    stays = to <= grid[-1]
    rows = np.flatnonzero(stays)
    place = to[stays] / (grid[1] - grid[0])
    left = np.minimum(place.astype(np.int64), len(grid) - 2)
    share = place - left
    np.subtract.at(chain, (rows, left), chance * (1.0 - share))
    np.subtract.at(chain, (rows, left + 1), chance * share)
