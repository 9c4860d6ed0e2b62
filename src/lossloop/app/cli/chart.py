"""`lossloop chart`: pictures of what a model's watches saw."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from lossloop.app.books import Books
from lossloop.app.charts import read_history, watch_charts
from lossloop.app.charts.page import render
from lossloop.app.cli.common import DEFAULT_STATE, Json, StatePath, home, print_json
from lossloop.core.errors import StateError


def chart(
    model: str, /, *, output: Path | None = None, state: StatePath = DEFAULT_STATE, json: Json = False
) -> None:
    """Draw the loss of each watch with its band, and its evidence against its threshold.

    Parameters
    ----------
    model
        The model.
    output
        The HTML file to write; MODEL-charts.html if left out. It needs no server and no network.
    state
        The state directory.
    json
        Print the charts' data as JSON, and write no file.
    """
    opened = home(state).state()
    try:
        history = read_history(Books(opened), model)
    finally:
        opened.close()
    if json:
        print_json({"model": model, "charts": [msgspec.to_builtins(each) for each in watch_charts(history)]})
        return
    write_page(output or Path(f"{model}-charts.html"), render(history), option="--output")


def write_page(path: Path, page: str, *, option: str) -> None:
    """Write an HTML page, whole or not at all, and say where it is.

    Raises:
        StateError: It cannot be written there.
    """
    draft = path.with_name(f".{path.name}.draft")
    try:
        draft.write_text(page, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise StateError(f"cannot write {path}: {error.strerror}; name another file with {option}") from error
    print(f"{path}: open it in a browser", file=sys.stderr if option == "--html" else sys.stdout)
