"""The page about trying policies, on the real flights: the demo's version 1, from March to July."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest

from lossloop.app.books import Crowned, PolicyText
from lossloop.app.cli import main
from lossloop.app.demo import flights
from lossloop.app.demo.compare import _predict
from lossloop.app.demo.replay import MODEL
from lossloop.app.demo.story import POLICY
from lossloop.app.demo.target import FIRST, LAST, make
from lossloop.app.home import Home, init
from lossloop.app.reigns import crown
from lossloop.core.clock import HOUR
from lossloop.ledger.joined.columns import NEVER, batch_of
from lossloop.registry import Manifest, versions
from tests.docs.pages import alike, blocks, commands
from tests.house.repository import ROOT

PAGE = ROOT / "docs" / "how-to" / "try-a-policy.md"
LIVE, END = 1362114000000000, 1375329600000000
"""1 March and 1 August 2013, midnight in New York."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Every flight of five months answered by version 1; in the demo a canary took ten of them."""
    table = flights.load()
    trained = make(flights.between(table, FIRST, LAST), loss="log_loss(cap=5)")
    season = table.filter((pc.field("time") >= LIVE) & (pc.field("time") < END))
    at = season["time"].to_numpy()
    late = season["late"].cast("float64").to_numpy()
    came = np.flatnonzero(~np.isnan(late))
    keys = np.arange(len(at), dtype=np.uint64)
    rows = {
        "key_high": keys, "key_low": keys, "version": np.ones(len(at), np.int32),
        "role": np.zeros(len(at), np.int8), "at": at, "time": at, "block": flights.CALENDAR.blocks(at),
        "y_pred": np.asarray(_predict(trained.artifact, season), dtype=np.float64),
    }  # fmt: skip
    told = {
        "seq": came + 1, "y_true": late[came], "judged": late[came],
        "labelled_at": season["outcome_time"].fill_null(NEVER).to_numpy()[came],
    }  # fmt: skip
    found = init(tmp_path_factory.mktemp("flights") / "s")
    state = found.writable_state()
    with state.transaction():
        state.put_chunk(f"rows/{MODEL}", 0, batch_of(rows))
        state.put_chunk(f"labels/{MODEL}", 0, batch_of(told))
        state.put("policy", MODEL, PolicyText(text=POLICY, at=0))
        state.put("clock", "now", END + 12 * HOUR)
        manifest = Manifest(runtime=trained.runtime, features=trained.features, reference=trained.reference)
        versions.register(state, MODEL, manifest, at=0)
        versions.enthrone(state, MODEL, 1, at=LIVE, reason="")
        crown(state, MODEL, Crowned(version=1, at=LIVE, seq=0, by_rollout=False))
    state.close()
    return found


@pytest.fixture
def policies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of the page, where it is read."""
    monkeypatch.chdir(tmp_path)
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
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown, said = typed(home, monkeypatch, capsys)
    lines = said.splitlines()
    here = {alike(line) for line in lines}
    drawn = ("incidents", "present worse ", "wide worse ", "limit limit ", "flights each ")
    words = [line for line in shown if not line.startswith(drawn) or ":" in line]
    assert [line for line in words if alike(line) not in here] == []
    for name in ("present.yaml", "wide.yaml", "limit.yaml"):
        ours, page = figures(lines, name), figures(shown, name)
        assert ours == pytest.approx(page, rel=0.05, abs=30.0), name


@pytest.mark.slow
@pytest.mark.usefixtures("policies")
def test_days_alarm_as_they_did_in_the_demo_and_flights_are_not_judged(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, said = typed(home, monkeypatch, capsys, "--json")
    present, wide, limit, each = (policy["watches"][0] for policy in json.loads(said)["policies"])
    assert [alarm["block"] for alarm in present["alarms"]] == ["2013-07-12"]
    assert [alarm["block"] for alarm in wide["alarms"]] == ["2013-07-22"]
    assert present["incidents"][0]["delay_seconds"] == 42.5 * 86_400
    assert limit["alarms"] == []
    assert "design effect" in each["problems"][0]
    saving: Any = present["incidents"][0]["saving"]
    assert saving["low"] < saving["estimate"] < saving["high"]
