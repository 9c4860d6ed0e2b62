"""Removing rows for good: the segment is rewritten, and a fact is left that says how many rows went.

The fact is part of the log, so that a rebuild knows. It is noted beside the manifest before that changes, and
appended after it has: a crash in between loses neither, and its id lets it count once.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from lossloop.core.clock import Clock, SystemClock
from lossloop.core.records import Record
from lossloop.ledger.base import LogWriter
from lossloop.ledger.expired import Needs
from lossloop.ledger.facts import OUTCOMES, PREDICTIONS, command
from lossloop.ledger.files import durable, manifests
from lossloop.ledger.files.expiring import after_expiry
from lossloop.ledger.files.manifests import Manifest
from lossloop.ledger.files.reading import columns, identified
from lossloop.ledger.files.rewriting import drop_old, rewritten
from lossloop.ledger.files.sealed import SealedSegment
from lossloop.ledger.removals import EXPIRED, Gone, Mask, Summarise, count_versions


class Note(Record, frozen=True):
    """Facts that belong to a manifest of this generation."""

    segment: str
    generation: int
    why: str
    facts: list[Gone]


class Remover:
    """Removes rows from sealed segments; hold the right to change what is sealed while you use it.

    Args:
        log: The directory of segments.
        writer: Appends the facts.
        clock: Tells when.
        summarise: What is kept of the predictions that go; nothing by default.
    """

    def __init__(
        self, log: Path, writer: LogWriter, clock: Clock | None = None, summarise: Summarise | None = None
    ) -> None:
        self._log = log
        self._writer = writer
        self._clock = clock or SystemClock()
        self._summarise = summarise
        self.gone: list[Gone] = []
        """What went so far."""
        self._note = manifests.sealed_directory(log) / manifests.NOTE
        self._resume()

    def remove(
        self, manifest: Manifest, keep: Mapping[int, Mask], *, why: str, forget_damage: bool = False
    ) -> Manifest:
        """Remove the rows that are not kept; return the manifest that is in force then."""
        keep = {number: mask for number, mask in keep.items() if not mask.all()}
        forget_damage = forget_damage and bool(manifest.damage.path)
        if not keep and not forget_damage:
            return manifest
        gone = [self._summarised(each, manifest, keep) for each in _counted(self._log, manifest, keep)]
        after = rewritten(self._log, manifest, keep, why=why, forget_damage=forget_damage)
        return self._put(manifest, after, gone, why)

    def expire(self, manifest: Manifest, going: Mask, needs: Needs) -> Manifest:
        """Let frames of a model expire; return the manifest that is in force then.

        Args:
            manifest: The segment as it is.
            going: Which of its frames. Shape (frames,).
            needs: What of the rows has to be known.
        """
        index = SealedSegment(self._log, manifest.segment, manifest).index
        if not index.rows[going].any():
            return manifest
        keep = {
            number: np.repeat(~going[here], index.rows[here])
            for number in np.unique(index.table[going]).tolist()
            for here in [index.table == number]
        }
        gone = _counted(self._log, manifest, keep)
        return self._put(manifest, after_expiry(self._log, manifest, going, needs), gone, EXPIRED)

    def _put(self, manifest: Manifest, after: Manifest, gone: list[Gone], why: str) -> Manifest:
        """Put the next manifest in force, and tell what it has no more."""
        note = Note(segment=manifest.segment, generation=after.generation, why=why, facts=gone)
        durable.write(self._note, msgspec.json.encode(note))
        after = manifests.write(self._log, after)
        drop_old(self._log, manifest, after)
        self._tell(note)
        self.gone += gone
        return after

    def _summarised(self, gone: Gone, manifest: Manifest, keep: Mapping[int, Mask]) -> Gone:
        if self._summarise is None or not gone.predictions:
            return gone
        ids = [
            identified(self._log, manifest, number).filter(pa.array(~mask))
            for number, mask in keep.items()
            if manifest.tables[number].model == gone.model
            and manifests.kind_of(manifest.tables[number]) in PREDICTIONS
        ]
        return msgspec.structs.replace(gone, summary=self._summarise(gone.model, gone.segment, (), ids))

    def _resume(self) -> None:
        """Append the facts of a removal that was cut off after its manifest changed."""
        try:
            note = msgspec.json.decode(self._note.read_bytes(), type=Note)
            there = manifests.read(self._log, note.segment).generation
        except FileNotFoundError:
            return
        if there >= note.generation:
            self._tell(note)
        else:
            self._note.unlink()

    def _tell(self, note: Note) -> None:
        now, stem = self._clock.now(), manifests.stem(note.segment)
        frames = [
            command(
                f"{note.why}/{stem}.{note.generation}/{gone.model}",
                note.why,
                msgspec.to_builtins(gone),
                now=now,
            )
            for gone in note.facts
        ]
        if frames:
            self._writer.append(frames)
        self._note.unlink()


def _counted(log: Path, manifest: Manifest, keep: Mapping[int, Mask]) -> list[Gone]:
    index = SealedSegment(log, manifest.segment, manifest).index
    found: dict[str, dict[str, Any]] = {}
    for number, mask in keep.items():
        table = manifest.tables[number]
        here = index.table == number
        times = np.repeat(index.time[here], index.rows[here])[~mask]
        gone = found.setdefault(table.model, {"predictions": 0, "outcomes": 0, "versions": {}, "times": []})
        kind = manifests.kind_of(table)
        gone["predictions"] += len(times) if kind in PREDICTIONS else 0
        gone["outcomes"] += len(times) if kind in OUTCOMES else 0
        gone["times"] += [int(times.min()), int(times.max())]
        if kind in PREDICTIONS:
            versions = columns(log, manifest, number, ["version"]).column("version")
            count_versions(gone["versions"], versions.filter(pa.array(~mask)))
    return [
        Gone(
            model=model, segment=manifest.segment, predictions=gone["predictions"],
            outcomes=gone["outcomes"], versions=dict(sorted(gone["versions"].items())),
            first=min(gone["times"]), last=max(gone["times"]),
        )
        for model, gone in sorted(found.items())
    ]  # fmt: skip
