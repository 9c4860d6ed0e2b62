"""Where a bench writes: a directory of its own, gone when it ends."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lossloop.app.home import STORE
from lossloop.core.errors import StateError


@contextmanager
def directory_at(place: Path) -> Iterator[Path]:
    """A new directory in a place, removed at the end.

    Raises:
        StateError: Nothing can be written there, or a database in use is set.
    """
    if os.environ.get(STORE):
        raise StateError(f"{STORE} names a database in use; unset it: a bench makes a ledger of its own")
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise StateError(f"{place} is no directory that can be written to; choose another with --at")
    with tempfile.TemporaryDirectory(prefix="lossloop-bench-", dir=place) as found:
        yield Path(found)
