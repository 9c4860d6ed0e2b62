"""Sealing: a finished segment becomes Parquet that anybody's tools open, and is read as the same frames.

First come the files, then what they say is compared with the segment to the bit, then the manifest, and only
then is the segment deleted. A crash at any point leaves the one or the other.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import pyarrow as pa

from lossloop.core.errors import StateError
from lossloop.ledger.base import Entry, Offsets
from lossloop.ledger.files import durable, manifests
from lossloop.ledger.files.explain import explain_tail
from lossloop.ledger.files.manifests import Blob, Manifest, Range
from lossloop.ledger.files.opened import READ_AT_ONCE, SUFFIX, OpenSegment
from lossloop.ledger.files.sameness import same_batches
from lossloop.ledger.files.sealed import SealedSegment
from lossloop.ledger.files.sealwriter import SealWriter, Unfit, key_of
from lossloop.ledger.files.sweeping import sweep
from lossloop.ledger.findings import TORN, Tell
from lossloop.ledger.frames import Damage, Frame, seed_of

_AT_ONCE = 4096
"""Frames that are compared at once."""


def seal(log: Path, offsets: Offsets | None = None, *, tell: Tell = lambda done: None) -> list[Manifest]:
    """Seal every segment that is finished and was folded to its end; return the manifests made.

    Args:
        log: The directory of segments.
        offsets: How far the log was folded; None seals also what was not.
        tell: Told of progress, in bytes of segments.

    Raises:
        InUse: Another process seals, prunes, erases or exports.
        StorageFull: The disk takes no more; the segment stays as it was.
    """
    if not any(log.glob(f"*{SUFFIX}")):
        return []
    with durable.maintained(manifests.sealed_directory(log)), durable.explained(log):
        sweep(log)
        return list(sealed_ones(log, offsets, tell))


def sealed_ones(log: Path, offsets: Offsets | None, tell: Tell = lambda done: None) -> Iterator[Manifest]:
    """Seal what `seal` would; the caller holds the right to."""
    for path in finished(log):
        after = 0 if offsets is None else offsets.get(path.name, 0)
        segment = OpenSegment(log, path.name)
        try:
            ready = segment.finished() and (offsets is None or segment.next_time(after) is None)
            if ready and segment.next_time(0) is not None:
                yield _sealed(log, segment)
            tell(segment.size())
        finally:
            segment.close()


def finished(log: Path) -> list[Path]:
    """Segment files that no writer holds, oldest first."""
    found = []
    for path in sorted(log.glob(f"*{SUFFIX}")):
        if path.is_file():
            segment = OpenSegment(log, path.name)
            if segment.finished():
                found.append(path)
            segment.close()
    return found


def entries_of(segment: OpenSegment | SealedSegment) -> Iterator[Entry]:
    """All frames of a segment, some 16 MB at a time."""
    reached = 0
    while entries := segment.entries(reached, READ_AT_ONCE):
        yield from entries
        reached = entries[-1].position.offset


def _sealed(log: Path, segment: OpenSegment) -> Manifest:
    unfit: set[bytes] = set()
    while True:
        try:
            manifest = _written(log, segment, unfit)
            _compare(log, segment, manifest)
            break
        except Unfit as found:
            if found.schema in unfit:
                raise StateError(
                    f"{segment.name} is not sealed: it did not come back as it was; please report this"
                ) from None
            unfit.add(found.schema)
            sweep(log)
    manifest = manifests.write(log, manifest)
    os.unlink(log / segment.name)
    durable.sync_directory(log)
    return manifest


def _written(log: Path, segment: OpenSegment, unfit: set[bytes]) -> Manifest:
    writer = SealWriter(log, segment.name, unfit)
    damaged: list[Range] = []
    for entry in entries_of(segment):
        if isinstance(entry.frame, Damage):
            damaged.append(Range(start=entry.frame.start, end=entry.frame.end))
            writer.damage(entry.position.offset)
        else:
            writer.add(entry.position.offset, entry.frame)
    if writer.end < segment.size():  # never acknowledged, or damage with nothing behind it
        tail = segment.raw(writer.end, segment.size())
        torn = explain_tail(segment.name, tail, writer.end, seed_of(segment.name)).what == TORN
        damaged.append(Range(start=writer.end, end=segment.size(), torn=torn))
    return writer.finish(tuple(damaged), _kept(log, segment, damaged))


def _kept(log: Path, segment: OpenSegment, damaged: list[Range]) -> Blob:
    """Keep what was damaged: it may still tell which facts it was."""
    kept = [segment.raw(each.start, each.end) for each in damaged if not each.torn]
    if not kept:
        return Blob()
    root = manifests.sealed_directory(log)
    path = manifests.manifest_path(log, segment.name).with_suffix(".damage")
    durable.make(path.parent)
    durable.write(path, b"".join(kept))
    return Blob(path=str(path.relative_to(root)), bytes=path.stat().st_size, digest=durable.digest_of(path))


def _compare(log: Path, segment: OpenSegment, manifest: Manifest) -> None:
    """Read back what was written, and compare it with what it was made of.

    Raises:
        Unfit: With the schema of frames that came back changed.
    """
    sealed = SealedSegment(log, segment.name, manifest)
    try:
        wanted, found = entries_of(segment), entries_of(sealed)
        while some := list(islice(wanted, _AT_ONCE)):
            compare(some, list(islice(found, len(some))))
        if next(found, None) is not None:
            raise Unfit(pa.schema([]))
    finally:
        sealed.close()


def compare(wanted: Sequence[Entry], found: Sequence[Entry]) -> None:
    """Compare what was read back with what it was made of, to the bit.

    Raises:
        Unfit: With the schema of frames that came back changed.
    """
    if [_outline(entry) for entry in wanted] != [_outline(entry) for entry in found]:
        raise Unfit(pa.schema([]))
    alike: dict[bytes, tuple[list[pa.RecordBatch], list[pa.RecordBatch]]] = {}
    for one, other in zip(wanted, found, strict=True):
        if isinstance(one.frame, Frame) and isinstance(other.frame, Frame):
            batch = one.frame.batch
            if not batch.schema.equals(other.frame.batch.schema, check_metadata=True):
                raise Unfit(batch.schema)
            batches = alike.setdefault(key_of(batch.schema), ([], []))
            batches[0].append(batch)
            batches[1].append(other.frame.batch)
    for made, read in alike.values():
        if not same_batches(_joined(made), _joined(read)):
            raise Unfit(made[0].schema)


def _outline(entry: Entry) -> tuple[object, ...]:
    """All of an entry but the values in its rows."""
    frame = entry.frame
    if isinstance(frame, Damage):
        return (entry.position, frame)
    return (entry.position, frame.kind, frame.time, frame.batch.num_rows)


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)
