"""Versions and aliases over documents: numbered as they are registered, moved with their history."""

from __future__ import annotations

import msgspec

from lossloop.core.clock import Micros
from lossloop.core.documents import Documents
from lossloop.core.errors import UnknownName
from lossloop.core.records import Record
from lossloop.core.thresholds import Thresholds
from lossloop.registry.approval import Approval
from lossloop.registry.manifest import Manifest, Version

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"


class Move(Record, frozen=True):
    """One change of an alias; a version of None took it away."""

    at: Micros
    alias: str
    version: int | None
    reason: str


def register(
    documents: Documents, model: str, manifest: Manifest, *, at: Micros, approval: Approval | None = None
) -> Version:
    """Give a manifest the model's next number; the same manifest again is the version it already is.

    Who answers for its code may be another then: who signs anew helps a version whose key was revoked.
    """
    known = versions(documents, model)
    for version in known:
        if version.digest == manifest.digest:
            if approval in (None, version.approval):
                return version
            renewed = msgspec.structs.replace(version, approval=approval)
            documents.put("version", _key(model, version.number), renewed)
            return renewed
    made = Version(
        model=model, number=len(known) + 1, digest=manifest.digest, manifest=manifest, registered_at=at,
        approval=approval,
    )  # fmt: skip
    documents.put("version", _key(model, made.number), made)
    return made


def versions(documents: Documents, model: str) -> list[Version]:
    """All versions of a model, oldest first."""
    return list(documents.all("version", Version, prefix=f"{model}/").values())


def thresholds(documents: Documents, model: str) -> tuple[tuple[int, Thresholds], ...]:
    """The thresholds of the versions that have any, by their numbers."""
    known = ((each.number, each.manifest.thresholds) for each in versions(documents, model))
    return tuple((number, found) for number, found in known if found is not None)


def find(documents: Documents, model: str, number: int) -> Version:
    """One version.

    Raises:
        UnknownName: There is none; the message names those there are.
    """
    found = documents.get("version", _key(model, number), Version)
    if found is None:
        names = [version.name for version in versions(documents, model)]
        raise UnknownName("version", f"{model}:{number}", names, field="version")
    return found


def alias(documents: Documents, model: str, name: str) -> int | None:
    """The number that an alias names now."""
    return documents.get("alias", f"{model}/{name}", int)


def aliases(documents: Documents, model: str) -> dict[str, int]:
    """The aliases of a model and the numbers that they name."""
    prefix = f"{model}/"
    return {
        key.removeprefix(prefix): number for key, number in documents.all("alias", int, prefix=prefix).items()
    }


def move(documents: Documents, model: str, name: str, number: int | None, *, at: Micros, reason: str) -> None:
    """Let an alias name another version, or none, and keep that in its history."""
    if number is None:
        documents.drop("alias", f"{model}/{name}")
    else:
        find(documents, model, number)
        documents.put("alias", f"{model}/{name}", number)
    past = len(documents.all("alias_move", Move, prefix=f"{model}/"))
    documents.put("alias_move", f"{model}/{past:09d}", Move(at=at, alias=name, version=number, reason=reason))


def history(documents: Documents, model: str) -> list[Move]:
    """Every move of the model's aliases, oldest first."""
    return list(documents.all("alias_move", Move, prefix=f"{model}/").values())


def enthrone(documents: Documents, model: str, number: int, *, at: Micros, reason: str) -> None:
    """Make a version the champion; the one before it becomes `previous`."""
    before = alias(documents, model, CHAMPION)
    if before == number:
        return
    move(documents, model, CHAMPION, number, at=at, reason=reason)
    if before is not None:
        move(documents, model, PREVIOUS, before, at=at, reason=reason)


def dethrone(documents: Documents, model: str, number: int, *, at: Micros, reason: str) -> None:
    """Go back to a champion before; what it takes over from is not gone back to in its turn."""
    move(documents, model, CHAMPION, number, at=at, reason=reason)
    if alias(documents, model, PREVIOUS) is not None:
        move(documents, model, PREVIOUS, None, at=at, reason=reason)


def _key(model: str, number: int) -> str:
    return f"{model}/{number:09d}"
