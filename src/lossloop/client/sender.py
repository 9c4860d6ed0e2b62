"""Sending in the background: what is handed over lies in the spool; one thread brings it to the server."""

from __future__ import annotations

import atexit
import logging
import random
import threading
import time
from collections.abc import Sequence

from lossloop.client.answers import Again
from lossloop.client.backlog import Backlog
from lossloop.client.connection import Connection
from lossloop.client.delivery import Delivery
from lossloop.client.diskqueue import Queue, Window
from lossloop.client.forks import watch
from lossloop.client.refusals import DeadLetters, OnRefused, Refusal
from lossloop.client.rows import Kind, Row, pack
from lossloop.client.spool import Spool
from lossloop.client.spoolfile import SUFFIX, SpoolFile

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
"""Seconds between two attempts; it doubles."""
LOOK_ROUND = 30.0
"""Seconds after which to see whether another process that shares the spool has died."""
AT_EXIT = 10.0
"""Seconds that a process which ends waits for the server."""
AFTER_STOP = 1.0
"""Seconds that closing waits for an attempt under way; the thread ends by itself once it is answered."""
QUIET = 10.0
"""Seconds for which the same complaint is not logged again."""
log = logging.getLogger("lossloop.client")


class Sender:
    """Hands over from any thread; sends from one of its own, which the first hand-over starts.

    Args:
        connection: To whom. The sender closes it.
        spool: Where rows lie until they are taken.
        batch: The most rows of a request; so many are sent at once.
        linger: Seconds that fewer wait for more.
        on_refused: Called in the sender's thread with each refusal.
    """

    def __init__(
        self, connection: Connection, spool: Spool, *, batch: int, linger: float, on_refused: OnRefused | None
    ) -> None:
        self.blocks = spool.blocks
        self._connection = connection
        self._delivery = Delivery(connection, batch=batch)
        self._batch, self._linger, self._on_refused = batch, linger, on_refused
        self._letters = DeadLetters(spool.directory)
        self._spool = spool
        self._queue = Queue(spool, self._letters)
        self._begin()
        watch(self)
        atexit.register(self._at_exit)
        if any(spool.directory.glob(f"*{SUFFIX}")):  # perhaps of a process that died
            self._start()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._some, self._enough, self._hurry = threading.Event(), threading.Event(), threading.Event()
        self._stopping, self._adopted = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._idle = False
        self._flushing = 0
        self._settled: set[tuple[SpoolFile, int]] = set()
        self._sent = self._refused = self._lost = self._damaged = 0
        self._problem = ""
        self._said: dict[str, float] = {}

    def after_fork(self) -> None:
        self._queue.leave_to_parent()
        self._begin()

    def hand_over(self, kind: Kind, model: str, rows: Sequence[Row]) -> list[str]:
        """Keep rows in the spool, all or none; their ids.

        Raises:
            InputError: A row that the server could never take.
            SpoolFull: There is no room.
            LossloopError: The client was closed.
        """
        ids, packed = pack(kind, model, rows)
        if not packed:
            return ids
        self._queue.append(packed)
        if self._thread is None:
            self._start()
        if self._idle:
            self._some.set()
        elif self._queue.rows >= self._batch:
            self._enough.set()
        return ids

    def backlog(self) -> Backlog:
        """How far it has come."""
        return Backlog(
            rows=self._queue.rows,
            bytes=self._queue.size,
            sent=self._sent,
            refused=self._refused,
            lost=self._lost,
            damaged_bytes=self._damaged,
            problem=self._problem,
        )

    def lose(self, rows: int, why: str) -> None:
        """Count rows that could not be handed over, where nobody was told by an exception."""
        with self._lock:
            self._lost += rows
        self._say(logging.ERROR, "lost", f"{rows} rows were not recorded: {why}")

    def flush(self, timeout: float) -> int:
        """Wait until what was handed over is settled, `timeout` seconds at most; how many rows are left."""
        until = time.monotonic() + timeout
        if self._thread is not None and not self._stopping.is_set():
            self._adopted.wait(timeout)
            with self._lock:
                self._flushing += 1
            for event in (self._some, self._enough, self._hurry):
                event.set()
            self._queue.await_taken(max(until - time.monotonic(), 0.0))
            with self._lock:
                self._flushing -= 1
        return self._queue.rows

    def close(self, timeout: float) -> int:
        """Flush, and end; how many rows are left in the spool for the next process."""
        atexit.unregister(self._at_exit)
        self._queue.refuse()
        self.flush(timeout)
        for event in (self._stopping, self._some, self._enough, self._hurry):
            event.set()
        if self._thread is None:
            self._release()
        else:
            self._thread.join(AFTER_STOP)
        left = self._queue.rows
        if left:
            words = "%d rows are left in the spool %s; the next process that uses it sends them"
            log.warning(words, left, self._spool.path)
        return left

    def _release(self) -> None:
        self._queue.release()
        self._connection.close()

    def _at_exit(self) -> None:
        self.close(AT_EXIT)

    def _start(self) -> None:
        with self._lock:
            if self._thread is not None:
                return
            thread = threading.Thread(target=self._run, name="lossloop-sender", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # the interpreter is about to end
                log.warning("rows stay in the spool %s: %s", self._spool.path, error)
            else:
                self._thread = thread

    def _run(self) -> None:
        """The thread: take over what others left, send, wait for more; until it is told to stop."""
        failures, next_look = 0, 0.0
        while not self._stopping.is_set():
            again: Again | None = None
            try:
                if time.monotonic() >= next_look:
                    next_look = time.monotonic() + LOOK_ROUND
                    self._adopt()
                self._await_rows(next_look)
                window = self._queue.window(2 * self._batch)
                if window is not None and not self._stopping.is_set():
                    again = self._bring(window, failures)
            except Exception as error:  # noqa: BLE001 - whatever it is, the rows are in the spool: try again
                again = Again(reason=f"{type(error).__name__}: {error}")
            failures = self._rest(again, failures) if again else 0
        self._release()

    def _adopt(self) -> None:
        try:
            rows = self._queue.adopt()
        finally:
            self._adopted.set()
        if rows:
            log.info("%d rows in the spool %s were left by a process that ended", rows, self._spool.path)

    def _await_rows(self, until: float) -> None:
        """Return once there is a full batch, or after `linger` some rows, or at `until`, or on a flush."""
        self._some.clear()
        self._idle = True
        if not self._queue.rows and not self._flushing and not self._stopping.is_set():
            self._some.wait(max(until - time.monotonic(), 0.0))
        self._idle = False
        self._enough.clear()
        if 0 < self._queue.rows < self._batch and not self._flushing and not self._stopping.is_set():
            self._enough.wait(self._linger)

    def _bring(self, window: Window, failures: int) -> Again | None:
        """Send what is not settled of a window; why some of it is left, None where it is done with."""
        waiting = [each for each in window.waiting if (window.file, each.at) not in self._settled]
        attempt = self._delivery.attempt(waiting, failures)
        if attempt.refused:
            self._letters.keep(attempt.refused)
        self._sent += len(attempt.settled) - len(attempt.refused)
        self._refused += len(attempt.refused)
        if attempt.again:
            self._settled |= {(window.file, at) for at in attempt.settled}
        else:
            self._settled.clear()
            self._damaged += window.damaged
            self._queue.take(window)
            self._problem = ""
        self._tell(attempt.refused, window.damaged if attempt.again is None else 0)
        return attempt.again

    def _tell(self, refused: Sequence[Refusal], damaged: int) -> None:
        if damaged:
            log.error("%d bytes of the spool %s are no rows any more", damaged, self._spool.path)
        if refused:
            words = f"{len(refused)} rows were refused and are in {self._letters.path}; the first: "
            words += refused[0].detail
            self._say(logging.WARNING, "refused", words)
        if self._on_refused is not None:
            for each in refused:
                _call(self._on_refused, each)

    def _rest(self, again: Again, failures: int) -> int:
        """Wait before the next attempt, as long as the server asks, or longer each time."""
        self._problem = again.reason
        self._say(
            logging.WARNING,
            "again",
            f"the server takes no rows; they stay in {self._spool.path}: {again.reason}",
        )
        if again.after is not None:
            self._stopping.wait(again.after)
        else:
            self._hurry.wait(pause(failures))
        self._hurry.clear()
        return failures + 1

    def _say(self, level: int, topic: str, words: str) -> None:
        """Log, unless the same was logged a moment ago."""
        now = time.monotonic()
        if now - self._said.get(topic, -QUIET) >= QUIET:
            self._said[topic] = now
            log.log(level, words)


def _call(on_refused: OnRefused, refused: Refusal) -> None:
    try:
        on_refused(refused)
    except Exception:  # the service's own function; it is told of the others all the same
        log.exception("on_refused failed")


def pause(failures: int, chance: float | None = None) -> float:
    """Seconds before the next attempt: twice as long each time, less up to a half by chance (in [0, 1]).

    Senders that lost a server together do not come back together.
    """
    share = random.random() if chance is None else chance
    return min(FIRST_PAUSE * 2.0 ** min(failures, 30), LONGEST_PAUSE) * (1 - share / 2)
