"""A backtest as a page: the charts of each policy side by side, and what is marked on them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from lossloop.act.policy import read_policy
from lossloop.app.backtest import Backtest, Candidate, Question, backtest
from lossloop.app.backtest.picture import Side, render, sides
from lossloop.app.charts import watch_charts
from lossloop.app.commands import SetFreeze
from tests.app.backtest.test_backtest_cli import GUARD, INCIDENT, Typed, file
from tests.app.desk import MODEL, WATCH, Desk, policy_text

SHIFT = {"kind": "prediction_shift", "promise": "5% ever"}
TRIED = {"present": {"worse": WATCH}, "mine": {"limit": GUARD, "shift": SHIFT}}


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    return Typed(monkeypatch, capsys)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """Ten good days, then eight bad ones; the watch in force told somebody."""
    found = Desk.ready(
        tmp_path_factory.mktemp("s") / "s", watches={"worse": WATCH}, on={"worse": [{"notify": "log"}]},
        cooldown="30d",
    )  # fmt: skip
    for day in range(18):
        found.day(day, 0.6 if day >= 10 else 0.1)
    found.obey(SetFreeze(on=True))
    return found


@pytest.fixture(scope="module")
def candidates() -> list[Candidate]:
    return [
        Candidate(name=f"{name}.yaml", policy=read_policy(policy_text(watches=watches, cooldown="30d")))
        for name, watches in TRIED.items()
    ]


@pytest.fixture(scope="module")
def found(desk: Desk, candidates: list[Candidate]) -> Backtest:
    return backtest(desk.home, candidates, Question(model=MODEL, incidents=(INCIDENT,)))


@pytest.fixture(scope="module")
def shown(desk: Desk, found: Backtest, candidates: list[Candidate]) -> list[Side]:
    return sides(desk.home, found, candidates)


def drawn(page: str) -> dict[str, Any]:
    """What each chart of a page is drawn from, by its id."""
    scripts = re.findall(r'<script type="application/json" id="data-([^"]+)">(.*?)</script>', page, re.DOTALL)
    return {id: json.loads(text) for id, text in scripts}


def test_each_policy_has_the_charts_that_its_points_make(found: Backtest, shown: list[Side]) -> None:
    page = render(found, shown)
    assert [side.policy for side in shown] == ["present.yaml", "mine.yaml"]
    charts = [chart for side in shown for chart in watch_charts(side.history)]
    here = {chart.title for chart in charts if chart.id.startswith(("loss-", "evidence-"))}
    assert {"Watch 'worse' on version 1: mean loss", "Watch 'limit' on version 1"} <= here
    assert set(drawn(page)) == {"loss-1-of-1", "evidence-1-of-1", "loss-1-of-2", "evidence-1-of-2"}
    assert page.count('class="trial"') == 2
    assert "judges as the policy in force" in page


def test_incidents_are_shaded_and_alarms_and_decisions_marked(found: Backtest, shown: list[Side]) -> None:
    charts = drawn(render(found, shown))
    (incident,) = found.incidents
    for number, side in enumerate(shown, start=1):
        data = charts[f"evidence-1-of-{number}"]
        ((start, end),) = data["spans"]
        assert start == side.history.wall(incident.start)
        assert start < end <= data["x"][-1]
        ((mark, alarm, _),) = side.alarms
        assert {"n": mark, "x": side.history.wall(alarm.at), "role": "alarm"} in data["marks"]
        assert [each["n"] for each in data["marks"] if each["n"] != "A1"] == [1]  # somebody was told
        assert data["marks"] == sorted(data["marks"], key=lambda each: each["x"])


def test_an_alarm_is_marked_where_the_evidence_crossed(found: Backtest, shown: list[Side]) -> None:
    data = drawn(render(found, shown))["evidence-1-of-2"]
    crossed = next(
        x for x, y in zip(data["x"], data["series"][0]["y"], strict=True) if y >= data["limits"][0][2]
    )
    assert crossed in [each["x"] for each in data["marks"] if each["n"] == "A1"]


def test_what_a_watch_could_not_judge_and_what_an_incident_cost_stand_below(
    found: Backtest, shown: list[Side]
) -> None:
    page = render(found, shown)
    assert "could not judge m:1: m:1 has no profile" in page
    assert re.search(r"limit: 2024-01-11..2024-01-20 seen after \d", page)


def test_what_a_policy_is_called_is_no_markup(desk: Desk, candidates: list[Candidate]) -> None:
    evil = [Candidate(name="<script>alert(1)</script>", policy=candidates[0].policy)]
    found = backtest(desk.home, evil, Question(model=MODEL))
    page = render(found, sides(desk.home, found, evil))
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def test_decisions_of_another_time_are_left_out(desk: Desk, candidates: list[Candidate]) -> None:
    found = backtest(desk.home, candidates, Question(model=MODEL, until="2024-01-09"))
    page = render(found, sides(desk.home, found, candidates))
    assert "Nothing was decided in this time." in page


def test_it_is_written_beside_the_answer(desk: Desk, tmp_path: Path, typed: Typed) -> None:
    path = tmp_path / "tried.html"
    answer = typed(desk, file(tmp_path, "p.yaml", watches={"worse": WATCH}), "--html", str(path))
    assert answer[0] == 0, answer[1]
    assert "open it in a browser" in answer[1]
    assert "tried on the past" in path.read_text()
    code, said = typed(desk, file(tmp_path, "p.yaml"), "--html", str(tmp_path / "nowhere" / "x.html"))
    assert code != 0
    assert "name another file with --html" in said
