"""Removing rows from a ledger in PostgreSQL: frames are thinned, and a fact says how many rows went.

All of one step happens in one transaction, or nothing of it: a process that is killed leaves neither rows
that went unsaid nor a fact about rows that are there. Every frame keeps its number, also where no row is
left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from lossloop.core.clock import Clock, Micros, SystemClock
from lossloop.core.errors import InUse
from lossloop.core.ids import new_id
from lossloop.ledger.facts import PREDICTIONS, command
from lossloop.ledger.floor import Floor
from lossloop.ledger.frames import Frame
from lossloop.ledger.postgres.frames import row_of
from lossloop.ledger.postgres.log import Segments, values_of
from lossloop.ledger.postgres.scanning import Stored
from lossloop.ledger.postgres.session import Session
from lossloop.ledger.removals import Gone, Mask, Stretches, Summarise, count_versions, filtered


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """What becomes of a frame whose checksum holds."""

    stored: Stored
    frame: Frame
    stays: Mask
    """Which of its rows. Shape (rows,)."""
    left: Frame | None = None
    """What is kept of the rows that do not stay, where they have expired: then none does."""


class Remover:
    """Removes rows, step by step; hold the right to, as `maintained` gives it.

    Args:
        session: Where the frames lie.
        clock: Tells when.
        summarise: What is kept of the predictions that go; nothing by default.
        tokens: By which partitions are held: where one of them was lost, nothing of a step is kept.
    """

    def __init__(
        self,
        session: Session,
        clock: Clock | None = None,
        summarise: Summarise | None = None,
        *,
        tokens: Mapping[int, int] | None = None,
    ) -> None:
        self._session = session
        self._clock = clock or SystemClock()
        self._summarise = summarise
        self._tokens = tokens or {}
        self._segments = Segments()
        self._floor = Floor(self._newest)
        self.gone: list[Gone] = []
        """What went so far."""
        self.freed = 0
        """Bytes of payloads before, less after."""

    def remove(self, changes: Sequence[Change], *, why: str) -> None:
        """Thin frames of predictions and outcomes, and append the facts that say so.

        Raises:
            InUse: A frame is not what it was any more, or a partition was lost; nothing happened.
        """
        gone = [self._told(model, segment, some) for (model, segment), some in _by_place(changes)]
        thinned = [_thinned(change) for change in changes]
        now = self._clock.now()
        facts = [
            command(f"{why}/{each.segment}/{new_id()}", why, msgspec.to_builtins(each), now=now)
            for each in gone
        ]
        self._carry_out([change.stored for change in changes], thinned, facts)
        self.gone += gone
        self.freed += sum(len(change.stored.payload) for change in changes)
        self.freed -= sum(len(each.payload) for each in thinned)

    def forget_damage(self, frames: Sequence[Stored]) -> None:
        """Drop the bytes of frames whose checksum does not hold; that they were there and damaged stays."""
        self._carry_out(frames, [each._replace(payload=b"") for each in frames], [])

    def _told(self, model: str, segment: str, changes: Sequence[Change]) -> Gone:
        """The fact about rows of a model that go from a segment."""
        predictions, outcomes, versions, ids = 0, 0, dict[str, int](), []
        times: list[Micros] = []
        for change in changes:
            going = int(np.count_nonzero(~change.stays))
            if change.frame.kind in PREDICTIONS:
                predictions += going
            else:
                outcomes += going
            times += [change.frame.time] if going else []
            if going and change.frame.kind in PREDICTIONS:
                rows = pa.array(~change.stays)
                count_versions(versions, column_of(change.frame.batch, "version").filter(rows))
                ids.append(change.frame.batch.filter(rows))
        left = any(change.left is not None for change in changes)
        frames = () if left else stretches(change.stored.number for change in changes)
        return Gone(
            model=model, segment=segment, frames=frames, predictions=predictions, outcomes=outcomes,
            versions=dict(sorted(versions.items())),
            first=min(times, default=0), last=max(times, default=0),
            summary=self._summarise(model, segment, frames, ids)
            if self._summarise is not None and ids else {},
        )  # fmt: skip

    def _carry_out(
        self,
        frames: Sequence[Stored],
        thinned: Sequence[Stored],
        facts: Sequence[Frame],
    ) -> None:
        rows = self._segments.placed(self._floor.lifted(facts), self._session.partitions)
        try:
            done = self._session.rows(
                "remove",
                **{f"were_{name}": [getattr(each, name) for each in frames] for name in _WERE},
                **{f"thin_{name}": [getattr(each, name) for each in thinned] for name in _THIN},
                held=list(self._tokens),
                tokens=list(self._tokens.values()),
                **values_of(rows),
            )
            if not done and not self._is_there(rows):
                raise InUse(
                    f"nothing of this step was kept: another process has changed what was to go from "
                    f"{self._session.database.place}, or has taken it over; do it again"
                )
        except BaseException:
            self._segments.abandon()
            raise
        if rows:
            self._segments.appended(rows)

    def _is_there(self, rows: Sequence[Mapping[str, Any]]) -> bool:
        """Whether the facts are in the log: then the step was done, and only the answer was lost."""
        last = rows[-1] if rows else None
        return last is not None and bool(
            self._session.rows("is_there", segment=last["segment"], number=last["number"])
        )

    def _newest(self) -> Micros:
        return int(self._session.rows("newest")[0][0])


_WERE = ("segment", "number", "crc")
_THIN = ("segment", "number", "kind", "rows", "crc", "payload")


def _by_place(changes: Sequence[Change]) -> list[tuple[tuple[str, str], list[Change]]]:
    """The changes by model and segment."""
    found: dict[tuple[str, str], list[Change]] = {}
    for change in changes:
        found.setdefault((change.stored.model or "", change.stored.segment), []).append(change)
    return sorted(found.items())


def _thinned(change: Change) -> Stored:
    """The frame with the rows that stay, or with what is kept of them."""
    frame = change.left
    if frame is None:
        batch = filtered(change.frame.batch, pa.array(change.stays))
        frame = Frame(kind=change.frame.kind, time=change.frame.time, batch=batch)
    row = row_of(frame)
    return change.stored._replace(kind=row["kind"], rows=row["rows"], crc=row["crc"], payload=row["payload"])


def column_of(batch: pa.RecordBatch, name: str) -> pa.Array:
    """A column; nulls where there is none, or several."""
    there = batch.schema.names
    return batch.column(there.index(name)) if there.count(name) == 1 else pa.nulls(batch.num_rows)


def stretches(numbers: Iterator[int]) -> Stretches:
    """Numbers as stretches of consecutive ones."""
    found: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if found and number == found[-1][1] + 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return tuple(found)
