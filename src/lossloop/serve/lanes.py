"""Lanes: where a version runs, and for how long anyone waits for it.

A version that is fast, and computes outside of Python, runs in the event loop: a thread would cost more than
it does. Any other has a thread of its own. Who waits for that one waits until a deadline; then the lane is
left behind, and asked again once its thread has come back.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from lossloop.core.errors import InputError
from lossloop.core.tasks import LISTED, Task, lists_fit, predictions_fit
from lossloop.registry import Version
from lossloop.serve.runtimes import Columns, Runtime
from lossloop.serve.runtimes.base import Floats

MOST_INLINE = 0.002
"""Seconds that a version may take of the event loop at once: nobody else is answered meanwhile."""
SLOW = 25 * MOST_INLINE
"""One that took so long there has a thread from then on."""
NO_ANSWER = "no valid answer"
"""Why a prediction failed that is none, such as NaN."""
LATE = "DeadlineExceeded"
"""Why one failed that did not come in time."""
Value = float | list[float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """What a version said to n rows, None where that is no answer."""

    values: Sequence[Value | None]
    latency: float
    """In ms, for all rows at once."""
    why: str = NO_ANSWER
    """Why there is no answer where there is none."""

    @property
    def broke(self) -> bool:
        """Whether the version gave no answer at all: it raised, or did not come back in time."""
        return self.why != NO_ANSWER


class Lane:
    """Runs a version, one batch at a time.

    Args:
        version: Which one.
        runtime: What runs it.
        task: What its answers are held against.
        inline: How many rows it may be asked for in the event loop; 0 for a version with a thread of its own.
    """

    def __init__(self, version: Version, runtime: Runtime, task: Task, *, inline: int = 0) -> None:
        self.version = version
        self.inline = inline if runtime.native else 0
        self._runtime = runtime
        self._task = task
        self._names = tuple(feature.name for feature in version.manifest.features)
        self._aside: _Aside | None = None
        self._told = 0.0

    async def run(self, columns: Columns, count: int, deadline: float, limit: float) -> Run:
        """Ask for n rows.

        Args:
            columns: As the runtime takes them, and maybe more of them.
            count: How many rows.
            deadline: Seconds that the caller waits.
            limit: Seconds after which a run counts as lost: who asks then does not wait for it at all.
        """
        if count <= self.inline:
            run = self._ask(columns, count)
            if run.latency > 1000.0 * SLOW:
                self.inline = 0
            return run
        if deadline <= 0:  # nobody would wait for what the thread is asked
            return self._late(count, 0.0)
        if self._aside is None:
            self._aside = _Aside(self.version.name)
            weakref.finalize(self, self._aside.close).atexit = False
        if self._aside.busy_for() > limit:
            return self._late(count, 0.0)
        began = perf_counter()
        future = self._aside.submit(lambda: self._ask(columns, count, BaseException))
        await asyncio.wait((future,), timeout=deadline)
        if future.done():
            return future.result()
        future.cancel()
        return self._late(count, since(began))

    def _late(self, count: int, latency: float) -> Run:
        self._tell("it did not answer in time")
        return Run(values=[None] * count, latency=latency, why=LATE)

    def _ask(self, columns: Columns, count: int, caught: type[BaseException] = Exception) -> Run:
        began = perf_counter()
        try:
            found = self._runtime.predict({name: columns[name] for name in self._names})
            if len(found) != count:
                raise InputError(
                    f"{self.version.name} gave {len(found)} answers to {count} rows", field="y_pred"
                )
            return Run(values=valid(self._task, found), latency=since(began))
        except caught as error:  # whatever a version raises, others are there to answer
            self._tell(str(error) or type(error).__name__)
            return Run(values=[None] * count, latency=since(began), why=type(error).__name__)

    def _tell(self, words: str) -> None:
        """Say on standard error what went wrong, once a second at most."""
        if perf_counter() - self._told > 1.0:
            self._told = perf_counter()
            print(f"{self.version.name} failed: {words}", file=sys.stderr, flush=True)


def valid(task: Task, found: Floats) -> list[Value | None]:
    """Answers as they are given, None where one is none of the task."""
    if (found.ndim == 2) != (task in LISTED) or found.ndim > 2:
        return [None] * len(found)
    if found.ndim == 1:
        fit = predictions_fit(task, found)
    else:
        lengths = np.full(len(found), found.shape[1], np.int64)
        fit = lists_fit(task, found.reshape(-1), lengths)
    values: list[Value | None] = found.tolist()
    if not fit.all():
        for place in np.flatnonzero(~fit).tolist():
            values[place] = None
    return values


def since(began: float) -> float:
    """Milliseconds since a moment of `time.perf_counter`, to the microsecond."""
    return round((perf_counter() - began) * 1000.0, 3)


_Job = tuple[Callable[[], Run], "asyncio.Future[Run]", asyncio.AbstractEventLoop]


class _Aside:
    """One thread, which does jobs in turn. It does not keep the process from ending."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._began: float | None = None
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def submit(self, job: Callable[[], Run]) -> asyncio.Future[Run]:
        """Do a job when its turn comes; what was cancelled by then is not done."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Run] = loop.create_future()
        self._jobs.put((job, future, loop))
        return future

    def busy_for(self) -> float:
        """Seconds for which the job under way has been."""
        began = self._began
        return 0.0 if began is None else perf_counter() - began

    def close(self) -> None:
        """End after what was submitted."""
        self._jobs.put(None)

    def _work(self) -> None:
        while (task := self._jobs.get()) is not None:
            job, future, loop = task
            if future.cancelled():
                del task, job, future  # while it waits it holds nothing, the lane least of all
                continue
            self._began = perf_counter()
            found = job()
            self._began = None
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits there any more
                loop.call_soon_threadsafe(_settle, future, found)
            del task, job, future, found


def _settle(future: asyncio.Future[Run], found: Run) -> None:
    if not future.done():
        future.set_result(found)
