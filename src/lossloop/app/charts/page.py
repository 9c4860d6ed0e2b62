"""Charts as one HTML file that asks nobody for anything, works from a disk, and prints.

Style, script and uPlot lie beside this module and are written into the file. Jinja2 escapes all text; what
charts show goes in as JSON in which no tag can end.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from itertools import groupby
from typing import Any

import msgspec
from jinja2 import DictLoader, Environment, StrictUndefined

from lossloop.app import words
from lossloop.app.charts.history import History, mark_of
from lossloop.app.charts.spec import Chart
from lossloop.app.charts.watches import watch_charts
from lossloop.app.reading import plain
from lossloop.core.clock import format_duration

_HERE = resources.files("lossloop.app.charts")
_TEMPLATES = ("frame.html", "parts.html", "page.html")


def render(history: History) -> str:
    """A model's charts and decisions as HTML."""
    charts = watch_charts(history)
    groups = [(about, list(own)) for about, own in groupby(charts, key=lambda chart: chart.about)]
    page = environment().get_template("page.html").render(
        model=history.policy.model,
        policy=history.policy,
        mature_after=format_duration(history.policy.labels.mature_after),
        charts=charts,
        groups=groups,
        decisions=decided(history),
        **assets(),
    )  # fmt: skip
    return page.strip() + "\n"


def decided(history: History) -> list[dict[str, Any]]:
    """What a page lists of decisions, numbered as their marks are."""
    return [_decided(number, plain(each)) for number, each in enumerate(history.decisions, start=1)]


def environment(**pages: str) -> Environment:
    """Templates: the frame, its parts, and pages of one's own by name."""
    found = {name: _asset(name) for name in _TEMPLATES}
    made = Environment(
        loader=DictLoader({**found, **pages}), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    made.filters["json"] = as_json
    made.filters["heading"] = heading
    return made


def assets() -> dict[str, str]:
    """What the frame writes into a page: ours, which is trusted; never text from the state."""
    return {
        "css": _asset("vendor/uplot/uPlot.min.css") + _asset("page.css"),
        "uplot": _asset("vendor/uplot/uPlot.iife.min.js"),
        "uplot_license": _asset("vendor/uplot/LICENSE"),
        "js": _asset("page.js"),
    }


def heading(chart: Chart) -> str:
    """What a chart is called where it stands below the name of its watch."""
    rest = chart.title.removeprefix(chart.about).removeprefix(": ")
    return f"{rest[:1].upper()}{rest[1:]}" or "Evidence against its threshold"


def as_json(value: Any) -> str:
    """A value as JSON that may stand in a script element: no tag and no comment can begin or end in it."""
    text = msgspec.json.encode(value).decode()
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


@cache
def _asset(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _decided(number: int, decision: dict[str, Any]) -> dict[str, Any]:
    return {
        **{key: decision[key] for key in ("version", "status", "by", "reason")},
        "n": number, "mark": mark_of(decision), "what": words.action(decision),
        "when": words.moment(decision),
    }  # fmt: skip
