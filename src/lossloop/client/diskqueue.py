"""The rows that one process has still to send, on disk: appended at hand-over, read and taken in order."""

from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lossloop.client.errors import SpoolFull
from lossloop.client.refusals import DeadLetters
from lossloop.client.rows import Entry, unpack
from lossloop.client.spool import Spool
from lossloop.client.spoolfile import SUFFIX, SpoolFile
from lossloop.core.errors import LossloopError, StateError

LARGEST_FILE = 16 * 1024 * 1024
"""A longer file is left, and another begun, so that what was sent can be deleted."""
READ_AT_ONCE = 1024 * 1024
KEPT = 256 * 1024
"""A drained file that is shorter is written on."""
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
log = logging.getLogger("lossloop.client")


class Waiting(NamedTuple):
    """A row to send, and where its frame begins."""

    at: int
    entry: Entry


@dataclass(frozen=True, kw_only=True)
class Window:
    """The oldest rows of a queue: no id stands twice among those of one model and kind."""

    file: SpoolFile
    waiting: list[Waiting]
    end: int
    damaged: int
    """Bytes that are no rows any more."""


class Queue:
    """Append from any thread; read and take from one.

    Args:
        spool: Where.
        letters: What was refused, which counts against the spool's bound.
    """

    def __init__(self, spool: Spool, letters: DeadLetters) -> None:
        spool.make()
        self._spool = spool
        self._letters = letters
        self.begin_anew()

    def begin_anew(self) -> None:
        """Hold nothing: at the start, and in a process that was forked."""
        self._lock = threading.Lock()
        self._moved = threading.Condition(self._lock)
        self._files: list[SpoolFile] = []
        self._own: SpoolFile | None = None
        self._bytes = 0
        self._closed = False
        self.rows = 0

    def leave_to_parent(self) -> None:
        """In a process that was forked: the parent's files stay the parent's."""
        for file in self._files:
            file.close()
        closed = self._closed
        self.begin_anew()
        self._closed = closed

    @property
    def size(self) -> int:
        """The bytes that its files take."""
        return self._bytes

    def append(self, payloads: Sequence[bytes]) -> None:
        """Keep rows, all or none.

        Raises:
            SpoolFull: There is no room for them, or none came in time.
            LossloopError: The queue was closed.
        """
        size = sum(map(len, payloads))
        with self._lock:
            if self._bytes + size + self._letters.known > self._spool.most_bytes:
                self._await_room(size)
            if self._closed:
                raise LossloopError("this client was closed; make another to send more")
            try:
                file = self._writable()
                written = file.append(list(payloads), sync=self._spool.sync)
            except OSError as error:
                self._leave()
                words = f"cannot write to the spool {self._spool.path}: {error.strerror}"
                raise (SpoolFull if error.errno in _FULL else StateError)(words) from error
            self._bytes += written
            self.rows += len(payloads)

    def _await_room(self, size: int) -> None:
        def is_room() -> bool:
            return self._closed or self._bytes + size + self._letters.measure() <= self._spool.most_bytes

        if not self._moved.wait_for(is_room, self._spool.wait):
            letters = self._letters.known
            refused = f", {letters} of them {self._letters.path.name}" if letters else ""
            raise SpoolFull(
                f"the spool {self._spool.path} holds {self._bytes + letters} bytes{refused}, and may hold "
                f"{self._spool.most_bytes}; is the server up? Or raise most_bytes"
            )

    def _writable(self) -> SpoolFile:
        if self._own is not None and self._own.end > self._up_to(LARGEST_FILE):
            self._leave()
        if self._own is None:
            self._own = SpoolFile.begin(self._spool.directory, sync=self._spool.sync)
            self._bytes += self._own.end
            self._files.append(self._own)
        return self._own

    def _up_to(self, size: int) -> int:
        """At most an eighth of the spool lies in one file, of which no part can be freed before all is."""
        return min(size, self._spool.most_bytes // 8)

    def _leave(self) -> None:
        """Write no more to the present file; it goes once it is drained, which it may be already."""
        file, self._own = self._own, None
        if file is not None and not file.rows:
            self._drop(file)

    def _drop(self, file: SpoolFile) -> None:
        self._files.remove(file)
        self._bytes -= file.end
        file.remove()

    def adopt(self) -> int:
        """Take over the files of processes that have died; the number of their rows."""
        adopted: list[SpoolFile] = []
        for path in sorted(self._spool.directory.glob(f"*{SUFFIX}")):
            if any(file.path == path for file in self._files):
                continue
            try:
                file = SpoolFile.adopt(path)
            except OSError as error:
                log.error("cannot take over %s: %s", path, error)
                continue
            if file is not None:
                adopted.append(file)
        with self._lock:
            self._files = [*adopted, *self._files]  # by their names: in the order in which they were begun
            self._bytes += sum(file.end for file in adopted)
            self.rows += sum(file.rows for file in adopted)
            for file in adopted:
                if file.taken == file.end:
                    self._drop(file)
        return sum(file.rows for file in adopted)

    def window(self, most: int) -> Window | None:
        """The oldest `most` rows, or fewer; None where there are none."""
        with self._lock:
            file = next((file for file in self._files if file.taken < file.end), None)
            end = file.end if file else 0
        if file is None:
            return None
        waiting: list[Waiting] = []
        damaged, reached = 0, file.taken
        seen: set[tuple[int, bytes, bytes]] = set()
        for start, behind, payload in file.read(file.taken, READ_AT_ONCE):
            if payload is None:
                damaged += behind - start
            else:
                entry = unpack(payload)
                key = entry[:3]
                if key in seen or len(waiting) == most:
                    break
                seen.add(key)
                waiting.append(Waiting(start, entry))
            reached = behind
        if reached == file.taken:  # not one whole frame, though this much was written
            damaged, reached = end - reached, end
        return Window(file=file, waiting=waiting, end=reached, damaged=damaged)

    def take(self, window: Window) -> None:
        """The rows of a window need not be sent any more."""
        with self._lock:
            file = window.file
            drained = window.end == file.end  # then so are the rows that were lost with damaged bytes
            rows = file.rows if drained else len(window.waiting)
            file.take(window.end, rows)
            self.rows -= rows
            if drained and (file is not self._own or file.end > self._up_to(KEPT)):
                self._own = None if file is self._own else self._own
                self._drop(file)
            self._moved.notify_all()

    def await_taken(self, timeout: float) -> int:
        """Wait until what was appended so far is taken, `timeout` seconds at most; how many rows are left."""
        with self._lock:
            marks = [(file, file.end) for file in self._files]

            def taken() -> bool:
                return all(file.taken >= end for file, end in marks)

            self._moved.wait_for(taken, timeout)
            return self.rows

    def refuse(self) -> None:
        """From now on, append nothing."""
        with self._lock:
            self._closed = True
            self._moved.notify_all()

    def release(self) -> None:
        """Give up the files, once nobody reads or takes any more; what is left is for the next process."""
        self.refuse()
        with self._lock:
            for file in list(self._files):
                if file.taken == file.end:
                    self._drop(file)
                else:
                    file.close()
            self._files.clear()
            self._own = None
