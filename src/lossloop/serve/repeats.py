"""Repeats: a row that was answered before is answered the same again, however often it is sent."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec

from lossloop.core.clock import Micros
from lossloop.core.errors import Conflict, InputError
from lossloop.ledger.state import State

REMEMBERED = 50_000
"""Ids kept in memory between their acknowledgement and their way into the derived state."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a row was answered, and by which version in which role."""

    id: str
    version: int
    role: str
    y_pred: float | list[float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sent:
    """What identifies a row: its id and a digest of what was sent with it."""

    id: str
    unit: str | None
    time: Micros
    content: bytes


class Repeats:
    """Finds answers by id: those of a moment ago in memory, the rest in the derived state.

    Ids whose rows are on their way to the disk are held: another request cannot give them other content.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._recent: OrderedDict[tuple[str, str], tuple[bytes, Answer]] = OrderedDict()
        self._held: dict[tuple[str, str], tuple[bytes, int]] = {}

    @contextmanager
    def held(self, model: str, rows: Sequence[Sent]) -> Iterator[None]:
        """Hold the ids of new rows until they are durable, or were not taken."""
        for sent in rows:
            self._hold(model, sent, 1)
        try:
            yield
        finally:
            for sent in rows:
                self._hold(model, sent, -1)

    def _hold(self, model: str, sent: Sent, more: int) -> None:
        key = (model, sent.id)
        requests = self._held.get(key, (b"", 0))[1] + more
        if requests:
            self._held[key] = (sent.content, requests)
        else:
            del self._held[key]

    def remember(self, model: str, content: bytes, answer: Answer) -> None:
        """Keep an answer that was just acknowledged."""
        self._recent[model, answer.id] = (content, answer)
        while len(self._recent) > REMEMBERED:
            self._recent.popitem(last=False)

    def sort(
        self, model: str, rows: Sequence[tuple[int, Sent]], problems: list[InputError]
    ) -> tuple[dict[int, Answer], set[int]]:
        """Answers of rows that came before, and the places of rows that are new.

        The same id with other content becomes a problem.
        """
        answers: dict[int, Answer] = {}
        fresh: set[int] = set()
        for place, sent in rows:
            found = self._find(model, sent.id)
            if found is None and self._held.get((model, sent.id), (sent.content,))[0] == sent.content:
                fresh.add(place)
            elif found is None:
                problems.append(_other_content(sent.id, place))
            elif found[0] == sent.content:
                answers[place] = found[1]
            else:
                problems.append(_other_content(sent.id, place))
        return answers, fresh

    def _find(self, model: str, id: str) -> tuple[bytes, Answer] | None:
        if (model, id) in self._recent:
            return self._recent[model, id]
        return None


def _other_content(id: str, row: int) -> Conflict:
    return Conflict(f"the id {id!r} was recorded with other content; use a new id", field="id", row=row)
