"""What commands share: where the state lies, and how they answer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter
from rich.console import Console

from lossloop.app.cli.terminal import Screen, printable
from lossloop.app.home import Home
from lossloop.app.operate import fold_here

DEFAULT_STATE = Path("lossloop-state")

StatePath = Annotated[Path, Parameter(name="--state", env_var="LOSSLOOP_STATE")]
"""The state directory."""
Store = Annotated[str, Parameter(name="--store", env_var="LOSSLOOP_STORE")]
"""Where log and derived state lie, where that is not in the directory."""
Json = Annotated[bool, Parameter(name="--json", negative="")]
"""Answer as JSON."""


def home(state: Path) -> Home:
    """The state directory, if it can be used; derived state that was deleted is folded again."""
    found = Home(path=state).check()
    if not found.is_folded():
        fold_here(found)
    return found


def answer(value: Any, *, as_json: bool, words: str) -> None:
    """Print an answer: JSON for programs, words for people."""
    if as_json:
        print_json(value)
    else:
        print(printable(words))


def print_json(value: Any) -> None:
    """Print a value as one JSON document."""
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def console() -> Console:
    """The terminal; at least wide enough for a table where output goes to a file."""
    found = Screen()
    return found if found.is_terminal else Screen(width=110)
