"""Frames as they lie in the table, read in the table's own order: for work that looks at every one."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from lossloop.core.clock import Micros
from lossloop.ledger.frames import Damage, Frame
from lossloop.ledger.postgres.frames import frame_of
from lossloop.ledger.postgres.log import HEADS_AT_ONCE, READ_AT_ONCE
from lossloop.ledger.postgres.session import Session

_BEHIND_ALL = (1 << 63) - 1


class Key(NamedTuple):
    """Which frame, and how large its payload is."""

    segment: str
    number: int
    size: int


class Stored(NamedTuple):
    """A frame as a row of the table."""

    segment: str
    number: int
    kind: int
    time: Micros
    rows: int
    crc: int
    model: str | None
    payload: bytes

    @property
    def key(self) -> Key:
        """Which frame it is."""
        return Key(self.segment, self.number, len(self.payload))

    def frame(self) -> Frame | Damage:
        """The frame, if its checksum holds.

        Raises:
            NewerFormat: It is of a kind that this release does not know.
        """
        return frame_of(self.number, self.kind, self.time, self.rows, self.crc, self.payload)


def pages(
    session: Session, ends: Mapping[str, int], *, models: Collection[str] | None = None, folded: bool = False
) -> Iterator[list[Stored]]:
    """Frames by segment and number, about READ_AT_ONCE bytes at a time, one frame at least.

    Args:
        session: Where they lie.
        ends: Segments, and up to which number; so this comes to an end where others go on appending.
        models: Only predictions and outcomes of these.
        folded: Only those that their partition has folded, and that belong to one.
    """
    segment, number, last = "", 0, max(ends, default="")
    wanted_models = None if models is None else sorted(models)
    values = {"models": wanted_models, "folded": folded, "count": HEADS_AT_ONCE, "most": READ_AT_ONCE}
    while rows := session.rows("page", segment=segment, number=number, **values):
        page = [Stored(*row) for row in rows]
        if wanted := [stored for stored in page if stored.number <= ends.get(stored.segment, 0)]:
            yield wanted
        segment, number = page[-1].segment, page[-1].number
        if number >= ends.get(segment, 0):
            number = _BEHIND_ALL
            if segment >= last:
                return


def fetched(session: Session, keys: Sequence[Key]) -> list[Stored]:
    """These frames, as far as they are there, by segment and number."""
    values = {"segment": [key.segment for key in keys], "number": [key.number for key in keys]}
    return [Stored(*row) for row in session.rows("frames_at", **values)]


def batches(keys: Sequence[Key], most: int = READ_AT_ONCE) -> Iterator[Sequence[Key]]:
    """The keys in their order, with about `most` bytes and at most HEADS_AT_ONCE frames at a time."""
    start, size = 0, 0
    for place, key in enumerate(keys):
        if place > start and (size + key.size > most or place - start >= HEADS_AT_ONCE):
            yield keys[start:place]
            start, size = place, 0
        size += key.size
    if start < len(keys):
        yield keys[start:]
