"""How a running demo looks: a bar on a terminal, a line a month elsewhere. It writes to standard error."""

from __future__ import annotations

from datetime import date
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

_NEWS = {"roll_back": "red", "promote": "blue", "ramp": "blue", "retrain": "magenta", "refuse": "red"}


class DemoScreen:
    """Use as a context manager."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet)
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(),
            console=self._console, transient=True,
        )  # fmt: skip
        self._task = self._bar.add_task("", total=1.0, visible=False)
        self._month = ""

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def phase(self, words: str) -> None:
        self._console.print(f"[dim]{escape(words)}[/]", highlight=False)

    def progress(self, day: date, done: float) -> None:
        if self._console.is_terminal:
            self._bar.update(self._task, description=f"{day:%d %b %Y}", completed=done, visible=True)
        elif f"{day:%B}" != self._month:
            self._month = f"{day:%B}"
            self._console.print(f"{day:%B %Y}  {done:4.0%}", highlight=False)

    def decided(self, decision: dict[str, Any]) -> None:
        colour = _NEWS.get(decision["action"], "default")
        version = f" version {decision['version']}" if decision.get("version") else ""
        words = f"{decision['action'].replace('_', ' ')}{version}"
        status = "" if decision["status"] == "done" else f" ({decision['status']})"
        what = f"[bold {colour}]{escape(words)}[/]{status}"
        line = f"{decision['at'][:10]}  {what}  [dim]{escape(decision['reason'])}[/]"
        self._console.print(line, highlight=False, soft_wrap=not self._console.is_terminal)
