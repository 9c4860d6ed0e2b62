"""False alarms over healthy days of the demo's real flights, judged by day and by row (statistics.md, 2h).

    python -m benchmarks.judges.healthy_days [--replications 10000] [--by-row 40] [--seed 0] [--json]

The losses are those of the demo's logistic regression, each row by a model that has not seen its run of days:
on January and February, or on all of the year. Whole days of them are drawn with replacement, so nothing ever
gets worse, and rows keep what they share with their day. 300 such days are judged at a tolerance of .02:
against the reference of all the days, and of 59 days that are drawn anew each time and may be lucky ones.
By row the promise allows as many false alarms a day, and the reference is that of the rows. Needs the extra
`demo`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from functools import cached_property

import numpy as np
import numpy.typing as npt

from benchmarks.judges.command import parser_of
from lossloop.app.demo.flights import CALENDAR, between, load
from lossloop.app.demo.train import cross_validate, inputs
from lossloop.core.clock import DAY
from lossloop.core.records import VerdictKind
from lossloop.judges import (
    Guardrail,
    Streams,
    block_means,
    design_effect,
    parse,
    reference_of,
    reference_of_blocks,
)
from lossloop.losses import parse as parse_loss

Floats = npt.NDArray[np.float64]
Days = npt.NDArray[np.int64]

TOLERANCE, A, JUDGED = 0.02, 3650, 300
REFERENCE_DAYS = 59
PERIODS = {"winter": date(2013, 2, 28), "year": date(2013, 12, 31)}
"""The last day of each; the first is New Year's Day."""
CAP = 5.0


@dataclass(frozen=True)
class Past:
    """Held-out losses, shape (n,), and the day of each."""

    losses: Floats
    days: Days

    @cached_property
    def means(self) -> Floats:
        """Of each day, shape (days,)."""
        found: Floats = block_means(self.losses, self.days).mean
        return found

    @cached_property
    def by_day(self) -> list[Floats]:
        """The losses of each day."""
        order = np.argsort(self.days, kind="stable")
        cuts = np.flatnonzero(np.diff(self.days[order])) + 1
        return np.split(self.losses[order], cuts)


@dataclass(frozen=True)
class Figures:
    """Shares of the replications that alarmed within 300 days in which nothing had changed."""

    days: int
    rows_a_day: float
    design_effect: float
    promised: float
    """What the promise allows in 300 days: 300 / 3650."""
    by_day: float
    """Against the reference of all days."""
    by_day_reference_drawn: float
    """Against a reference of 59 days that are drawn too."""
    by_day_at_the_mean: float
    """At a limit that is their true mean, without a tolerance: the hardest healthy case that there is."""
    by_row: float
    by_row_limit_of_days: float
    """By row, at the wider limit that the days' reference gives."""
    by_row_days_to_alarm: float
    """Median of by_row."""


def flights(period: str) -> Past:
    """The demo's flights of a period."""
    table = between(load(), date(2013, 1, 1), PERIODS[period])
    table = table.filter(table["late"].is_valid())
    late = np.asarray(table["late"].to_numpy(), dtype=np.float64)
    days = np.asarray(CALENDAR.blocks(table["time"].to_numpy()) // DAY)
    loss = parse_loss(f"log_loss(cap={CAP:g})")
    return Past(np.asarray(loss(late, cross_validate(*inputs(table), late, days))), days)


def measure(past: Past, *, replications: int, by_row: int, seed: int) -> Figures:
    """All figures of one past."""
    rng = np.random.default_rng(seed)
    days, rows = len(past.means), len(past.losses) / len(past.means)
    limit = reference_of_blocks(past.means).upper + TOLERANCE
    narrow = reference_of(past.losses, bound=CAP).upper + TOLERANCE
    drawn = [reference_of_blocks(rng.choice(past.means, REFERENCE_DAYS)).upper for _ in range(replications)]
    waits = [_row_alarm(past, rng, narrow, rows) for _ in range(by_row)]
    wide = [_row_alarm(past, rng, limit, rows) for _ in range(by_row)]
    return Figures(
        days=days,
        rows_a_day=rows,
        design_effect=design_effect(past.losses, past.days),
        promised=JUDGED / A,
        by_day=_day_alarms(past, rng, np.full(replications, limit)),
        by_day_reference_drawn=_day_alarms(past, rng, np.array(drawn) + TOLERANCE),
        by_day_at_the_mean=_day_alarms(past, rng, np.full(replications, past.means.mean())),
        by_row=float(np.isfinite(waits).mean()),
        by_row_limit_of_days=float(np.isfinite(wide).mean()),
        by_row_days_to_alarm=float(np.median(waits)),
    )


def _day_alarms(past: Past, rng: np.random.Generator, limits: Floats) -> float:
    """The share of replications that alarm, one for each limit."""
    judge = Streams(parse(f"1 per {A} blocks"))
    losses = rng.choice(past.means, (JUDGED, len(limits)))
    state = judge.update_together(judge.start(len(limits)), losses / limits)
    return float((state.crossed > 0).mean())


def _row_alarm(past: Past, rng: np.random.Generator, limit: float, rows: float) -> float:
    """Days until judging one row after another alarms; infinite if it does not."""
    drawn = [past.by_day[day] for day in rng.integers(len(past.by_day), size=JUDGED)]
    judge = Guardrail(limit=limit, promise=parse(f"1 per {A * round(rows)} outcomes"))
    state = judge.start()
    for number, day in enumerate(drawn, 1):
        state, verdict = judge.update(state, day)
        if verdict.kind is VerdictKind.ALARM:
            return number
    return np.inf


def main(arguments: list[str] | None = None) -> None:
    """Print the figures."""
    parser = parser_of(__doc__, replications=10_000)
    parser.add_argument("--by-row", type=int, default=40)
    args = parser.parse_args(arguments)
    found = {
        period: vars(
            measure(flights(period), replications=args.replications, by_row=args.by_row, seed=args.seed)
        )
        for period in PERIODS
    }
    if args.json:
        print(json.dumps({"bench": "healthy_days", "figures": found}))
        return
    print(f"{'':24}" + "".join(f"{period:>10}" for period in found))
    for name in found["winter"]:
        print(f"{name:24}" + "".join(f"{figures[name]:10.3f}" for figures in found.values()))


if __name__ == "__main__":
    main()
