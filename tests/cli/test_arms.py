"""How an experiment and a holdout are told in `lossloop status`, each line from plain values."""

from __future__ import annotations

from typing import Any

import pytest

from lossloop.app.cli.arms import arms_lines

EFFECT = {"estimate": -0.0125, "low": -0.02, "high": -0.005, "level": 0.975}


def arm(version: int, **more: Any) -> dict[str, Any]:
    usual = {"version": version, "share": 0.2, "verdict": None, "certified": False, "closed": False}
    return {**usual, **more}


def experiment(*arms: dict[str, Any], **more: Any) -> dict[str, Any]:
    usual = {
        "course": "running", "winner": None, "since": "2026-01-02", "ends": "2026-03-01",
        "champion_share": 0.6, "promise": "2.5%", "best": None, "arms": list(arms),
    }  # fmt: skip
    return {**usual, **more}


def holdout(**more: Any) -> dict[str, Any]:
    usual = {
        "version": 3, "share": 0.05, "until": "2026-04-01", "worse": None, "better": None, "held": 1200,
        "others": 34567,
    }  # fmt: skip
    return {**usual, **more}


def told(**found: Any) -> list[str]:
    return list(arms_lines({"experiment": None, "holdout": None, "traffic": None, **found}))


def verdict(kind: str, effect: dict[str, Any] | None = EFFECT) -> dict[str, Any]:
    return {"kind": kind, "effect": effect}


def test_where_nothing_is_compared_nothing_is_said() -> None:
    assert told() == []
    assert told(traffic={"only": {}}) == []


def test_each_arm_has_a_line_below_the_champions_share() -> None:
    head, two, three = told(experiment=experiment(arm(2), arm(3, share=0.125)))
    assert head == "experiment until 2026-03-01, champion at 60%; each arm is judged with 2.5%"
    assert two == "  version 2 at 20%: nothing was judged yet"
    assert three == "  version 3 at 12.5%: nothing was judged yet"


def test_a_share_below_a_percent_is_not_rounded_to_nothing() -> None:
    _, line = told(experiment=experiment(arm(2, share=0.00025)))
    assert line.startswith("  version 2 at 0.025%:")


def test_a_difference_has_its_sign_its_interval_and_its_level() -> None:
    _, line = told(experiment=experiment(arm(2, verdict=verdict("inconclusive"))))
    assert line.endswith("loss -0.0125 (-0.02 to -0.005 at 98%)")
    worse = {"estimate": 0.5, "low": 0.25, "high": 0.75}
    _, line = told(experiment=experiment(arm(2, verdict=verdict("alarm", worse))))
    assert line.endswith("loss +0.5 (+0.25 to +0.75 at 95%)")


def test_a_verdict_without_an_effect_is_not_nothing() -> None:
    _, line = told(experiment=experiment(arm(2, verdict=verdict("inconclusive", None))))
    assert line.endswith("too few outcomes for an interval")


@pytest.mark.parametrize(
    ("more", "end"),
    [
        ({"certified": True}, "; shown to be better"),
        ({"closed": True}, "; given up"),
        ({"certified": True, "closed": True}, "; shown to be better; given up"),
        ({}, "at 98%)"),
    ],
)
def test_what_is_certain_stands_behind_the_difference(more: dict[str, bool], end: str) -> None:
    _, line = told(experiment=experiment(arm(2, verdict=verdict("better"), **more)))
    assert line.endswith(end)


def test_one_arm_is_the_best_so_far() -> None:
    lines = told(experiment=experiment(arm(2), arm(3), arm(4), best=3))
    assert [line.endswith("; the best so far") for line in lines] == [False, False, True, False]


@pytest.mark.parametrize(
    ("course", "winner", "words"),
    [
        ("promoted", 4, "the last experiment ended with the promotion of version 4 at 2026-01-02"),
        ("stopped", None, "the last experiment was stopped at 2026-01-02"),
    ],
)
def test_one_that_ended_is_one_line(course: str, winner: int | None, words: str) -> None:
    assert told(experiment=experiment(arm(4), course=course, winner=winner)) == [words]


def test_a_holdout_before_anything_was_judged() -> None:
    (line,) = told(holdout=holdout())
    assert line == (
        "holdout: version 3 for 5% of the units until 2026-04-01; all others beside it: "
        "nothing was judged yet (1,200 and 34,567 units)"
    )


@pytest.mark.parametrize(
    ("worse", "better", "shown"),
    [
        ("alarm", "inconclusive", "; shown to be worse"),
        ("inconclusive", "better", "; shown to be better"),
        ("inconclusive", "inconclusive", ""),
        ("healthy", "healthy", ""),
    ],
)
def test_a_holdout_says_what_was_shown_of_all_others(worse: str, better: str, shown: str) -> None:
    (line,) = told(holdout=holdout(worse=verdict(worse), better=verdict(better)))
    assert f"at 98%){shown} (1,200" in line


def test_who_is_drawn_is_said_last_and_of_any_number_of_features() -> None:
    only = {"carrier": ("UA", "DL"), "origin": ("JFK",)}
    lines = told(experiment=experiment(arm(2)), holdout=holdout(), traffic={"only": only})
    assert len(lines) == 4
    assert lines[-1] == (
        "drawn: rows where carrier is UA or DL and origin is JFK; the champion answers all others, "
        "which are not compared"
    )
