"""A whole ledger out and in again: log, artifacts and settings; tokens stay, and state is folded."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Collection
from pathlib import Path

import msgspec

from lossloop import __version__
from lossloop.app.home import Home
from lossloop.core.clock import Clock, SystemClock, format_time
from lossloop.core.errors import InputError, StateError
from lossloop.core.records import Record
from lossloop.ledger.files import bundle, durable, manifests
from lossloop.ledger.files.bundle import Contents, Source
from lossloop.ledger.files.cutting import cut, whole
from lossloop.ledger.files.erasing import Erased, erase, held

Tell = Callable[[int], None]

_PLAIN = ("settings.yaml", "audit.log")
_ARTIFACT = re.compile(r"[0-9a-f]{64}")
_MADE = "backups.json"
_EXPECTED = re.compile(r"(log|artifacts)/.+|format|settings\.yaml|audit\.log")


class Backup(Record, frozen=True):
    """A bundle that was made of a state directory, so that an erasure finds it."""

    path: str
    made: str


def export(
    home: Home, target: Path, *, clock: Clock | None = None, tell: Tell = lambda done: None
) -> Contents:
    """Write what a ledger holds now into a bundle, while it is in use.

    Raises:
        InputError: There is something at the target.
        InUse: Another process seals, prunes, erases or exports.
        StorageFull: There is no room for it.
    """
    target = target.absolute()
    moment = (clock or SystemClock()).now()
    log = home.check().segments.directory
    with durable.maintained(manifests.sealed_directory(log)):
        pieces = [*cut(log, moment), *map(whole, _others(home))]
        sources = [
            Source(name=piece.path.relative_to(home.path).as_posix(), path=piece.path, bytes=piece.bytes)
            for piece in pieces
        ]
        about = {"lossloop": __version__, "until": format_time(moment)}
        contents = bundle.pack(target, sources, about, tell)
    _list(home, Backup(path=str(target), made=about["until"]))
    return contents


def size(home: Home) -> int:
    """Bytes that an export reads, about."""
    places = (home.segments.directory, home.artifacts.directory)
    return sum(path.stat().st_size for place in places for path in place.rglob("*") if path.is_file())


def bring_in(source: Path, state: Path, *, tell: Tell = lambda done: None) -> Contents:
    """Make a state directory of a bundle, with a token of its own; its log is still to be folded.

    Raises:
        InputError: There is no such bundle, or the directory holds something.
        StateError: The bundle is damaged, cut off, or something else.
    """
    if state.exists() and (not state.is_dir() or any(state.iterdir())):
        raise InputError(f"{state} holds other things; choose an empty place with --state", field="state")
    draft = state.absolute().with_name(state.absolute().name + durable.DRAFT)
    shutil.rmtree(draft, ignore_errors=True)
    try:
        contents = bundle.unpack(source, draft, tell)
        strange = [name for name in contents.files if not _EXPECTED.fullmatch(name)]
        if strange or "format" not in contents.files:
            raise StateError(f"{source} is no ledger" + (f": it holds {strange[0]}" if strange else ""))
        draft.chmod(0o700)
        (draft / "log").mkdir(mode=0o700, exist_ok=True)
        Home(path=draft).tokens.make()
        with durable.explained(state):
            durable.publish(draft, state.absolute())
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return contents


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
        found = held(log, unit, models)
        damaged = any(manifest.damage.path for manifest in manifests.manifests(log))
        gone = erase(log, unit, models) if found or damaged else {}
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


def _others(home: Home) -> list[Path]:
    """What is beside the log: artifacts were there before the log named them."""
    found = [home.path / name for name in _PLAIN if (home.path / name).is_file()]
    if home.artifacts.directory.is_dir():
        stored = sorted(home.artifacts.directory.iterdir())
        found += [path for path in stored if _ARTIFACT.fullmatch(path.name)]
    return [*found, home.path / "format"]


def _list(home: Home, made: Backup) -> None:
    known = [each for each in backups(home) if each.path != made.path]
    durable.write(home.path / _MADE, msgspec.json.format(msgspec.json.encode([*known, made])))


__all__ = ["Backup", "Contents", "backups", "bring_in", "erase_in_bundle", "export", "size", "unpacked_size"]
