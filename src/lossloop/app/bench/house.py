"""A state directory to measure in: one model, as many open predictions as are wanted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from lossloop.act.settings import Settings
from lossloop.app import operate
from lossloop.app.bench import rows
from lossloop.app.bench.screen import Screen
from lossloop.app.commands import Promote
from lossloop.app.fold import Folding
from lossloop.app.home import Home, init
from lossloop.app.up import Up, running
from lossloop.core.clock import SystemClock
from lossloop.core.errors import StateError
from lossloop.ledger.frames import Frame, Kind
from lossloop.ledger.joined.keys import Int64
from lossloop.registry import Manifest

POLICY = f"""
model: {rows.MODEL}
task: binary
loss: log_loss(cap=5)
labels: {{mature_after: 30d}}
watches:
  worse: {{kind: guardrail, limit: 0.9, promise: 1 per 3650 blocks}}
"""
"""Nothing comes to be judged in a bench: what is measured is the ledger."""
AT_ONCE = 100_000
PATIENCE = 60.0
"""Seconds without any progress after which the applier counts as stuck."""
_KINDS = {"predictions": Kind.PREDICTION, "outcomes": Kind.OUTCOME}


class House:
    """Knows which predictions it has, and which of them are open: without an outcome."""

    def __init__(self, path: Path, settings: Settings | None = None) -> None:
        self.home: Home = init(path, settings)
        operate.set_policy(self.home, POLICY)
        operate.register(self.home, rows.MODEL, Manifest(runtime="external"))
        operate.obey(self.home, Promote(model=rows.MODEL, version=1))
        self._writer = self.home.log.writer()
        self._random = np.random.default_rng(0)
        self._open: Int64 = np.empty(0, np.int64)
        self.count = 0
        """Predictions that were ever made."""

    @property
    def open(self) -> int:
        return len(self._open)

    def fresh(self, count: int) -> Int64:
        """Numbers of predictions that are made now; they come to be open."""
        numbers = np.arange(self.count, self.count + count)
        self.count += count
        self._open = self._random.permutation(np.concatenate([self._open, numbers]))
        return numbers

    def take(self, count: int) -> Int64:
        """Numbers of open predictions in any order; they get their outcome now.

        Raises:
            StateError: There are not so many.
        """
        if count > self.open:
            raise StateError(
                f"{count} outcomes, and only {self.open} open predictions: this size cannot be measured"
            )
        taken, self._open = self._open[:count], self._open[count:]
        return taken

    def any(self, count: int) -> Int64:
        """Numbers for a floor or a peer, which have no part in this directory; in any order."""
        return self._random.permutation(count)

    def append(self, what: str, numbers: Int64) -> None:
        """Log `predictions` or `outcomes`, without HTTP."""
        now = SystemClock().now()
        batch = rows.made(what, numbers, now)
        self._writer.append([Frame(kind=_KINDS[what], time=now, batch=batch)])

    def grow(self, count: int, screen: Screen) -> None:
        """Make predictions and fold them, until so many are open."""
        missing = count - self.open
        if missing <= 0:
            return
        numbers = self.fresh(missing)
        with self.folding() as folding:
            for start in range(0, missing, AT_ONCE):
                self.append("predictions", numbers[start : start + AT_ONCE])
                folding.drain()
                screen.progress(start / missing)

    @contextmanager
    def folding(self) -> Iterator[Folding]:
        """The fold in this process; what was logged before is folded."""
        folding = Folding(self.home)
        try:
            folding.drain()
            yield folding
        finally:
            folding.close()

    @contextmanager
    def up(self) -> Iterator[Up]:
        """All processes of `lossloop up` over this directory."""
        with running(self.home) as up:
            yield up

    def folded(self) -> None:
        """Wait until another process has folded all that was logged.

        Raises:
            StateError: It stands still.
        """
        state, reader = self.home.state(), self.home.log.reader()
        offsets, since = state.offsets(), time.monotonic()
        try:
            while reader.behind(offsets):
                time.sleep(0.01)
                before, offsets = offsets, state.offsets()
                since = since if offsets == before else time.monotonic()
                if time.monotonic() - since > PATIENCE:
                    raise StateError(f"the applier has stood still for {PATIENCE:g} s with more to fold")
        finally:
            reader.close()
            state.close()

    def close(self) -> None:
        self._writer.close()
