"""The canary rows of statistics.md, section 3: releases wrongly stopped or promoted, and how soon.

    python -m benchmarks.judges.canary [--replications 600] [--seed 0] [--json]

The champion errs on 10% of rows; the margin is .02 and the error 5%. Each replication is one rollout, judged
by the judges that the loop uses, looked at after every row, until its first decision or for 60,000 rows.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from benchmarks.judges.command import parser_of
from lossloop.judges import Assigned, Canary, Difference, Pairs, Shadow

CHAMPION = 0.10
MARGIN = 0.02
ERROR = 0.05
AGREEMENT = 0.90
HORIZON = 60_000
STEP = 4_000
BATCH = 2_000
TRAFFIC = {"5% traffic": (0.05,), "50%": (0.50,), "ramp 1>5>25>50%": (0.01, 0.05, 0.25, 0.50)}


@dataclass(frozen=True)
class Row:
    """One row of the table; shares of the replications, and a median count of outcomes."""

    split: str
    rolled_back: float
    promoted: float
    wrongly_promoted: float
    outcomes_to_roll_back: float


def canary_rollout(shares: tuple[float, ...], gap: float, rng: np.random.Generator) -> Difference:
    """Judge one rollout on randomised traffic; a ramp takes its next step every 4,000 rows."""
    judge = Canary(
        bound=1.0, roll_back_if_worse_by=0.0, promote_if_within=MARGIN, error=ERROR, centre=CHAMPION
    )
    state = judge.start()
    for start in range(0, HORIZON, BATCH):
        p = np.full(BATCH, shares[min(start // STEP, len(shares) - 1)])
        canary = rng.random(BATCH) < p
        loss = (rng.random(BATCH) < CHAMPION + gap * canary).astype(np.float64)
        state, _ = judge.update(state, Assigned(loss=loss, is_canary=canary, propensity=p))
        if _decided(state.tests):
            break
    return state.tests


def shadow_rollout(gap: float, rng: np.random.Generator) -> Difference:
    """Judge one shadow that copies the champion on 90% of rows, and answers by itself on the rest."""
    judge = Shadow(bound=1.0, roll_back_if_worse_by=0.0, promote_if_within=MARGIN, error=ERROR)
    state = judge.start()
    for _ in range(0, HORIZON, BATCH):
        champion = rng.random(BATCH) < CHAMPION
        own = rng.random(BATCH) < CHAMPION + gap / (1.0 - AGREEMENT)
        loss = np.where(rng.random(BATCH) < AGREEMENT, champion, own)
        state, _ = judge.update(state, Pairs.of(loss, champion))
        if _decided(state):
            break
    return state


def table(replications: int, seed: int) -> list[Row]:
    """All rows; each row draws from its own seed."""
    rows = []
    for number, split in enumerate([*TRAFFIC, "shadow, 90% agreement"]):
        rng = np.random.default_rng([seed, number])

        def rollouts(gap: float, split: str = split, rng: np.random.Generator = rng) -> list[Difference]:
            if split in TRAFFIC:
                return [canary_rollout(TRAFFIC[split], gap, rng) for _ in range(replications)]
            return [shadow_rollout(gap, rng) for _ in range(replications)]

        rows.append(_row(split, rollouts(0.0), rollouts(MARGIN), rollouts(0.05)))
    return rows


def _decided(tests: Difference) -> bool:
    return tests.roll_back.crossed is not None or tests.promote.crossed is not None


def _row(split: str, same: list[Difference], worse: list[Difference], bad: list[Difference]) -> Row:
    return Row(
        split=split,
        rolled_back=_share(same, promoted=False),
        promoted=_share(same, promoted=True),
        wrongly_promoted=_share(worse, promoted=True),
        outcomes_to_roll_back=float(np.median([_first(tests.roll_back.crossed) for tests in bad])),
    )


def _share(rollouts: list[Difference], *, promoted: bool) -> float:
    """How many were promoted, or rolled back, as their first decision."""
    ends = [(_first(tests.roll_back.crossed), _first(tests.promote.crossed)) for tests in rollouts]
    return sum((up < down) if promoted else (down < up) for down, up in ends) / len(ends)


def _first(crossed: int | None) -> float:
    return np.inf if crossed is None else crossed


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    args = parser_of(__doc__, replications=600).parse_args(arguments)
    rows = table(args.replications, args.seed)
    if args.json:
        print(json.dumps({"bench": "canary", "rows": [vars(row) for row in rows]}))
        return
    print(f"{'split':24} {'rolled back':>12} {'promoted':>9} {'+.02 promoted':>14} {'+.05: outcomes':>15}")
    for row in rows:
        print(
            f"{row.split:24} {row.rolled_back:12.3f} {row.promoted:9.3f} {row.wrongly_promoted:14.3f} "
            f"{row.outcomes_to_roll_back:15.0f}"
        )


if __name__ == "__main__":
    main()
