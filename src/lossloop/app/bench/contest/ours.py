"""The judges as detectors on a matrix of streams."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lossloop.app.bench.contest.cells import RISK, Detector, Flags
from lossloop.judges import Promise, Streams, parse

Array = npt.NDArray[np.float64]

PROMISES = {
    "rate, A=2e5": parse("1 per 200,000 outcomes"),
    "rate, A=1e6": parse("1 per 1,000,000 outcomes"),
    "life, 5%": parse("5% ever"),
    "once, 5%": parse("5% once"),
}
OURS = "rate, A=2e5"
"""What the peers are held against: it allows 5% false alarms in 10,000 outcomes."""

_CHUNK = 250
_SIDE_BY_SIDE = 500


def judge(promise: Promise, *, limit: float = RISK) -> Detector:
    """A guardrail at `limit` under that promise."""

    def detect(losses: Flags) -> Array:
        groups = [losses[start : start + _SIDE_BY_SIDE] for start in range(0, len(losses), _SIDE_BY_SIDE)]
        return np.concatenate([first_alarms(Streams(promise), group, limit) for group in groups])

    return detect


def first_alarms(judge: Streams, losses: npt.NDArray[np.generic], limit: float) -> Array:
    """When each stream of losses, shape (streams, outcomes), first alarms, from 1; infinite for never."""
    found = np.full(len(losses), np.inf)
    state, running = judge.start(len(losses)), np.arange(len(losses))
    for start in range(0, losses.shape[1], _CHUNK):
        ratios = losses[running, start : start + _CHUNK].astype(np.float64).T / limit
        state = judge.update_together(state, ratios)
        over = state.crossed > 0
        if over.any():
            found[running[over]] = state.crossed[over]
            running, state = running[~over], state.rows(~over)
        if not len(running):
            break
    return found
