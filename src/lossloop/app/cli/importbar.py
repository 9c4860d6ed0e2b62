"""How a running import looks, on standard error: a bar on a terminal, a line per million rows elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Protocol, Self, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from lossloop.app.importing import Report

_A_LINE_PER = 1_000_000


class Sized(Protocol):
    """Something whose size tells how long it takes."""

    @property
    def name(self) -> str: ...
    @property
    def size(self) -> int: ...


Item = TypeVar("Item", bound=Sized)


class ImportScreen:
    """Use as a context manager."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet)
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), _Speed(),
            TimeRemainingColumn(), console=self._console, transient=True,
        )  # fmt: skip
        self._task = self._bar.add_task("", total=None, visible=False, rows=0)
        self._done, self._size, self._all = 0, 0, 0
        self._rows, self._here, self._told = 0, 0, 0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._bar.stop()

    def phase(self, words: str) -> None:
        """Say what begins now."""
        self._console.print(words, style="dim", highlight=False, markup=False)

    def each(self, items: Sequence[Item]) -> Iterator[Item]:
        """The sources, one after the other, each for its share of the whole."""
        self._all = sum(item.size for item in items)
        for item in items:
            self._size, self._here = item.size, 0
            self._bar.update(self._task, description=item.name, visible=True)
            yield item
            self._done += item.size

    def progress(self, report: Report, share: float | None) -> None:
        """Show how far it is."""
        self._rows, self._here = self._rows + report.read - self._here, report.read
        if self._console.is_terminal:
            total, done = (self._all, self._done + self._size * share) if share is not None else (None, 0.0)
            self._bar.update(self._task, total=total, completed=done, rows=self._rows)
        elif self._rows // _A_LINE_PER != self._told:
            self._told = self._rows // _A_LINE_PER
            self._console.print(f"{self._rows:,} rows read", highlight=False)


class _Speed(ProgressColumn):
    """Rows, and rows per second."""

    def render(self, task: Task) -> Text:
        rows, seconds = int(task.fields["rows"]), task.elapsed or 0.0
        speed = f"{rows / seconds:,.0f}/s" if seconds else "-"
        return Text(f"{rows:,} rows, {speed}")
