"""Sweeping: what a crash left of a sealing or a rewriting that did not come to its end."""

from __future__ import annotations

from pathlib import Path

from lossloop.core.errors import StateError
from lossloop.ledger import manifests
from lossloop.ledger.manifests import MANIFEST

_OURS = frozenset({"lock", "told.json"})


def strays(log: Path) -> list[Path]:
    """Files among what is sealed that no manifest names."""
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
    """Remove strays; the caller holds the right to. Where a manifest cannot be read, nothing is removed."""
    try:
        found = strays(log)
    except StateError:
        return
    for path in found:
        path.unlink()
