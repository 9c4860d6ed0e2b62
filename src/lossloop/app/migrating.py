"""Migrating: a state directory of an older release made fit for this one, after a backup.

The log is what matters, and its format has not changed: a migration makes the derived state anew from it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from lossloop.app.home import Home
from lossloop.ledger.applier import ApplierLock
from lossloop.ledger.files.durable import sync_directory
from lossloop.ledger.sqlite.state import FORMAT

BACKUP = "backup-format-{}"


def migrate(home: Home) -> Path | None:
    """Bring a directory to this release's format; return where the backup lies, None where none was needed.

    What is derived is moved into the backup and is folded again from the log. The log itself stays where it
    is and is linked into the backup, so that the older release can be pointed at it.

    Raises:
        InUse: A process uses the directory.
        StateError: It is no state directory.
    """
    found = home.format()
    if found >= FORMAT:
        return None
    lock = ApplierLock(home.lock)
    try:
        backup = _empty(home.path / BACKUP.format(found))
        for name in ("format", "settings.yaml"):
            shutil.copy2(home.path / name, backup / name)
        (backup / "log").mkdir()
        for segment in sorted((home.path / "log").glob("*.seg")):
            (backup / "log" / segment.name).hardlink_to(segment)
        for path in sorted(home.path.glob("state.db*")):
            path.rename(backup / path.name)
        sync_directory(backup)
        home.set_format()
    finally:
        lock.release()
    return backup


def _empty(place: Path) -> Path:
    """A new folder there; what an interrupted migration left is used again, since it only moves and links."""
    place.mkdir(mode=0o700, exist_ok=True)
    shutil.rmtree(place / "log", ignore_errors=True)
    return place
