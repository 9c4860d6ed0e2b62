"""Moving a ledger between files and a database: the same facts in the same order, so the same figures."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from lossloop.act.settings import Settings
from lossloop.app.home import Home, settings_text
from lossloop.app.loop import moment_of as moment_of_frame
from lossloop.core.clock import Micros
from lossloop.core.errors import StateError
from lossloop.ledger.base import Entry, entries_of
from lossloop.ledger.facts import tick
from lossloop.ledger.files import manifests
from lossloop.ledger.files.bundle import Held
from lossloop.ledger.files.cutting import damaged_tails
from lossloop.ledger.files.removing import Remover
from lossloop.ledger.files.segments import SegmentLog
from lossloop.ledger.files.spooling import spooled
from lossloop.ledger.frames import Damage, Frame, Kind
from lossloop.ledger.postgres.database import Database
from lossloop.ledger.postgres.frames import model_in
from lossloop.ledger.postgres.intake import Taken, take_in
from lossloop.ledger.postgres.moment import MomentReader, moment_of, weight_of
from lossloop.ledger.postgres.session import Session
from lossloop.ledger.postgres.setup import init_store
from lossloop.ledger.postgres.turns import maintained

Tell = Callable[[int], None]


@dataclass(kw_only=True)
class Unreadable:
    """What to do with bytes that are no facts any more.

    Args:
        see: How to find out which events they touch.
        skip: Leave them out and count them, rather than refuse.
    """

    see: str
    skip: bool = False
    count: int = 0
    reached: dict[str, int] = field(default_factory=dict)
    """How far each segment was read."""

    def frames(self, entries: Iterable[Entry]) -> Iterator[Frame]:
        """The facts.

        Raises:
            StateError: Something cannot be read.
        """
        self.count, self.reached = 0, {}
        for entry in entries:
            self.reached[entry.position.segment] = entry.position.offset
            if isinstance(entry.frame, Frame):
                yield entry.frame
            else:
                self.met(entry.position.segment, entry.frame.start, entry.frame.end)

    def met(self, segment: str, start: int, end: int) -> None:
        """A range of a segment cannot be read."""
        self.count += 1
        if not self.skip:
            raise StateError(
                f"{segment} is damaged from {start:,} to {end:,}. See which events that touches: {self.see}. "
                "To go on without them: --skip-damaged"
            )


# Out of a database.


@dataclass(frozen=True, kw_only=True)
class Leaving:
    """What a ledger in a database held at a moment, as files of a bundle."""

    until: Micros
    files: Iterator[Held]


@contextmanager
def leaving(home: Home, database: Database, near: Path, unreadable: Unreadable) -> Iterator[Leaving]:
    """The facts and the settings of a ledger in a database; for as long as the block lasts none is removed.

    Args:
        home: A directory over the ledger.
        database: Where the ledger lies.
        near: A directory on a disk that has room for a segment.
        unreadable: What to do with frames whose checksum does not hold.

    Raises:
        InUse: Another process prunes, erases or exports.
    """
    with maintained(database), closing(Session(database)) as session:
        moment = moment_of(session)
        reader = MomentReader(session, moment)
        yield Leaving(until=moment.time, files=_files(home, near, unreadable.frames(entries_of(reader))))


def weight(database: Database) -> int:
    """Bytes of a ledger's facts, about."""
    session = Session(database)
    try:
        return weight_of(session)
    finally:
        session.close()


def _files(home: Home, near: Path, frames: Iterable[Frame]) -> Iterator[Held]:
    yield from spooled(frames, near)
    # The salt is the database's: with another one, ids would be unknown. Its address is nobody's business.
    text = settings_text(msgspec.structs.replace(home.settings(), store="")).encode()
    yield Held(name="settings.yaml", file=io.BytesIO(text), bytes=len(text))


# Into a database.


def settle_in(
    database: Database,
    log: Path,
    settings: Settings,
    *,
    origin: str,
    unreadable: Unreadable,
    tell: Tell = lambda done: None,
) -> Taken:
    """Bring the facts of a log of files, which nobody else uses, into a ledger; it is made if there is none.

    Args:
        database: Where.
        log: The directory of segments.
        settings: Those that the log was folded with.
        origin: What tells this log from any other: brought in again, it changes nothing.
        unreadable: What to do with damage.
        tell: Told of progress, in bytes.

    Raises:
        StateError: The ledger holds other facts, or the log is damaged.
    """
    init_store(database, salt=settings.salt)
    _finish_removal(log)

    def facts() -> Iterator[Frame]:
        decided = _decided(log)
        frames = unreadable.frames(_entries(log))
        yield from with_ticks(frames, decided, replays=settings.clock == "event")
        for segment, start, end in damaged_tails(log, unreadable.reached):
            unreadable.met(segment, start, end)

    return take_in(database, facts, origin=origin, salt=settings.salt, tell=tell)


class _Made(msgspec.Struct, frozen=True):
    """What matters of a decision here."""

    model: str
    at: Micros


def with_ticks(
    frames: Iterable[Frame], decided: Mapping[Micros, Collection[str]], *, replays: bool
) -> Iterator[Frame]:
    """Frames, and a tick before each at which a model decided something although it is about another one.

    In files a fact of any model moves time for all of them; in a database models in other partitions do not
    see it. With the tick they decide again when they decided then.

    Args:
        frames: In their order.
        decided: By moment, the models that decided something then.
        replays: Whether time is that of events.
    """
    now, received = 0, 0
    for frame in frames:
        received = max(received, frame.time)
        moment = 0 if frame.kind is Kind.DECISION else moment_of_frame(frame, replays=replays)
        if moment > now:
            now, about = moment, model_in(frame)
            if about is not None and any(model != about for model in decided.get(now, ())):
                yield tick(now, now=received)
        yield frame


def _decided(log: Path) -> dict[Micros, set[str]]:
    """The models that decided something, by when."""
    found: dict[Micros, set[str]] = {}
    for entry in _entries(log):
        if isinstance(entry.frame, Damage) or entry.frame.kind is not Kind.DECISION:
            continue
        for body in entry.frame.batch.column("body").to_pylist():
            made = msgspec.json.decode(body, type=_Made)
            found.setdefault(made.at, set()).add(made.model)
    return found


def _entries(log: Path) -> Iterator[Entry]:
    reader = SegmentLog(log).reader()
    try:
        yield from entries_of(reader)
    finally:
        reader.close()


def _finish_removal(log: Path) -> None:
    """Let the log say what a removal that was cut off has left to be said."""
    if (manifests.sealed_directory(log) / manifests.NOTE).exists():
        writer = SegmentLog(log).writer()
        Remover(log, writer)
        writer.close()
