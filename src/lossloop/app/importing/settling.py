"""Waiting until the loop has folded what was imported."""

from __future__ import annotations

import time

from lossloop.app.home import Home
from lossloop.app.operate import PATIENCE, fold_here
from lossloop.ledger.base import Position


def settle(home: Home, position: Position) -> bool:
    """Wait until the loop has come to a place in the log; where none runs, fold here.

    Returns:
        Whether it has; False where a loop runs and did not move for a while. Nothing is lost then.
    """
    state = home.state()
    try:
        offsets, deadline = dict(state.offsets()), time.monotonic() + PATIENCE
        while not position.reached_by(offsets):
            fold_here(home)
            reached = dict(state.offsets())
            if reached != offsets:
                offsets, deadline = reached, time.monotonic() + PATIENCE
            elif time.monotonic() > deadline:
                return False
        return True
    finally:
        state.close()
