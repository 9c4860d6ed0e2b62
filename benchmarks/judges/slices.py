"""Many slices under one promise: how many of those named are healthy, and how soon the bad ones are named.

    python -m benchmarks.judges.slices [--replications 100] [--days 365] [--seed 0] [--json]

Every slice has a mean loss a day. Healthy ones lie at their limit, the hardest case, and all share a part of
each day's luck; bad ones lose half as much again from day 100 on. Of 100 and of 1,000 slices none, 1%, 10% or
half are bad. The share of healthy ones among those named is looked at on every day: its mean over
replications is that day's false discovery rate, and the worst day counts. For comparison: one watch over the
mean of all slices, and each slice with a promise of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.judges.command import parser_of
from lossloop.judges import Guardrail, Mode, Promise, Streams, parse
from lossloop.judges.ebh import believed
from lossloop.judges.holding import log_mean
from lossloop.judges.sliced import RESERVE

Array = npt.NDArray[np.float64]

RATE = 0.05
LIMIT = 0.2
CHANGE_AT = 100
RISE = 1.5
COUNTS = (100, 1_000)
BAD_SHARES = (0.0, 0.01, 0.1, 0.5)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One setting, over all replications."""

    slices: int
    bad: int
    named_wrongly: float
    """The share of healthy slices among those named: its mean over replications, on the worst day."""
    ever_wrongly: float
    """Replications in which a healthy slice was ever named."""
    days_to_first: float | None
    """Median days from the change until a bad slice is named; None where more than half never name one."""
    days_to_half: float | None
    """The same until half of the bad ones are."""
    all_rows_days: float | None
    """The same for one watch over the mean of all slices, `5% ever`."""
    alone_wrongly: float
    """`ever_wrongly` where each slice has a promise `5% ever` of its own."""


def losses(rng: np.random.Generator, shape: tuple[int, int], bad: int, day: int) -> Array:
    """A day's mean losses of some replications' slices: ten losses of 0 or 1 each, luck partly shared."""
    risk = np.full(shape, LIMIT)
    if day >= CHANGE_AT:
        risk[:, :bad] *= RISE
    shared = 1.0 + 0.2 * rng.choice([-1.0, 1.0], (shape[0], 1))
    return rng.binomial(10, risk * shared) / 10.0


def measure(slices: int, bad: int, replications: int, days: int, seed: int) -> Row:
    """Judge some replications side by side, and look every day."""
    rng, shape = np.random.default_rng(seed), (replications, slices)
    streams = Streams(Promise(mode=Mode.LIFE, threshold=1 / RATE))
    share = np.log((1.0 - RESERVE) / slices)
    state = streams.start(replications * slices)
    watch = Guardrail(limit=LIMIT, promise=parse("5% ever"))
    overall: list[Array] = []
    wrong, first, half = (
        np.zeros((days, replications)),
        np.full(replications, np.inf),
        np.full(replications, np.inf),
    )
    alone = np.zeros(replications, dtype=bool)
    for day in range(days):
        found = losses(rng, shape, bad, day)
        overall.append(found.mean(axis=1))
        state = streams.update_together(state, found.reshape(1, -1) / LIMIT)
        logs = np.asarray(log_mean(streams.log_wealth(state))).reshape(shape)
        alone |= (logs[:, bad:] >= -np.log(RATE)).any(axis=1)
        for place in range(replications):
            named = believed(logs[place] + share, -np.log(RATE))
            right = int(np.count_nonzero(named < bad))
            wrong[day, place] = (len(named) - right) / max(len(named), 1)
            if right and not np.isfinite(first[place]):
                first[place] = day + 1 - CHANGE_AT
            if bad and right >= bad / 2 and not np.isfinite(half[place]):
                half[place] = day + 1 - CHANGE_AT
    means = np.stack(overall, axis=1)
    crossed = [watch.update(watch.start(), each)[1].crossed_at for each in means]
    return Row(
        slices=slices, bad=bad, named_wrongly=float(wrong.mean(axis=1).max()),
        ever_wrongly=float((wrong > 0).any(axis=0).mean()), days_to_first=_median(first),
        days_to_half=_median(half), alone_wrongly=float(alone.mean()),
        all_rows_days=_median(np.array([np.inf if at is None else at + 1.0 - CHANGE_AT for at in crossed])),
    )  # fmt: skip


def settings() -> Iterator[tuple[int, int]]:
    """Slices, and how many of them are bad."""
    for count in COUNTS:
        for share in BAD_SHARES:
            yield count, round(share * count)


def main(arguments: list[str] | None = None) -> None:
    """Print the figures."""
    parser = parser_of(__doc__, replications=100)
    parser.add_argument("--days", type=int, default=365)
    args = parser.parse_args(arguments)
    rows = [asdict(measure(*each, args.replications, args.days, args.seed)) for each in settings()]
    if args.json:
        print(json.dumps({"bench": "slices", "rows": rows}))
        return
    print("  ".join(f"{name:>14}" for name in rows[0]))
    for row in rows:
        print("  ".join(f"{'-' if value is None else format(value, '.4g'):>14}" for value in row.values()))


def _median(days: Array) -> float | None:
    found = float(np.median(days))
    return found if np.isfinite(found) else None


if __name__ == "__main__":
    main()
