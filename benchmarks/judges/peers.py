"""The judges beside what others use, on the same streams: as people configure them, and tuned.

    python -m benchmarks.judges.peers [--streams 400] [--seed 0] [--json]

Nine cells: the risk of .10 becomes .12, .15 or .20 after 0, 2,000 or 10,000 healthy outcomes. The first
table has every peer as its defaults or its documentation have it; the second has those that can be tuned,
each to 5% false alarms in 10,000 outcomes on streams of this very simulation, as nobody can in production.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict

import numpy as np

from benchmarks.judges.command import parser_of
from lossloop.app.bench.contest import ours, peers
from lossloop.app.bench.contest.cells import (
    CELLS,
    HORIZON,
    Array,
    Detector,
    Flags,
    Row,
    ahead,
    compete,
    healthy,
)
from lossloop.judges import parse

UNTIL = 20_000
SLOW = ("KSWIN",)
TUNED_TO = 0.05
TWO = ("1 per 400,000 outcomes", "2.5% ever")
_ADWIN = (0.002, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
_DDM = (3.0, 3.25, 3.5, 3.75, 4.0, 4.5, 5.0)
_WINDOWS = tuple(above / 100.0 for above in range(110, 260, 10))
_CHUNKS = tuple(1.0 + step / 10.0 for step in range(41))
_PAGE_HINKLEY = (5.0, 8.0, 10.0, 12.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 70.0)


def ours_all(streams: int, until: int, seed: int) -> list[Row]:
    """A row for each of our promises, and one for two watches that share the 5%."""
    judges = {name: ours.judge(promise) for name, promise in ours.PROMISES.items()}
    judges[f"{TWO[0]} and {TWO[1]}"] = two_watches
    return [compete(name, judge, streams=streams, until=until, seed=seed) for name, judge in judges.items()]


def two_watches(losses: Flags) -> Array:
    """The first alarm of either: one is soon where the fault was there from the start, one where it comes."""
    found: Array = np.minimum(*(ours.judge(parse(promise))(losses) for promise in TWO))
    return found


def as_configured(streams: int, until: int, seed: int) -> list[Row]:
    """A row for each peer."""
    return [
        compete(
            name, detect, streams=max(5, streams // 8) if name in SLOW else streams, until=until, seed=seed
        )
        for name, detect in peers.as_configured(seed).items()
    ]


def tuned(streams: int, until: int, seed: int, *, learners: int) -> list[Row]:
    """A row for each peer that can be tuned; on streams of another seed, so that the share is not its own."""
    learn = healthy(learners, seed + 1)
    z = float(np.quantile(peers.t_test_peaks(learn, 100), 1.0 - TUNED_TO))
    chosen: dict[str, Detector] = {f"t-test every 100, z={z:.2f}": peers.peeked_t_test(every=100, z=z)}

    def choose(name: str, make: Callable[[float], Detector], values: tuple[float, ...]) -> None:
        """The first of values, from sensitive to dull, that has few enough false alarms; none if none has."""
        for value in values:
            if np.isfinite(make(value)(learn)).mean() <= TUNED_TO:
                chosen[name.format(value)] = make(value)
                return

    choose("ADWIN, delta={:g}", peers.adwin, _ADWIN[::-1])
    choose(
        "Page-Hinkley, delta=.01, threshold={:g}",
        lambda value: peers.page_hinkley(delta=0.01, threshold=value),
        _PAGE_HINKLEY,
    )
    choose("DDM, {:g} deviations", peers.ddm, _DDM)
    choose("windows: 4 above {:g}x", lambda value: peers.failed_windows(above=value, needed=4), _WINDOWS)
    choose(
        "chunks of 1,000 above {:g} deviations",
        lambda value: peers.chunk_limits(1_000, deviations=value, chunks=100),
        _CHUNKS,
    )
    return [compete(name, detect, streams=streams, until=until, seed=seed) for name, detect in chosen.items()]


def heavy_tails(streams: int, seed: int) -> dict[str, float]:
    """Shares of healthy streams of lognormal losses (sigma 1.5) with an alarm within the horizon."""
    losses = np.random.default_rng([seed, 9]).lognormal(-1.125, 1.5, (streams, HORIZON))
    named = peers.as_configured(seed)
    found = {name: named[name](losses) for name in ("ADWIN", "Page-Hinkley")}
    found[ours.OURS] = ours.judge(ours.PROMISES[ours.OURS], limit=1.0)(losses)
    return {name: float(np.isfinite(alarms).mean()) for name, alarms in found.items()}


def printed(title: str, rows: list[Row]) -> None:
    """A table in Markdown."""
    print(f"\n{title}\n")
    print("| detector | FA | " + " | ".join(str(cell) for cell in CELLS) + " |")
    print("|---" * (2 + len(CELLS)) + "|")
    for row in rows:
        delays = " | ".join("never" if np.isinf(delay) else f"{delay:,.0f}" for delay in row.delays)
        print(f"| {row.detector} | {row.false_alarms:.3f} | {delays} |")


def main(arguments: list[str] | None = None) -> None:
    """Print both tables."""
    parser = parser_of(__doc__)
    parser.add_argument("--streams", type=int, default=400)
    parser.add_argument("--until", type=int, default=UNTIL, help="outcomes after the change")
    parser.add_argument("--learners", type=int, default=400, help="healthy streams to tune on")
    args = parser.parse_args(arguments)
    mine = ours_all(args.streams, args.until, args.seed)
    others = as_configured(args.streams, args.until, args.seed)
    fitted = tuned(args.streams, args.until, args.seed, learners=args.learners)
    (held,) = [row for row in mine if row.detector == ours.OURS]
    first, second = ahead(held, others), ahead(held, fitted)
    heavy = heavy_tails(args.streams, args.seed)
    if args.json:
        tables = {"ours": mine, "as_configured": others, "tuned": fitted}
        found = {name: [asdict(row) for row in rows] for name, rows in tables.items()}
        cells = {"ahead": [str(cell) for cell in first], "ahead_of_tuned": [str(cell) for cell in second]}
        print(json.dumps({"bench": "peers", **found, **cells, "heavy_tails": heavy}))
        return
    print(f"FA: share of healthy streams with an alarm in {HORIZON:,} outcomes; else median delays.")
    printed("As people configure them", [*mine, *others])
    printed("Tuned on this simulation", fitted)
    print("\nFalse alarms on lognormal losses")
    print(", ".join(f"{name} {share:.3f}" for name, share in heavy.items()))
    print(f"\n{held.detector} is ahead in {len(first)} cells, of the tuned peers in {len(second)}.")


if __name__ == "__main__":
    main()
