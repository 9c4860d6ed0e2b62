"""What sticky assignment does to a canary, and judging each unit once repairs (statistics.md, 2c).

    python -m benchmarks.judges.sticky [--replications 400] [--seed 0] [--json]

Both versions are the same. A unit's risk is its own (Beta, mean .10), and its 0/1 losses go wherever the unit
goes: to the challenger if its place, drawn once, lies below the challenger's share. 20,000 rows come of 1,000
units in random order, and the canary asks after every row whether the challenger is worse, error 5%.

"every row" judges all of them as if each had been drawn; "first of each unit" is what the loop does; "fresh"
draws every row anew, which no user would like, and judges all.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.judges.command import parser_of
from lossloop.judges import Assigned, Canary

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

UNITS, ROWS = 1_000, 20_000
MEAN, ERROR = 0.10, 0.05
SHAPE = 1.0
"""Of the units' Beta(SHAPE x .1, SHAPE x .9): losses of one unit have a correlation of 1 / (1 + SHAPE)."""
TRAFFIC = {"5% traffic": (0.05,), "50%": (0.50,), "ramp 1>5>25>50%": (0.01, 0.05, 0.25, 0.50)}
MARGINS = (0.0, 0.02)
WAYS = ("every row", "first of each unit", "fresh")


@dataclass(frozen=True)
class Row:
    """The share of rollouts of a version that is no worse which one way of judging rolls back."""

    split: str
    margin: float
    """`roll_back_if_worse_by`."""
    way: str
    rolled_back: float
    judged: float
    """Rows that a rollout judged, on average."""


@dataclass(frozen=True)
class Traffic:
    """The rows of one rollout in the order they came, shape (n,)."""

    unit: Places
    loss: Floats
    propensity: Floats
    place: Floats
    """The unit's place, from 0 to 1."""

    @classmethod
    def drawn(cls, shares: tuple[float, ...], rng: np.random.Generator) -> Traffic:
        """Units of which each comes about as often, and a ramp of steps that last equally long."""
        unit = rng.integers(UNITS, size=ROWS)
        risk = rng.beta(SHAPE * MEAN, SHAPE * (1.0 - MEAN), UNITS)
        return cls(
            unit=unit,
            loss=(rng.random(ROWS) < risk[unit]).astype(np.float64),
            propensity=np.repeat(shares, ROWS // len(shares)),
            place=rng.random(UNITS)[unit],
        )

    def evidence(self, way: str, rng: np.random.Generator) -> Assigned:
        """What a canary is shown."""
        drawn = rng.random(ROWS) if way == "fresh" else self.place
        rows = np.arange(ROWS)
        if way == "first of each unit":
            rows = np.sort(np.unique(self.unit, return_index=True)[1])
        return Assigned(
            loss=self.loss[rows], is_canary=(drawn < self.propensity)[rows], propensity=self.propensity[rows]
        )


def measure(split: str, *, replications: int, seed: int) -> list[Row]:
    """Every way and margin over the same traffic."""
    rng = np.random.default_rng([seed, list(TRAFFIC).index(split)])
    wrong = np.zeros((len(WAYS), len(MARGINS)))
    judged = np.zeros(len(WAYS))
    for _ in range(replications):
        traffic = Traffic.drawn(TRAFFIC[split], rng)
        for number, way in enumerate(WAYS):
            shown = traffic.evidence(way, rng)
            judged[number] += len(shown)
            wrong[number] += [_rolled_back(shown, margin) for margin in MARGINS]
    return [
        Row(split, margin, way, wrong[number, place] / replications, judged[number] / replications)
        for place, margin in enumerate(MARGINS)
        for number, way in enumerate(WAYS)
    ]


def _rolled_back(shown: Assigned, margin: float) -> bool:
    judge = Canary(bound=1.0, roll_back_if_worse_by=margin, promote_if_within=0.02, error=ERROR, centre=MEAN)
    state, _ = judge.update(judge.start(), shown)
    return state.tests.roll_back.crossed is not None


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    args = parser_of(__doc__, replications=400).parse_args(arguments)
    rows = [
        row for split in TRAFFIC for row in measure(split, replications=args.replications, seed=args.seed)
    ]
    if args.json:
        print(json.dumps({"bench": "sticky", "rows": [vars(row) for row in rows]}))
        return
    print(f"{'split':18} {'margin':>6} {'way':20} {'rolled back':>12} {'rows judged':>12}")
    for row in rows:
        print(f"{row.split:18} {row.margin:6.2f} {row.way:20} {row.rolled_back:12.3f} {row.judged:12.0f}")


if __name__ == "__main__":
    main()
