"""The demo's report: one HTML file that asks nobody for anything, works from a disk, and prints.

Its frame, style and script are those of `app/charts`.
"""

from __future__ import annotations

from datetime import date
from importlib import resources
from pathlib import Path

from lossloop.app.charts.coursecharts import course_charts
from lossloop.app.charts.evidence import evidence_charts
from lossloop.app.charts.page import assets, environment
from lossloop.app.demo import telling
from lossloop.app.demo.account import Account, read_account
from lossloop.app.demo.charts import loss_chart, missing_chart
from lossloop.app.demo.replay import MODEL
from lossloop.app.demo.run import Told
from lossloop.app.demo.worth import worth
from lossloop.app.home import Home

_HERE = resources.files("lossloop.app.demo")


def write_report(home: Home, told: Told, path: Path, *, model: str = MODEL) -> None:
    """Write the report of a finished demo.

    Args:
        home: The demo's state directory; only read.
        told: What the demo ended with.
        path: The HTML file, written whole or not at all.
        model: The model that it is about.

    Raises:
        StateError: The state cannot be read.
        UnknownName: It has no such model.
        OSError: The file cannot be written.
    """
    page = render(read_account(home, model), told)
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(page, encoding="utf-8")
    draft.replace(path)


def render(account: Account, told: Told) -> str:
    """The report as HTML."""
    decisions = told.decisions
    made = environment(**{"report.html": (_HERE / "page.html").read_text(encoding="utf-8")})
    made.filters["month"] = _month
    page = made.get_template("report.html").render(
        model=account.model,
        policy=account.policy,
        headline=telling.headline(decisions),
        worth=worth(told.courses),
        span=_span(account),
        facts=telling.facts(account, told),
        decisions=telling.timeline(account, decisions),
        loss=loss_chart(account, decisions),
        missing=missing_chart(account, decisions),
        evidence=evidence_charts(account.history),
        courses=course_charts(account.history, judging=False),
        days=telling.days_not_flights(account),
        months=telling.missing_by_month(account),
        times=telling.times(told.timings, decisions),
        **assets(),
    )  # fmt: skip
    return page.strip() + "\n"


def _month(text: str) -> str:
    """A month such as 2013-03 in words; what is no month as it is."""
    return f"{date.fromisoformat(f'{text}-01'):%B}" if text[:4].isdigit() else text


def _span(account: Account) -> str:
    """The days that were replayed, in words."""
    blocks = [account.policy.calendar.label(day.block)[:10] for day in account.answered()]
    if not blocks:
        return "no day"
    first, last = (date.fromisoformat(day) for day in (min(blocks), max(blocks)))
    return f"{first.day} {first:%B} to {last.day} {last:%B %Y}"


__all__ = ["write_report"]
