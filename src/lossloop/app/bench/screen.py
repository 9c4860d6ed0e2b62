"""Where a running bench shows how far it is."""

from __future__ import annotations

from typing import Protocol

from lossloop.app.bench.figure import Figure


class Screen(Protocol):
    """What a bench says while it runs."""

    def phase(self, words: str) -> None:
        """Something else begins."""
        ...

    def progress(self, done: float) -> None:
        """So much of it is done, from 0 to 1."""
        ...

    def figure(self, figure: Figure) -> None:
        """A figure is there."""
        ...


class Quiet:
    """Shows nothing."""

    def phase(self, words: str) -> None: ...

    def progress(self, done: float) -> None: ...

    def figure(self, figure: Figure) -> None: ...
