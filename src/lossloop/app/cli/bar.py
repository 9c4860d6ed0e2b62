"""How far long work on files has come: a bar on a terminal, nothing elsewhere. It goes to standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


@contextmanager
def byte_bar(words: str, total: int, *, quiet: bool = False) -> Iterator[Callable[[int], None]]:
    """A bar for as long as the block lasts; the block is given what to call with bytes done."""
    screen = Console(stderr=True, quiet=quiet)
    with Progress(
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn(),
        console=screen, transient=True, disable=quiet or not screen.is_terminal,
    ) as progress:  # fmt: skip
        task = progress.add_task(words, total=total)
        yield lambda done: progress.advance(task, done)


@contextmanager
def count_bar(words: str, *, quiet: bool = False, unit: str = "frames") -> Iterator[Callable[[int], None]]:
    """A count that grows, for work whose end is not known; the block is given what to call with more."""
    screen = Console(stderr=True, quiet=quiet)
    with Progress(
        TextColumn("{task.description}"), TextColumn(f"{{task.completed:,}} {unit}"), TimeElapsedColumn(),
        console=screen, transient=True, disable=quiet or not screen.is_terminal,
    ) as progress:  # fmt: skip
        task = progress.add_task(words, total=None)
        yield lambda more: progress.advance(task, more)
