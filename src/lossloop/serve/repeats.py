"""Repeats: a row that Lossloop answered before is answered the same again.

The last answers are kept in memory, and read back from the log's tail after a restart. An id that is older
than that is answered anew; the first answer stands, since the join keeps the first prediction with an id.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec
import pyarrow as pa

from lossloop.core.errors import Conflict, InputError
from lossloop.core.records import Role
from lossloop.ledger.base import LogReader, Offsets
from lossloop.ledger.facts import model_of, optional
from lossloop.ledger.frames import Damage, Frame

REMEMBERED = 100_000
"""Answers kept in memory."""
TAIL = 32 * 1024 * 1024
"""Bytes of facts that are read back after a restart."""
_FIRST_STEP = 4096


class Answer(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """What a row was answered, and by which version in which role."""

    id: str
    version: int
    role: str
    y_pred: float | list[float]
    limited: str = ""
    """The limit that cut it, if one did."""


class Sent(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What identifies a row: its id, and a digest of what was sent with it."""

    id: str
    content: bytes


class Repeats:
    """Finds answers by id.

    Ids whose rows are on their way to the disk are held: another request cannot give them other content.
    """

    def __init__(self) -> None:
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

    def remember(self, model: str, content: bytes, answer: Answer) -> Answer:
        """Keep an answer that is durable; of several under one id the first stands, and comes back."""
        stands = self._recent.setdefault((model, answer.id), (content, answer))[1]
        while len(self._recent) > REMEMBERED:
            self._recent.popitem(last=False)
        return stands

    def recall(self, reader: LogReader, folded: Offsets) -> None:
        """Read back what was answered last, from the tail of a log that was folded up to `folded`."""
        answered = [frame for frame in _tail(reader, folded) if optional(frame.batch, "content") is not None]
        first, rows = len(answered), 0
        while first and rows < REMEMBERED:
            first -= 1
            rows += answered[first].batch.num_rows
        for frame in answered[first:]:
            self._recall(frame.batch)

    def _recall(self, batch: pa.RecordBatch) -> None:
        model, role = model_of(batch), optional(batch, "role")
        roles = [str(Role.CHAMPION)] * batch.num_rows if role is None else role.to_pylist()
        cut = optional(batch, "limited")
        limits = [None] * batch.num_rows if cut is None else cut.to_pylist()
        columns = [batch.column(name).to_pylist() for name in ("content", "id", "version", "y_pred")]
        for content, id, version, y_pred, kind, limited in zip(*columns, roles, limits, strict=True):
            if content is not None:
                answer = Answer(id=id, version=version, role=kind, y_pred=y_pred, limited=limited or "")
                self.remember(model, content, answer)

    def sort(
        self, model: str, rows: Sequence[tuple[int, Sent]], problems: list[InputError]
    ) -> tuple[dict[int, Answer], set[int]]:
        """Answers of rows that came before, and the places of rows that are new.

        The same id with other content becomes a problem.
        """
        answers: dict[int, Answer] = {}
        fresh: set[int] = set()
        for place, sent in rows:
            found = self._recent.get((model, sent.id))
            if found is None and self._held.get((model, sent.id), (sent.content,))[0] == sent.content:
                fresh.add(place)
            elif found is None:
                problems.append(_other_content(sent.id, place))
            elif found[0] == sent.content:
                answers[place] = found[1]
            else:
                problems.append(_other_content(sent.id, place))
        return answers, fresh


def _other_content(id: str, row: int) -> Conflict:
    return Conflict(f"the id {id!r} was recorded with other content; use a new id", field="id", row=row)


def _tail(reader: LogReader, folded: Offsets) -> list[Frame]:
    """The last facts of a log, TAIL bytes of them or a few times that.

    What an offset counts is the log's own affair, so it is gone back step by step, until enough lies ahead.
    """
    frames, size = _behind(reader, folded)
    back, least = 0, sum(folded.values())
    while size < TAIL and back < least:
        back = 4 * back or _FIRST_STEP
        frames, size = _behind(reader, _before(folded, back))
    return frames


def _before(folded: Offsets, back: int) -> Offsets:
    """Offsets that lie back from others, in the newest segments."""
    found, left = dict(folded), back
    for segment in sorted(found, reverse=True):
        taken = min(found[segment], left)
        found[segment] -= taken  # in the midst of a frame: a reader takes the rest of it for damage
        left -= taken
    return found


def _behind(reader: LogReader, after: Offsets) -> tuple[list[Frame], int]:
    """What lies behind these offsets, up to a bound, and its bytes."""
    reached, frames, size = dict(after), [], 0
    while size < 4 * TAIL and (entries := list(reader.read(reached))):
        for entry in entries:
            reached[entry.position.segment] = entry.position.offset
            if not isinstance(entry.frame, Damage):
                frames.append(entry.frame)
                size += entry.frame.batch.nbytes
    return frames, size
