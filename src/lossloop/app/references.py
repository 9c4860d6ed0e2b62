"""What versions are measured by under each loss: a reference of their own, or one that was measured later."""

from __future__ import annotations

import msgspec

from lossloop.app.judging import Lens
from lossloop.core.documents import Documents
from lossloop.core.ids import digest
from lossloop.registry import Reference, Version, versions


def version_under(documents: Documents, lens: Lens, number: int) -> Version:
    """A version, with its reference under a policy's loss where it has one; else with that of another loss.

    Raises:
        UnknownName: There is none.
    """
    found = versions.find(documents, lens.policy.model, number)
    own = found.manifest
    for reference in (own.reference, *own.beside):
        if reference is not None and lens.is_of(reference.loss):
            return with_reference(found, reference)
    kept = documents.get("reference", _key(found, lens.policy.loss), Reference)
    return found if kept is None else with_reference(found, kept)


def keep_reference(documents: Documents, version: Version, reference: Reference) -> None:
    """Keep what a version's loss was under another loss than that of its own reference."""
    documents.put("reference", _key(version, reference.loss), reference)


def with_reference(version: Version, reference: Reference) -> Version:
    """The version as if it had been registered with this reference."""
    if reference is version.manifest.reference:
        return version
    manifest = msgspec.structs.replace(version.manifest, reference=reference)
    return msgspec.structs.replace(version, manifest=manifest)


def _key(version: Version, loss: str) -> str:
    return f"{version.model}/{version.number:09d}/{digest(loss)[:16]}"
