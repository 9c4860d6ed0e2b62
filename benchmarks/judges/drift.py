"""Drift: false alarms over 10,000 healthy rows, rows until a change is seen, and what people configure.

    python -m benchmarks.judges.drift [--replications 1000] [--delay-replications 200] [--seed 0] [--json]

Each replication has a reference of its own: 4,000 rows of four normal numbers and a category. A change comes
after 2,000 healthy rows; a delay is the median number of rows after it, "never" if fewer than half of the
streams alarm within 10,000 more. The peers compare each window of 1,000 rows with the reference, feature by
feature: Kolmogorov-Smirnov for numbers and chi-square for categories at 5%, the same with Bonferroni over the
features, and a population stability index above 0.2.

`by block`: 300 days of 100 rows that share their day's shock, against 60 reference days. `cannot tell`: cases
in which a watch of drift is blind, or can show nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from scipy import stats

from benchmarks.judges.command import parser_of
from lossloop.core.profile import Profile
from lossloop.judges import Averages, BlockDrift, Domain, Drift, parse, profile_of
from lossloop.judges.bins import Bins, bins_of, values_of

Array = npt.NDArray[np.float64]
Columns = Mapping[str, npt.NDArray[Any]]

REFERENCE, HEALTHY, HORIZON, WINDOW = 4_000, 2_000, 10_000, 1_000
TOLERANCE = 0.02
RATE, EVER = "1 per 200,000 predictions", "5% ever"
NAMES = np.array(["a", "b", "c", "d"], dtype=object)
CHANGES: Mapping[str, Mapping[str, float]] = {
    "mean +0.25 sigma": {"shift": 0.25},
    "mean +0.5 sigma": {"shift": 0.5},
    "mean +1 sigma": {"shift": 1.0},
    "spread x1.5": {"spread": 1.5},
    "10% of rows far below": {"tail": 0.1},
    "5% missing": {"missing": 0.05},
    "share .4 becomes .3": {"share": 0.3},
    "correlation 0 becomes .5": {"joined": 0.5},
    "parity of three": {"parity": 1.0},
}
Alarms = dict[str, float]
"""When each detector alarms, in rows from 1; infinite where it does not."""


def columns(
    rng: np.random.Generator, rows: int, *, shift: float = 0.0, spread: float = 1.0, tail: float = 0.0,
    missing: float = 0.0, share: float = 0.4, joined: float = 0.0, parity: float = 0.0,
) -> dict[str, npt.NDArray[Any]]:  # fmt: skip
    """Four standard normal numbers and a category, changed as asked; a change is one of the first numbers."""
    x = rng.normal(size=(rows, 4))
    x[:, 1] = joined * x[:, 0] + np.sqrt(1.0 - joined**2) * x[:, 1]
    if parity:
        x[:, 2] = np.abs(x[:, 2]) * np.sign(x[:, 0] * x[:, 1])
    x[:, 0] = shift + spread * x[:, 0]
    x[rng.random(rows) < tail, 0] = -4.0
    x[rng.random(rows) < missing, 0] = np.nan
    rest = 1.0 - share
    kinds = rng.choice(NAMES, rows, p=[share, rest / 2, rest / 3, rest / 6])
    return {**{f"x{place}": x[:, place] for place in range(4)}, "kind": kinds}


def binned(profile: Profile, found: Columns) -> Bins:
    """The bins of rows, shape (n, features)."""
    return np.column_stack(
        [bins_of(feature, values_of(found[feature.name], feature.name)) for feature in profile.features]
    )


def ours(profile: Profile) -> dict[str, Drift]:
    """The judges that are measured."""
    domain = Domain.of(profile, profile.features)
    made = {
        "rate, A=2e5": (RATE, None),
        "life, alpha=.05": (EVER, None),
        "rate, A=2e5, joint": (RATE, domain),
    }
    return {
        name: Drift(features=profile.features, tolerance=TOLERANCE, promise=parse(promise), joint=joint)
        for name, (promise, joint) in made.items()
    }


def alarms(judges: Mapping[str, Drift], reference: Columns, profile: Profile, rows: Columns) -> Alarms:
    """When each detector alarms on a stream."""
    bins = binned(profile, rows)
    found: Alarms = {}
    for name, judge in judges.items():
        crossed = judge.update(judge.start(), bins)[1].crossed_at
        found[name] = np.inf if crossed is None else crossed + 1.0
    return found | _peers(reference, rows)


def _peers(reference: Columns, rows: Columns) -> Alarms:
    found = dict.fromkeys(("KS, 5%", "KS, 5%, Bonferroni", "PSI > 0.2"), np.inf)
    for end in range(WINDOW, len(rows["kind"]) + 1, WINDOW):
        window = {name: values[end - WINDOW : end] for name, values in rows.items()}
        least = min(_p_value(reference[name], window[name]) for name in rows)
        most = max(_psi(reference[name], window[name]) for name in rows)
        shown = (least < 0.05, least < 0.05 / len(rows), most > 0.2)
        for name, alarm in zip(found, shown, strict=True):
            found[name] = min(found[name], float(end) if alarm else np.inf)
    return found


def _p_value(reference: npt.NDArray[Any], window: npt.NDArray[Any]) -> float:
    if reference.dtype.kind == "O":
        counts = [[int((part == name).sum()) for name in NAMES] for part in (reference, window)]
        return float(stats.chi2_contingency(counts).pvalue)
    there = window[~np.isnan(window)]
    return float(stats.ks_2samp(reference, there, method="asymp").pvalue)


def _psi(reference: npt.NDArray[Any], window: npt.NDArray[Any]) -> float:
    """Over deciles of the reference, or categories; empty cells count as one in ten thousand."""
    if reference.dtype.kind == "O":
        old, new = (np.array([(part == name).mean() for name in NAMES]) for part in (reference, window))
    else:
        cuts = np.quantile(reference, np.arange(1, 10) / 10)
        old, new = (
            np.bincount(np.searchsorted(cuts, part[~np.isnan(part)]), minlength=10) / len(part)
            for part in (reference, window)
        )
    old, new = np.maximum(old, 1e-4), np.maximum(new, 1e-4)
    return float(((new - old) * np.log(new / old)).sum())


def _reference(rng: np.random.Generator) -> tuple[Columns, Profile]:
    found = columns(rng, REFERENCE)
    return found, profile_of(found, blocks=np.arange(REFERENCE) // 100)


def false_alarms(replications: int, seed: int) -> dict[str, float]:
    """The share of healthy streams with an alarm within the horizon, by detector."""
    made = []
    for replication in range(replications):
        rng = np.random.default_rng([seed, 0, replication])
        reference, profile = _reference(rng)
        made.append(alarms(ours(profile), reference, profile, columns(rng, HORIZON)))
    return {name: float(np.mean([np.isfinite(each[name]) for each in made])) for name in made[0]}


def delays(replications: int, seed: int, changes: Sequence[str]) -> dict[str, dict[str, float | None]]:
    """The median delay by detector and change, over streams without an alarm before it; None for never."""
    found: dict[str, dict[str, list[float]]] = {}
    for replication in range(replications):
        rng = np.random.default_rng([seed, 1, replication])
        reference, profile = _reference(rng)
        judges = ours(profile)
        for change in changes:
            healthy, changed = columns(rng, HEALTHY), columns(rng, HORIZON, **CHANGES[change])
            rows = {name: np.concatenate((healthy[name], changed[name])) for name in healthy}
            for name, at in alarms(judges, reference, profile, rows).items():
                found.setdefault(name, {}).setdefault(change, []).append(at - HEALTHY)
    return {name: {change: _median(found[name][change]) for change in changes} for name in found}


def _median(times: Sequence[float]) -> float | None:
    after = [time for time in times if time > 0.0]
    middle = float(np.median(after)) if after else np.inf
    return middle if np.isfinite(middle) else None


def by_block(replications: int, seed: int) -> dict[str, float]:
    """Days that share a shock: false alarms in 300 healthy days, and days to see the mean rise."""
    false, rowwise, waits, effects = [], [], [], []
    few: dict[int, list[bool]] = {rows: [] for rows in (10, 1)}
    for replication in range(replications):
        rng = np.random.default_rng([seed, 2, replication])

        def days(count: int, shift: float = 0.0, rng: np.random.Generator = rng) -> Array:
            shocks = rng.normal(shift, 0.5, (count, 1, 4))
            return shocks + rng.normal(size=(count, 100, 4))

        profile = profile_of(_named(days(60)), blocks=np.repeat(np.arange(60), 100), joint=False)
        effects.append(max(feature.design_effect for feature in profile.features))
        judge = BlockDrift(
            features=profile.features, tolerance=TOLERANCE, promise=parse("1 per 3650 blocks"), usual=100
        )
        healthy = days(300)
        means = _means(judge, profile, healthy)
        _, verdict = judge.update(judge.start(), _averages(means, 100))
        false.append(verdict.crossed_at is not None)
        for rows, found in few.items():
            means_of_few = _means(judge, profile, days(300)[:, :rows])
            _, verdict = judge.update(judge.start(), _averages(means_of_few, rows))
            found.append(verdict.crossed_at is not None)
        changed = np.concatenate((means[:30], _means(judge, profile, days(300, 1.0))))
        _, verdict = judge.update(judge.start(), _averages(changed, 100))
        waits.append(np.inf if verdict.crossed_at is None else verdict.crossed_at - 29.0)
        rowwise.append(_alarms_by_row(profile, healthy))
    return {
        "design effect": float(np.mean(effects)),
        "false alarms in 300 days, by block": float(np.mean(false)),
        **{
            f"false alarms in 300 days of {rows} rows, by block": float(np.mean(found))
            for rows, found in few.items()
        },
        "false alarms in 300 days, by row": float(np.mean(rowwise)),
        "days to see +2 sigma of a day": float(np.median(waits)),
    }


def _averages(means: Array, rows: int) -> Averages:
    return Averages(mean=means, rows=np.full(len(means), float(rows)))


def _named(days: Array) -> dict[str, Array]:
    flat = days.reshape(-1, days.shape[-1])
    return {f"x{place}": flat[:, place] for place in range(flat.shape[1])}


def _means(judge: BlockDrift, profile: Profile, days: Array) -> Array:
    rows = judge.statistics(binned(profile, _named(days)))
    return np.asarray(rows.reshape(len(days), -1, rows.shape[1]).mean(axis=1))


def _alarms_by_row(profile: Profile, days: Array) -> bool:
    """What judging by row would have done, had it not been refused."""
    features = tuple(msgspec.structs.replace(feature, design_effect=1.0) for feature in profile.features)
    judge = Drift(features=features, tolerance=TOLERANCE, promise=parse("1 per 365,000 predictions"))
    return judge.update(judge.start(), binned(profile, _named(days)))[1].crossed_at is not None


def cannot_tell(replications: int, seed: int) -> dict[str, float]:
    """Shares of 10,000 rows' streams in which a change is seen where little, or nothing, can be."""
    seen: dict[str, list[bool]] = {}
    for replication in range(replications):
        rng = np.random.default_rng([seed, 3, replication])
        _, profile = _reference(rng)
        few = columns(rng, 200)
        small = profile_of(few, blocks=np.arange(200) // 10)
        judges = ours(profile)
        alone, jointly = judges["rate, A=2e5"], judges["rate, A=2e5, joint"]
        cases = (
            ("+0.25 sigma, reference of 4,000 rows", alone, profile, {"shift": 0.25}),
            ("+0.25 sigma, reference of 200 rows", ours_of(small), small, {"shift": 0.25}),
            ("within the tolerance: +0.05 sigma", alone, profile, {"shift": 0.05}),
            ("correlation .5, feature by feature", alone, profile, {"joined": 0.5}),
            ("correlation .5, jointly", jointly, profile, {"joined": 0.5}),
            ("parity of three, jointly", jointly, profile, {"parity": 1.0}),
        )
        for name, judge, known, change in cases:
            rows = binned(known, columns(rng, HORIZON, **change))
            seen.setdefault(name, []).append(judge.update(judge.start(), rows)[1].crossed_at is not None)
    return {name: float(np.mean(found)) for name, found in seen.items()}


def ours_of(profile: Profile) -> Drift:
    """The judge of a rate, feature by feature."""
    return Drift(features=profile.features, tolerance=TOLERANCE, promise=parse(RATE))


def main(arguments: list[str] | None = None) -> None:
    """Print the figures."""
    parser = parser_of(__doc__, replications=1000)
    parser.add_argument("--delay-replications", type=int, default=200)
    args = parser.parse_args(arguments)
    few = max(1, args.delay_replications // 2)
    shares = false_alarms(args.replications, args.seed)
    medians = delays(args.delay_replications, args.seed, list(CHANGES))
    blocks, blind = by_block(few, args.seed), cannot_tell(few, args.seed)
    if args.json:
        found = {"false_alarms": shares, "delays": medians, "by_block": blocks, "cannot_tell": blind}
        print(json.dumps({"bench": "drift", **found}))
        return
    print(f"{'':26}" + "".join(f"{name:>20}" for name in shares))
    print(f"{'false alarms, 10,000 rows':26}" + "".join(f"{share:20.3f}" for share in shares.values()))
    for change in CHANGES:
        row = (medians[name][change] for name in shares)
        print(f"{change:26}" + "".join(f"{'never' if wait is None else f'{wait:.0f}':>20}" for wait in row))
    for title, figures in (("by block", blocks), ("seen, where little can be", blind)):
        print(f"\n{title}")
        for name, value in figures.items():
            print(f"  {name:45} {value:8.3f}")


if __name__ == "__main__":
    main()
