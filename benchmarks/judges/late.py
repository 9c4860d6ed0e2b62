"""What late and selectively missing labels do to a release that is no worse (statistics.md, 2g).

    python -m benchmarks.judges.late [--replications 1000] [--seed 0] [--json]

Champion and canary both err on 10% of rows, at half of the traffic each: 60,000 rows in 30 days. The
champion's labels take a day, on average. The canary's take five hours where it was wrong and a day where it
was right, and 4.2% of the latter never come: nobody reports a parcel that arrived. A rollout is judged to its
end, with an error of 5% and a margin of 0; the fixed age is 10 days.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.judges.command import print_figures
from lossloop.judges import Assigned, Canary

Array = npt.NDArray[np.float64]

RISK, MISSING, ERROR = 0.10, 0.042, 0.05
ROWS, DAYS, AGE = 60_000, 30.0, 10.0
AT_ONCE, USUAL = 0.2, 1.0
"""Mean days until a label is known."""


@dataclass(frozen=True)
class Rollout:
    """Rows in prediction order: the loss, whose it was, and the day on which it became known."""

    loss: Array
    is_canary: npt.NDArray[np.bool_]
    made: Array
    known: Array
    """Infinite where it never did."""

    def assigned(self, rows: npt.NDArray[np.int64], loss: Array) -> Assigned:
        return Assigned(loss=loss[rows], is_canary=self.is_canary[rows], propensity=np.full(len(rows), 0.5))


def draw(rng: np.random.Generator, rows: int = ROWS) -> Rollout:
    """One rollout in which the canary is no worse."""
    loss = (rng.random(rows) < RISK).astype(np.float64)
    is_canary = rng.random(rows) < 0.5
    made = np.sort(rng.random(rows)) * DAYS * rows / ROWS
    told = rng.exponential(np.where(is_canary & (loss == 1.0), AT_ONCE, USUAL))
    never = is_canary & (loss == 0.0) & (rng.random(rows) < MISSING)
    return Rollout(loss, is_canary, made, np.where(never, np.inf, made + told))


def by_arrival(rollout: Rollout, missing: str = "same_in_both_arms") -> bool:
    """Whether the canary is rolled back when labels are judged as they arrive."""
    order = np.argsort(rollout.known, kind="stable")
    return _rolled_back(rollout.assigned(order[np.isfinite(rollout.known[order])], rollout.loss), missing)


def by_age(missing: str) -> Callable[[Rollout], bool]:
    """Whether it is rolled back when each prediction is judged at one age, in prediction order."""

    def judge(rollout: Rollout) -> bool:
        loss = np.where(rollout.known <= rollout.made + AGE, rollout.loss, np.nan)
        return _rolled_back(rollout.assigned(np.arange(len(loss)), loss), missing)

    return judge


WAYS: dict[str, Callable[[Rollout], bool]] = {
    "as labels arrive": by_arrival,
    "at a fixed age, missing left out": by_age("same_in_both_arms"),
    "at a fixed age, missing as the worst case": by_age("worst_case"),
}


def false_rollbacks(replications: int, seed: int) -> dict[str, float]:
    """The share of rollouts that are rolled back, by how they are judged; the same rollouts for each."""
    rng = np.random.default_rng(seed)
    rollouts = [draw(rng) for _ in range(replications)]
    return {name: sum(map(way, rollouts)) / replications for name, way in WAYS.items()}


def _rolled_back(rows: Assigned, missing: str) -> bool:
    judge = Canary(
        bound=1.0,
        roll_back_if_worse_by=0.0,
        promote_if_within=0.02,
        error=ERROR,
        centre=RISK,
        missing=missing,
    )
    return judge.update(judge.start(), rows)[0].tests.roll_back.crossed is not None


def main(arguments: list[str] | None = None) -> None:
    """Print the figures."""
    print_figures("late", __doc__, false_rollbacks, arguments, replications=1000)


if __name__ == "__main__":
    main()
