"""How often an experiment promotes an arm that is not better, by how its error is shared among the arms.

    python -m benchmarks.judges.arms [--replications 400] [--seed 0] [--json]

Losses are 0/1 with a mean of .10 for the champion and every arm. 20,000 units come in random order, the
champion has half of them and the arms share the other half; every unit is looked at, with an error of 5%.

"each alone" asks of each arm with the whole error, as k separate tests would; "shared" gives each arm an
equal part of it, as an experiment does. "better" is the share of experiments that promote the one arm that is
better by .03, where there is one, with the error shared.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import numpy as np

from benchmarks.judges.command import parser_of
from lossloop.core.records import VerdictKind
from lossloop.judges import Assigned, Canary

UNITS = 20_000
MEAN, BETTER, ERROR = 0.10, 0.07, 0.05
ARMS = (1, 2, 4, 8)


@dataclass(frozen=True)
class Row:
    """Of experiments with so many arms."""

    arms: int
    each_alone: float
    """The share that promotes an arm though none is better, each arm asked with the whole error."""
    shared: float
    """The same with the error shared out."""
    better: float
    """The share that promotes the one arm that is better, where one is."""


@dataclass(frozen=True)
class Units:
    """Whom each unit met, 0 for the champion, and what it lost; shape (n,)."""

    arm: np.ndarray[tuple[int], np.dtype[np.int64]]
    loss: np.ndarray[tuple[int], np.dtype[np.float64]]

    @classmethod
    def drawn(cls, arms: int, means: list[float], rng: np.random.Generator) -> Units:
        """Half of the units meet the champion."""
        shares = [0.5] + [0.5 / arms] * arms
        arm = rng.choice(arms + 1, UNITS, p=shares)
        return cls(arm=arm, loss=(rng.random(UNITS) < np.array(means)[arm]).astype(np.float64))

    def shown_to_be_better(self, arms: int, error: float) -> list[int]:
        """The arms that an experiment would promote, each judged against the champion."""
        judge = Canary(bound=1.0, roll_back_if_worse_by=0.0, promote_if_within=0.0, error=error)
        chance = (0.5 / arms) / (0.5 / arms + 0.5)
        found = []
        for number in range(1, arms + 1):
            mine = (self.arm == 0) | (self.arm == number)
            evidence = Assigned(
                loss=self.loss[mine], is_canary=self.arm[mine] == number,
                propensity=np.full(int(mine.sum()), chance),
            )  # fmt: skip
            _, said = judge.update(judge.start(), evidence)
            if said.promote.kind is VerdictKind.BETTER:
                found.append(number)
        return found


def measure(replications: int, rng: np.random.Generator, arms: tuple[int, ...] = ARMS) -> list[Row]:
    """One row for each number of arms."""
    return [_row(count, replications, rng) for count in arms]


def _row(arms: int, replications: int, rng: np.random.Generator) -> Row:
    alone = shared = better = 0
    for _ in range(replications):
        alike = Units.drawn(arms, [MEAN] * (arms + 1), rng)
        alone += bool(alike.shown_to_be_better(arms, ERROR))
        shared += bool(alike.shown_to_be_better(arms, ERROR / arms))
        one = Units.drawn(arms, [MEAN, BETTER] + [MEAN] * (arms - 1), rng)
        better += 1 in one.shown_to_be_better(arms, ERROR / arms)
    return Row(
        arms=arms, each_alone=alone / replications, shared=shared / replications, better=better / replications
    )


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    given = parser_of(__doc__, replications=400).parse_args(arguments)
    rows = measure(given.replications, np.random.default_rng(given.seed))
    if given.json:
        print(json.dumps({"bench": "arms", "rows": [asdict(row) for row in rows]}))
        return
    print("arms  each alone  shared  better")
    for row in rows:
        print(f"{row.arms:4}  {row.each_alone:10.3f}  {row.shared:6.3f}  {row.better:6.3f}")


if __name__ == "__main__":
    main()
