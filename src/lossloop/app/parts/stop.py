"""What tells a part to end, and what it says when it cannot go on."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType

from lossloop.app.system import watch_parent
from lossloop.core.errors import StateError


class Stop:
    """Set by SIGTERM and SIGINT."""

    def __init__(self) -> None:
        self._asked = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._asked = True

    def __call__(self) -> bool:
        return self._asked


def as_part(name: str, run: Callable[[], None]) -> None:
    """Run a part; it ends with the process that started it, and with a sentence where it cannot go on."""
    watch_parent()
    try:
        run()
    except StateError as error:
        print(f"the {name} ends: {error}", file=sys.stderr, flush=True)
        sys.exit(1)
