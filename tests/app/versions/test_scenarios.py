"""Scenarios: what must be answered, what may change nothing, and what may only go one way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossloop.act.checks import Status
from lossloop.act.policy import read_policy
from lossloop.app.versions import scenarios
from lossloop.app.versions.base import Shown
from lossloop.core.errors import PolicyError
from lossloop.core.thresholds import Thresholds
from tests.app.desk import policy_text
from tests.app.versions.cases import BASE, Says, arm, case, recent, sigmoid

BY_COLOUR = Says(lambda columns: np.where(columns["colour"] == "red", 0.9, 0.1))
CUTS = Thresholds(actions=("pass", "block"), least=(0.5,))


def tried(version: Any = None, met: Any = None, champion: Any = None, **scenario: Any) -> Shown:
    return scenarios.check(case(version, champion, rows=met, scenarios={"it": scenario}))


def test_an_example_that_holds() -> None:
    found = tried(kind="example", rows=[{"x": 0}, {"x": 0, "colour": "red"}], answer=0.5, within=0.001)
    assert found.finding.status is Status.PASSED
    assert found.finding.words == "1 of 1 scenarios hold"


def test_an_example_that_does_not_names_scenario_row_got_and_wanted() -> None:
    found = tried(kind="example", rows=[{"x": 0}, {"x": 4}], answer=0.5, within=0.001)
    assert found.finding.status is Status.FAILED
    assert "it: row 1 got 0.982014, wanted 0.5 within 0.001" in found.finding.words
    assert found.details[0].rows == (("it", "row 1", "0.982014", "0.5 within 0.001"),)


@pytest.mark.parametrize(
    ("bounds", "status"),
    [
        ({"at_least": 0.4}, Status.PASSED),
        ({"at_most": 0.6}, Status.PASSED),
        ({"at_least": 0.6}, Status.FAILED),
        ({"at_most": 0.4}, Status.FAILED),
        ({"at_least": 0.6, "within": 0.2}, Status.PASSED),
    ],
)
def test_an_example_within_bounds(bounds: dict[str, float], status: Status) -> None:
    assert tried(kind="example", rows=[{"x": 0}], **bounds).finding.status is status


def test_an_example_that_leads_to_an_action() -> None:
    right = tried(arm(sigmoid(), thresholds=CUTS), kind="example", rows=[{"x": 3}], action="block")
    wrong = tried(arm(sigmoid(), thresholds=CUTS), kind="example", rows=[{"x": -3}], action="block")
    assert right.finding.status is Status.PASSED
    assert "got pass at 0.0474259, wanted the action 'block'" in wrong.finding.words
    assert "has no thresholds" in tried(kind="example", rows=[{"x": 3}], action="block").finding.words


def test_bounds_may_be_held_against_recent_rows() -> None:
    found = tried(kind="example", at_most=0.8)
    assert found.finding.status is Status.FAILED
    assert "recent row" in found.finding.words


def test_a_row_that_the_version_does_not_take_is_a_miss() -> None:
    found = tried(kind="example", rows=[{"colour": "red"}], at_least=0.0)
    assert found.finding.status is Status.FAILED
    assert "feature 'x' is missing" in found.finding.words


def test_an_answer_that_is_none_is_a_miss() -> None:
    found = tried(
        arm(Says(lambda columns: columns["x"] * np.nan)), kind="example", rows=[{"x": 1}], at_least=0
    )
    assert "got no valid answer, wanted at least 0" in found.finding.words


def test_what_must_change_nothing() -> None:
    same = tried(kind="invariance", feature="colour", values=["red", "blue", None], within=0.0)
    other = tried(arm(BY_COLOUR), kind="invariance", feature="colour", values=["red", "blue"], within=0.01)
    assert same.finding.status is Status.PASSED
    assert other.finding.status is Status.FAILED
    assert "wanted 0.1 within 0.01, with colour = 'red'" in other.finding.words


def test_a_value_that_the_feature_cannot_have_is_a_miss() -> None:
    assert "must be a number" in tried(kind="invariance", feature="x", values=["red"]).finding.words


def test_what_may_only_rise() -> None:
    rises, falls = arm(sigmoid()), arm(sigmoid(slope=-1.0))
    asked = {"kind": "direction", "feature": "x", "add": 1}
    assert tried(rises, **asked, must="not_fall").finding.status is Status.PASSED
    assert tried(falls, **asked, must="not_rise").finding.status is Status.PASSED
    found = tried(falls, **asked, must="not_fall", rows=[{"x": 0}])
    assert "row 0 got 0.268941, wanted at least 0.5, with x +1" in found.finding.words
    assert tried(falls, **asked, must="not_fall", within=0.3).finding.status is Status.PASSED
    assert "is a category" in tried(kind="direction", feature="colour", add=1, must="not_fall").finding.words


def test_a_feature_that_nobody_has_cannot_be_told_and_one_of_the_champion_changes_nothing() -> None:
    asked = {"kind": "invariance", "feature": "colour", "values": ["red"]}
    without = arm(sigmoid(), features=BASE.manifest.features[:1])
    assert tried(without, champion=BASE, **asked).finding.status is Status.PASSED
    found = tried(without, **asked).finding
    assert found.status is Status.NOT_TOLD
    assert "there is no feature 'colour'" in found.words


def test_one_number_of_an_answer_that_is_a_list() -> None:
    chances = arm(Says(lambda columns: np.tile([0.2, 0.3, 0.5], (len(columns["x"]), 1))))
    asked = {"kind": "example", "rows": [{"x": 0}], "answer": 0.3, "within": 0.001}
    multi = {"task": "multiclass", "loss": "brier_multiclass"}
    for output, status in ((1, Status.PASSED), (2, Status.FAILED), (3, Status.NOT_TOLD)):
        found = scenarios.check(case(chances, scenarios={"it": {**asked, "output": output}}, policy=multi))
        assert found.finding.status is status


def test_what_cannot_be_tried_is_no_pass() -> None:
    nowhere = tried(arm(), kind="example", rows=[{"x": 0}], at_least=0)
    empty = tried(met=recent(0), kind="example", at_least=0)
    raises = tried(arm(Says(lambda columns: 1 / 0)), kind="example", rows=[{"x": 0}], at_least=0)
    assert nowhere.finding.status is empty.finding.status is raises.finding.status is Status.NOT_TOLD
    assert nowhere.finding.words == "elsewhere"
    assert "no recent prediction" in empty.finding.words
    assert "raises ZeroDivisionError" in raises.finding.words


def test_no_scenarios_are_skipped() -> None:
    assert scenarios.check(case()).finding.status is Status.SKIPPED


THOUSANDTHS = st.integers(0, 500).map(lambda number: number / 1_000)


@settings(max_examples=40)
@given(slope=st.floats(-3, 3), add=THOUSANDTHS.map(lambda each: each + 0.01), within=THOUSANDTHS)
def test_a_direction_holds_just_where_every_row_says_so(slope: float, add: float, within: float) -> None:
    found = tried(
        arm(sigmoid(slope=slope)), kind="direction", feature="x", add=add, must="not_fall", within=within,
        rows=[{"x": x} for x in (-1.0, 0.0, 2.0)],
    )  # fmt: skip
    x = np.array([-1.0, 0.0, 2.0])
    before, after = (1 / (1 + np.exp(-(slope * each + 0.0))) for each in (x, x + add))
    assert (found.finding.status is Status.PASSED) == bool((after - before >= -within).all())


@pytest.mark.parametrize(
    ("scenario", "words"),
    [
        ({"kind": "example", "rows": [{"x": 1}]}, "needs an answer"),
        ({"kind": "example", "answer": 1}, "needs its own rows"),
        ({"kind": "example", "at_least": 2, "at_most": 1}, "must not lie above"),
        ({"kind": "example", "at_least": 1, "rows": [{"x": True}]}, "no value of a feature"),
        ({"kind": "example", "at_least": 1, "rows": [3]}, "is no row"),
        ({"kind": "example", "at_least": 1, "output": -1}, "counts from 0"),
        ({"kind": "invariance", "feature": "x", "values": []}, "one value or more"),
        ({"kind": "invariance", "feature": "x", "values": [1], "within": -1}, "0 or above"),
        ({"kind": "direction", "feature": "x", "add": 0, "must": "not_fall"}, "other than 0"),
        ({"kind": "direction", "feature": "x", "add": 1, "must": "climb"}, "is not possible"),
        ({"kind": "guess"}, "is not possible"),
    ],
)
def test_a_scenario_that_says_nothing_is_refused_with_its_place(scenario: Any, words: str) -> None:
    with pytest.raises(PolicyError, match=r"check\.scenarios\.it") as error:
        read_policy(policy_text(check={"scenarios": {"it": scenario}}))
    assert words in str(error.value)
