"""Estimated losses on the demo's real flights: where they are right, and where they are wrong.

    python -m benchmarks.judges.estimate_flights [--json]

The demo's first version is trained on January and February 2013 and calibrated on the days that each of its
folds has not seen. Each later month has the true mean log loss, the estimated one, which uses no label, and
the estimate by 5% of the labels, drawn at random, with and without the estimates. The last column is the
spread of that over 200 draws, with estimates and, in brackets, by labels alone.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmarks.judges.command import parser_of
from lossloop import losses
from lossloop.app.demo.flights import CALENDAR, between, load
from lossloop.app.demo.train import cross_validate, fit, inputs
from lossloop.core.clock import DAY
from lossloop.judges import calibration, expected_loss, probabilities

Floats = npt.NDArray[np.float64]

LOSS, CAP, RATE, DRAWS = "log_loss(cap=5)", 5.0, 0.05, 200
MONTHS = range(3, 13)


@dataclass(frozen=True)
class Month:
    """Mean losses of a month."""

    month: int
    rows: int
    true: float
    estimated: float
    audited: float
    spread: float
    spread_labels_alone: float


def months(which: range = MONTHS, seed: int = 0) -> list[Month]:
    """Every month behind the training, by the version that was trained before it."""
    table, loss = _labelled(load()), losses.parse(LOSS)
    trained = between(table, date(2013, 1, 1), date(2013, 2, 28))
    numbers, categories, late = *inputs(trained), _late(trained)
    days = CALENDAR.blocks(trained["time"].cast(pa.int64()).to_numpy()) // DAY
    estimate = calibration(late, cross_validate(numbers, categories, late, days), most=CAP)
    model, rng, found = fit(numbers, categories, late), np.random.default_rng(seed), []
    for month in which:
        rows = between(table, date(2013, month, 1), _end(month))
        chances, labels = model.predict(*inputs(rows)), _late(rows)
        costs = np.column_stack([loss(np.full(len(chances), float(k)), chances) for k in (0, 1)])
        f = expected_loss(estimate, probabilities(estimate, chances), costs)
        true = np.asarray(loss(labels, chances))
        draws = np.array([_audited(rng, f, true) for _ in range(DRAWS)])
        found.append(
            Month(
                month=month, rows=len(true), true=float(true.mean()), estimated=float(f.mean()),
                audited=float(draws[0, 0]), spread=float(draws[:, 0].std()),
                spread_labels_alone=float(draws[:, 1].std()),
            )
        )  # fmt: skip
    return found


def _audited(rng: np.random.Generator, f: Floats, true: Floats) -> tuple[float, float]:
    """The mean loss by estimates and audits, as the judge has it, and by the audited labels alone."""
    drawn = rng.random(len(f)) < RATE
    weight = drawn / RATE
    eta = float(np.clip((weight * f * true).mean() / (weight * f * f).mean(), 0.0, 1.0))
    return float((eta * f + weight * (true - eta * f)).mean()), float((weight * true).mean())


def _labelled(table: pa.Table) -> pa.Table:
    return table.filter(table["late"].is_valid())


def _late(table: pa.Table) -> Floats:
    return np.asarray(table["late"].cast(pa.float64()).to_numpy(), dtype=np.float64)


def _end(month: int) -> date:
    return date(2013 + month // 12, month % 12 + 1, 1) - timedelta(days=1)


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    args = parser_of(__doc__, seeded=False).parse_args(arguments)
    found = months()
    if args.json:
        print(json.dumps({"bench": "estimate_flights", "months": [asdict(month) for month in found]}))
        return
    print(f"{'month':>5} {'rows':>7} {'true':>7} {'estimated':>10} {'audited':>8} {'spread':>16}")
    for each in found:
        losses_of = f"{each.true:7.3f} {each.estimated:10.3f} {each.audited:8.3f}"
        spread = f"{each.spread:.4f} ({each.spread_labels_alone:.4f})"
        print(f"{each.month:5} {each.rows:7,} {losses_of} {spread:>16}")


if __name__ == "__main__":
    main()
