"""Verifying a log: every checksum of every byte, and which events a wrong one touches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lossloop.core.errors import NewerFormat, StateError
from lossloop.ledger.base import Offsets
from lossloop.ledger.files import durable, manifests
from lossloop.ledger.files.explain import explain, explain_tail, torn
from lossloop.ledger.files.manifests import Blob, Manifest
from lossloop.ledger.files.opened import SUFFIX, OpenSegment
from lossloop.ledger.files.sealing import entries_of
from lossloop.ledger.files.sweeping import strays
from lossloop.ledger.files.tablecheck import check_table
from lossloop.ledger.findings import DAMAGE, LOST, Finding, Report, Tell
from lossloop.ledger.frames import Damage, seed_of


def size(log: Path) -> int:
    """Bytes that verifying a log reads, about."""
    return sum(path.stat().st_size for path in log.rglob("*") if path.is_file()) if log.is_dir() else 0


def verify(log: Path, offsets: Offsets | None = None, *, tell: Tell = lambda done: None) -> Report:
    """Check every frame, sealed file and manifest of a log.

    Args:
        log: The directory of segments; it may be in use.
        offsets: How far the log was folded, to notice segments that are not there any more.
        tell: Told of progress, in bytes.

    Raises:
        NewerFormat: A newer release wrote something.
    """
    report = Report()
    # In this order: a segment that is sealed in between is looked at twice rather than not at all.
    names = sorted(path.name for path in log.glob(f"*{SUFFIX}") if path.is_file()) if log.is_dir() else []
    for name in names:
        _open(log, name, report, tell)
    known = set(names)
    for path in sorted(manifests.index_directory(log).glob(f"*{manifests.MANIFEST}")):
        name = manifests.segment_of(path.name)
        if name not in known:  # a segment that is there both ways is not sealed yet
            _sealed(log, name, report, tell)
        known.add(name)
    for name in sorted(name for name, offset in (offsets or {}).items() if offset and name not in known):
        problem = "the segment was folded and is not there any more; restore it from a backup"
        report.findings.append(Finding(segment=name, problem=problem, what=LOST))
    if not any(finding.problem.startswith("the manifest") for finding in report.findings):
        root = manifests.sealed_directory(log)
        report.strays = [str(path.relative_to(root)) for path in strays(log)]
    return report


def _open(log: Path, name: str, report: Report, tell: Tell) -> None:
    try:
        segment = OpenSegment(log, name)
    except FileNotFoundError:  # sealed since it was listed, or given up
        return
    report.segments += 1
    reached = 0
    try:
        for entry in entries_of(segment):
            if isinstance(entry.frame, Damage):
                data = segment.raw(entry.frame.start, entry.frame.end)
                report.findings.append(explain(name, data, entry.frame.start, seed_of(name)))
            report.frames += 1
            tell(entry.position.offset - reached)
            reached = entry.position.offset
        tail = segment.raw(reached, segment.size())
        if tail:
            report.findings.append(explain_tail(name, tail, reached, seed_of(name)))
        report.bytes += segment.size()
    finally:
        segment.close()


def _sealed(log: Path, name: str, report: Report, tell: Tell) -> None:
    report.segments += 1
    report.sealed += 1
    try:
        manifest = manifests.read(log, name)
    except NewerFormat:
        raise
    except FileNotFoundError:
        return
    except StateError as error:
        report.findings.append(Finding(segment=name, problem=f"the manifest: {error}"))
        return
    report.frames += manifest.frames
    for finding in (*_files(log, manifest, tell), *_carried(log, manifest)):
        report.findings.append(finding)
    report.bytes += sum(blob.bytes for blob in manifest.blobs)


def _files(log: Path, manifest: Manifest, tell: Tell) -> Iterator[Finding]:
    root = manifests.sealed_directory(log)
    for number, table in enumerate(manifest.tables):
        wrong = _wrong(root, table.file)
        if wrong:
            yield from check_table(log, manifest, number, wrong)
        tell(table.file.bytes)
    rows = sum(table.rows for table in manifest.tables)
    for blob, rows_touched, words in (
        (manifest.index, rows, "frames cannot be told apart; the rows themselves are in their tables"),
        (manifest.ids, 0, "no event is touched, but ids are not found by it"),
        (manifest.damage, 0, "no event is touched that was not damaged before"),
    ):
        wrong = _wrong(root, blob)
        if wrong:
            what = DAMAGE if rows_touched else LOST
            problem = f"{blob.path}: {wrong}: {words}"
            yield Finding(
                segment=manifest.segment, problem=problem, what=what, rows=rows_touched, end=manifest.end
            )
        tell(blob.bytes)


def _wrong(root: Path, blob: Blob) -> str:
    """What is wrong with a file; nothing if it is as it was sealed."""
    if not blob.path:
        return ""
    try:
        return "" if durable.digest_of(root / blob.path) == blob.digest else "its digest does not match"
    except FileNotFoundError:
        return "it is missing"
    except OSError as error:
        return f"it cannot be read ({error.strerror})"


def _carried(log: Path, manifest: Manifest) -> Iterator[Finding]:
    """Damage that the segment had when it was sealed."""
    kept, at = b"", 0
    if manifest.damage.path and not _wrong(manifests.sealed_directory(log), manifest.damage):
        kept = (manifests.sealed_directory(log) / manifest.damage.path).read_bytes()
    for each in manifest.damaged:
        if each.torn:
            yield torn(manifest.segment, each.start, each.end)
            continue
        size = each.end - each.start
        data, at = kept[at : at + size], at + size
        if len(data) == size:
            yield explain(manifest.segment, data, each.start, seed_of(manifest.segment))
            continue
        problem = "was damaged when it was sealed; its bytes are not kept"
        yield Finding(segment=manifest.segment, problem=problem, start=each.start, end=each.end)
