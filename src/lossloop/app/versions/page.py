"""The checks of a version as one HTML page."""

from __future__ import annotations

from importlib import resources

from lossloop.app.charts.page import assets, environment
from lossloop.app.versions.base import Report


def render(found: Report) -> str:
    """A report as HTML that asks nobody for anything."""
    page = (resources.files("lossloop.app.versions") / "page.html").read_text(encoding="utf-8")
    text = environment(**{"version.html": page}).get_template("version.html").render(
        model=found.model, name=found.name, champion=found.champion, rows=found.checked.rows,
        required=found.required, shown=found.shown, objections=found.objections, **assets(),
    )  # fmt: skip
    return text.strip() + "\n"
