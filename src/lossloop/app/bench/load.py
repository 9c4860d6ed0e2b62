"""The clients: one process that sends prepared requests over several connections and times the answers.

It is a process of its own, so that it does not share an interpreter with what it measures, and it does as
little as can be: every request is bytes before the clock starts, and of an answer only the status is read.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from lossloop.app.bench import rows
from lossloop.app.bench.apart import serve
from lossloop.core.clock import SystemClock
from lossloop.core.records import Record
from lossloop.ledger.joined.keys import Int64

KINDS = {"arrow": "application/vnd.apache.arrow.stream", "json": "application/json"}
BUFFER = 1 << 20
PATIENCE = 60.0
"""Seconds without any answer after which a server counts as dead."""
_ROOM = 1 << 18


class Stream(Record, frozen=True):
    """Requests of one kind, one behind the other on each of some connections.

    Args:
        what: ``predictions`` or ``outcomes``, or ``predict`` for requests that are all alike.
        form: One of KINDS.
        numbers: A file of NumPy's with the number of each row.
        body: Of requests that are all alike: a file with it, their `count` and `path`.
        mark: A text in those answers whose moments are told.
        size: Rows of a request.
        connections: How many requests may be under way at once.
        rate: Requests a second, sent when they are due, whether or not earlier ones were answered; 0 to send
            the next one as soon as an answer came.
    """

    what: str
    form: str
    size: int
    connections: int
    numbers: str = ""
    body: str = ""
    count: int = 0
    path: str = ""
    mark: str = ""
    rate: float = 0.0


class Job(Record, frozen=True):
    """What to send where."""

    host: str
    port: int
    token: str
    streams: tuple[Stream, ...]


class Told(Record, frozen=True):
    """How a stream went."""

    sent: int
    """Requests."""
    acknowledged: int
    """Rows of requests that were answered with 200."""
    seconds: float
    """From the first request to the last answer."""
    waited_ms: list[float]
    """Of each acknowledged request: from when it was sent, or due, to its answer."""
    refused: dict[int, int]
    """Other answers, by status."""
    problem: str = ""
    """The first of them."""
    marked: list[float] = []
    """When each answer with the mark came, in seconds since 1970."""


class Report(Record, frozen=True):
    """How a job went."""

    streams: list[Told]
    seconds: float
    cpu_seconds: float
    """Of this process, while requests were under way."""


class _Course:
    """A stream that is being sent."""

    def __init__(self, stream: Stream, requests: Sequence[bytes]) -> None:
        self.stream = stream
        self.requests = requests
        self.begun = 0
        self.answered = 0
        self.ended = 0.0
        self.waited: list[float] = []
        self.refused: Counter[int] = Counter()
        self.problem = ""
        self.mark = stream.mark.encode()
        self.marked: list[float] = []

    def due(self, begin: float) -> float | None:
        """When the next request is to be sent; None where all are."""
        if self.begun == len(self.requests):
            return None
        return begin + self.begun / self.stream.rate if self.stream.rate else 0.0

    def take(self, status: int, body: bytes, since: float) -> None:
        """An answer came."""
        self.answered += 1
        self.ended = time.perf_counter()
        if status == 200:
            self.waited.append(1000 * (self.ended - since))
            if self.mark and self.mark in body:
                self.marked.append(time.time())
            return
        self.refused[status] += 1
        self.problem = self.problem or f"{status}: {body[:300].decode(errors='replace')}"

    def told(self, begin: float, size: int) -> Told:
        return Told(
            sent=self.begun, acknowledged=len(self.waited) * size, seconds=self.ended - begin,
            waited_ms=self.waited, refused=dict(self.refused), problem=self.problem,
            marked=self.marked,
        )  # fmt: skip


class _Connection:
    """A connection with at most one request under way."""

    def __init__(self, course: _Course, job: Job) -> None:
        self.course = course
        self.socket = socket.create_connection((job.host, job.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        self.socket.setblocking(False)
        self._left = memoryview(b"")
        self._answer = bytearray()
        self._since = 0.0

    def send(self, request: bytes, since: float) -> bool:
        """Begin a request; True where all of it went out at once."""
        self._left, self._since = memoryview(request), since
        return self.go_on()

    def go_on(self) -> bool:
        """Send what is left; True where that was all."""
        try:
            self._left = self._left[self.socket.send(self._left) :]
        except BlockingIOError:
            return False
        return not self._left

    def receive(self) -> bool:
        """Read what came; True where an answer is whole, which is then taken."""
        data = self.socket.recv(_ROOM)
        if not data:
            raise ConnectionError("the server closed a connection with a request under way")
        self._answer += data
        end = self._answer.find(b"\r\n\r\n")
        if end < 0:
            return False
        size = _length(bytes(self._answer[:end])) + end + 4
        if len(self._answer) < size:
            return False
        status, body = int(self._answer[9:12]), bytes(self._answer[end + 4 : min(size, end + 400)])
        del self._answer[:size]
        self.course.take(status, body, self._since)
        return True


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line[15:])
    raise ConnectionError("an answer without Content-Length")


def requests(job: Job, stream: Stream) -> Iterator[bytes]:
    """The bytes of each request of a stream."""
    path = stream.path or f"/v1/{stream.what}?model={rows.MODEL}"
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {job.host}:{job.port}\r\n"
        f"Authorization: Bearer {job.token}\r\nContent-Type: {KINDS[stream.form]}\r\nContent-Length: "
    )
    if stream.body:
        alike = Path(stream.body).read_bytes()
        yield from [f"{head}{len(alike)}\r\n\r\n".encode() + alike] * stream.count
        return
    numbers: Int64 = np.load(stream.numbers)
    now = SystemClock().now()
    for start in range(0, len(numbers), stream.size):
        batch = rows.made(stream.what, numbers[start : start + stream.size], now)
        body = rows.as_arrow(batch) if stream.form == "arrow" else rows.as_json(stream.what, batch)
        yield f"{head}{len(body)}\r\n\r\n".encode() + body


def play(job: Job, courses: Sequence[_Course]) -> Report:
    """Send all requests; ends when all are answered."""
    connections = [_Connection(course, job) for course in courses for _ in range(course.stream.connections)]
    idle = {id(course): deque(each for each in connections if each.course is course) for course in courses}
    with selectors.DefaultSelector() as selector:
        for each in connections:
            selector.register(each.socket, selectors.EVENT_READ, each)
        cpu, begin = time.process_time(), time.perf_counter()
        while any(course.answered < len(course.requests) for course in courses):
            pause = min(_begin_due(selector, course, idle[id(course)], begin) for course in courses)
            events = selector.select(max(pause, 0.0))
            if not events and pause >= PATIENCE:
                raise ConnectionError(f"no answer within {PATIENCE:g} s")
            for key, mask in events:
                _serve(selector, key.data, mask, idle)
        seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
    for each in connections:
        each.socket.close()
    told = [course.told(begin, course.stream.size) for course in courses]
    return Report(streams=told, seconds=seconds, cpu_seconds=cpu)


def _begin_due(
    selector: selectors.BaseSelector, course: _Course, idle: deque[_Connection], begin: float
) -> float:
    """Send what is due, as far as connections are free; return the seconds until there is more to do."""
    while idle and (due := course.due(begin)) is not None:
        now = time.perf_counter()
        if due > now:
            return due - now
        connection, request = idle.popleft(), course.requests[course.begun]
        course.begun += 1
        if not connection.send(request, due or now):
            both = selectors.EVENT_READ | selectors.EVENT_WRITE
            selector.modify(connection.socket, both, connection)
    return PATIENCE


def _serve(
    selector: selectors.BaseSelector,
    connection: _Connection,
    mask: int,
    idle: dict[int, deque[_Connection]],
) -> None:
    if mask & selectors.EVENT_WRITE and connection.go_on():
        selector.modify(connection.socket, selectors.EVENT_READ, connection)
    if mask & selectors.EVENT_READ and connection.receive():
        idle[id(connection.course)].append(connection)


def prepare(job: Job) -> Callable[[], Report]:
    """Make every request."""
    courses = [_Course(stream, list(requests(job, stream))) for stream in job.streams]
    return lambda: play(job, courses)


if __name__ == "__main__":
    serve(Job, prepare)
