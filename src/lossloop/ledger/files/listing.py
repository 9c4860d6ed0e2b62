"""Names of files in a directory, listed again only when the directory has changed."""

from __future__ import annotations

import os
import time
from pathlib import Path

SETTLED = 3 * 1_000_000_000
"""Nanoseconds after which a directory's time of change is believed: some file systems count in seconds."""


class Listing:
    """The files of a directory whose names end in a given way.

    A directory's time of change stands still while files in it only grow. A change so recent that another one
    could carry the same time is not relied on.
    """

    def __init__(self, directory: Path, suffix: str) -> None:
        self._directory = directory
        self._suffix = suffix
        self._changed = -1
        self._names: tuple[str, ...] = ()

    def names(self) -> tuple[str, ...]:
        """The names, sorted; none where there is no directory."""
        try:
            changed = os.stat(self._directory).st_mtime_ns
        except FileNotFoundError:
            self._changed, self._names = -1, ()
            return ()
        if changed != self._changed:
            self._names = self._listed()
            self._changed = changed if time.time_ns() - changed > SETTLED else -1
        return self._names

    def _listed(self) -> tuple[str, ...]:
        try:
            with os.scandir(self._directory) as found:
                return tuple(
                    sorted(each.name for each in found if each.name.endswith(self._suffix) and each.is_file())
                )
        except FileNotFoundError:
            return ()
