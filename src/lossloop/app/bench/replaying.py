"""How fast policies are tried on the past: a ledger of one champion, replayed under each kind of watch."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lossloop.act.policy import read_policy
from lossloop.app.backtest import Candidate, Question, backtest
from lossloop.app.bench.base import Part, Spread
from lossloop.app.bench.figure import Figure
from lossloop.app.bench.judge_base import JudgeBench
from lossloop.app.bench.judge_targets import TARGETS
from lossloop.app.books import Crowned, PolicyText
from lossloop.app.home import Home, init
from lossloop.app.reigns import crown
from lossloop.core.clock import DAY, HOUR
from lossloop.core.estimates import Estimate
from lossloop.ledger.joined.columns import Array, batch_of
from lossloop.registry import Manifest, Reference, versions

MODEL = "replayed"
_POLICY = """
model: replayed
task: binary
loss: log_loss(cap=5)
block: 1d
labels: {mature_after: 6h}
watches:
  risk: {kind: WATCH}
"""
ROWS = "promise: '1 per 200,000 outcomes'"
WATCHES: Mapping[str, str] = {
    "backtest": "guardrail, limit: 2.5, promise: 1 per 3650 blocks",
    "backtest_guardrail_rows": f"guardrail, limit: 1.5, {ROWS}",
    "backtest_regression_rows": f"regression, against: reference, tolerance: 0.5, {ROWS}",
    "backtest_seasonal_rows": f"seasonal, season: weekday, limit: 1.5, {ROWS}",
    "backtest_baseline_rows": f"baseline, tolerance: 0.5, {ROWS}",
    "backtest_estimate_rows": f"estimate, audit: 10%, limit: 1.5, {ROWS}",
}
"""Limits that are never reached, so that nothing is skipped because it was decided."""
REFERENCE = Reference(
    loss="log_loss(cap=5)", mean=1.0, rows=100_000, row_upper=1.02, block="1d",
    block_means=(0.99, 1.0, 1.01), design_effect=1.0, baseline=0.5, seasons={"weekday": (1.0,) * 7},
    estimate=Estimate(by="calibrated", most=5.0, knots=((0.0, 1.0),), values=((0.0, 1.0),)),
)  # fmt: skip
A_DAY = 20_000
"""Predictions a day."""
CHUNK = 100_000
IDS = tuple(WATCHES)

Floats = npt.NDArray[np.float64]


def measure(bench: JudgeBench) -> Iterator[Figure]:
    """From the first byte read to the last verdict, in processor time."""
    count, repeats = bench.sizes.outcomes, bench.sizes.repeats
    rng = np.random.default_rng(0)
    y_pred, y_true = rng.random(count), rng.integers(0, 2, count).astype(np.float64)
    floor = count / _bare(y_pred, y_true)
    with tempfile.TemporaryDirectory(prefix="lossloop-bench-") as folder:
        home = _home(Path(folder) / "state", y_pred, y_true)
        for id in IDS:
            bench.screen.phase(f"{id}: {repeats} times {count:,} outcomes")
            spread = Spread.of([count / _seconds(home, candidate(id)) for _ in range(repeats)])
            yield TARGETS[id].figure(
                id, spread.median, floor=floor, low=spread.low, high=spread.high, ratio=spread.median / floor
            )


def policy_of(id: str) -> str:
    """The policy that a figure tries, as text."""
    return _POLICY.replace("WATCH", WATCHES[id])


def candidate(id: str) -> Candidate:
    """The same, to be tried."""
    return Candidate(name="bench", policy=read_policy(policy_of(id)))


def _seconds(home: Home, candidate: Candidate) -> float:
    started = time.process_time()
    found = backtest(home, [candidate], Question(model=MODEL))
    (account,) = found.outcomes[0].accounts
    assert account.replayed.points, account.replayed.problems
    return max(time.process_time() - started, 1e-9)


def _bare(y_pred: Floats, y_true: Floats) -> float:
    """One NumPy pass over the same arrays: the mean of the loss."""
    started = time.process_time()
    right = np.where(y_true == 1.0, y_pred, 1.0 - y_pred)
    assert np.minimum(-np.log(np.maximum(right, 1e-15)), 5.0).mean() > 0.0
    return max(time.process_time() - started, 1e-9)


def _home(path: Path, y_pred: Floats, y_true: Floats) -> Home:
    """A state directory as the applier leaves it, in which one version was champion all the time."""
    home, count = init(path), len(y_pred)
    at = np.arange(count, dtype=np.int64) * (DAY // A_DAY) + DAY
    keys = np.arange(count, dtype=np.uint64)
    rows: dict[str, Array] = {
        "key_high": keys, "key_low": keys, "version": np.ones(count, np.int32),
        "role": np.zeros(count, np.int8), "at": at, "time": at, "block": at // DAY * DAY, "y_pred": y_pred,
    }  # fmt: skip
    labels: dict[str, Array] = {
        "seq": np.arange(1, count + 1), "y_true": y_true, "judged": y_true, "labelled_at": at + HOUR,
    }  # fmt: skip
    streams: dict[str, dict[str, Array]] = {f"rows/{MODEL}": rows, f"labels/{MODEL}": labels}
    state = home.writable_state()
    with state.transaction():
        for stream, columns in streams.items():
            for start in range(0, count, CHUNK):
                part = {name: values[start : start + CHUNK] for name, values in columns.items()}
                state.put_chunk(stream, start, batch_of(part))
        state.put("policy", MODEL, PolicyText(text=policy_of("backtest"), at=0))
        state.put("clock", "now", int(at[-1]) + 3 * DAY)
        versions.register(state, MODEL, Manifest(runtime="external", reference=REFERENCE), at=0)
        versions.enthrone(state, MODEL, 1, at=0, reason="")
        crown(state, MODEL, Crowned(version=1, at=0, seq=0, by_rollout=False))
    state.close()
    return home


PART = Part(ids=IDS, measure=measure)
