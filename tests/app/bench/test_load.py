"""The clients: every prepared request is sent once, every answer is counted, a dead server is an error."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossloop.app.bench import bare, rows
from lossloop.app.bench.apart import Apart, ApartError
from lossloop.app.bench.clients import Refused, clients, sent
from lossloop.app.bench.load import Job, Report, Stream
from lossloop.core.errors import LossloopError
from lossloop.ledger.frames import batch_of


class Answering(ThreadingHTTPServer):
    """Answers a request with what `answers` has for its place, 200 beyond that; None drops the connection."""

    daemon_threads = True

    def __init__(self, answers: dict[int, int | None]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = answers
        self.lock = threading.Lock()
        self.requests: list[tuple[str, dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The clients leave when they have what they want."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Answering

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            status = self.server.answers.get(len(self.server.requests), 200)
            self.server.requests.append((self.path, dict(self.headers), body))
        if status is None:
            self.close_connection = True
            return
        answer = json.dumps({"detail": "no" if status != 200 else "yes"}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@contextmanager
def answering(answers: dict[int, int | None]) -> Iterator[Answering]:
    with Answering(answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def stream(
    *, form: str = "json", what: str = "predictions", rate: float = 0.0, connections: int = 3
) -> Stream:
    return Stream(what=what, form=form, size=4, connections=connections, rate=rate)


def told(server: Answering, place: Path, *streams: Stream, rows_each: int = 40) -> Report:
    given = [
        (each, np.arange(number * rows_each, (number + 1) * rows_each)) for number, each in enumerate(streams)
    ]
    return sent(clients(server.url, "secret", given, place))


@pytest.mark.parametrize("rate", [0.0, 200.0])
def test_every_request_is_sent_once(tmp_path: Path, rate: float) -> None:
    with answering({}) as server:
        report = told(server, tmp_path, stream(rate=rate))
    (course,) = report.streams
    assert (course.sent, course.acknowledged, course.refused) == (10, 40, {})
    assert len(course.waited_ms) == 10
    assert min(course.waited_ms) > 0
    assert report.seconds >= course.seconds > 0
    bodies = [json.loads(body) for _, _, body in server.requests]
    ids = [row["id"] for body in bodies for row in body["predictions"]]
    assert sorted(ids) == rows.ids(np.arange(40)).to_pylist()
    assert list(tmp_path.iterdir()) == []


def test_a_request_names_its_kind_and_its_token(tmp_path: Path) -> None:
    with answering({}) as server:
        told(server, tmp_path, stream(form="arrow", what="outcomes"))
    path, headers, body = server.requests[0]
    assert path == f"/v1/outcomes?model={rows.MODEL}"
    assert headers["Authorization"] == "Bearer secret"
    assert headers["Content-Type"] == "application/vnd.apache.arrow.stream"
    assert batch_of(body).schema.names == ["id", "y_true", "time"]


def test_several_streams_are_sent_at_once(tmp_path: Path) -> None:
    with answering({}) as server:
        report = told(server, tmp_path, stream(rate=300), stream(what="outcomes", rate=300))
    assert [course.acknowledged for course in report.streams] == [40, 40]
    assert len({path for path, _, _ in server.requests}) == 2


def test_a_server_that_is_busy_is_counted(tmp_path: Path) -> None:
    with answering({2: 429, 5: 429}) as server:
        (course,) = told(server, tmp_path, stream()).streams
    assert (course.acknowledged, course.refused) == (32, {429: 2})
    assert course.problem.startswith("429: ")


def test_a_refusal_is_an_error_in_the_servers_words(tmp_path: Path) -> None:
    with (
        answering({3: 404}) as server,
        pytest.raises(Refused, match=r'1 of 10 requests .* 404: \{"detail": "no"'),
    ):
        told(server, tmp_path, stream())


def test_a_dropped_connection_is_an_error(tmp_path: Path) -> None:
    with answering({4: None}) as server, pytest.raises(ApartError, match="closed a connection"):
        told(server, tmp_path, stream())


def test_nobody_there_is_an_error(tmp_path: Path) -> None:
    with answering({}) as server:
        url = server.url
    ready = clients(url, "secret", [(stream(), np.arange(4))], tmp_path)
    with pytest.raises(ApartError, match="refused"):
        sent(ready)


def test_a_job_that_cannot_be_prepared_is_an_error() -> None:
    missing = Stream(what="predictions", form="json", numbers="nowhere.npy", size=1, connections=1)
    with pytest.raises(LossloopError, match=r"'load' ended: FileNotFoundError.*nowhere"):
        Apart("load", Job(host="127.0.0.1", port=1, token="", streams=(missing,)))


def test_a_process_can_be_given_up(tmp_path: Path) -> None:
    ready = clients("http://127.0.0.1:1", "secret", [(stream(), np.arange(4))], tmp_path)
    ready.close()
    ready.close()


def test_the_bare_server_answers_everything(tmp_path: Path) -> None:
    with bare.serving() as floor:
        ready = clients(
            floor.url, "none", [(stream(), np.arange(40)), (stream(form="arrow"), np.arange(40))], tmp_path
        )
        report = sent(ready)
    assert [course.acknowledged for course in report.streams] == [40, 40]
