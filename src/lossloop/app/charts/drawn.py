"""A model's charts for a notebook: the page that `lossloop chart` writes, in a frame of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from lossloop.app.books import Books
from lossloop.app.charts.history import read_history
from lossloop.app.charts.page import render
from lossloop.app.charts.spec import Chart
from lossloop.app.charts.watches import watch_charts
from lossloop.app.home import Home

HEIGHT = 900
"""Of the frame, in pixels."""


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """The charts of a model. As the last line of a cell it shows itself."""

    model: str
    charts: list[Chart] = field(repr=False)
    """Numbers, limits, marks and a table for each, for those who draw by themselves."""
    page: str = field(repr=False)
    """All of them as one HTML page that asks nobody for anything."""

    def _repr_html_(self) -> str:
        return (
            f'<iframe title="{escape(self.model)}" srcdoc="{escape(self.page)}" width="100%" '
            f'height="{HEIGHT}" sandbox="allow-scripts allow-downloads" style="border:0"></iframe>'
        )


def charts(state: str | Path, model: str) -> Drawn:
    """What a model's watches and rollouts saw: losses with their bands, evidence, control charts, decisions.

    Args:
        state: The state directory; it is only read.
        model: The model.

    Raises:
        StateError: There is no such directory.
        UnknownName: There is no such model.
    """
    opened = Home(path=Path(state)).check().state()
    try:
        history = read_history(Books(opened), model)
    finally:
        opened.close()
    return Drawn(model=model, charts=watch_charts(history), page=render(history))
