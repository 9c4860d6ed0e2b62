"""A backtest as one HTML page: the policies side by side, with incidents, alarms, and what was decided then.

The charts are those of a model's own page, from one function; only what is marked on them differs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import resources

from lossloop.app.backtest.base import Account, Alarm, Backtest, Candidate, Incident, Outcome
from lossloop.app.books import Books
from lossloop.app.charts import Chart, History, history_of, watch_charts
from lossloop.app.charts.page import assets, decided, environment
from lossloop.app.home import Home
from lossloop.app.judging import Lens

_DRAWN = ("loss-", "evidence-")
"""Charts that decide something; control charts are left out, side by side they are too many."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """What is shown of one policy."""

    outcome: Outcome
    history: History
    alarms: Sequence[tuple[str, Alarm, str]]
    """Their marks, such as A1, and their watches; by time."""

    @property
    def policy(self) -> str:
        """What it is called."""
        return self.outcome.policy

    def charts(self, number: int, incidents: Sequence[Incident]) -> list[Chart]:
        """The charts of its watches, each with an id of its own on the page."""
        found = [chart for chart in watch_charts(self.history) if chart.id.startswith(_DRAWN)]
        return [self._marked(replace(each, id=f"{each.id}-of-{number}"), incidents) for each in found]

    def _marked(self, chart: Chart, incidents: Sequence[Incident]) -> Chart:
        wall, first, last = self.history.wall, chart.data["x"][0], chart.data["x"][-1]
        mine = [
            {"n": mark, "x": wall(alarm.at), "role": "alarm"}
            for mark, alarm, watch in self.alarms
            if chart.about == f"Watch '{watch}' on version {alarm.version}" and wall(alarm.at) <= last
        ]
        marks = sorted([*chart.data["marks"], *mine], key=lambda mark: mark["x"])
        spans = [(max(wall(each.start), first), min(wall(each.end), last)) for each in incidents]
        return replace(
            chart,
            data={**chart.data, "marks": marks, "spans": [span for span in spans if span[0] < span[1]]},
        )


def sides(home: Home, found: Backtest, candidates: Sequence[Candidate]) -> list[Side]:
    """The policies of a backtest, with the decisions of its span."""
    state = home.state()
    try:
        books = Books(state)
        return [
            _side(books, found, outcome, candidate)
            for outcome, candidate in zip(found.outcomes, candidates, strict=True)
        ]
    finally:
        state.close()


def render(found: Backtest, shown: Sequence[Side]) -> str:
    """A backtest as HTML that asks nobody for anything."""
    page = (resources.files("lossloop.app.backtest") / "page.html").read_text(encoding="utf-8")
    history = shown[0].history
    text = environment(**{"backtest.html": page}).get_template("backtest.html").render(
        model=found.model, rows=found.rows, timezone=history.policy.timezone,
        since=history.label(found.since), until=history.label(found.until),
        incidents=[each.text for each in found.incidents],
        sides=[_told(number, side, found.incidents) for number, side in enumerate(shown, start=1)],
        decisions=decided(history), **assets(),
    )  # fmt: skip
    return text.strip() + "\n"


def _side(books: Books, found: Backtest, outcome: Outcome, candidate: Candidate) -> Side:
    points = [point for account in outcome.accounts for point in account.replayed.points]
    history = history_of(books, Lens(policy=candidate.policy), points)
    inside = [each for each in history.decisions if found.since <= each.at < found.until]
    alarms = sorted(
        (
            (alarm, account.replayed.watch)
            for account in outcome.accounts
            for alarm in account.replayed.alarms
        ),
        key=lambda each: each[0].at,
    )
    return Side(
        outcome=outcome, history=replace(history, decisions=inside),
        alarms=[(f"A{place}", alarm, watch) for place, (alarm, watch) in enumerate(alarms, start=1)],
    )  # fmt: skip


def _told(number: int, side: Side, incidents: Sequence[Incident]) -> dict[str, object]:
    return {
        "policy": side.policy, "in_force": side.outcome.in_force, "charts": side.charts(number, incidents),
        "watches": [_watch(side, account) for account in side.outcome.accounts],
        "notes": list(_notes(side.outcome)),
    }  # fmt: skip


def _watch(side: Side, account: Account) -> dict[str, object]:
    found = account.replayed
    return {
        "name": found.watch, "promise": found.promise,
        "judged": f"{found.judged(found.points):,} {found.counts}" if found.points else "-",
        "alarms": [
            {"n": mark, "when": alarm.block or side.history.label(alarm.at)}
            for mark, alarm, watch in side.alarms
            if watch == found.watch
        ],
        "false": "" if account.false_alarms is None else account.false_alarms,
    }  # fmt: skip


def _notes(outcome: Outcome) -> Iterator[str]:
    """What became of each incident, and what has to be said beside it."""
    for account in outcome.accounts:
        name = account.replayed.watch
        for met in account.met:
            when = "missed" if met.delay is None else f"seen after {met.delay / 86_400e6:.1f} days"
            saved = met.saving.estimate
            more = "" if saved is None else f"; could have saved {saved:,.4g}"
            yield f"{name}: {met.incident} {when}{more}."
        for problem in account.replayed.problems:
            yield f"{name}: could not judge {problem}."
    yield from (f"{note}." for note in outcome.notes)
