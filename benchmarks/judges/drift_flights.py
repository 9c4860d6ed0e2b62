"""Drift on the demo's real flights: when it alarms, on what, and how little that says about the loss.

    python -m benchmarks.judges.drift_flights [--json]

The profile is of January and February, the watch goes from March to December in day blocks at `1 per 3650
blocks` and a tolerance of .02. Predictions are those of the demo's logistic regression: cross-validated in
the reference, of the model trained on it afterwards. Judged on its loss, that model alarms on 8 July.
"""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmarks.judges.command import parser_of
from lossloop.app.demo import train
from lossloop.app.demo.flights import CALENDAR, FEATURES, WEATHER, between, load
from lossloop.core.clock import DAY
from lossloop.core.profile import FeatureProfile, Profile
from lossloop.judges import Averages, BlockDrift, parse, profile_of
from lossloop.judges.bins import bins_of, values_of
from lossloop.registry import FeatureKind

Array = npt.NDArray[np.float64]
Columns = dict[str, npt.NDArray[Any]]

PROMISE, TOLERANCE = "1 per 3650 blocks", 0.02


def columns(table: pa.Table) -> Columns:
    """The features as NumPy arrays."""
    return {
        feature.name: table[feature.name].to_numpy()
        if feature.kind is FeatureKind.NUMBER
        else np.array(table[feature.name].to_pylist(), dtype=object)
        for feature in FEATURES
    }


def days_of(table: pa.Table) -> npt.NDArray[np.int64]:
    """The local day of each flight, since 1970."""
    days: npt.NDArray[np.int64] = CALENDAR.blocks(table["time"].to_numpy()) // DAY
    return days


def predicted(winter: pa.Table, rest: pa.Table) -> tuple[Array, Array]:
    """The model's answers on the reference, each by a model that has not seen its days, and afterwards."""
    labelled = winter.filter(winter["late"].is_valid())
    late = labelled["late"].to_numpy().astype(np.float64)
    numbers, categories = train.inputs(labelled)
    return (
        train.cross_validate(numbers, categories, late, days_of(labelled)),
        train.fit(numbers, categories, late).predict(*train.inputs(rest)),
    )


def watch(
    features: tuple[FeatureProfile, ...], usual: float, rows: Columns, days: npt.NDArray[np.int64]
) -> str:
    """When a watch alarms, and why."""
    judge = BlockDrift(features=features, tolerance=TOLERANCE, promise=parse(PROMISE), usual=usual)
    bins = [bins_of(feature, values_of(rows[feature.name], feature.name)) for feature in features]
    said = judge.statistics(np.column_stack(bins))
    names, block = np.unique(days, return_inverse=True)
    means = np.column_stack([np.bincount(block, weights=column) for column in said.T])
    rows_of = np.bincount(block).astype(np.float64)
    _, verdict = judge.update(judge.start(), Averages(mean=means / rows_of[:, None], rows=rows_of))
    if verdict.crossed_at is None:
        return f"no alarm; {verdict.reason}"
    day = date(1970, 1, 1) + timedelta(days=int(names[verdict.crossed_at]))
    return f"alarm on {day}; {verdict.reason}"


def figures() -> dict[str, str]:
    """What each watch said, by what it looked at."""
    year = load()
    winter = between(year, date(2013, 1, 1), date(2013, 2, 28))
    rest = between(year, date(2013, 3, 1), date(2013, 12, 31))
    before, after = predicted(winter, rest)
    labelled = winter.filter(winter["late"].is_valid())
    profile: Profile = profile_of(columns(winter), blocks=days_of(winter), joint=False)
    usual = profile.rows / profile.blocks
    answers = profile_of({}, predictions=before, blocks=days_of(labelled)).predictions
    rows, days = columns(rest), days_of(rest)
    without = tuple(feature for feature in profile.features if feature.name not in WEATHER)
    worst = max(profile.features, key=lambda feature: feature.design_effect)
    return {
        "all features": watch(profile.features, usual, rows, days),
        "features without weather": watch(without, usual, rows, days),
        "predictions": watch(answers, len(before) / profile.blocks, {"y_pred": after}, days),
        "largest design effect": f"{worst.design_effect:.0f}, of {worst.name}",
        "design effect of predictions": f"{answers[0].design_effect:.0f}",
    }


def main(arguments: list[str] | None = None) -> None:
    """Print what each watch said."""
    args = parser_of(__doc__, seeded=False).parse_args(arguments)
    found = figures()
    if args.json:
        print(json.dumps({"bench": "drift_flights", "figures": found}))
        return
    for name, said in found.items():
        print(f"{name:30} {said}")


if __name__ == "__main__":
    main()
