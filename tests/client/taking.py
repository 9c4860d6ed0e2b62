"""A server that takes rows as Lossloop does, and fails as a test says."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lossloop.client import Client
from tests.client.answering import Answering, Asked, Said, answering

Row = dict[str, Any]
PATIENCE = 60.0
"""Seconds that a test waits for what must happen."""


@dataclass
class Taking:
    """What it has taken, in order; `plan` holds answers to be given first, one to a request."""

    server: Answering
    taken: list[tuple[str, str, Row]] = field(default_factory=list)
    """Kind, model and row."""
    plan: list[Said] = field(default_factory=list)
    refuses: Callable[[Row], bool] = lambda row: False
    breaks: Callable[[Row], bool] = lambda row: False
    """Rows at which it fails, as a fault in its own code would."""
    most: int = 100_000
    """Rows of a request; more are 413."""
    changed: threading.Condition = field(default_factory=threading.Condition)

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def ids(self) -> list[str]:
        return [row["id"] for _, _, row in self.taken]

    def requests(self) -> list[tuple[str, list[Row]]]:
        """Path and rows of every request."""
        read = [(asked.path, json.loads(asked.body)) for asked in self.server.asked]
        return [(path, body[path.removeprefix("/v1/")]) for path, body in read]

    def await_requests(self, count: int) -> None:
        """Wait until there were so many."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.server.asked) >= count, PATIENCE)

    def decide(self, asked: Asked) -> Said:
        with self.changed:
            self.changed.notify_all()
            if self.plan:
                return self.plan.pop(0)
            return self._take(asked)

    def _take(self, asked: Asked) -> Said:
        kind, body = asked.path.removeprefix("/v1/"), json.loads(asked.body)
        rows = body[kind]
        if len(rows) > self.most:
            return problem(413, "too large")
        if any(map(self.breaks, rows)):
            return problem(500, "the server failed at this request")
        bad = [place for place, row in enumerate(rows) if self.refuses(row)]
        self.taken += [(kind, body["model"], row) for row in rows if not self.refuses(row)]
        if bad:
            return problem(
                422, "bad rows", errors=[{"row": n, "field": "y_pred", "detail": "bad"} for n in bad]
            )
        return Said(body=json.dumps({"accepted": len(rows)}).encode())


def problem(status: int, detail: str, *, after: str | None = None, **more: Any) -> Said:
    """A refusal in the shape of Lossloop's."""
    body = json.dumps({"type": "about:blank", "status": status, "detail": detail, **more}).encode()
    return Said(status=status, body=body, headers={"Retry-After": after} if after is not None else {})


@contextmanager
def taking(port: int = 0) -> Iterator[Taking]:
    """A server for as long as it is needed."""
    with answering(port) as server:
        made = Taking(server)
        server.decide = made.decide
        yield made


def client_of(url: str, spool: Any, **options: Any) -> Client:
    """A client that does not wait for more rows."""
    return Client(url, token="ll_token", timeout=5, spool=spool, **{"linger": 0.0, **options})


def rows(count: int, start: int = 0) -> list[Row]:
    """Predictions of their own ids."""
    return [{"id": f"a{n}", "version": 1, "y_pred": 0.5} for n in range(start, start + count)]


def spool_files(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.spool"))


def refused_in(directory: Path) -> list[Row]:
    """What stands in refused.jsonl."""
    path = directory / "refused.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
