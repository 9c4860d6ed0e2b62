"""How far the fold lies behind the log, looked at from outside while both go on."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Self

import numpy as np

from lossloop.app.home import Home
from lossloop.ledger.files.opened import SUFFIX

LOOK_EVERY = 0.01


class Lag:
    """Use as a context manager: looks at the bytes in the log and at the bytes folded until the block ends.

    A segment grows before its bytes are acknowledged, so the lag that is told is a little longer than that
    of acknowledged facts.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._state = home.state()
        self._over = threading.Event()
        self._looks: list[tuple[float, int, int]] = []
        self._sizes: dict[str, int] = {}
        self._thread = threading.Thread(target=self._run, name="lag")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self._state.close()

    def seconds(self) -> list[float]:
        """For every look: how long it took until all that was in the log then was folded."""
        moments, written, folded = (np.array(column) for column in zip(*self._looks, strict=True))
        caught_up = np.searchsorted(np.maximum.accumulate(folded), written)
        caught_up = np.maximum(caught_up, np.arange(len(moments)))  # nothing new came: that is no lag
        told = caught_up < len(moments)  # behind the last looks nobody looked
        return list((moments[caught_up[told]] - moments[told]).tolist())

    def _run(self) -> None:
        while not self._over.wait(LOOK_EVERY):
            self._look()
        deadline = time.monotonic() + 60
        while self._looks and self._looks[-1][1] > self._looks[-1][2] and time.monotonic() < deadline:
            time.sleep(LOOK_EVERY)
            self._look()

    def _look(self) -> None:
        for path in self._home.segments.directory.glob(f"*{SUFFIX}"):
            try:
                self._sizes[path.name] = path.stat().st_size
            except FileNotFoundError:
                continue  # sealed since it was listed; what it had stays counted
        moment = time.perf_counter()
        offsets = self._state.offsets()
        folded = sum(min(size, offsets.get(name, 0)) for name, size in self._sizes.items())
        self._looks.append((moment, sum(self._sizes.values()), folded))
