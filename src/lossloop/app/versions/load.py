"""How fast the version answers, beside the champion in the same minute, and whether its memory grows.

Calls of both take turns, so that what else the machine does meets both alike. Processor time is that of this
thread: what a runtime computes in another process or thread is in its latency only.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lossloop.act.checks import Check, Checks, Status
from lossloop.app.versions.base import Arm, Case, Detail, Fitted, Shown, fitted, told
from lossloop.ledger.joined.columns import Floats
from lossloop.serve.runtimes import Columns

SIZES = (1, 64)
"""Rows of a call."""
FEWEST, MOST = 20, 2_000
"""Calls that are timed."""
WARM = 5
CALLS = 200
"""Calls between two looks at memory."""
_STATM = Path("/proc/self/statm")


class Timed(NamedTuple):
    """What calls of a size took."""

    median: float
    """Microseconds."""
    p95: float
    cpu: float
    """Microseconds of this thread's processor time for a row."""


def check(case: Case) -> Shown:
    """Time both, look at memory, and hold what was found against the policy's limits."""
    if case.version.runtime is None:
        return told(Check.LOAD, Status.NOT_TOLD, case.version.why_not)
    mine, theirs = _calls(case, case.version), _calls(case, case.champion)
    if mine is None:
        why = "neither a recent prediction nor a scenario has a row that the version takes"
        return told(Check.LOAD, Status.NOT_TOLD, why)
    arms = [mine] if theirs is None else [mine, theirs]
    try:
        figures, timed = _measured(arms, case.seconds)
    except Exception as error:  # noqa: BLE001 - whatever a model raises is what the check is about
        return told(Check.LOAD, Status.FAILED, f"raises {type(error).__name__}: {error}")
    status, why = judged(case.rules, figures, alone=case.champion is None)
    words = _words(figures)
    return told(Check.LOAD, status, f"{why}; {words}" if why else words, figures, [_detail(timed)])


def judged(rules: Checks, figures: dict[str, float], *, alone: bool = False) -> tuple[Status, str]:
    """How figures stand to a policy's limits; one that was not measured cannot be told.

    Args:
        rules: The limits.
        figures: What was measured.
        alone: Whether there is no champion to be slower than.
    """
    limits = (
        ("slower", rules.slower_at_most, "times the champion's latency"),
        ("p95_us_1", rules.p95_at_most, "us at the 95th percentile"),
        ("grew_bytes", rules.grows_at_most, "bytes more"),
    )
    written = [(name, limit, words) for name, limit, words in limits if limit is not None]
    asked = [each for each in written if not (alone and each[0] == "slower")]
    beyond = [
        f"{figures[name]:,.4g} {words}, at most {limit:,.4g} are allowed"
        for name, limit, words in asked
        if name in figures and figures[name] > limit
    ]
    if beyond:
        return Status.FAILED, "; ".join(beyond)
    unknown = [name for name, _, _ in asked if name not in figures]
    if unknown:
        return Status.NOT_TOLD, f"not measured: {', '.join(unknown)}"
    return (Status.PASSED if written else Status.REPORTED), ""


Call = Callable[[Columns], object]


class _Calls(NamedTuple):
    """A runtime and inputs of each size."""

    predict: Call
    inputs: dict[int, list[Columns]]


def _calls(case: Case, arm: Arm | None) -> _Calls | None:
    """Recent rows that a version takes, or those of scenarios; None where it cannot be run or takes none."""
    if arm is None or arm.runtime is None:
        return None
    sent = fitted(arm.manifest.features, case.recent.features, len(case.recent))
    rows = np.flatnonzero(sent.fits)
    if not len(rows) and arm is case.version and case.given[1]:
        columns, count = case.given
        sent, rows = Fitted(columns=columns, fits=np.ones(count, bool), wrong={}), np.arange(count)
    if not len(rows):
        return None
    inputs = {
        size: [
            sent.rows(np.resize(rows[start:], size)) for start in range(0, min(len(rows), 32 * size), size)
        ]
        for size in SIZES
    }
    return _Calls(predict=arm.runtime.predict, inputs=inputs)


def _measured(arms: list[_Calls], seconds: float) -> tuple[dict[str, float], dict[str, list[Timed]]]:
    figures: dict[str, float] = {}
    timed: dict[str, list[Timed]] = {}
    slower = []
    for size in SIZES:
        found = _timed(arms, size, seconds)
        timed[f"{size} row{'s' if size > 1 else ''}"] = found
        mine = found[0]
        figures |= {f"median_us_{size}": mine.median, f"p95_us_{size}": mine.p95, f"cpu_us_{size}": mine.cpu}
        if len(found) > 1:
            figures[f"slower_{size}"] = mine.median / found[1].median
            slower.append(figures[f"slower_{size}"])
    if slower:
        figures["slower"] = max(slower)
    if (grew := _growth(arms[0])) is not None:
        figures["grew_bytes"] = float(grew)
    return figures, timed


def _timed(arms: list[_Calls], size: int, seconds: float) -> list[Timed]:
    """What calls of a size took, of each arm; they take turns."""
    for each in arms:
        for number in range(WARM):
            each.predict(each.inputs[size][number % len(each.inputs[size])])
    took: list[list[tuple[float, float]]] = [[] for _ in arms]
    until = time.perf_counter() + seconds
    for number in range(MOST):
        if number >= FEWEST and time.perf_counter() > until:
            break
        for each, found in zip(arms, took, strict=True):
            columns = each.inputs[size][number % len(each.inputs[size])]
            cpu, began = time.thread_time(), time.perf_counter()
            each.predict(columns)
            found.append((time.perf_counter() - began, time.thread_time() - cpu))
    return [_stats(np.array(found) * 1e6, size) for found in took]


def _stats(found: Floats, size: int) -> Timed:
    wall, cpu = found[:, 0], found[:, 1]
    return Timed(
        median=float(np.median(wall)), p95=float(np.quantile(wall, 0.95)), cpu=float(cpu.mean()) / size
    )


def _growth(calls: _Calls) -> int | None:
    """Bytes that memory grew by between calls: after the first, which fill what is kept; None if unknown."""
    found = []
    for _ in range(2):
        for number in range(CALLS):
            calls.predict(calls.inputs[64][number % len(calls.inputs[64])])
        found.append(resident())
    return None if found[0] is None or found[1] is None else max(0, found[1] - found[0])


def resident() -> int | None:
    """Bytes of memory that this process has; None on systems without /proc."""
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


def _words(figures: dict[str, float]) -> str:
    parts = [f"one row {figures['median_us_1']:,.0f} us, 64 rows {figures['median_us_64']:,.0f} us (medians)"]
    if "slower" in figures:
        parts.append(f"{figures['slower']:.2f} times the champion's where it is slowest")
    if "grew_bytes" in figures:
        parts.append(f"memory grew by {figures['grew_bytes'] / 1e6:.1f} MB over {CALLS} calls of 64 rows")
    return ", ".join(parts)


def _detail(timed: dict[str, list[Timed]]) -> Detail:
    names = ("version", "champion")
    rows = tuple(
        (who, size, f"{each.median:,.1f}", f"{each.p95:,.1f}", f"{each.cpu:,.2f}")
        for size, found in timed.items()
        for who, each in zip(names, found, strict=False)
    )
    head = ("who", "rows", "median us", "95% us", "CPU us a row")
    return Detail(title="What calls took", head=head, rows=rows)
