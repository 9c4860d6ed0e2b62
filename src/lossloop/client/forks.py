"""What a process that was forked does first: leave its parent's connections, files and threads alone.

Servers such as gunicorn load an application once and fork; every child then has a copy of each client.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forked(Protocol):
    """Anything that cannot be shared by two processes."""

    def after_fork(self) -> None:
        """Begin anew, in the child. No other thread runs; locks may be held by threads that are gone."""
        ...


_watched: weakref.WeakSet[Forked] = weakref.WeakSet()


def watch(thing: Forked) -> None:
    """Tell it, as long as it lives, when it finds itself in a child."""
    _watched.add(thing)


def _tell() -> None:
    for thing in list(_watched):
        thing.after_fork()


os.register_at_fork(after_in_child=_tell)
