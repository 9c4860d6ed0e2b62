"""Bringing history in: a source, piece by piece, into the log.

    for every piece of the source that is not done with:
        1. it is held against the rules: facts of the rows that fit, words on those that do not
        2. the words are durable in the rejects
        3. the facts are durable in the log
        4. the progress that counts both is durable

A process that is killed anywhere sends at most one piece again, and what is sent again changes nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pyarrow as pa

from lossloop.app.books import Books
from lossloop.app.home import Home
from lossloop.app.importing.checking import Bad, Held, hold
from lossloop.app.importing.features import Sort, known
from lossloop.app.importing.mapping import Naming, Plan, plan
from lossloop.app.importing.ordering import pieces_in_order
from lossloop.app.importing.progress import Folder, Progress, all_progress, key_of, read_progress
from lossloop.app.importing.rejects import Rejects
from lossloop.app.importing.sources import Piece, Source
from lossloop.core.clock import Clock, SystemClock
from lossloop.core.errors import InputError, UnknownName
from lossloop.core.traffic import Traffic
from lossloop.ledger.base import LogWriter, Position
from lossloop.ledger.frames import Frame, Kind, payload_of
from lossloop.registry import FeatureKind, versions
from lossloop.serve.rowwise import Terms

MOST_SHOWN = 10
"""Rejected rows that an answer names; the others are in the rejects."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be imported of any source.

    Args:
        model: Whose facts.
        kind: Predictions or outcomes.
        naming: What was said of the sources' columns.
        history: Whether the facts are of the past; else they count as arriving now.
    """

    model: str
    kind: Kind
    naming: Naming
    history: bool = True


@dataclass(kw_only=True)
class Report:
    """What became of one source.

    Args:
        source: Its name.
        read: Rows that were read now.
        before: Rows that were done with before.
        taken: Rows that are, or would be, in the log; of those that were read now.
        rejected: Rows that are not; the first few of them in `bad`.
        superseded: Rows whose label a later row of the same source says anew.
        position: Where the log stood behind the last of them.
        rejects: Where the rejected rows are written.
    """

    source: str
    read: int = 0
    before: int = 0
    taken: int = 0
    rejected: int = 0
    superseded: int = 0
    bad: list[Bad] = field(default_factory=list)
    position: Position | None = None
    rejects: Path | None = None

    def count(self, piece: Piece, held: Held) -> None:
        self.read += len(piece) + len(piece.malformed)
        self.taken += held.taken
        self.rejected += len(held.bad)
        self.superseded += held.superseded
        self.bad.extend(held.bad[: MOST_SHOWN - len(self.bad)])


Tell = Callable[[Report, float | None], None]
"""Hears of every piece: what became of the source so far, and how much of it was read, if anybody knows."""
Stop = Callable[[], bool]


class Stopped(Exception):
    """The importer was asked to stop between two pieces."""


class Importer:
    """Imports sources into a state directory, whether or not a loop runs over it.

    Args:
        home: The state directory.
        job: What its sources are.
        writer: Where facts go.
        clock: Tells the receipt time.
        tell: Hears of every piece.
        stop: Asked between pieces.

    Raises:
        UnknownName: There is no such model.
        InputError: The version that was named is none.
    """

    def __init__(
        self,
        home: Home,
        job: Job,
        writer: LogWriter,
        *,
        clock: Clock | None = None,
        tell: Tell = lambda report, share: None,
        stop: Stop = lambda: False,
    ) -> None:
        self._home = home
        self._job = job
        self._writer = writer
        self._clock = clock or SystemClock()
        self._tell = tell
        self._stop = stop
        self._replays = home.settings().clock == "event"
        self._traffic, self._known, self._sorts = _model(home, job)

    def check(self, source: Source) -> Report:
        """What importing a source would do; nothing is written."""
        report = Report(source=source.name)
        sorts = dict(self._sorts)
        found = plan(self._job.naming, self._job.kind, source.columns(), source=source.name)
        begun = read_progress(self._home, self._key(source))
        report.before = 0 if begun is None else begun.read
        after = report.before if source.repeatable else 0
        for piece in self._pieces(source, found, after):
            report.count(piece, self._hold(piece, found, sorts))
            self._tell(report, piece.share)
        return report

    def run(self, source: Source) -> Report:
        """Import what is not imported yet of a source.

        Raises:
            InputError: It cannot be read, or not one of its first rows fits: then nothing was taken.
            StateError: It was changed while it was read.
            InUse: Another process imports it.
            StorageFull: The disk takes no more.
        """
        with contextlib.closing(Folder(self._home, self._key(source))) as folder:
            begun = folder.read() or self._begun(source)
            report = Report(source=source.name, before=begun.read)
            if begun.finished and source.repeatable:
                return report
            return self._go_on(source, folder, begun, report)

    def _go_on(self, source: Source, folder: Folder, progress: Progress, report: Report) -> Report:
        found = plan(self._job.naming, self._job.kind, source.columns(), source=source.name)
        rejects = Rejects(folder.rejects, found.wanted, size=progress.rejects_size)
        sorts = {**self._sorts, **known(progress.sorts)}
        for piece in self._pieces(source, found, progress.read if source.repeatable else 0):
            name = "" if source.repeatable else _name_of(piece)
            if name and name in progress.pieces:
                continue
            held = self._hold(piece, found, sorts)
            if not progress.read and not held.taken and held.bad:
                raise _none_fits(source, held.bad)
            rejects.add(held.bad)
            report.position = self._append(held) or report.position
            report.count(piece, held)
            progress = msgspec.structs.replace(
                progress, source=source.name, at=self._clock.now(), read=max(piece.read, progress.read),
                taken=progress.taken + held.taken, rejected=progress.rejected + len(held.bad),
                superseded=progress.superseded + held.superseded, rejects_size=rejects.size,
                sorts={each: str(sort) for each, sort in sorts.items()},
                pieces=(*progress.pieces, name) if name else (), finished=False, error="",
            )  # fmt: skip
            folder.write(progress)
            self._tell(report, piece.share)
            if self._stop():
                raise Stopped
        folder.write(msgspec.structs.replace(progress, stamp=_stamp(source), finished=True))
        report.rejects = folder.rejects if progress.rejected else None
        return report

    def failed(self, source: Source, error: str) -> None:
        """Write down why a source could not be imported, for whoever asks later."""
        with contextlib.closing(Folder(self._home, self._key(source))) as folder:
            begun, now = folder.read() or self._begun(source), self._clock.now()
            stamp = _stamp(source)
            folder.write(msgspec.structs.replace(begun, source=source.name, stamp=stamp, at=now, error=error))

    def _begun(self, source: Source) -> Progress:
        job, now = self._job, self._clock.now()
        return Progress(model=job.model, kind=job.kind.name.lower(), source=source.name, began=now)

    def _key(self, source: Source) -> str:
        job = self._job
        return key_of(job.model, job.kind, source.digest(), job.naming, history=job.history)

    def _pieces(self, source: Source, found: Plan, after: int) -> Iterator[Piece]:
        if self._replays:
            return pieces_in_order(source, found, after=after)
        return source.pieces(found.wanted, after=after)

    def _hold(self, piece: Piece, found: Plan, sorts: dict[str, Sort]) -> Held:
        terms = Terms(traffic=self._traffic, now=self._clock.now(), replays=self._replays, known=self._known)
        return hold(piece, found, terms, sorts, history=self._job.history and not self._replays)

    def _append(self, held: Held) -> Position | None:
        if held.facts is None:
            return None
        return self._writer.append([Frame(kind=self._job.kind, time=self._clock.now(), batch=held.facts)])


def _model(home: Home, job: Job) -> tuple[Traffic, frozenset[int], dict[str, Sort]]:
    """What a model's facts are held against."""
    state = home.state()
    try:
        books = Books(state)
        policy, traffic = books.policy(job.model), books.traffic(job.model)
        registered = versions.versions(state, job.model)
    finally:
        state.close()
    numbers = frozenset(version.number for version in registered)
    if job.naming.version is not None and job.naming.version not in numbers:
        names = sorted(str(number) for number in numbers)
        raise UnknownName(f"version of {job.model}", str(job.naming.version), names, field="version")
    sorts: dict[str, Sort] = {}
    for progress in _newest_first(home, job.model):  # of a feature the first source decides
        sorts |= known(progress.sorts)
    sorts |= {
        feature.name: Sort.NUMBER if feature.kind is FeatureKind.NUMBER else Sort.TEXT
        for version in registered
        for feature in version.manifest.features or ()
    }
    return traffic or Traffic(model=job.model, task=policy.task), numbers, sorts


def _newest_first(home: Home, model: str) -> list[Progress]:
    """What was imported of a model."""
    found = [progress for _, progress in all_progress(home) if progress.model == model]
    return sorted(found, key=lambda progress: progress.began, reverse=True)


def _none_fits(source: Source, bad: Sequence[Bad]) -> InputError:
    first = bad[0]
    column = f", column {first.column}" if first.column else ""
    return InputError(
        f"not one of the first {len(bad):,} rows of {source.name} fits, so nothing was taken; is the mapping "
        f"right? Row {first.row}{column}: {first.reason}",
        field=first.column or None,
        row=first.row,
    )


def _name_of(piece: Piece) -> str:
    """A digest of what is in a piece."""
    batch = pa.RecordBatch.from_pydict(dict(piece.columns))
    return hashlib.blake2b(payload_of(batch), digest_size=12).hexdigest()


def _stamp(source: Source) -> tuple[int, ...]:
    stamp = getattr(source, "stamp", None)
    return tuple(stamp()) if stamp is not None else ()
