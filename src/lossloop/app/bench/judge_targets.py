"""What every figure of the judges is, where it should be on one core, and what it is held against."""

from __future__ import annotations

from collections.abc import Mapping

from lossloop.app.bench.target import Target

TARGETS: Mapping[str, Target] = {
    "stream_100": Target(
        value=1_500_000, unit="outcomes/s", floor="NumPy: the sum of each of those batches",
        what="one stream of losses in batches of 100, judged exactly at every outcome",
    ),
    "stream_binary": Target(
        value=200_000_000, unit="outcomes/s", floor="NumPy: the ones of each of those batches, counted",
        what="one stream of losses of 0 or 1 in batches of 10,000, judged by their counts",
    ),
    "streams_10k": Target(
        value=4_000_000, unit="outcomes/s", floor="NumPy: the sum of each stream, by bincount",
        what="10,000 streams at once, about 100 outcomes of each a batch, judged exactly at every outcome",
    ),
    "single": Target(
        value=50_000, unit="outcomes/s", floor="NumPy: the same losses added up one by one",
        what="one stream, one outcome at a time",
    ),
    "backtest": Target(
        value=2_000_000, unit="outcomes/s", floor="NumPy: the mean loss in one pass over the same arrays",
        what="a policy with one watch of blocks tried on a ledger, days of 20,000 outcomes, from the first "
        "byte read",
    ),
    **{
        f"backtest_{kind}_rows": Target(
            value=2_000_000, unit="outcomes/s",
            floor="NumPy: the mean loss in one pass over the same arrays",
            what=f"the same with one {kind} watch of rows, judged exactly at every outcome",
        )
        for kind in ("guardrail", "regression", "seasonal", "baseline", "estimate")
    },
    "worst_delay_over_oracle": Target(
        value=1.4, unit="times", at_least=False,
        what="the mean delay from a fresh start, over that of a CUSUM that knows what is to come, at the "
        "worst of .12, .15 and .20; both allow one false alarm in 200,000 outcomes",
    ),
    "cells_ahead_of_peers": Target(
        value=8, unit="of 9 cells",
        what="cells in which the median delay is below that of every peer that, as people configure it, "
        "keeps its false alarms at or under 5% in 10,000 outcomes",
    ),
    "promises_broken": Target(
        value=0, unit="promises", at_least=False,
        what="promises of which simulated streams had more false alarms than they allow, by more than chance",
    ),
}  # fmt: skip
