"""What fifty releases do to a promise that each makes for itself (statistics.md, 2i).

    python -m benchmarks.judges.releases [--replications 400] [--releases 50] [--outcomes 5000] [--json]

Every release is healthy: losses of 0 or 1 at their limit of .10. Each is judged for so many outcomes, every
outcome looked at. "5% each" gives every release the whole chance; "5% in all" spends 6 alpha / (pi j)^2 on
the j-th; "one budget" is a rate that goes on over all of them, and allows 5% in all their outcomes together.
The delays are those of a last release at .15, over the runs without a false alarm before it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.judges.command import parser_of
from lossloop.judges import Columns, Promise, Streams
from lossloop.judges.promise import Mode, chance, spend

Array = npt.NDArray[np.float64]

LIMIT, WORSE, ERROR = 0.10, 0.15, 0.05
LONGEST = 20_000
_CHUNK = 100


@dataclass(frozen=True)
class Figures:
    """What one way of promising did."""

    way: str
    any_false_alarm: float
    """The share of runs in which any of the healthy releases had a false alarm."""
    delay: float
    """Median outcomes to see the worse release that comes last; infinite where most runs never do."""


def measure(way: str, *, releases: int, outcomes: int, replications: int, seed: int) -> Figures:
    """Run all healthy releases but the last, which is worse; the false alarms are those of all before it."""
    rng = np.random.default_rng(seed)
    judges = list(_judges(way, releases, outcomes))
    wrong = np.zeros(replications, dtype=np.bool_)
    state = judges[0].start(replications)
    for number, judge in enumerate(judges):
        if way != "one budget":
            state = judge.start(replications)
        if number < len(judges) - 1:
            state = _judged(judge, state, rng, LIMIT, outcomes)
            wrong |= state.crossed > 0
    before = state.count.copy() if way == "one budget" else np.zeros(replications, dtype=np.int64)
    state = _judged(judges[-1], state.rows(~wrong), rng, WORSE, LONGEST)
    waits = np.where(state.crossed > 0, state.crossed - before[~wrong], np.inf)
    return Figures(way, float(wrong.mean()), float(np.median(waits)) if len(waits) else np.inf)


def _judges(way: str, releases: int, outcomes: int) -> Iterator[Streams]:
    """The judge of each release."""
    budget = Promise(mode=Mode.RATE, threshold=releases * outcomes / ERROR)
    promises: dict[str, Callable[[int], Promise]] = {
        "5% each": lambda number: chance(ERROR),
        "5% in all": lambda number: chance(spend(ERROR, number)),
        "one budget": lambda number: budget,
    }
    for number in range(1, releases + 1):
        yield Streams(promises[way](number))


def _judged(judge: Streams, state: Columns, rng: np.random.Generator, risk: float, outcomes: int) -> Columns:
    for start in range(0, outcomes, _CHUNK):
        losses = rng.random((min(_CHUNK, outcomes - start), len(state)), dtype=np.float32) < risk
        state = judge.update_together(state, losses / LIMIT)
        if len(state) and (state.crossed > 0).all():
            break
    return state


WAYS = ("5% each", "5% in all", "one budget")


def main(arguments: list[str] | None = None) -> None:
    """Print the figures."""
    parser = parser_of(__doc__, replications=400)
    parser.add_argument("--releases", type=int, default=50)
    parser.add_argument("--outcomes", type=int, default=5_000)
    args = parser.parse_args(arguments)
    found = [
        measure(
            way,
            releases=args.releases,
            outcomes=args.outcomes,
            replications=args.replications,
            seed=args.seed,
        )
        for way in WAYS
    ]
    if args.json:
        print(json.dumps({"bench": "releases", "rows": [vars(row) for row in found]}))
        return
    print(f"{'way':12} {'any false alarm':>16} {'outcomes to see .15 at the end':>32}")
    for row in found:
        print(f"{row.way:12} {row.any_false_alarm:16.3f} {row.delay:32.0f}")


if __name__ == "__main__":
    main()
