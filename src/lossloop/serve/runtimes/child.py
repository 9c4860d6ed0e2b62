"""Runtimes that execute what a version brings: in a child process without secrets, which may fail alone.

A call that takes too long kills the process, one that has died is started again beside the traffic, after a
pause that doubles, and one that has grown too large is exchanged for a fresh one that is loaded first. Rows
that meet none are failures, with an error that says why; what follows is not decided here.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

from lossloop.core.errors import LossloopError
from lossloop.registry import Manifest
from lossloop.registry.process import Process
from lossloop.serve.runtimes import within
from lossloop.serve.runtimes.base import Columns, Floats, Runtime
from lossloop.serve.runtimes.inside import Inside, ModelEnded, ModelRaised, Retired, Start
from lossloop.serve.runtimes.permits import Permit, required

ASIDE = frozenset(within.LOADERS)
"""The runtimes that run here."""
PAUSES = (0.1, 30.0)
"""Seconds before the first start after an end, and the most that doubling them leads to."""


class ChildRuntime:
    """A version's own code, in a process of its own.

    Args:
        runtime: Which of those that the child's program knows.
        artifact: The artifact's bytes.
        manifest: The version's.
        permit: Shows that somebody answers for it.

    Raises:
        ModelRaised: The artifact cannot be loaded; says what it raised.
        ModelEnded: The process ended, or took too long to load.
    """

    native = False

    def __init__(self, runtime: str, artifact: bytes, manifest: Manifest, permit: Permit) -> None:
        limits = manifest.process or Process()
        python = permit.interpreter(limits.python, sys.executable)
        folder = tempfile.TemporaryDirectory(prefix="lossloop-model-")
        stored = Path(folder.name) / "artifact"
        stored.write_bytes(artifact)
        start = Start(
            runtime=runtime, artifact=str(stored), limits=limits, name=permit.name, python=python
        )  # fmt: skip
        self._keeper = _Keeper(start, folder)
        weakref.finalize(self, _let_go, self._keeper)
        try:
            self._keeper.begin()
        except LossloopError:
            self._keeper.close()
            raise

    @property
    def pid(self) -> int | None:
        """The process that answers now."""
        inside = self._keeper.inside
        return None if inside is None else inside.pid

    def predict(self, columns: Columns) -> Floats:
        """Ask the process.

        Raises:
            ModelRaised: The model raised; says what.
            ModelTimedOut: It took too long, and was killed.
            ModelEnded: The process has ended; another one is being started.
            ModelBadAnswer: What came back is no answer.
        """
        return self._keeper.ask(lambda inside: inside.predict(columns))

    def close(self) -> None:
        """End the process."""
        self._keeper.close()


def without_permit(artifact: bytes, manifest: Manifest) -> Runtime:
    """What a version's own code is loaded by where nobody answers for it: it is not; raises Forbidden."""
    return ChildRuntime(manifest.runtime, artifact, manifest, required(None, manifest.runtime))


def _let_go(keeper: _Keeper) -> None:
    """End a process that nobody asks any more, beside whatever let go of it."""
    try:
        threading.Thread(target=keeper.close, daemon=True).start()
    except RuntimeError:  # this process is ending
        keeper.close()


class _Keeper:
    """Keeps a process running: starts it again, exchanges it, ends it."""

    def __init__(self, start: Start, folder: tempfile.TemporaryDirectory[str]) -> None:
        self._start = start
        self._folder = folder
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._busy = False
        self._pause = PAUSES[0]
        self._why = "it was never started"
        self.inside: Inside | None = None

    def begin(self) -> None:
        """Start the first process."""
        self.inside = Inside(self._start)

    def ask(self, ask: Callable[[Inside], Floats]) -> Floats:
        """Ask the process; see to it that there is one for the next who asks."""
        inside = self.inside
        if inside is None or not inside.alive():
            if inside is not self.inside:
                return self.ask(ask)
            self._renew(inside)
            raise ModelEnded(f"the process of {self._start.name} is being started again: {self._why}")
        try:
            found = ask(inside)
        except Retired:
            return self.ask(ask)
        except ModelRaised:
            self._look(inside)
            raise
        except LossloopError as error:
            self._why = str(error)
            inside.close()
            self._renew(inside)
            raise
        self._pause = PAUSES[0]
        self._look(inside)
        return found

    def close(self) -> None:
        """End the process and remove its files."""
        self._over.set()
        with self._lock:
            if self.inside is not None:
                self.inside.close()
                self.inside = None
        self._folder.cleanup()

    def _look(self, inside: Inside) -> None:
        size, most = inside.size(), self._start.limits.memory
        if size > most:
            words = f"{self._start.name} holds {size >> 20} MiB, more than {most >> 20}: it is started again"
            if self._renew(inside):
                print(words, file=sys.stderr, flush=True)

    def _renew(self, old: Inside | None) -> bool:
        """Put another process in the place of one, beside the traffic; False where that is under way."""
        with self._lock:
            if self._busy or self.inside is not old or self._over.is_set():
                return False
            self._busy = True
        threading.Thread(target=self._exchange, args=(old,), daemon=True).start()
        return True

    def _exchange(self, old: Inside | None) -> None:
        pause = 0.0 if old is not None and old.alive() else self._next_pause()
        while not self._over.wait(pause):
            if self._take(old):
                return
            pause = self._next_pause()

    def _next_pause(self) -> float:
        pause, self._pause = self._pause, min(2 * self._pause, PAUSES[1])
        return pause

    def _take(self, old: Inside | None) -> bool:
        """Start a process and let it answer from now on; False where it could not be."""
        try:
            fresh = Inside(self._start)
        except (LossloopError, OSError) as error:  # no room, or no handle left: there may be later
            self._why = str(error)
            return False
        with self._lock:
            self._busy = False
            if self._over.is_set():
                fresh.close()
                return True
            self.inside = fresh
        if old is not None:
            old.finish()
        return True
