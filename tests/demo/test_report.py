"""The report over a small but real state: calm days, a bad release, an alarm, a version in shadow."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from lossloop.app import words
from lossloop.app.charts import evidence
from lossloop.app.charts.history import mark_of
from lossloop.app.charts.page import as_json
from lossloop.app.commands import Promote
from lossloop.app.demo import charts, telling
from lossloop.app.demo.account import SHADOW, Account, Day, read_account
from lossloop.app.demo.compare import Month
from lossloop.app.demo.report import render, write_report
from lossloop.app.demo.run import Told
from lossloop.app.demo.worth import axis_end, worth
from lossloop.app.reading import decisions as all_decisions
from lossloop.core.errors import StateError, UnknownName
from lossloop.judges import parse
from tests.app.desk import DAY, MODEL, ROLLOUT, WATCH, Desk, asked, happened, ticked

EVIL = "</script><script>alert('x')</script><img src=http://evil.example/x onerror=alert(1)>"
VOID = {"area", "br", "col", "hr", "img", "input", "link", "meta"}
SHAPES = {"circle", "line", "path", "rect", "use"}
MONTHS = [("2013-03", 10, 0.5, 0.4, 100.0, 90.0), ("2013-04", 30, 0.7, 0.9, 300.0, 350.0),
          ("2013-05", 20, 0.6, 0.6, 200.0, 200.0)]  # fmt: skip
COURSES = {
    "with the loop": [Month(month=m, flights=n, mean_loss=a, usd=c) for m, n, a, _, c, _ in MONTHS],
    "version 1 for ever": [Month(month=m, flights=n, mean_loss=b, usd=d) for m, n, _, b, _, d in MONTHS],
    "version 2 for everyone": [Month(month=m, flights=n, mean_loss=2.0, usd=500.0) for m, n, *_ in MONTHS],
}


def happen(desk: Desk) -> None:
    """Ten calm days; version 2 in canary is bad; then version 1 gets worse, and version 3 goes in shadow."""
    for number in range(10):
        desk.day(number, 0.1, rows=6)
    desk.rollout(2)
    for hour in range(8):
        desk.arms(10 * DAY + hour, 0.1, 0.9, share=0.2)
    for number in range(11, 18):
        desk.day(number, 0.8, rows=6)
    desk.rollout(3, shadow=4, clip_difference=0.5)
    for number in range(18, 22):
        ids = desk.ids(6)
        start = number * DAY
        desk.send(
            asked(start + 1, [0.8] * 6, ids, shadow=(3, [0.1] * 6)),
            happened(start + 2, ids[:5]),
            ticked(start + DAY + 7),
        )


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    made = Desk.ready(
        tmp_path_factory.mktemp("report") / "state", versions=3, watches={"worse": WATCH}, rollout=ROLLOUT,
        on={"worse": [{"notify": "oncall"}]}, settings={"notify": {"oncall": "log"}},
    )  # fmt: skip
    happen(made)
    return made


@pytest.fixture(scope="module")
def account(desk: Desk) -> Account:
    return read_account(desk.home, MODEL)


@pytest.fixture(scope="module")
def told(desk: Desk) -> Told:
    with desk.books() as books:
        decisions = all_decisions(books, MODEL)
    back = next(each["id"] for each in decisions if each["action"] == "roll_back")
    timings = {
        "setup_s": 1.5, "replay_s": 20.0, "rows": 1234, "rows_per_s": 61.7, "requests": 99,
        "safe_traffic_ms": [{"id": back, "action": "roll_back", "ms": 7.25}],
    }  # fmt: skip
    return Told(decisions=decisions, courses=COURSES, timings=timings)


@pytest.fixture(scope="module")
def page(account: Account, told: Told) -> str:
    return render(account, told)


class Reader(HTMLParser):
    """Checks that elements nest, and keeps tables, text, scripts and what would be fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.labels: list[str] = []
        self.fetched: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.scripts: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        assert len(given) == len(attrs), f"an attribute is given twice: {tag} {attrs}"
        self.ids += [given["id"] or ""] if "id" in given else []
        self.labels += [given["aria-labelledby"] or ""] if "aria-labelledby" in given else []
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action")]
        assert not [name for name in given if name.startswith("on")], "a handler in an attribute"
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag == "script":
            self.scripts.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in SHAPES | VOID, f"<{tag}/> does not end itself"
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> ends nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "script" in self.open:
            self.scripts[-1] += data
        elif "style" not in self.open:
            self.text += data
            if "td" in self.open or "th" in self.open:
                self.tables[-1][-1][-1] += data


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    return reader


def data_of(page: str) -> Iterator[dict[str, Any]]:
    for found in re.finditer(r'<script type="application/json" id="[^"]+">(.*?)</script>', page, re.DOTALL):
        yield json.loads(found[1])


def table_with(reader: Reader, heading: str) -> list[list[str]]:
    return next(table for table in reader.tables if table and heading in table[0])


# The page as a file.


def test_the_page_is_well_formed_html(page: str) -> None:
    reader = read(page)
    assert page.startswith("<!doctype html>")
    assert reader.open == []
    assert len(set(reader.ids)) == len(reader.ids)
    assert set(reader.labels) <= set(reader.ids)


def test_the_page_asks_nobody_for_anything(page: str) -> None:
    fetched = read(page).fetched
    assert all(place.startswith(("#", "data:,")) for place in fetched), fetched
    assert "@import" not in page
    assert not re.search(r"url\(\s*['\"]?(?!#)", page)
    assert set(re.findall(r"https?://[^\s\"')]+", page)) == {"https://github.com/leeoniya/uPlot"}, "a comment"
    assert not re.search(r"\b(fetch|XMLHttpRequest|WebSocket|importScripts|sendBeacon)\b", page)


def test_the_page_keeps_the_licence_of_what_it_holds(page: str) -> None:
    assert "The MIT License" in page
    assert "Leon Sorokin" in page


def test_the_page_is_written_whole_and_small(desk: Desk, told: Told, tmp_path: Path) -> None:
    place = tmp_path / "report.html"
    place.write_text("an older report")
    with pytest.raises(UnknownName, match="flight-delay"):
        write_report(desk.home, told, place)  # the demo's model is not in this state
    assert place.read_text() == "an older report"
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_the_page_is_under_a_megabyte(page: str) -> None:
    assert len(page.encode()) < 1_000_000


def test_writing_makes_one_file(desk: Desk, told: Told, page: str, tmp_path: Path) -> None:
    write_report(desk.home, told, tmp_path / "report.html", model=MODEL)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page


def test_a_state_that_is_none_is_refused(tmp_path: Path, told: Told) -> None:
    desk = Desk.at(tmp_path / "state")
    (desk.home.path / "state.db").write_bytes(b"no database")
    with pytest.raises(StateError, match="state"):
        write_report(desk.home, told, tmp_path / "report.html")


def test_the_same_state_makes_the_same_page(page: str, account: Account, told: Told) -> None:
    assert render(account, told) == page


# What it says.


def test_every_decision_is_in_the_list_and_in_the_table(page: str, told: Told) -> None:
    rows = table_with(read(page), "Outcomes seen")[1:]
    assert len(rows) == len(told.decisions) > 5
    for number, (row, decision) in enumerate(zip(rows, told.decisions, strict=True), start=1):
        assert row[0].split()[0] == str(number)
        assert words.action(decision) in row[0]
        assert row[5] == f"{decision['outcomes']:,}"
        assert row[8] == words.minus(decision["reason"]) or row[8] == decision["reason"]
        if decision.get("verdict"):
            assert row[2] == decision["verdict"]["kind"].replace("_", " ")
            assert row[3] == words.evidence(decision["verdict"])
    assert page.count('<span class="dot n">') == len(told.decisions)


def test_hostile_text_stays_text(account: Account, told: Told) -> None:
    evil = [{**decision, "reason": EVIL, "target": EVIL, "watch": EVIL} for decision in told.decisions]
    reader = read(render(account, replace(told, decisions=evil)))
    assert EVIL in reader.text
    assert not any("evil" in place for place in reader.fetched)
    assert all("alert(" not in script for script in reader.scripts)


def test_json_in_a_script_cannot_end_it() -> None:
    text = as_json({"name": "</script><!-- & \u2028"})
    assert not set("<>&") & set(text)
    assert json.loads(text) == {"name": "</script><!-- & \u2028"}


def test_the_headline_counts_what_the_loop_did_by_itself() -> None:
    def did(action: str, **more: Any) -> dict[str, Any]:
        return {"action": action, "status": "done", "by": "policy", **more}

    assert telling.headline([]) == "Nothing was rolled back or promoted"
    assert telling.headline(
        [did("promote", by="operator"), did("roll_back", status="would_have")]
    ).startswith("Nothing")
    both = telling.headline([did("roll_back"), did("roll_back"), did("promote")])
    assert both == "Two bad releases rolled back, one better version promoted, with no human command"
    assert telling.headline([did("refuse")] * 12).startswith("12 versions refused")


def test_the_first_sentences_say_what_it_was_worth_and_where_it_was_not(page: str) -> None:
    text = " ".join(read(page).text.split())
    assert "cost 600 USD with the loop: 40 USD less than version 1 for ever, and 900 USD less than" in text
    assert "Mean loss, which is what the loop judges, was 0.633 nats: 0.083 nats less than version 1" in text
    assert "Version 1 would have cost less in March." in text


@pytest.mark.parametrize(
    ("usd", "said"),
    [(700.0, "100 USD less than it"), (500.0, "100 USD more than it"), (600.4, "the same as it")],
)
def test_a_loss_is_not_called_a_gain(usd: float, said: str) -> None:
    one = Month(month="2013-03", flights=5, mean_loss=0.5, usd=600.0)
    assert worth({"loop": [one], "it": [replace(one, usd=usd)]})["usd"] == [said]


def test_months_name_the_better_course_in_loss_and_in_usd(page: str) -> None:
    found = worth(COURSES)
    assert [(row["better_loss"], row["better_usd"]) for row in found["rows"]] == [
        ("version 1", "version 1"), ("the loop", "the loop"), ("same", "same"),
    ]  # fmt: skip
    assert [row["usd_text"] for row in found["rows"]] == ["+10", "\N{MINUS SIGN}50", "0"]
    table = table_with(read(page), "version 1 for ever")
    assert [row[0] for row in table[2:]] == ["March", "April", "May", "All"]
    assert table[-1][1:4] == ["60", "0.633", "600"]
    assert [row[-1].strip() for row in table[2:5]] == ["version 1", "the loop", "the same"]


@pytest.mark.parametrize(
    ("most", "end"), [(0.0, 1.0), (1.0, 1.0), (238_200.0, 250_000.0), (250_001.0, 300_000.0), (9e5, 1e6)]
)
def test_axes_end_at_a_round_number(most: float, end: float) -> None:
    assert axis_end(most) == end


def test_facts_come_from_the_state(account: Account, told: Told) -> None:
    facts = {fact["name"]: (fact["figure"], fact["under"]) for fact in telling.facts(account, told)}
    asked_about = account.counts.predictions
    assert facts["Flights"] == (f"{asked_about:,}", "99 HTTP requests")
    assert facts["Outcomes missing"] == (f"{4 / asked_about:.1%}", "4 flights")
    assert facts["Rollbacks"][0] == "1"
    assert re.fullmatch(r"version 2, \d+ flights exposed", facts["Rollbacks"][1])
    assert facts["To safe traffic"] == ("7.2", "from the deciding outcome; slowest move 7.2 ms")
    assert facts["Alarms"] == ("2", "rollout, worse")


def test_what_was_not_timed_is_not_invented(account: Account, told: Told) -> None:
    facts = {fact["name"]: fact for fact in telling.facts(account, replace(told, timings={}))}
    assert facts["To safe traffic"]["under"] == "no rollback was timed"
    assert telling.times({}, []) == []
    assert "no rollback was timed" in render(account, replace(told, timings={}))


def test_times_stand_apart_and_name_their_decision(told: Told) -> None:
    rows = telling.times(told.timings, told.decisions)
    assert rows[0] == ("Set-up: reading flights, training two versions", "1.5 s")
    assert re.fullmatch(r"Decision \d+, roll back: deciding outcome to new traffic", rows[-1][0])
    assert rows[-1][1] == "7.2 ms"


@pytest.mark.parametrize(
    ("promise", "said"),
    [
        ("1 per 3650 blocks", "On average at most one false alarm in 3,650 days, about 10 years."),
        ("1 per 20 blocks", "On average at most one false alarm in 20 days."),
        ("1 per 1,000,000 outcomes", "On average at most one false alarm in 1,000,000 outcomes."),
        ("5% once", "A chance of at most 5% of a false alarm over a whole rollout."),
        ("1% ever", "A chance of at most 1% of a false alarm ever, however long it watches."),
    ],
)
def test_promises_are_said_in_words(promise: str, said: str) -> None:
    assert telling.promised(parse(promise), 86_400_000_000) == said


def test_the_design_effect_is_the_references_own(page: str, account: Account) -> None:
    days = telling.days_not_flights(account)
    assert days is not None
    assert (days["effect"], days["days"], days["rows"]) == ("1.0", 8, "800")
    assert "<b>1.0 times</b>" in page


def test_without_a_version_nothing_is_explained(account: Account) -> None:
    assert telling.days_not_flights(replace(account, made=[])) is None
    silent = replace(account, made=[], days=[], history=replace(account.history, points=[]))
    assert "has no reference, so nothing was measured" in render(silent, Told(decisions=[], courses=COURSES))


def test_missing_outcomes_are_shown_by_month(account: Account) -> None:
    rows = telling.missing_by_month(account)
    assert [row["month"] for row in rows] == ["2024-01"]
    assert rows[0]["missing"] == "4"
    assert rows[0]["width"] == 100


# The charts.


def test_each_chart_has_a_table_that_says_the_same(page: str, account: Account) -> None:
    tables = re.findall(r'<table class="table" id="table-([^"]+)"', page)
    assert tables == ["loss", *(chart.id for chart in evidence.evidence_charts(account.history))]
    for chart in tables:
        assert f'id="data-{chart}"' in page
    assert page.count("<details") == len(tables)


def test_series_are_as_long_as_their_axis(page: str) -> None:
    found = list(data_of(page))
    assert len(found) == 2 + 3
    for data in found:
        assert sorted(data["x"]) == data["x"]
        for series in data["series"]:
            for name in ("y", "lo", "hi"):
                assert len(series.get(name, data["x"])) == len(data["x"])


def test_losses_are_drawn_by_role_with_limit_and_marks(account: Account, told: Told) -> None:
    data = charts.loss_chart(account, told.decisions).data
    roles = {series["name"]: series["role"] for series in data["series"]}
    assert roles["v1 champion, 14 days"] == "champion"
    assert roles["v2 challenger"] == "challenger"
    assert roles["v3 shadow, 14 days"] == SHADOW
    assert [limit[2] for limit in data["limits"]] == [0.12], "the reference varies not: its bound is its mean"
    assert [mark["n"] for mark in data["marks"]] == list(range(1, len(told.decisions) + 1))
    low, high = data["y"]
    assert low <= 0.1
    assert high >= 0.8


def test_the_shadow_is_what_the_challenger_would_have_lost(account: Account) -> None:
    days = [day for day in account.days if day.role == SHADOW]
    assert [(day.version, day.predictions, day.outcomes) for day in days] == [(3, 6, 5)] * 4
    assert [day.mean for day in days] == pytest.approx([0.1] * 4)


def test_what_is_far_beyond_the_axis_is_named_at_its_edge(account: Account) -> None:
    calm = [replace(day, mean=0.1) if day.role == "champion" else day for day in account.days]
    data = charts.loss_chart(replace(account, days=calm), []).data
    assert data["y"][1] < 0.9
    assert data["beyond"][0]["text"] == "v2 0.90"


def test_a_running_mean_needs_five_days_and_forgets_old_ones() -> None:
    day = 86_400_000_000
    made = Day(version=1, role="champion", block=0, predictions=1, outcomes=1, mean=0.0)
    days = [replace(made, block=number * day, mean=float(number >= 14)) for number in range(30)]
    means = charts.running_means([*days[:3], replace(days[3], mean=None), *days[4:]])
    assert means[:5] == [None] * 5
    assert means[5] is not None
    assert means[27] is not None
    assert means[27][0] == pytest.approx(1.0)
    assert means[20] is not None
    assert means[20][1] < means[20][0] < means[20][2]


def test_evidence_stands_against_its_threshold_with_1_in_the_middle(account: Account) -> None:
    found = evidence.evidence_charts(account.history)
    titles = [chart.title for chart in found]
    assert titles[:2] == ["Watch 'worse' on version 1", "Version 2 in canary"]
    assert "Version 3 in shadow" in titles
    for chart in found:
        low, high = chart.data["y"]
        assert low * high == pytest.approx(1)
        assert low < chart.data["limits"][0][2] < high
        assert 1.0 in chart.data["ticks"]
        for series in chart.data["series"]:
            assert all(value is None or low <= value <= high for value in series["y"])
    assert "for an alarm reached its threshold" in found[0].says
    assert "for rolling back reached its threshold" in found[1].says


def test_a_chapter_per_stage_since_evidence_begins_anew(account: Account) -> None:
    shadow = next(
        chart for chart in evidence.evidence_charts(account.history) if chart.title == "Version 3 in shadow"
    )
    assert "the same predictions, by block" in shadow.sub
    assert len(shadow.data["x"]) <= 4
    assert {series["name"] for series in shadow.data["series"]} == {"for promoting", "for rolling back"}


def test_marks_have_the_colour_of_what_was_done() -> None:
    assert mark_of({"action": "promote", "by": "policy"}) == "better"
    assert mark_of({"action": "promote", "by": "operator"}) == ""
    assert mark_of({"action": "roll_back"}) == "alarm"
    assert mark_of({"action": "notify", "verdict": {"kind": "alarm"}}) == "alarm"
    assert mark_of({"action": "start_rollout"}) == ""


def test_times_are_of_the_policys_zone(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "state", timezone="America/New_York")
    desk.day(0, 0.1)
    account = read_account(desk.home, MODEL)
    assert account.history.wall(1_704_067_200_000_000) == 1_704_067_200 - 5 * 3600
    table = telling.timeline(
        account, [{"at": "2024-01-01T03:30:00Z", "action": "notify", "status": "done", "reason": "r"}]
    )
    assert table[0]["when"] == "31 Dec, 22:30"


def test_a_state_in_which_nothing_happened_has_a_page_all_the_same(tmp_path: Path) -> None:
    desk = Desk.at(tmp_path / "state")
    desk.send(ticked(0))
    desk.policy()
    reader = read(render(read_account(desk.home, MODEL), Told(decisions=[], courses=COURSES)))
    assert "Nothing was rolled back or promoted" in reader.text


def test_a_reign_ends_where_the_next_begins(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "state", versions=2)
    for number in range(3):
        desk.day(number, 0.1)
    desk.obey(Promote(model=MODEL, version=2))
    for number in range(3, 5):
        desk.day(number, 0.1, version=2)
    account = read_account(desk.home, MODEL)
    (first, began, ended), (second, took_over, end) = account.reigns()
    assert (first.number, second.number) == (1, 2)
    assert began < ended == took_over < end
