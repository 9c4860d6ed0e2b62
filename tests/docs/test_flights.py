"""The pages about trying policies, on the real flights: the demo's version 1, from March to July."""

from __future__ import annotations

import json
import re
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from lossloop.app.books import Books
from lossloop.app.cli import main
from lossloop.app.demo.replay import MODEL
from lossloop.app.demo.story import POLICY
from lossloop.app.home import Home
from lossloop.app.operate import set_policy
from tests.docs.flown import WATCHED
from tests.docs.pages import alike, blocks, commands
from tests.house.repository import ROOT

PAGE = ROOT / "docs" / "how-to" / "try-a-policy.md"
TUTORIAL = ROOT / "docs" / "tutorial" / "which-watch.md"
WIDE = "132"
"""Columns of the terminal in which the pages were written."""
PICTURE = ("incidents", "loss worse ", "slices where ", "early ", "few ")


@pytest.fixture
def policies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of the page, where it is read."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", WIDE)
    for block in blocks(PAGE):
        if block.title:
            (tmp_path / block.title).write_text(block.text)


def typed(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *more: str
) -> tuple[list[str], str]:
    """What the page shows below its command, and what the command says here."""
    (console,) = [block for block in blocks(PAGE) if block.language == "console"]
    ((line, shown),) = commands(console.text)
    words = line.replace("lossloop-demo", str(home.path)).split()
    monkeypatch.setattr("sys.argv", [*words, *more])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    return shown, capsys.readouterr().out


def figures(lines: list[str], name: str) -> list[float]:
    """The numbers in the row of a policy in the table."""
    row = next(line for line in lines if line.startswith(name))
    return [float(each.replace(",", "")) for each in re.findall(r"[-+]?\d[\d,]*\.?\d*", row)]


@pytest.mark.slow
@pytest.mark.usefixtures("policies")
def test_the_page_says_what_the_flights_say(
    flown: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown, said = typed(flown, monkeypatch, capsys)
    lines = said.splitlines()
    here = {alike(line) for line in lines}
    drawn = ("incidents", "present worse ", "wide worse ", "limit limit ", "flights each ")
    words = [line for line in shown if not line.startswith(drawn) or ":" in line]
    assert [line for line in words if alike(line) not in here] == []
    for name in ("present.yaml", "wide.yaml", "limit.yaml"):
        ours, page = figures(lines, name), figures(shown, name)
        assert ours == pytest.approx(page, rel=0.05, abs=60.0), name  # a canary took ten


@pytest.mark.slow
@pytest.mark.usefixtures("policies")
def test_days_alarm_as_they_did_in_the_demo_and_flights_are_not_judged(
    flown: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, said = typed(flown, monkeypatch, capsys, "--json")
    present, wide, limit, each = (policy["watches"][0] for policy in json.loads(said)["policies"])
    assert [alarm["block"] for alarm in present["alarms"]] == ["2013-07-12"]
    assert [alarm["block"] for alarm in wide["alarms"]] == ["2013-07-22"]
    # The last flight of a half day moves the clock, so a verdict is told up to an hour after it was due.
    assert present["incidents"][0]["delay_seconds"] == pytest.approx(42.5 * 86_400, abs=3_600)
    assert limit["alarms"] == []
    assert "design effect" in each["problems"][0]
    saving: Any = present["incidents"][0]["saving"]
    assert saving["low"] < saving["estimate"] < saving["high"]


NUMBER = re.compile(r"(?<![\w-])[-+]?\d[\d,]*\.?\d*(?:e[+]?\d+)?(?![\w-])")


def numbers(line: str) -> list[float]:
    """The numbers of a line; no dates."""
    return [float(each.replace(",", "")) for each in NUMBER.findall(line)]


def told_alike(line: str, said: list[str]) -> bool:
    """Whether a line was said with these words, and with these numbers within a tenth."""
    same = [each for each in said if alike(each) == alike(line)]
    return any(numbers(each) == pytest.approx(numbers(line), rel=0.1, abs=0.02) for each in same)


@pytest.fixture
def copied(flown: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of somebody who has played the demo, with the tutorial's files."""
    shutil.copytree(flown.path, tmp_path / "lossloop-demo")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", WIDE)
    for block in blocks(TUTORIAL):
        if block.title:
            (tmp_path / block.title).write_text(block.text)
    return tmp_path


@pytest.mark.slow
def test_the_tutorial_about_watches_says_what_the_flights_say(
    copied: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    consoles = "".join(block.text for block in blocks(TUTORIAL) if block.language == "console")
    asked = []
    for line, shown in commands(consoles):
        asked.append(line.split()[1])
        monkeypatch.setattr("sys.argv", line.split())
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr().out.splitlines()
        assert ended.value.code == 0, line
        words = [each for each in shown if not each.startswith(PICTURE) or ": alarm " in each]
        assert [each for each in words if not told_alike(each, said)] == [], line
    assert asked == ["why", "backtest", "policy", "chart"]
    page = (copied / "flight-delay-charts.html").read_text()
    assert "Watch &#39;worse&#39;" in page
    assert "EWMA signals on 60 of 153 blocks, first on 2013-03-30" in page


@pytest.mark.slow
def test_every_kind_of_watch_can_be_switched_on_for_the_flights(copied: Path) -> None:
    text = POLICY.replace("mode: act", "mode: observe").replace("watches:", f"watches:{WATCHED}")
    assert set_policy(Home(path=copied / "lossloop-demo"), text).ok
    state = Home(path=copied / "lossloop-demo").state()
    assert len(Books(state).policy(MODEL).watches) == 8
    state.close()


@pytest.mark.slow
def test_the_tutorial_says_which_watch_fired_when(
    flown: Home, copied: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table that says which was right is written by people: here it is held against the alarms."""
    found = fired(flown, monkeypatch, capsys, "loss.yaml", "slices.yaml", "early.yaml", "few.yaml")
    rows = [line.split("|")[1:3] for line in TUTORIAL.read_text().splitlines() if line.startswith("| `")]
    told = {name.strip(" `"): days.strip() for name, days in rows}
    assert set(told) == set(found)
    for name, days in found.items():
        said = [date.fromisoformat(day) for day in days]
        first = f"{said[0].day} {said[0]:%B}" if said else "never"
        assert told[name].startswith(first), name
    assert found["where"][0] < found["worse"][0]


def fired(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *files: str
) -> dict[str, list[str]]:
    """The days of the alarms of each watch, until August."""
    words = ["lossloop", "backtest", *files, "--state", str(home.path), "--until", "2013-08-01", "--json"]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit):
        main()
    tried = json.loads(capsys.readouterr().out)["policies"]
    return {
        watch["watch"]: [alarm["block"] for alarm in watch["alarms"]]
        for policy in tried
        for watch in policy["watches"]
    }
