"""A rebuild of a directory whose log and state are files."""

from __future__ import annotations

from collections.abc import Sequence

from lossloop.app.home import Home
from lossloop.app.rebuilding.base import Part, remove_state
from lossloop.ledger.applier import ApplierLock


class FileBench:
    """Folds into a database beside the one in use, and renames it.

    Raises:
        InUse: Another process writes the directory.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._lock = ApplierLock(home.lock)
        self._fresh = home.path / "rebuilt.db"
        remove_state(self._fresh)

    @property
    def parts(self) -> Sequence[Part]:
        return [Part(log=self._home.log, fresh=self._fresh)]

    def has_state(self) -> bool:
        return self._home.state_file.exists()

    def take(self) -> None:
        remove_state(self._home.state_file)
        parts = self._fresh.with_suffix(".parts")
        if parts.exists():
            parts.rename(self._home.state_file.with_suffix(".parts"))
        self._fresh.rename(self._home.state_file)

    def close(self) -> None:
        remove_state(self._fresh)
        self._lock.release()
