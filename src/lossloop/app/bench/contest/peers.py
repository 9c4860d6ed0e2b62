"""What others use, as people configure it: each turns losses of 0 or 1 into the time of its first alarm.

River's detectors are River's own (the extra `peers`). The rules of Argo Rollouts, Flagger and NannyML are
written out, as their packages need a cluster or gigabytes; each is told the true risk where it needs one.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from lossloop.app.bench.contest.cells import RISK, Detector, Flags
from lossloop.core.errors import StateError

Array = npt.NDArray[np.float64]

KSWIN_WINDOW, KSWIN_RECENT, KSWIN_LEVEL = 100, 30, 0.005
"""River's defaults."""


class _Watching(Protocol):
    """What River's detectors have in common."""

    @property
    def drift_detected(self) -> bool: ...

    def update(self, x: float) -> object: ...


def as_configured(seed: int = 0) -> Mapping[str, Detector]:
    """Every peer as its documentation or its defaults have it; the seed is for those that draw lots.

    Raises:
        StateError: River is not installed.
    """
    drift, binary = _river()
    return {
        "ADWIN": _each(drift.ADWIN),
        "Page-Hinkley": _each(drift.PageHinkley),
        "DDM": _each(binary.DDM),
        "KSWIN": kswin(seed),
        "t-test every 100, z=1.645": peeked_t_test(every=100, z=1.645),
        "Argo: 3 failures allowed, 1.2x": failed_windows(above=1.2, needed=4),
        "Argo: 3 failures allowed, 2x": failed_windows(above=2.0, needed=4),
        "Flagger: 5 failed checks, 1.2x": failed_windows(above=1.2, needed=5),
        "Flagger: 5 failed checks, 2x": failed_windows(above=2.0, needed=5),
        "NannyML, chunks of 1,000": chunk_limits(1_000, seed=seed),
        "NannyML, chunks of 5,000": chunk_limits(5_000, seed=seed),
    }


def adwin(delta: float) -> Detector:
    """River's ADWIN at that confidence."""
    drift, _ = _river()
    return _each(lambda: drift.ADWIN(delta=delta))


def page_hinkley(*, delta: float, threshold: float) -> Detector:
    """River's Page-Hinkley test for a rise."""
    drift, _ = _river()
    return _each(lambda: drift.PageHinkley(delta=delta, threshold=threshold, alpha=1.0, mode="up"))


def ddm(threshold: float) -> Detector:
    """River's DDM with an alarm at so many standard deviations."""
    _, binary = _river()
    return _each(lambda: binary.DDM(drift_threshold=threshold))


def peeked_t_test(*, every: int, z: float) -> Detector:
    """The usual one-sided test of "the mean is at most .10" over all outcomes so far, looked at at times."""

    def detect(losses: Flags) -> Array:
        excess, error = _looked_at(losses, every)
        return _first(excess > z * error, every)

    return detect


def t_test_peaks(losses: Flags, every: int) -> Array:
    """The largest statistic that such a test would have shown in each stream."""
    excess, error = _looked_at(losses, every)
    found: Array = np.where(error > 0.0, excess / np.maximum(error, 1e-12), -np.inf).max(axis=1)
    return found


def failed_windows(*, above: float, needed: int, size: int = 100) -> Detector:
    """An alarm once `needed` windows had a risk above so many times .10: what Argo and Flagger count."""

    def detect(losses: Flags) -> Array:
        failed = _counts(losses, size) > above * RISK * size + 1e-9
        return _first(np.cumsum(failed, axis=1) >= needed, size)

    return detect


def chunk_limits(size: int, *, deviations: float = 3.0, seed: int = 0, chunks: int = 10) -> Detector:
    """NannyML's rule: a chunk's mean above that of reference chunks and three standard deviations of theirs.

    Every stream has a reference of its own; an alarm below the lower limit is not counted.
    """

    def detect(losses: Flags) -> Array:
        rng = np.random.default_rng([seed, 7, size])
        reference = rng.binomial(size, RISK, (len(losses), chunks)) / size
        limits = reference.mean(axis=1) + deviations * reference.std(axis=1)
        return _first(_counts(losses, size) / size > limits[:, None], size)

    return detect


def kswin(seed: int = 0) -> Detector:
    """KSWIN as River has it by default, on losses of 0 or 1, many streams at once.

    A sample of the older window and the newest outcomes are compared by the ones in each; River's test of
    these counts is tabulated, since it takes a third of a millisecond.
    """

    def detect(losses: Flags) -> Array:
        table = kswin_decisions()
        rng = np.random.default_rng([seed, 8])
        ones = np.cumsum(losses, axis=1, dtype=np.int32)
        older = KSWIN_WINDOW - KSWIN_RECENT
        found, running = np.full(len(losses), np.inf), np.arange(len(losses))
        for end in range(KSWIN_WINDOW - 1, losses.shape[1]):
            recent = ones[running, end] - ones[running, end - KSWIN_RECENT]
            before = ones[running, end - KSWIN_WINDOW] if end >= KSWIN_WINDOW else 0
            old = ones[running, end - KSWIN_RECENT] - before
            sampled = rng.hypergeometric(old, older - old, KSWIN_RECENT)
            over = table[sampled, recent]
            if over.any():
                found[running[over]] = end + 1.0
                running = running[~over]
        return found

    return detect


@lru_cache(maxsize=1)
def kswin_decisions() -> npt.NDArray[np.bool_]:
    """Whether KSWIN sees a change, by the ones among 30 sampled and among the 30 newest outcomes."""
    stats = _scipy_stats()
    table = np.zeros((KSWIN_RECENT + 1, KSWIN_RECENT + 1), dtype=np.bool_)
    for one in range(KSWIN_RECENT + 1):
        for other in range(KSWIN_RECENT + 1):
            both = [(np.arange(KSWIN_RECENT) < ones).astype(np.float64) for ones in (one, other)]
            with warnings.catch_warnings():  # as River does: it says when it turns to the large-sample law
                warnings.simplefilter("ignore", category=RuntimeWarning)
                found = stats.ks_2samp(*both, method="auto")
            table[one, other] = found.pvalue <= KSWIN_LEVEL and found.statistic > 0.1
    return table


def _each(make: Callable[[], _Watching]) -> Detector:
    """A detector that takes one outcome after another, over every stream."""

    def first(losses: list[float]) -> float:
        detector = make()
        for place, loss in enumerate(losses, start=1):
            detector.update(loss)
            if detector.drift_detected:
                return float(place)
        return np.inf

    def detect(losses: npt.NDArray[np.generic]) -> Array:
        numbers = losses.astype(np.int8) if losses.dtype == np.bool_ else losses
        return np.array([first(row.tolist()) for row in numbers])

    return detect


def _looked_at(losses: Flags, every: int) -> tuple[Array, Array]:
    """What the mean exceeds .10 by, and its standard error, at each look; shape (streams, looks)."""
    counts = np.cumsum(_counts(losses, every), axis=1)
    seen = every * np.arange(1.0, counts.shape[1] + 1.0)
    means = counts / seen
    return means - RISK, np.sqrt(means * (1.0 - means) / seen)


def _counts(losses: Flags, size: int) -> npt.NDArray[np.int64]:
    """The ones in each whole window of that size, shape (streams, windows)."""
    whole = losses.shape[1] // size
    counts: npt.NDArray[np.int64] = losses[:, : whole * size].reshape(len(losses), whole, size).sum(axis=2)
    return counts


def _first(over: npt.NDArray[np.bool_], size: int) -> Array:
    """When each stream's first window that is over ends, from 1; infinite for never."""
    if not over.shape[1]:
        return np.full(len(over), np.inf)
    return np.where(over.any(axis=1), size * (over.argmax(axis=1) + 1.0), np.inf)


def _river() -> tuple[Any, Any]:
    """River's two modules of detectors; they are not typed."""
    try:
        from river import drift
        from river.drift import binary
    except ImportError:
        raise _lacking("River") from None
    return drift, binary


def _scipy_stats() -> Any:
    try:
        from scipy import stats
    except ImportError:
        raise _lacking("SciPy") from None
    return stats


def _lacking(name: str) -> StateError:
    return StateError(f"{name} is not installed; the comparison needs: pip install 'lossloop[peers]'")
