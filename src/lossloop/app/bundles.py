"""A whole ledger out and in again: log, artifacts and settings; tokens stay, and state is folded."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from lossloop import __version__
from lossloop.app.home import STORE, Home, database_at
from lossloop.app.moving import Unreadable, leaving, settle_in, weight
from lossloop.core.clock import Clock, Micros, SystemClock, format_time
from lossloop.core.errors import InputError, StateError
from lossloop.core.ids import digest
from lossloop.core.records import Record
from lossloop.ledger.files import bundle, durable, manifests
from lossloop.ledger.files.bundle import Contents, Part, Source
from lossloop.ledger.files.cutting import Piece, cut, whole
from lossloop.ledger.files.erasing import erase, held
from lossloop.ledger.joined.keys import Keys
from lossloop.ledger.postgres.database import Database
from lossloop.ledger.postgres.intake import Taken
from lossloop.ledger.postgres.session import reach
from lossloop.ledger.removals import Erased
from lossloop.ledger.sqlite.state import FORMAT

Tell = Callable[[int], None]

_AUDIT = ("audit.log",)
_PLAIN = ("settings.yaml", *_AUDIT)
_ARTIFACT = re.compile(r"[0-9a-f]{64}")
_MADE = "backups.json"
_EXPECTED = re.compile(r"(log|artifacts)/.+|format|settings\.yaml|audit\.log")


class Backup(Record, frozen=True):
    """A bundle that was made of a state directory, so that an erasure finds it."""

    path: str
    made: str


def export(
    home: Home,
    target: Path,
    *,
    clock: Clock | None = None,
    skip_damaged: bool = False,
    tell: Tell = lambda done: None,
) -> Contents:
    """Write what a ledger holds now into a bundle, while it is in use.

    Args:
        home: A directory; its ledger lies there or in a database.
        target: A new file whose name ends in .tar.zst, or a new directory.
        clock: Tells which moment it is, where the ledger lies in files.
        skip_damaged: Leave out frames in a database whose checksum does not hold, and say how many. What is
            damaged in files goes along as it is.
        tell: Told of progress, in bytes.

    Raises:
        InputError: There is something at the target.
        InUse: Another process seals, prunes, erases or exports.
        StateError: A frame in a database is damaged.
        StorageFull: There is no room for it.
    """
    target = target.absolute()
    database = home.check().database
    if database is None:
        contents = _export_files(home, target, clock or SystemClock(), tell)
    else:
        contents = _export_database(home, database, target, skip_damaged, tell)
    _list(home, Backup(path=str(target), made=contents.about["until"]))
    return contents


def _export_files(home: Home, target: Path, clock: Clock, tell: Tell) -> Contents:
    moment = clock.now()
    log = home.segments.directory
    with durable.maintained(manifests.sealed_directory(log)):
        plain = _present(home, _PLAIN)
        pieces = [*cut(log, moment), *map(whole, [*plain, *_others(home)])]
        return bundle.pack(target, [_source(home, piece) for piece in pieces], _about(moment), tell)


def _export_database(
    home: Home, database: Database, target: Path, skip_damaged: bool, tell: Tell
) -> Contents:
    unreadable = Unreadable(see=f"lossloop ledger verify --state {home.path}", skip=skip_damaged)
    others = [_source(home, whole(path)) for path in [*_present(home, _AUDIT), *_others(home)]]
    with leaving(home, database, target.parent, unreadable) as facts:
        about = _about(facts.until)

        def files() -> Iterator[Part]:
            yield from facts.files
            yield from others
            if unreadable.count:
                about["damaged"] = unreadable.count

        return bundle.pack(target, files(), about, tell)


def _about(until: Micros) -> dict[str, Any]:
    return {"lossloop": __version__, "until": format_time(until)}


def size(home: Home) -> int:
    """Bytes that an export reads, about."""
    database = home.database
    places = [home.artifacts.directory, *([home.segments.directory] if database is None else [])]
    files = sum(path.stat().st_size for place in places for path in place.rglob("*") if path.is_file())
    return files if database is None else files + weight(database)


@dataclass(frozen=True, kw_only=True)
class Brought:
    """What came of a bundle."""

    contents: Contents
    database: Database | None = None
    """Where the facts went; None where they are files."""
    taken: Taken | None = None
    """How many went there."""
    damaged: int = 0
    """Stretches of the log that could not be read and were left out."""


def bring_in(
    source: Path,
    state: Path,
    *,
    store: str = "",
    skip_damaged: bool = False,
    tell: Tell = lambda done: None,
) -> Brought:
    """Make a state directory of a bundle, with a token of its own; its log is still to be folded.

    With a database, the facts go there before the directory gets its name, and are not there or all there:
    whatever happens in between, the same again goes on.

    Args:
        source: A file or a directory.
        state: The directory to make.
        store: Where log and derived state are to lie: ``postgresql://...``, ``env:NAME``, or files (empty).
            The variable LOSSLOOP_STORE goes before it.
        skip_damaged: Leave out what cannot be read, on the way into a database.
        tell: Told of progress, in bytes; those that go into a database count again.

    Raises:
        InputError: There is no such bundle, or the directory holds something.
        StateError: The bundle is damaged, cut off, or something else; or the database holds other facts.
    """
    if state.exists() and (not state.is_dir() or any(state.iterdir())):
        raise InputError(f"{state} holds other things; choose an empty place with --state", field="state")
    if (database := database_at(os.environ.get(STORE) or store)) is not None:
        reach(database)
    draft = state.absolute().with_name(state.absolute().name + durable.DRAFT)
    shutil.rmtree(draft, ignore_errors=True)
    try:
        contents = bundle.unpack(source, draft, tell)
        strange = [name for name in contents.files if not _EXPECTED.fullmatch(name)]
        if strange or "format" not in contents.files:
            raise StateError(f"{source} is no ledger" + (f": it holds {strange[0]}" if strange else ""))
        draft.chmod(0o700)
        (draft / "log").mkdir(mode=0o700, exist_ok=True)
        home = Home(path=draft)
        home.set_store(store)
        brought = Brought(contents=contents)
        if database is not None:
            brought = _into(database, home, source, contents, skip_damaged, tell)
        home.tokens.make()
        with durable.explained(state):
            durable.publish(draft, state.absolute())
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return brought


def _into(
    database: Database, home: Home, source: Path, contents: Contents, skip_damaged: bool, tell: Tell
) -> Brought:
    """Bring the facts of an unpacked bundle into a database."""
    if home.format() != FORMAT:
        raise StateError(
            f"{source} has format {home.format()}, a database takes {FORMAT}; import it into files, run "
            "lossloop ledger migrate with a release that can, and export that"
        )
    facts = sorted((name, item.digest) for name, item in contents.files.items() if name.startswith("log/"))
    see = f"lossloop ledger import {source} --state DIRECTORY, and lossloop ledger verify --state DIRECTORY"
    unreadable = Unreadable(see=see, skip=skip_damaged)
    taken = settle_in(
        database, home.path / "log", home.written(), unreadable=unreadable, tell=tell,
        origin=digest(*(part for fact in facts for part in fact)),
    )  # fmt: skip
    shutil.rmtree(home.path / "log")
    return Brought(contents=contents, database=database, taken=taken, damaged=unreadable.count)


def unpacked_size(source: Path) -> int:
    """Bytes that a bundle has on disk; more come out of one file."""
    return bundle.size_of(source)


def backups(home: Home) -> list[Backup]:
    """The bundles that were made of a directory and are not known to be gone."""
    path = home.path / _MADE
    return msgspec.json.decode(path.read_bytes(), type=list[Backup]) if path.exists() else []


def erase_in_bundle(source: Path, unit: str, models: Collection[str] | None) -> Erased:
    """Erase a unit from a bundle; the bundle is replaced as a whole.

    Raises:
        InputError: There is no bundle.
        StateError: The bundle is damaged.
    """
    place = source.absolute().with_name(source.name + ".erasing")
    shutil.rmtree(place, ignore_errors=True)
    try:
        contents = bundle.unpack(source, place / "old")
        log = place / "old" / "log"
        if not log.is_dir():
            return {}
        keys = Keys(Home(path=place / "old").written().secret)
        found = held(log, unit, models, keys=keys)
        damaged = any(manifest.damage.path for manifest in manifests.manifests(log))
        gone = erase(log, unit, models, keys=keys) if found or damaged else {}
        if found or damaged:
            fresh = place / source.name
            bundle.pack(fresh, _below(place / "old"), contents.about)
            _replace(source, fresh, place)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return gone


def _replace(source: Path, fresh: Path, place: Path) -> None:
    with durable.explained(source.parent):
        if source.is_dir():
            os.replace(source, place / "gone")
        durable.publish(fresh, source)


def _below(directory: Path) -> list[Source]:
    return [
        Source(name=path.relative_to(directory).as_posix(), path=path, bytes=path.stat().st_size)
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != "lock"
    ]


def _source(home: Home, piece: Piece) -> Source:
    return Source(name=piece.path.relative_to(home.path).as_posix(), path=piece.path, bytes=piece.bytes)


def _present(home: Home, names: Sequence[str]) -> list[Path]:
    return [home.path / name for name in names if (home.path / name).is_file()]


def _others(home: Home) -> list[Path]:
    """Artifacts, which were there before the log named them, and the format."""
    stored = sorted(home.artifacts.directory.iterdir()) if home.artifacts.directory.is_dir() else []
    return [*(path for path in stored if _ARTIFACT.fullmatch(path.name)), home.path / "format"]


def _list(home: Home, made: Backup) -> None:
    known = [each for each in backups(home) if each.path != made.path]
    durable.write(home.path / _MADE, msgspec.json.format(msgspec.json.encode([*known, made])))


__all__ = [
    "Backup",
    "Brought",
    "Contents",
    "backups",
    "bring_in",
    "erase_in_bundle",
    "export",
    "size",
    "unpacked_size",
]
