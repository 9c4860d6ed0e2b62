"""The demo's flights by carrier and by origin: which slices a stale model fails first, and when.

    python -m benchmarks.judges.flight_slices [--json]

Trained on January and February, judged in days from March on against each slice's own reference, with a
tolerance of .02. Needs the extra `demo`.
"""

from __future__ import annotations

import json
from datetime import date

import msgspec
import numpy as np
import numpy.typing as npt

from benchmarks.judges.command import parser_of
from lossloop.app.demo.flights import CALENDAR, between, load
from lossloop.app.demo.train import cross_validate, fit, inputs
from lossloop.core.clock import DAY
from lossloop.core.records import VerdictKind
from lossloop.judges import (
    Regression,
    SliceLosses,
    Slices,
    block_means,
    bound_of_blocks,
    parse,
    reference_of_blocks,
    slice_references,
)
from lossloop.losses import parse as parse_loss

Array = npt.NDArray[np.float64]


def flights() -> dict[str, object]:
    """The demo's flights: trained on January and February, judged in days from March on, tolerance .02."""
    loss = parse_loss("log_loss(cap=5)")
    table = load()
    train = between(table, date(2013, 1, 1), date(2013, 2, 28))
    rest = between(table, date(2013, 3, 1), date(2013, 12, 31))
    train, rest = (part.filter(part["late"].is_valid()) for part in (train, rest))
    labels = [np.asarray(part["late"].to_numpy(), dtype=np.float64) for part in (train, rest)]
    days = [np.asarray(CALENDAR.blocks(part["time"].to_numpy()) // DAY) for part in (train, rest)]
    held_out = np.asarray(loss(labels[0], cross_validate(*inputs(train), labels[0], days[0])))
    lost = np.asarray(loss(labels[1], fit(*inputs(train), labels[0]).predict(*inputs(rest))))
    named = [
        {name: [f"{name}={value}" for value in part[name].to_pylist()] for name in ("carrier", "origin")}
        for part in (train, rest)
    ]
    references = {
        name: bound
        for each in named[0].values()
        for name, part in slice_references(held_out, each, days[0]).items()
        if (bound := bound_of_blocks(part)) is not None
    }
    whole = reference_of_blocks(block_means(held_out, days[0]).mean)
    judge = Slices(
        reference=whole, references=references, tolerance=0.02, promise=parse("5% false among alarms")
    )
    evidence = by_day(lost, days[1], named[1])
    state, verdict = judge.update(judge.start(), evidence)
    worse = Regression(reference=whole, tolerance=0.02, promise=parse("5% ever"))
    alarm = worse.update(worse.start(), block_means(lost, days[1]).mean)[1].crossed_at
    standing: dict[str, int] = {}
    so_far = judge.start()
    for day in range(len(evidence)):
        so_far, _ = judge.update(so_far, evidence[day : day + 1])
        for each in judge.findings(so_far):
            if each.kind is VerdictKind.ALARM:
                standing.setdefault(each.slice, day + 1)
    return {
        "alarm_day": None if verdict.crossed_at is None else verdict.crossed_at + 1,
        "all_rows_alarm_day": None if alarm is None else alarm + 1,
        "first_named_on_day": standing,
        "slices": [msgspec.to_builtins(each) for each in judge.findings(state)],
    }


def by_day(lost: Array, days: npt.NDArray[np.int64], named: dict[str, list[str]]) -> SliceLosses:
    """Rows by day and slice, shape (n,) each."""
    names = tuple(sorted({name for each in named.values() for name in each}))
    first, count = int(days.min()), len(np.unique(days))
    entries = []
    for each in named.values():
        places = np.searchsorted(names, each)
        found = block_means(lost, (days - first) * len(names) + places)
        entries.append((found.block // len(names), found.block % len(names), found.mean, found.rows))
    moment, place, loss, rows = (np.concatenate(column) for column in zip(*entries, strict=True))
    order = np.argsort(moment, kind="stable")
    return SliceLosses(
        names=names, moment=moment[order], place=place[order], loss=loss[order], rows=rows[order],
        labelled=rows[order], total=np.bincount(days - first, minlength=count),
    )  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Print what was found."""
    args = parser_of(__doc__, seeded=False).parse_args(arguments)
    figures = flights()
    print(json.dumps({"bench": "flight_slices", "figures": figures}, indent=None if args.json else 1))


if __name__ == "__main__":
    main()
