"""One attempt to bring rows to the server: what it took, what it refused, and what to try again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from lossloop.client.answers import Again, AllRefused, Problem, Split, Taken, follows
from lossloop.client.connection import Connection
from lossloop.client.diskqueue import Waiting
from lossloop.client.errors import Unreachable
from lossloop.client.refusals import Refusal, refusal
from lossloop.client.rows import Entry, Kind

MOST_BYTES = 8 * 1024 * 1024
"""Of one request; the server takes twice that."""
SEARCH_AFTER = 3
"""After so many attempts at which the server failed, see whether it is one row that makes it fail."""
MOST_FAILURES = 64
"""Of requests in an attempt at which nothing was taken: then it is the server, and no row of ours."""


@dataclass(kw_only=True)
class Attempt:
    """What became of the rows of one attempt, by where they begin in the spool."""

    settled: set[int] = field(default_factory=set)
    refused: list[Refusal] = field(default_factory=list)
    again: Again | None = None
    """Why some are left, None where none are."""


class Delivery:
    """Sends rows, in batches of one model and kind.

    Args:
        connection: To whom.
        batch: The most rows of a request.
    """

    def __init__(self, connection: Connection, *, batch: int) -> None:
        self._connection = connection
        self._batch = batch

    def attempt(self, waiting: Sequence[Waiting], failures: int = 0) -> Attempt:
        """Send rows until all are settled or the server takes no more; `failures` attempts failed before."""
        made = _Making(self._connection, search=failures >= SEARCH_AFTER)
        for rows in batches(waiting, self._batch):
            made.send(rows)
            if made.attempt.again:
                break
        return made.finish()


def batches(waiting: Sequence[Waiting], most: int) -> Iterator[list[Waiting]]:
    """Rows by model and kind, in order of their first, at most `most` and MOST_BYTES together."""
    groups: dict[tuple[Kind, bytes], list[Waiting]] = {}
    for each in waiting:
        groups.setdefault((each.entry.kind, each.entry.model), []).append(each)
    for rows in groups.values():
        batch: list[Waiting] = []
        size = 0
        for each in rows:
            if batch and (len(batch) == most or size + len(each.entry.row) > MOST_BYTES):
                yield batch
                batch, size = [], 0
            batch.append(each)
            size += len(each.entry.row)
        yield batch


def body(entries: Sequence[Entry]) -> bytes:
    """The request that carries rows of one model and kind."""
    kind, model = entries[0].kind, entries[0].model.decode()
    head = b'{"model":' + msgspec.json.encode(model) + b',"' + kind.noun.encode() + b's":['
    return head + b",".join([entry.row for entry in entries]) + b"]}"


class _Making:
    """An attempt while it is made. `suspects` are rows at which, each by itself, the server failed."""

    def __init__(self, connection: Connection, *, search: bool) -> None:
        self.attempt = Attempt()
        self._connection = connection
        self._search = search
        self._suspects: list[tuple[Waiting, Problem]] = []
        self._failures = 0
        self._taken = False

    def send(self, rows: Sequence[Waiting]) -> None:
        """Send rows, in halves where they cannot be taken as a whole."""
        if self.attempt.again:
            return
        entries = [each.entry for each in rows]
        try:
            answer = self._connection.send("POST", entries[0].kind.path, body(entries))
        except Unreachable as error:
            self.attempt.again = Again(reason=str(error))
            return
        match follows(answer, len(rows)):
            case Taken(refused=refused):
                self._taken = self._taken or len(refused) < len(rows)
                self._settle(rows, refused)
            case AllRefused(problem=problem):
                self._settle(rows, dict.fromkeys(range(len(rows)), problem))
            case Split(problem=problem) if len(rows) == 1:
                self._settle(rows, {0: problem})
            case Split():
                self._halve(rows)
            case Again() as again:
                self._fail(rows, again)

    def _halve(self, rows: Sequence[Waiting]) -> None:
        middle = len(rows) // 2
        self.send(rows[:middle])
        self.send(rows[middle:])

    def _fail(self, rows: Sequence[Waiting], again: Again) -> None:
        self._failures += 1
        if not (again.broken and self._search) or (self._failures > MOST_FAILURES and not self._taken):
            self.attempt.again = again
        elif len(rows) > 1:
            self._halve(rows)
        else:
            self._suspects.append((rows[0], Problem(status=500, detail=again.reason)))

    def _settle(self, rows: Sequence[Waiting], refused: dict[int, Problem]) -> None:
        for place, each in enumerate(rows):
            self.attempt.settled.add(each.at)
            if place in refused:
                problem = refused[place]
                told = refusal(each.entry, problem.status, problem.detail, problem.field)
                self.attempt.refused.append(told)

    def finish(self) -> Attempt:
        """A server that took other rows meanwhile, and failed at these alone, will not take them later."""
        for each, problem in self._suspects:
            if self._taken:
                self._settle([each], {0: problem})
            elif self.attempt.again is None:
                self.attempt.again = Again(reason=problem.detail, broken=True)
        return self.attempt
