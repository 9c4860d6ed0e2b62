"""How a backtest looks in a terminal."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from lossloop.app.cli.backtables import MOST_ALARMS, lines, notes, table, timeline

SINCE, UNTIL = "2024-01-01T00:00:00Z", "2024-01-31T00:00:00Z"


def moment(day: int, hour: int = 12) -> str:
    return f"2024-01-{day:02d}T{hour:02d}:00:00Z"


def point(day: int, share: float = 0.0, kind: str = "healthy") -> dict[str, Any]:
    return {"made": moment(day), "kind": kind, "evidence": share * 8.0, "threshold": 8.0}


def alarm(day: int, reason: str = "") -> dict[str, Any]:
    return {
        "at": moment(day, 23), "made": moment(day), "block": f"2024-01-{day:02d}", "version": 3,
        "evidence": 8.5, "threshold": 8.0, "reason": reason,
    }  # fmt: skip


def saving(**changes: Any) -> dict[str, Any]:
    base = {"estimate": 1234.5, "low": -10.0, "high": 2479.0, "against": "the reference of m:3", "why": ""}
    return {**base, **changes}


def met(day: int | None = 12, **changes: Any) -> dict[str, Any]:
    return {
        "incident": "june", "alarm": None if day is None else moment(day),
        "delay_seconds": None if day is None else 2.5 * 86_400, "judged": 3, "saving": saving(**changes),
    }  # fmt: skip


def watch(name: str = "worse", **changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "watch": name, "asks": "regression", "promise": "1 per 3650 blocks", "judged": 30, "counts": "blocks",
        "alarms": [], "incidents": [], "false_alarms": None, "problems": [],
        "points": [point(day) for day in range(1, 31)],
    }  # fmt: skip
    return {**base, **changes}


def answer(*watches: dict[str, Any], incidents: bool = False, **policies: list[Any]) -> dict[str, Any]:
    tried = policies or {"p": list(watches)}
    return {
        "model": "m", "rows": 1000, "since": SINCE, "until": UNTIL,
        "incidents": [{"text": "june", "start": moment(10, 0), "end": moment(15, 0)}] if incidents else [],
        "policies": [{"policy": f"{name}.yaml", "watches": own, "notes": []} for name, own in tried.items()],
    }  # fmt: skip


def shown(given: dict[str, Any], *, width: int = 160) -> str:
    screen = Console(file=io.StringIO(), width=width)
    for line in lines(given, width=width):
        screen.print(line, highlight=False)
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


def drawn(given: dict[str, Any], *, width: int = 160) -> list[str]:
    return timeline(given, width=width).plain.splitlines()


def test_evidence_grows_an_alarm_stands_out_and_no_data_is_marked() -> None:
    points = [point(3, -1.0), point(10, 0.5), point(20, 1.1, "alarm"), point(27, 0.0, "no_data")]
    line = drawn(answer(watch(points=points, alarms=[alarm(20)])))[0]
    marks = line.removeprefix("worse").replace(" ", "")
    assert marks == "▁▄█?"


def test_incidents_stand_above_over_their_days() -> None:
    above, line = drawn(answer(watch(alarms=[alarm(12)]), incidents=True))[:2]
    assert above.startswith("incidents")
    assert "▒" in above
    assert above[line.index("█")] == "▒", "the alarm lies within"


def test_of_several_policies_each_line_says_which() -> None:
    first, second = drawn(answer(old=[watch()], new=[watch()]))[:2]
    assert first.startswith("old worse")
    assert second.startswith("new worse")


@pytest.mark.parametrize("width", [20, 60, 110, 400])
def test_a_line_fits_the_screen_where_it_can(width: int) -> None:
    for line in drawn(answer(watch(), incidents=True), width=width):
        assert len(line) <= max(width, 45)


def test_nothing_replayed_is_an_empty_line() -> None:
    assert drawn(answer(watch(points=[])))[0].strip() == "worse"
    assert drawn(answer())[0].strip().startswith("2024-01-01")


def test_the_table_has_delays_false_alarms_and_savings() -> None:
    said = shown(answer(watch(alarms=[alarm(12)], incidents=[met()], false_alarms=2), incidents=True))
    row = next(line for line in said.splitlines() if line.startswith("p.yaml"))
    assert "30 blocks" in row
    assert "2.5d" in row
    assert "1,234 [-10, 2,479]" in row
    assert "False: alarms on predictions made outside every incident." in said
    assert "the loss above the reference of m:3" in said


@pytest.mark.parametrize(("seconds", "words"), [(90.0, "90s"), (7_200.0, "2.0h"), (864_000.0, "10.0d")])
def test_delays_are_told_in_the_unit_that_fits(seconds: float, words: str) -> None:
    given = {**met(), "delay_seconds": seconds}
    assert words in shown(answer(watch(incidents=[given]), incidents=True))


def test_what_nobody_can_tell_is_told_so() -> None:
    why = "another version took over"
    said = shown(answer(watch(incidents=[met(estimate=None, why=why)]), incidents=True))
    assert "cannot tell" in said
    assert f"what june could have saved: {why}" in said


def test_an_incident_that_was_missed_has_no_saving() -> None:
    missed = met(None, estimate=None, why="it would not have fired")
    said = shown(answer(watch(incidents=[missed]), incidents=True))
    assert "missed" in said
    assert "cannot tell" not in said


def test_an_estimate_without_an_interval_has_none() -> None:
    said = shown(answer(watch(incidents=[met(low=None, high=None)]), incidents=True))
    row = next(line for line in said.splitlines() if line.startswith("p.yaml"))
    assert "1,234" in row
    assert "[" not in row


def test_a_watch_that_cannot_judge_is_never_left_out() -> None:
    unfit = watch("each", points=[], problems=["m:1: rows [depend] on each other"])
    said = shown(answer(unfit))
    assert "cannot judge" in said
    assert "each: could not judge m:1: rows [depend] on each other" in said


def test_many_alarms_are_listed_up_to_a_number() -> None:
    alarms = [alarm(day) for day in range(1, MOST_ALARMS + 4)]
    said = list(notes(answer(watch(alarms=alarms))))
    assert said[0].count("on 2024-01") == MOST_ALARMS
    assert said[0].endswith("and 3 more")


def test_a_watch_of_many_things_has_a_line_for_each_alarm_which_says_what_it_was() -> None:
    alarms = [alarm(day, reason=f"carrier=[b]{day}[/]") for day in range(1, 13)]
    said = shown(answer(watch("where", asks="slices", alarms=alarms))).splitlines()
    told = [line for line in said if line.startswith("where: alarm")]
    assert len(told) == MOST_ALARMS + 1
    assert told[0].endswith("version 3): carrier=[b]1[/]")
    assert told[-1] == "where: alarm 4 times more"


def test_names_that_look_like_markup_stand_as_they_are() -> None:
    given = answer(watch("[bold]", alarms=[alarm(3)]))
    given["policies"][0]["notes"] = ["[red] is a note"]
    said = shown(given)
    assert "[bold]: alarm on" in said
    assert "p.yaml: [red] is a note." in said
    assert table(given).row_count == 1
