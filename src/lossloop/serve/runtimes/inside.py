"""One child process that answers for a version, seen from outside: started, asked, measured, ended.

Nothing that comes out of it is trusted: a header is read as strictly as a request, and columns are float64 as
they lie in memory.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np

from lossloop.core.errors import LossloopError
from lossloop.registry.process import Process
from lossloop.serve.runtimes import within
from lossloop.serve.runtimes.base import Columns, Floats

LINES_WITHIN, WITHIN_SECONDS = 50, 10.0
"""Lines of a process that the log takes, and in how many seconds; the others are counted."""
LONGEST_LINE = 500
MOST_HEADER, MOST_ANSWER = 1 << 16, 1 << 28
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class ModelRaised(LossloopError):
    """A version's own code raised; the message says what."""


class ModelTimedOut(LossloopError):
    """A version's own code took too long, and its process was killed."""


class ModelEnded(LossloopError):
    """The process of a version has ended, or is being started again."""


class ModelBadAnswer(LossloopError):
    """What came out of the process of a version is no answer."""


class Retired(LossloopError):
    """Another process has taken this one's place; ask that one."""


class _Header(msgspec.Struct, forbid_unknown_fields=True):
    """What comes before columns."""

    shape: list[int] = []
    error: str = ""
    turn: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """What a process is started with."""

    runtime: str
    artifact: str
    """The artifact's file, which every process of the version reads."""
    limits: Process
    name: str
    python: str


class Inside:
    """A process that has loaded its artifact.

    Raises:
        ModelRaised: It could not; says why.
        ModelEnded: It ended before it had, or there is no such interpreter.
        ModelTimedOut: It took too long.
    """

    def __init__(self, start: Start) -> None:
        self._start = start
        self._asking = threading.Lock()
        self._turn = 0
        self._retired = False
        self._place = tempfile.TemporaryDirectory(prefix="lossloop-process-")
        self._sock, theirs = socket.socketpair()
        alive, self._alive = os.pipe()
        try:
            self._process = self._spawn(theirs.fileno(), alive)
        except OSError as error:
            self._sock.close()
            os.close(self._alive)
            self._place.cleanup()
            raise ModelEnded(f"cannot run {start.python}: {error.strerror}") from None
        finally:
            theirs.close()
            os.close(alive)
        self._words = _Words(self._process.stdout, start.name)
        try:
            self._receive(time.monotonic() + start.limits.start_seconds, start.limits.start_seconds)
        except LossloopError:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def size(self) -> int:
        """Bytes of it that lie in memory; 0 where that cannot be told."""
        with contextlib.suppress(OSError, IndexError, ValueError):
            return int(Path(f"/proc/{self.pid}/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return 0

    def predict(self, columns: Columns) -> Floats:
        """Ask it; see `ChildRuntime.predict`."""
        texts = {name: values.tolist() for name, values in columns.items() if values.dtype == object}
        numbers = [
            np.ascontiguousarray(each, np.float64) for name, each in columns.items() if name not in texts
        ]
        rows = len(next(iter(columns.values()))) if columns else 0
        asked = {"rows": rows, "names": list(columns), "texts": texts}
        body = b"".join(each.tobytes() for each in numbers)
        limit = self._start.limits.seconds
        deadline = time.monotonic() + limit
        with self._asking:
            if self._retired:
                raise Retired(self._start.name)
            self._turn += 1
            header = msgspec.json.encode({**asked, "turn": self._turn})
            try:
                self._sock.settimeout(limit)
                self._sock.sendall(within.HEAD.pack(len(header), len(body)) + header + body)
            except TimeoutError:
                raise self._late(limit) from None
            except OSError:
                raise self._gone() from None
            return self._receive(deadline, limit)

    def finish(self) -> None:
        """End it once whoever is asking was answered."""
        with self._asking:
            self._retired = True
            self.close()

    def close(self) -> None:
        """Kill it, with all that it started."""
        if self._alive < 0:
            return  # its number may be somebody else's by now
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        with contextlib.suppress(OSError):
            self._sock.close()
        os.close(self._alive)
        self._alive = -1
        self._words.close()
        self._place.cleanup()

    def _spawn(self, sock: int, alive: int) -> subprocess.Popen[bytes]:
        start = self._start
        order = {
            "socket": sock, "alive": alive, "runtime": start.runtime, "artifact": start.artifact,
            "entry": start.limits.entry, "memory": start.limits.memory,
            "network": start.limits.network,
        }  # fmt: skip
        # Unbuffered, and with nothing of our environment and of the user's own site: see `within`.
        command = [start.python, "-I", "-u", "-B", within.__file__, msgspec.json.encode(order).decode()]
        place = self._place.name
        environment = {
            "HOME": place, "TMPDIR": place, "PATH": os.defpath, "LANG": "C.UTF-8",
            **dict.fromkeys(_THREADS, "1"),
        }  # fmt: skip
        return subprocess.Popen(
            command, env=environment, cwd=place, start_new_session=True, pass_fds=(sock, alive),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def _receive(self, deadline: float, limit: float) -> Floats:
        size, rest = within.HEAD.unpack(self._exactly(within.HEAD.size, deadline, limit))
        if size > MOST_HEADER or rest > MOST_ANSWER:
            raise ModelBadAnswer(f"{self._start.name} answered with {size + rest} bytes")
        try:
            header = msgspec.json.decode(self._exactly(size, deadline, limit), type=_Header)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise ModelBadAnswer(f"{self._start.name} answered with what is no answer") from None
        body = self._exactly(rest, deadline, limit)
        if header.turn != self._turn:  # from another process that it became, say: not of these rows
            raise ModelBadAnswer(f"{self._start.name} answered what it was not asked")
        if header.error:
            raise ModelRaised(_plain(header.error)[:LONGEST_LINE])
        shape = header.shape
        fits = 1 <= len(shape) <= 2 and all(0 <= length <= MOST_ANSWER for length in shape)
        if not fits or 8 * math.prod(shape) != rest:
            raise ModelBadAnswer(
                f"{self._start.name} answered with the shape {shape!r:.60}; (n,) or (n, k) is taken"
            )
        return np.frombuffer(body, dtype=np.float64).reshape(shape)

    def _exactly(self, size: int, deadline: float, limit: float) -> bytearray:
        body, got = bytearray(size), 0
        while got < size:
            left = deadline - time.monotonic()
            if left <= 0:
                raise self._late(limit)
            try:
                self._sock.settimeout(left)
                count = self._sock.recv_into(memoryview(body)[got:])
            except TimeoutError:
                raise self._late(limit) from None
            except OSError:
                count = 0
            if not count:
                raise self._gone()
            got += count
        return body

    def _late(self, limit: float) -> ModelTimedOut:
        return ModelTimedOut(f"{self._start.name} did not come back within {limit:g} s and was killed")

    def _gone(self) -> ModelEnded:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        code = self._process.poll()
        self._words.join()
        how = "has closed its door" if code is None else f"ended with exit code {code}"
        if code is not None and code < 0:
            how = f"was ended by signal {signal_name(-code)}"
        last = f": {self._words.last}" if self._words.last else ""
        return ModelEnded(f"the process of {self._start.name} {how}{last}")


class _Words:
    """Takes what a process writes into the log: with its name before each line, and no more than so much."""

    def __init__(self, stream: IO[bytes] | None, name: str) -> None:
        self.last = ""
        self._stream, self._name = stream, name
        self._left, self._since, self._skipped = LINES_WITHIN, time.monotonic(), 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def join(self) -> None:
        """Wait a moment for the last of it."""
        self._reader.join(1.0)

    def close(self) -> None:
        """The process has ended."""
        self.join()

    def _read(self) -> None:
        if self._stream is None:
            return
        with self._stream:
            while line := self._stream.readline(4 * LONGEST_LINE):
                self._take(_plain(line.decode(errors="replace").strip())[:LONGEST_LINE])

    def _take(self, line: str) -> None:
        if not line:
            return
        self.last = line
        if time.monotonic() - self._since > WITHIN_SECONDS:
            skipped, self._skipped = self._skipped, 0
            self._left, self._since = LINES_WITHIN, time.monotonic()
            if skipped:
                self._tell(f"({skipped} lines left out)")
        if self._left:
            self._left -= 1
            self._tell(line)
        else:
            self._skipped += 1

    def _tell(self, words: str) -> None:
        print(f"[{self._name}] {words}", file=sys.stderr, flush=True)


def signal_name(number: int) -> str:
    """Such as ``SIGKILL``; of the real-time signals most have only a number."""
    known = {each.value for each in signal.Signals}
    return signal.Signals(number).name if number in known else str(number)


def _plain(text: Any) -> str:
    """Text without what a terminal or a log would take for a command of its own."""
    return "".join(each if each.isprintable() else " " for each in str(text))
