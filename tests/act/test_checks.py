"""What a policy asks of a version before it takes traffic, as it is written and as it is decided."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.act.checks import (
    Check,
    Checked,
    Checks,
    Finding,
    Status,
    objections,
    read_portion,
    read_times,
)
from lossloop.act.policy import Policy, read_policy
from lossloop.act.scenarios import (
    DirectionScenario,
    ExampleScenario,
    InvarianceScenario,
    Must,
    read_given,
    read_value,
)
from lossloop.core.errors import PolicyError

ALWAYS = (Check.SCENARIOS, Check.SCHEMA, Check.PARITY, Check.LOSS)


def policy(check: Any) -> Policy:
    """A policy with these checks; JSON is YAML."""
    base = {"model": "m", "task": "binary", "loss": "brier", "labels": {"mature_after": "1d"}}
    return read_policy(json.dumps({**base, "check": check}))


def checks(**written: Any) -> Checks:
    found = policy(written).check
    assert found is not None
    return found


def checked(rules: Checks, **found: Status) -> Checked:
    """All checks passed, but for those that are named."""
    findings = tuple(
        Finding(check=each, status=found.get(str(each), Status.PASSED), words=f"{each} so") for each in Check
    )
    return Checked(version="v", rules=rules.digest, champion=1, rows=10, findings=findings)


def against(rules: Checks, found: Checked | None, **other: Any) -> list[str]:
    given = {"version": "v", "name": "m:2", "champion": 1, **other}
    return list(objections(rules, found, **given))


# As it is written.


def test_a_policy_without_checks_asks_for_nothing() -> None:
    assert read_policy(json.dumps(
        {"model": "m", "task": "binary", "loss": "brier", "labels": {"mature_after": "1d"}}
    )).check is None  # fmt: skip


def test_all_that_can_be_written() -> None:
    found = checks(
        rows=500,
        moved_by=0.1,
        flips_at_most="5%",
        mean_moves_at_most=0.02,
        skew_at_most="20%",
        slower_at_most="1.5x",
        p95_at_most="20ms",
        grows_at_most="20MB",
        only_report=["load"],
    )
    assert found.rows == 500
    assert found.flips_at_most == 0.05
    assert found.mean_moves_at_most == 0.02
    assert found.skew_at_most == 0.2
    assert found.slower_at_most == 1.5
    assert found.p95_at_most == 20_000
    assert found.grows_at_most == 20_000_000
    assert found.only_report == (Check.LOAD,)


def test_each_kind_of_scenario() -> None:
    found = checks(
        scenarios={
            "one": {"kind": "example", "rows": [{"x": 1, "c": "a", "n": None}], "answer": 0.5},
            "two": {"kind": "invariance", "feature": "c", "values": ["a", 1, None], "within": 0.1},
            "three": {"kind": "direction", "feature": "x", "add": -1, "must": "not_rise", "output": 2},
        }
    ).scenarios
    assert found["one"] == ExampleScenario(rows=({"x": 1.0, "c": "a", "n": None},), answer=0.5)
    assert found["two"] == InvarianceScenario(feature="c", values=("a", 1.0, None), within=0.1)
    assert found["three"] == DirectionScenario(feature="x", add=-1.0, must=Must.NOT_RISE, output=2)


@pytest.mark.parametrize(
    ("written", "place", "words"),
    [
        ({"rows": 5}, "check.rows", "between 100 and 100,000"),
        ({"rows": 200_000}, "check.rows", "between 100 and 100,000"),
        ({"moved_by": -0.1}, "check.moved_by", "0 or above"),
        ({"mean_moves_at_most": -1}, "check.mean_moves_at_most", "0 or above"),
        ({"p95_at_most": "0s"}, "check.p95_at_most", "longer than nothing"),
        ({"flips_at_most": "101%"}, "check.flips_at_most", "between 0 and 1"),
        ({"flips_at_most": "few"}, "check.flips_at_most", "write 5% or 0.05"),
        ({"skew_at_most": 0}, "check.skew_at_most", "between 0 and 1"),
        ({"slower_at_most": "0x"}, "check.slower_at_most", "above 0"),
        ({"slower_at_most": "twice"}, "check.slower_at_most", "write 1.5x"),
        ({"grows_at_most": "much"}, "check.grows_at_most", "not a size"),
        ({"only_report": ["speed"]}, "check.only_report.0", "not possible"),
        ({"flip_at_most": "5%"}, "check.flip_at_most", "did you mean 'flips_at_most'"),
        ({"scenarios": {"a": {"kind": "example"}}}, "check.scenarios.a.kind", "needs an answer"),
        ({"scenarios": {"a": {}}}, "check.scenarios.a", "the key 'kind' is missing"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_place(written: Any, place: str, words: str) -> None:
    with pytest.raises(PolicyError) as error:
        policy(written)
    assert place in str(error.value)
    assert words in str(error.value)


def test_a_scenario_has_a_bound_of_rows() -> None:
    many = {"kind": "example", "at_least": 0, "rows": [{"x": 1}] * 1_001}
    with pytest.raises(PolicyError, match="at most 1000 rows"):
        policy({"scenarios": {"a": many}})


@pytest.mark.parametrize(("text", "value"), [("5%", 0.05), (0, 0.0), ("0%", 0.0), (1, 1.0), (" 0.5 ", 0.5)])
def test_a_portion_may_be_nothing_and_all(text: Any, value: float) -> None:
    assert read_portion(text) == value


@pytest.mark.parametrize(("text", "value"), [("1.5x", 1.5), (2, 2.0), ("0.5", 0.5)])
def test_a_factor_with_or_without_its_sign(text: Any, value: float) -> None:
    assert read_times(text) == value


@pytest.mark.parametrize("text", ["nan", "inf", "-1x", "", None, "x"])
def test_no_factor(text: Any) -> None:
    with pytest.raises(ValueError, match="factor"):
        read_times(text)


@pytest.mark.parametrize("value", [math.nan, math.inf, True, [1], {"a": 1}])
def test_what_no_feature_can_be(value: Any) -> None:
    with pytest.raises(ValueError, match="no value of a feature"):
        read_value(value)


@pytest.mark.parametrize("value", [None, 3, [], {}, "x"])
def test_what_is_no_row(value: Any) -> None:
    with pytest.raises(ValueError, match="is no row"):
        read_given(value)


# What is required.


def test_scenarios_schema_parity_and_loss_are_always_required() -> None:
    assert Checks().required == ALWAYS


@pytest.mark.parametrize(
    ("limit", "check"),
    [
        ({"skew_at_most": "10%"}, Check.SKEW),
        ({"slower_at_most": "2x"}, Check.LOAD),
        ({"p95_at_most": "20ms"}, Check.LOAD),
        ({"grows_at_most": "1MB"}, Check.LOAD),
        ({"flips_at_most": "0%"}, Check.BEHAVIOUR),
        ({"mean_moves_at_most": 0}, Check.BEHAVIOUR),
    ],
)
def test_a_limit_that_is_written_is_required(limit: Any, check: Check) -> None:
    assert set(checks(**limit).required) == {*ALWAYS, check}
    assert set(checks(**limit, only_report=[str(check)]).required) == set(ALWAYS)


def test_the_rules_have_a_name_that_changes_with_any_of_them() -> None:
    low = {"kind": "example", "rows": [{"x": 1}], "at_most": 0.5}
    one = [
        checks(),
        checks(flips_at_most="5%"),
        checks(flips_at_most="6%"),
        checks(scenarios={"low": low}),
        checks(scenarios={"low": {**low, "at_most": 0.6}}),
        checks(scenarios={"lower": low}),
    ]
    assert len({each.digest for each in one}) == len(one)
    assert checks(scenarios={"low": low}).digest == checks(scenarios={"low": low}).digest


# What follows.


def test_nothing_is_held_against_a_version_that_passed() -> None:
    assert against(Checks(), checked(Checks())) == []


def test_one_that_nobody_checked() -> None:
    (why,) = against(Checks(), None)
    assert why == "m:2 was not checked, and the policy asks for it: lossloop check version m 2"


@pytest.mark.parametrize("other", [{"version": "w"}, {"champion": 2}, {"champion": None}])
def test_what_was_found_of_another_version_or_against_another_champion(other: Any) -> None:
    (why,) = against(Checks(), checked(Checks()), **other)
    assert "under another policy or against another champion" in why


def test_what_was_found_under_other_rules() -> None:
    (why,) = against(checks(flips_at_most="5%"), checked(Checks()))
    assert "under another policy" in why


def test_each_that_did_not_pass_is_told_in_its_words() -> None:
    rules = Checks()
    found = checked(
        rules, scenarios=Status.FAILED, loss=Status.NOT_TOLD, parity=Status.SKIPPED, load=Status.FAILED
    )
    assert against(rules, found) == ["scenarios: scenarios so", "loss: loss so"]


def test_how_many_ended_how() -> None:
    found = checked(Checks(), load=Status.REPORTED, parity=Status.SKIPPED, skew=Status.NOT_TOLD)
    assert found.words == "checked: 5 passed, 1 reported, 1 not told, 1 skipped"
    assert Checked(version="v", rules="r", champion=None, rows=0, findings=()).words == "checked: nothing"


@given(st.lists(st.sampled_from([*Status]), min_size=len(Check), max_size=len(Check)))
def test_it_is_the_same_once_it_was_in_the_log(statuses: list[Status]) -> None:
    """A fact is read again as it was written, and decides the same."""
    rules = checks(flips_at_most="5%", slower_at_most="2x")
    found = checked(rules, **dict(zip(map(str, Check), statuses, strict=True)))
    read = msgspec.json.decode(msgspec.json.encode(found), type=Checked)
    assert read == found
    assert against(rules, read) == against(rules, found)
    fine = all(
        status in (Status.PASSED, Status.SKIPPED)
        for check, status in zip(Check, statuses, strict=True)
        if check in rules.required
    )
    assert fine == (not against(rules, found))
