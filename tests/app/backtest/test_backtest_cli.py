"""`lossloop backtest` as people and programs use it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from lossloop.app.cli import main
from lossloop.app.commands import Promote
from tests.app.desk import MODEL, WATCH, Desk, policy_text

GUARD = {"kind": "guardrail", "limit": 0.2, "promise": "1 per 20 blocks"}
INCIDENT = "2024-01-11..2024-01-20"
"""The bad days."""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """Ten good days, then ten bad ones, and a good one to end with."""
    found = Desk.ready(tmp_path_factory.mktemp("s") / "s", watches={"worse": WATCH}, cooldown="30d")
    for day in range(21):
        found.day(day, 0.6 if 10 <= day < 20 else 0.1)
    return found


class Typed:
    """Somebody who types commands."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, desk: Desk, *words: str) -> tuple[int, str]:
        """The exit code, and what was printed."""
        arguments = ["lossloop", "backtest", *words, "--state", str(desk.home.path)]
        self._monkeypatch.setattr("sys.argv", arguments)
        self._monkeypatch.setattr("lossloop.app.cli.common.Console", _wide)
        code: Any = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        said = self._capsys.readouterr()
        return int(code or 0), said.out + said.err

    def json(self, desk: Desk, *words: str) -> Any:
        code, said = self(desk, *words, "--json")
        assert code == 0, said
        return json.loads(said)


def _wide(**given: Any) -> Any:

    return Console(**{**given, "width": 150})


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    return Typed(monkeypatch, capsys)


def file(place: Path, name: str, **policy: Any) -> str:
    path = place / name
    path.write_text(policy_text(**policy))
    return str(path)


def test_policies_stand_side_by_side_with_delays_and_savings(
    desk: Desk, typed: Typed, tmp_path: Path
) -> None:
    quick = {**WATCH, "promise": "1 per 12 blocks"}
    files = [
        file(tmp_path, "slow.yaml", watches={"worse": WATCH}, cooldown="30d"),
        file(tmp_path, "quick.yaml", watches={"worse": quick, "limit": GUARD}, cooldown="30d"),
    ]
    told = typed.json(desk, *files, "--incident", INCIDENT)
    slow, quick_one = (outcome["watches"][0] for outcome in told["policies"])
    assert [outcome["in_force"] for outcome in told["policies"]] == [True, False]
    (met,), (sooner,) = slow["incidents"], quick_one["incidents"]
    assert sooner["delay_seconds"] < met["delay_seconds"]
    assert slow["false_alarms"] == 0
    assert slow["judged"] == 21
    assert slow["quiet"] == 11
    # The alarm comes seven hours after the end of the deciding day, before the next day's predictions.
    assert met["saving"]["rows"] == 4 * (10 - met["judged"])
    assert met["saving"]["estimate"] == pytest.approx(met["saving"]["rows"] * 0.5)
    assert sooner["saving"]["estimate"] > met["saving"]["estimate"]


def test_alarms_outside_every_incident_are_false(desk: Desk, typed: Typed, tmp_path: Path) -> None:
    policy = file(tmp_path, "p.yaml", watches={"worse": WATCH}, cooldown="30d")
    told = typed.json(desk, policy, "--incident", "2024-01-02..2024-01-03")
    (watch,) = told["policies"][0]["watches"]
    assert watch["false_alarms"] == 1
    assert watch["incidents"][0]["alarm"] is None
    assert watch["incidents"][0]["saving"]["why"] == "it would not have fired"


def test_without_incidents_nothing_is_called_false(desk: Desk, typed: Typed, tmp_path: Path) -> None:
    policy = file(tmp_path, "p.yaml", watches={"worse": WATCH})
    (watch,) = typed.json(desk, policy)["policies"][0]["watches"]
    assert watch["false_alarms"] is None
    code, said = typed(desk, policy)
    assert code == 0
    assert "Which alarms are false is not told" in said


def test_people_see_a_timeline_a_table_and_what_it_rests_on(desk: Desk, typed: Typed, tmp_path: Path) -> None:
    policy = file(tmp_path, "p.yaml", watches={"worse": WATCH}, cooldown="30d")
    code, said = typed(desk, policy, "--incident", INCIDENT)
    assert code == 0
    assert "▒▒▒" in said
    assert "█" in next(line for line in said.splitlines() if line.startswith("worse"))
    assert "what another version would have lost" in " ".join(said.split())
    assert "1 per 20 blocks" in said


def test_a_part_of_the_past_is_judged_from_its_begin(desk: Desk, typed: Typed, tmp_path: Path) -> None:
    policy = file(tmp_path, "p.yaml", watches={"worse": WATCH}, cooldown="30d")
    told = typed.json(desk, policy, "--since", "2024-01-05", "--until", "2024-01-09")
    assert [point["block"] for point in told["policies"][0]["watches"][0]["points"]] == [
        "2024-01-05", "2024-01-06", "2024-01-07", "2024-01-08",
    ]  # fmt: skip


def test_other_blocks_and_another_loss_are_tried_too(desk: Desk, typed: Typed, tmp_path: Path) -> None:
    halves = file(tmp_path, "halves.yaml", block="12h", watches={"limit": GUARD, "worse": WATCH})
    absolute = file(
        tmp_path,
        "absolute.yaml",
        loss="log_loss(cap=5)",
        watches={"limit": {**GUARD, "limit": 0.7}, "worse": WATCH},
    )
    halved, other = typed.json(desk, halves, absolute)["policies"]
    assert halved["watches"][0]["judged"] == 21
    assert "the loop judged other blocks" in " ".join(halved["notes"])
    assert "reference" in halved["watches"][1]["problems"][0]
    assert other["loss"].startswith("log_loss@")
    assert other["watches"][1]["problems"] == []
    assert "log_loss(cap=5) are what the versions lost in the span that is replayed" in other["notes"][0]
    assert len(other["watches"][0]["alarms"]) == 1


def test_a_saving_that_cannot_be_told_says_why(typed: Typed, tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", versions=2, watches={"worse": WATCH}, cooldown="30d")
    desk.register("no reference", None)
    for day in range(8):
        desk.day(day, 0.9 if day > 2 else 0.1)
    desk.obey(Promote(model=MODEL, version=2))
    for day in range(8, 11):
        desk.day(day, 0.1, version=2)
    policy = file(tmp_path, "p.yaml", watches={"worse": WATCH}, cooldown="30d")
    told = typed.json(desk, policy, "--incident", "2024-01-04..2024-01-11")
    saving = told["policies"][0]["watches"][0]["incidents"][0]["saving"]
    assert "another version took over" in saving["why"]
    assert "cannot tell" in typed(desk, policy, "--incident", "2024-01-04..2024-01-11")[1]
    told = typed.json(desk, policy, "--incident", "2024-01-04..2024-01-05")
    assert "no block" in told["policies"][0]["watches"][0]["incidents"][0]["saving"]["why"]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--incident", "June"], "is no span"),
        (["--incident", "2024-01-05..2024-01-04"], "ends before it begins"),
        (["--incident", "2024-13-05..2024-13-06"], "write a moment such as"),
        (["--since", "2024-01-09", "--until", "2024-01-04"], "since is not before until"),
        (["--model", "other"], "other"),
    ],
)
def test_what_cannot_be_asked_is_an_error(
    desk: Desk, typed: Typed, tmp_path: Path, words: list[str], problem: str
) -> None:
    policy = file(tmp_path, "p.yaml", watches={"worse": WATCH})
    code, said = typed(desk, policy, *words)
    assert code == 1
    assert problem in said


@pytest.mark.parametrize(
    ("policy", "problem"),
    [
        ({"task": "multiclass"}, "its task is multiclass"),
        ({"loss": "crps_quantiles"}, "does not predict"),
        ({"watches": {"worse": {**WATCH, "promise": "150% ever"}}}, "above 0% and below 100%"),
    ],
)
def test_a_policy_that_cannot_judge_this_model_is_an_error(
    desk: Desk, typed: Typed, tmp_path: Path, policy: dict[str, Any], problem: str
) -> None:
    code, said = typed(desk, file(tmp_path, "p.yaml", **policy))
    assert code == 1
    assert "p.yaml" in said
    assert problem in said


def test_policies_of_several_models_need_a_choice(desk: Desk, typed: Typed, tmp_path: Path) -> None:
    files = [file(tmp_path, "a.yaml"), file(tmp_path, "b.yaml", model="b")]
    code, said = typed(desk, *files)
    assert code == 1
    assert "choose one with --model" in said
    assert typed(desk)[0] == 1


def test_nothing_predicted_yet_is_no_error_and_no_pass(typed: Typed, tmp_path: Path) -> None:
    empty = Desk.ready(tmp_path / "s", watches={"worse": WATCH})
    told = typed.json(empty, file(tmp_path, "p.yaml", watches={"worse": WATCH}))
    (watch,) = told["policies"][0]["watches"]
    assert (watch["judged"], watch["alarms"], watch["points"]) == (0, [], [])


def test_the_state_is_not_touched(desk: Desk, typed: Typed, tmp_path: Path) -> None:
    before = desk.everything()
    typed.json(desk, file(tmp_path, "p.yaml", watches={"limit": GUARD}))
    assert desk.everything() == before
