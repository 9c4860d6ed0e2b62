"""Sweeping: what a crash left of a sealing or a rewriting that did not come to its end."""

from __future__ import annotations

from pathlib import Path

from lossloop.core.errors import StateError
from lossloop.ledger.files import manifests
from lossloop.ledger.files.manifests import MANIFEST, Manifest

_OURS = frozenset({"lock", manifests.NOTE})


def strays(log: Path) -> list[Path]:
    """Files among what is sealed that no manifest names.

    Raises:
        StateError: A manifest is damaged.
    """
    root = manifests.sealed_directory(log)
    named = {blob.path for manifest in manifests.manifests(log) for blob in manifest.blobs}
    return sorted(
        path
        for path in root.rglob("*")
        if path.is_file()
        and path.name not in _OURS
        and not (path.parent.name == "index" and path.suffix == MANIFEST)
        and str(path.relative_to(root)) not in named
    )


def sweep(log: Path) -> None:
    """Finish what a crash cut off; the caller holds the right to change what is sealed.

    A segment that is there both ways is sealed if all of its files are there, and else is not. Then strays
    are removed. Where a manifest cannot be read, nothing is.
    """
    try:
        for manifest in manifests.manifests(log):
            segment = log / manifest.segment
            if segment.is_file():
                left = segment if _is_whole(log, manifest) else manifests.manifest_path(log, manifest.segment)
                left.unlink()
        found = strays(log)
    except StateError:
        return
    for path in found:
        path.unlink()


def _is_whole(log: Path, manifest: Manifest) -> bool:
    root = manifests.sealed_directory(log)
    return all(
        (root / blob.path).is_file() and (root / blob.path).stat().st_size == blob.bytes
        for blob in manifest.blobs
    )
