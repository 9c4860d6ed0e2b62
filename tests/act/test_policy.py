"""A policy is read strictly: whatever is wrong is named with its line and with what could stand there."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.act.policy import (
    ACTIONS,
    ErrorOver,
    Labels,
    Missing,
    Mode,
    Plan,
    Policy,
    Quota,
    Verb,
    override,
    read_policy,
)
from lossloop.act.watches import GuardrailWatch, RegressionWatch
from lossloop.core.clock import DAY, HOUR
from lossloop.core.errors import InputError, PolicyError
from lossloop.core.tasks import Task

FULL = """\
model: flight-delay
task: binary
loss: log_loss(cap=5)
mode: act
unit: flight
block: 1d
timezone: America/New_York
labels: {mature_after: 12h, missing: same_in_both_arms}
watches:
  worse: {kind: regression, against: reference, tolerance: 0.02, promise: 1 per 3650 blocks}
  poor: {kind: guardrail, limit: 0.9, promise: 5% ever}
rollout:
  shadow: 21 blocks
  clip_difference: 0.5
  steps: [1%, 5%, 0.25, 50%]
  step_for: 3d
  promote_if_within: 0.01
  roll_back_if_worse_by: 0.02
  error: 5%
  error_over: all
  decide_within: 30d
on:
  worse: [{retrain: "flights:train"}, {notify: oncall}]
  poor: [{notify: log}]
approve: [promote]
budget: {roll_back: 3 per 7d, retrain: 2 per 30d}
probation: 7d
cooldown: 2d
"""
LEAST = """\
model: m
task: regression
loss: squared
labels: {mature_after: 0s}
"""


def line_of(key: str, text: str = FULL) -> int:
    """The line (from 1) on which a key stands."""
    return next(
        number for number, line in enumerate(text.splitlines(), 1) if line.strip().startswith(f"{key}:")
    )


def with_line(key: str, line: str) -> str:
    """The full policy with the line of a key written anew."""
    lines = FULL.splitlines()
    lines[line_of(key) - 1] = line
    return "\n".join(lines) + "\n"


def refused(text: str) -> PolicyError:
    with pytest.raises(PolicyError) as caught:
        read_policy(text, source="flights.yaml")
    return caught.value


def test_the_same_text_is_the_same_policy_and_its_fault_is_told_of_each_file() -> None:
    assert read_policy(FULL, source="one.yaml") is read_policy(FULL, source="one.yaml")
    assert read_policy(FULL, source="one.yaml") == read_policy(FULL, source="two.yaml")
    wrong = with_line("task", "task: binry")
    for source in ("one.yaml", "two.yaml", "one.yaml"):
        with pytest.raises(PolicyError, match=rf"^{source}, line {line_of('task')}: .*'binry'"):
            read_policy(wrong, source=source)


def test_every_key_is_read() -> None:
    assert read_policy(FULL) == Policy(
        model="flight-delay",
        task=Task.BINARY,
        loss="log_loss(cap=5)",
        labels=Labels(mature_after=12 * HOUR, missing=Missing.SAME_IN_BOTH_ARMS),
        mode=Mode.ACT,
        unit="flight",
        block=DAY,
        timezone="America/New_York",
        watches={
            "worse": RegressionWatch(tolerance=0.02, promise="1 per 3650 blocks"),
            "poor": GuardrailWatch(limit=0.9, promise="5% ever"),
        },
        rollout=Plan(
            shadow=21, clip_difference=0.5, steps=(0.01, 0.05, 0.25, 0.5), step_for=3 * DAY, error=0.05,
            error_over=ErrorOver.ALL,
            promote_if_within=0.01, roll_back_if_worse_by=0.02, decide_within=30 * DAY,
        ),
        on={
            "worse": ({Verb.RETRAIN: "flights:train"}, {Verb.NOTIFY: "oncall"}),
            "poor": ({Verb.NOTIFY: "log"},),
        },
        approve=("promote",),
        budget={"roll_back": Quota(most=3, span=7 * DAY), "retrain": Quota(most=2, span=30 * DAY)},
        probation=7 * DAY,
        cooldown=2 * DAY,
    )  # fmt: skip


def test_observing_is_the_default_and_nothing_is_watched_unasked() -> None:
    policy = read_policy(LEAST)
    assert policy.mode is Mode.OBSERVE
    assert (policy.watches, policy.rollout, policy.on, policy.approve, policy.budget) == (
        {},
        None,
        {},
        (),
        {},
    )
    assert policy.labels.missing is Missing.WORST_CASE
    assert policy.calendar.end(0) == DAY


WRONG_LINES = [
    ("model", "model: Flight Delay", "model: 'Flight Delay' is no name; use small letters, digits, '-', '_'"),
    ("model", "modell: x", "modell: unknown key 'modell'; did you mean 'model'?"),
    ("task", "task: chess", "task: 'chess' is not possible; there are: binary, "),
    ("task", "task: [binary]", "task: ['binary'] is not possible; did you mean 'binary'?"),
    ("loss", "loss: {name: log_loss}", "loss: must be text, not {'name': 'log_loss'}"),
    ("loss", "loss: yes", "loss: must be text, not True"),
    ("mode", "mode: acting", "mode: 'acting' is not possible; did you mean 'act'?"),
    ("block", "block: 1 day", "block: '1 day' is not a duration; write a number and one of us, ms, s, m"),
    ("block", "block: 0d", "block: a block must last longer than nothing; write one such as 1d"),
    ("block", "block: 99999999w", "block: '99999999w' is too long; a duration is at most 36500d"),
    ("block", "block:", "block: 'None' is not a duration"),
    ("timezone", "timezone: New York", "timezone: there is no time zone 'New York'; write one such as Am"),
    ("labels", "labels: {missing: worst_case}", "labels: the key 'mature_after' is missing"),
    ("labels", "labels: 12h", "labels: must be a mapping of keys to values, not '12h'"),
    ("labels", "labels: {mature_after: 12}", "labels.mature_after: '12' is not a duration"),
    ("labels", "labels: {mature_after: 1h, missing: skip}",
     "labels.missing: 'skip' is not possible; there are: same_in_both_arms, worst_case"),
    ("worse", "  worse: {kind: regresion, promise: 5% ever}",
     "watches.worse.kind: 'regresion' is not possible; did you mean 'regression'?"),
    ("worse", "  worse: {promise: 5% ever}", "watches.worse: the key 'kind' is missing"),
    ("worse", "  worse: drift", "watches.worse: must be a mapping of keys to values, not 'drift'"),
    ("worse", "  worse: {kind: regression, promise: 5% ever}",
     "watches.worse: the key 'tolerance' is missing"),
    ("worse", "  worse: {kind: regression, tolerance: 0.02}", "watches.worse: the key 'promise' is missing"),
    ("worse", "  worse: {kind: regression, tolerance: 0.02, limit: 1, promise: 5% ever}",
     "watches.worse.limit: unknown key 'limit'; there are: against, promise, tolerance"),
    ("worse", "  worse: {kind: regression, tolerance: -0.02, promise: 5% ever}",
     "watches.worse.tolerance: must be above 0, not -0.02"),
    ("worse", "  worse: {kind: regression, tolerance: .nan, promise: 5% ever}",
     "watches.worse.tolerance: must be above 0, not nan"),
    ("worse", "  worse: {kind: regression, tolerance: 2%, promise: 5% ever}",
     "watches.worse.tolerance: must be a number, not '2%'"),
    ("worse", "  worse: {kind: regression, against: champion, tolerance: 0.02, promise: 5% ever}",
     "watches.worse.against: 'champion' is not possible; there are: reference"),
    ("poor", "  poor: {kind: guardrail, tolerance: 0.9, promise: 5% ever}",
     "watches.poor.tolerance: unknown key 'tolerance'; there are: limit, promise"),
    ("poor", f"  poor: {{kind: guardrail, promise: 5% ever, limit: {'9' * 400}}}",
     "watches.poor.limit: is larger than any number that can be computed with"),
    ("poor", "  rollout: {kind: guardrail, limit: 1, promise: 5% ever}",
     "watches.rollout: 'rollout' names the rollout itself; give the watch another name"),
    ("shadow", "  shadow: 21 days", "rollout.shadow: '21 days' is not a number of blocks; write one such"),
    ("shadow", "  shadow: -1", "rollout.shadow: -1 is not a number of blocks"),
    ("clip_difference", "  clip_difference: 0.015",
     "rollout.clip_difference: must be above both margins, or no evidence could reach them"),
    ("steps", "  steps: [5%, 1%]", "rollout.steps: must rise: a unit that has met the challenger keeps it"),
    ("steps", "  steps: [1%, 1%]", "rollout.steps: must rise"),
    ("steps", "  steps: []", "rollout.steps: needs one step or more, such as [1%, 5%, 25%, 50%]"),
    ("steps", "  steps: [1%, 100%]", "rollout.steps.1: a share lies between 0 and 1, not at 100%"),
    ("steps", "  steps: [1%, half]", "rollout.steps.1: 'half' is not a share; write 5% or 0.05"),
    ("steps", "  steps: 5%", "rollout.steps: must be a list, such as [a, b], not '5%'"),
    ("step_for", "  step_for: 0s", "rollout.step_for: must last longer than nothing"),
    ("step_for", "  step_fro: 3d", "rollout.step_fro: unknown key 'step_fro'; did you mean 'step_for'?"),
    ("promote_if_within", "  promote_if_within: -0.01",
     "rollout.promote_if_within: must be 0 or above, in the loss's unit"),
    ("roll_back_if_worse_by", "  roll_back_if_worse_by: .inf",
     "rollout.roll_back_if_worse_by: must be 0 or above, in the loss's unit"),
    ("error", "  error: 0", "rollout.error: a share lies between 0 and 1, not at 0"),
    ("error", "  error: .nan", "rollout.error: a share lies between 0 and 1, not at nan"),
    ("error_over", "  error_over: every",
     "rollout.error_over: 'every' is not possible; there are: all, each"),
    ("approve", "approve: [promotion]", "approve: 'promotion' is no action; did you mean 'promote'?"),
    ("approve", "approve: promote", "approve: must be a list, such as [a, b], not 'promote'"),
    ("budget", "budget: {rollback: 3 per 7d}", "budget: 'rollback' is no action; did you mean 'roll_back'?"),
    ("budget", "budget: {retrain: 2}", "budget.retrain: 2 is not a budget; write one such as 3 per 7d"),
    ("budget", "budget: {retrain: 2 per week}", "budget.retrain: 'week' is not a duration"),
    ("budget", "budget: {retrain: 2 per 0d}", "budget.retrain: a budget must span longer than nothing"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("key", "line", "message"), WRONG_LINES, ids=[f"{k}-{n}" for n, (k, *_) in enumerate(WRONG_LINES)]
)
def test_what_is_wrong_is_named_with_its_line(key: str, line: str, message: str) -> None:
    error = refused(with_line(key, line))
    assert str(error).startswith(f"flights.yaml, line {line_of(key)}: {message}")
    assert error.line == line_of(key)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("  wrose: [{notify: log}]", "on.wrose: there is no watch 'wrose'; did you mean 'worse'?"),
        ("  worse: [{email: me}]", "on.worse.0.email: 'email' is not possible; there are: notify, retrain"),
        ("  worse: [{retrain: a}, {notify: [a]}]", "on.worse.1.notify: must be text, not ['a']"),
        ("  worse: {notify: log}", "on.worse: must be a list, such as [a, b], not {'notify': 'log'}"),
        ("  rollout: [{retrain: a}]", "on.rollout: a rollout acts by itself; of it one can only be notified"),
    ],
)
def test_what_is_wrong_below_on_is_named_too(line: str, message: str) -> None:
    """`on` is "true" to YAML 1.1; here it is the key that was written."""
    text = FULL.replace('  worse: [{retrain: "flights:train"}, {notify: oncall}]', line)
    assert str(refused(text)).startswith(f"flights.yaml, line {line_of('on') + 1}: {message}")


@pytest.mark.parametrize("key", ["model", "task", "loss", "labels"])
def test_what_is_needed_is_named(key: str) -> None:
    text = "\n".join(line for line in LEAST.splitlines() if not line.startswith(key))
    assert str(refused(text)) == f"flights.yaml, line 1: the key {key!r} is missing"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "flights.yaml: the file is empty"),
        ("# nothing but words\n", "flights.yaml: the file is empty"),
        ("- a\n- b\n", "flights.yaml, line 1: must be a mapping of keys to values, not ['a', 'b']"),
        ("model: m\n\tx: 1\n", "flights.yaml, line 2: not readable as YAML: "),
        ("model: [m\n", "flights.yaml, line 2: not readable as YAML: "),
        ("model: a\ntask: binary\nmodel: b\n", "flights.yaml, line 3: 'model' is written twice"),
        ("labels: {a: 1, a: 2}\n", "flights.yaml, line 1: 'a' is written twice"),
        ("a: 1\n---\nb: 2\n", "flights.yaml, line 2: not readable as YAML: "),
        ("? [a]\n: 1\n", "flights.yaml, line 1: a key must be text"),
        ("loss: !!int cat\n", "flights.yaml, line 1: 'cat' is not readable as int"),
        ("loss: !!bool cat\n", "flights.yaml, line 1: 'cat' is not readable as bool"),
        ("a: &a [*a]\n", "flights.yaml: values stand too deep in each other, or in themselves"),
        ("[" * 500, "flights.yaml: values stand too deep in each other, or in themselves"),
        ("a: \x00\n", "flights.yaml: not readable as YAML: "),
    ],
    ids=lambda text: text[:12].strip("[") or "brackets",
)
def test_what_is_no_policy_at_all_is_told_apart(text: str, message: str) -> None:
    assert str(refused(text)).startswith(message)


def test_anchors_that_multiply_are_not_followed_for_ever() -> None:
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{name}: &{name} [{', '.join(['*' + before] * 10)}]\n"
        for before, name in zip("abcdef", "bcdefg", strict=True)
    )
    assert "values; are anchors repeated in each other?" in str(refused(bomb))
    assert "characters; at most" in str(refused("#" * 200_000))


def test_code_in_a_policy_is_text() -> None:
    policy = read_policy(LEAST + "unit: !!python/object/apply:os.system [exit]\n".replace("[exit]", "exit"))
    assert policy.unit == "exit"


@pytest.mark.parametrize("written", ["on", "'on'", '"on"'])
def test_on_may_be_written_as_anyone_writes_it(written: str) -> None:
    text = FULL.replace("\non:", f"\n{written}:")
    assert read_policy(text).on == read_policy(FULL).on


@pytest.mark.parametrize("unit", ["2013-03-18", "12", "1.5", "~x", "12:30:45.5x"])
def test_text_stays_what_was_written(unit: str) -> None:
    assert read_policy(LEAST + f"unit: {unit}\n").unit == unit


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_text_is_a_policy_or_a_policy_error(text: str) -> None:
    for whole in (text, LEAST + text, LEAST + f"unit: {text}"):
        with contextlib.suppress(PolicyError):
            assert isinstance(read_policy(whole), Policy)


plain: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


# What an operator may override for one release.

PLAN = Plan(promote_if_within=0.01, roll_back_if_worse_by=0.02, shadow=21, clip_difference=0.5)


def test_an_override_changes_its_keys_and_no_other() -> None:
    made = override(PLAN, {"shadow": 0, "steps": ["10%", 0.5], "step_for": "1h", "clip_difference": None})
    assert made == Plan(
        promote_if_within=0.01, roll_back_if_worse_by=0.02, shadow=0, steps=(0.1, 0.5), step_for=HOUR
    )
    assert override(PLAN, {}) == PLAN


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"step": "1%"}, "step", "unknown key 'step'; did you mean 'steps'?"),
        ({"steps": ["50%", "1%"]}, "steps", "must rise: a unit that has met the challenger keeps it"),
        ({"steps": [0.1, "x"]}, "steps.1", "'x' is not a share; write 5% or 0.05"),
        ({"shadow": "soon"}, "shadow", "'soon' is not a number of blocks; write one such as 21 blocks"),
        ({"promote_if_within": "a little"}, "promote_if_within", "must be a number, not 'a little'"),
        (
            {"promote_if_within": 0.6},
            "clip_difference",
            "must be above both margins, or no evidence could reach",
        ),
        ({"step_for": None}, "step_for", "'None' is not a duration"),
    ],
)
def test_an_impossible_override_is_refused(changes: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        override(PLAN, changes)
    assert str(caught.value).startswith(message)
    assert caught.value.field == field


@given(st.dictionaries(st.sampled_from(list(PLAN.__struct_fields__)), plain, max_size=3))
def test_any_override_is_a_plan_or_an_input_error(changes: dict[str, Any]) -> None:
    try:
        made = override(PLAN, changes)
    except InputError:
        return
    assert list(made.steps) == sorted(set(made.steps))
    assert all(0 < share < 1 for share in made.steps)


def test_actions_are_sorted() -> None:
    assert list(ACTIONS) == sorted(ACTIONS)


GUARDED = """\
model: m
task: binary
loss: brier
labels: {mature_after: 1h}
serving:
  breaker: {errors: 2, of: 10, within: 5s}
  fallback: {previous: false, answer: 0.5}
  limits: [{high: 0.9, where: {country: [DE, 3]}, then: refuse}]
  constraints: [{loss: "constraint_violation(high=0.8)", then: refuse}]
"""


def test_what_stands_between_a_version_and_its_caller_is_read() -> None:
    serving = read_policy(GUARDED).serving
    assert (serving.breaker.errors, serving.breaker.within, serving.fallback.answer) == (2, 5_000_000, 0.5)
    assert serving.limits[0].where == {"country": ("DE", "3")}
    assert serving.constraints[0].at_most == 0.0


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("answer: 0.5", "answer: soon", "line 7: serving.fallback.answer: 'soon' is no prediction"),
        ("answer: 0.5", "answer: [0.5]", "line 7: serving.fallback.answer: a binary task answers one number"),
        ("errors: 2", "errors: 30", "line 6: serving.breaker.errors: must lie between 0 and `of`"),
        ("then: refuse}]\n  c", "then: never}]\n  c", "line 8: .*'never' is not possible"),
        ("high: 0.9", "high: 9", "line 8: serving.limits.0.high: bounds of a probability"),
        ("then: refuse}]\n", "maybe: 1}]\n", "unknown key 'maybe'"),
    ],
)
def test_rules_of_serving_that_cannot_be_name_their_line(old: str, new: str, words: str) -> None:
    with pytest.raises(PolicyError, match=words):
        read_policy(GUARDED.replace(old, new, 1))
