"""Latency and errors: do answers come in time, and do they come at all? No outcome is waited for."""

from __future__ import annotations

import numpy as np

from lossloop.act.watches import ErrorsWatch, LatencyWatch
from lossloop.app.judging import Lens
from lossloop.app.watches.base import Arrived
from lossloop.core.clock import format_duration
from lossloop.judges import Share, parse
from lossloop.ledger.joined.columns import Floats
from lossloop.registry import Version


class LatencyKind:
    """The share of answers that took longer than a limit."""

    asks = "latency_ms"
    shows_mean = True
    cannot_see = (
        "answers that do not say what they took, and those that failed: a service that gives up in time is "
        "never slow, so watch its errors beside; nor what lies around the model, as the network does"
    )

    def judge(self, lens: Lens, watch: LatencyWatch, champion: Version) -> Share:
        """See `OfArrivals`."""
        what = f"slower than {format_duration(watch.slower_than)}"
        return Share(limit=watch.tolerance, promise=parse(watch.promise), what=what)

    def evidence(self, lens: Lens, watch: LatencyWatch, champion: Version, arrived: Arrived) -> Floats:
        """See `OfArrivals`; whether each answer was slow, shape (n, 1)."""
        return slow(arrived, watch.slower_than / 1000.0)[:, None]

    def of_block(self, means: Floats, rows: int) -> Floats:
        """See `OfArrivals`; the share of slow ones."""
        return means


class ErrorsKind:
    """The share of predictions that failed."""

    asks = ""
    shows_mean = True
    cannot_see = (
        "failures that nobody recorded, as of a service that could not be reached or ended before it could "
        "say so; and answers that came and are wrong"
    )

    def judge(self, lens: Lens, watch: ErrorsWatch, champion: Version) -> Share:
        """See `OfArrivals`."""
        return Share(limit=watch.tolerance, promise=parse(watch.promise), what="failed")

    def evidence(self, lens: Lens, watch: ErrorsWatch, champion: Version, arrived: Arrived) -> Floats:
        """See `OfArrivals`; whether each prediction failed, shape (n, 1)."""
        return arrived.failed.astype(np.float64)[:, None]

    def of_block(self, means: Floats, rows: int) -> Floats:
        """See `OfArrivals`; the share of failures."""
        return means


def slow(arrived: Arrived, limit: float) -> Floats:
    """1 for an answer that took more than `limit` ms, 0 for one that did not, else NaN. Shape (n,)."""
    took = arrived.latency_ms
    if took is None:
        return np.full(len(arrived), np.nan)
    known = ~np.isnan(took) & ~arrived.failed
    return np.where(known, (took > limit).astype(np.float64), np.nan)
