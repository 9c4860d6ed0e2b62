"""The policy: a reviewed file that says which watches a model has, and what follows from which verdict.

Strict: an unknown key or an impossible value is a PolicyError with its line and the alternatives.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Any, TypeVar, get_type_hints

import msgspec

from lossloop.act.checks import Checks, Portion, Times, read_portion, read_times
from lossloop.act.gates import AnyGate
from lossloop.act.scenarios import Given, Value, read_given, read_value
from lossloop.act.strict import Path, Problem, Reader, build
from lossloop.act.watches import AnyWatch, Names, SlicesWatch
from lossloop.act.yaml import load
from lossloop.core.calendar import Calendar
from lossloop.core.clock import DAY, Duration, Micros, parse_duration
from lossloop.core.cuts import MOST_CUTS, Cut, read_cut, resolved
from lossloop.core.errors import InputError, PolicyError, alternatives
from lossloop.core.records import Record
from lossloop.core.serving import Serving, StaticAnswer
from lossloop.core.sizes import parse_size
from lossloop.core.tasks import Task, read_label
from lossloop.core.written import Share

Blocks = Annotated[int, "blocks"]
"""A number of blocks, written ``21 blocks`` or ``21``."""
Size = Annotated[int, "size"]
"""A number of bytes, written ``10GB``."""
SliceBy = Annotated[Cut, "slice"]
"""By what rows are told apart, written ``carrier`` or ``{feature: distance, bins: [500]}``."""


class Mode(StrEnum):
    """Whether decisions are only recorded as "would have", or followed."""

    OBSERVE = "observe"
    ACT = "act"


class Missing(StrEnum):
    """What a comparison of two arms makes of predictions without an outcome."""

    WORST_CASE = "worst_case"
    SAME_IN_BOTH_ARMS = "same_in_both_arms"


class ErrorOver(StrEnum):
    """What a rollout's `error` is the chance of a mistake in: every rollout, or all there will ever be."""

    EACH = "each"
    ALL = "all"


class Verb(StrEnum):
    """What can follow from an alarm."""

    NOTIFY = "notify"
    RETRAIN = "retrain"


class Labels(Record, frozen=True):
    """When a prediction is judged, and what an outcome that has not come by then means."""

    mature_after: Duration
    missing: Missing = Missing.WORST_CASE
    absent_means: float | None = None
    """The outcome where none came within `after`: absence is the label, as it is of chargebacks."""
    after: Duration | None = None


class Retention(Record, frozen=True):
    """How much of a model's facts is kept; what was removed goes on counting in its figures."""

    age: Duration | None = None
    size: Size | None = None


class Plan(Record, frozen=True):
    """How a challenger comes to be promoted or refused."""

    promote_if_within: float
    roll_back_if_worse_by: float
    shadow: Blocks = 0
    clip_difference: float | None = None
    steps: tuple[Share, ...] = (0.01, 0.05, 0.25, 0.5)
    step_for: Duration = 3 * DAY
    decide_within: Duration = 60 * DAY
    error: Share = 0.05
    error_over: ErrorOver = ErrorOver.EACH
    gates: dict[str, AnyGate] = {}
    """What else the canary may not be worse at, judged as predictions arrive."""
    only: dict[str, tuple[str, ...]] = {}
    """Rows that may meet the challenger have one of these values in each of these features."""


class ExperimentPlan(Record, frozen=True):
    """When an arm of an experiment is promoted, and when it is given up; margins in the loss's unit."""

    better_by: float = 0.0
    """It is shown to be better than the champion by more than this."""
    worse_by: float = 0.0
    """It is shown to be worse than the champion by more than this."""
    decide_within: Duration = 60 * DAY
    error: Share = 0.05
    """The chance of each mistake about any of the arms."""
    only: dict[str, tuple[str, ...]] = {}
    """Rows that may meet an arm have one of these values in each of these features."""


class Quota(Record, frozen=True):
    """At most `most` actions within `span`, written ``3 per 7d``."""

    most: int
    span: int


class Policy(Record, frozen=True):
    """A model's policy file."""

    model: str
    task: Task
    loss: str
    labels: Labels
    beside: tuple[str, ...] = ()
    """Losses that are computed of every outcome, and judge nothing."""
    mode: Mode = Mode.OBSERVE
    unit: str = "row"
    block: Duration = DAY
    timezone: str = "UTC"
    slices: tuple[SliceBy, ...] = ()
    watches: dict[str, AnyWatch] = {}
    rollout: Plan | None = None
    experiment: ExperimentPlan = ExperimentPlan()
    check: Checks | None = None
    """What a version must pass before it takes traffic; None for nothing."""
    on: dict[str, tuple[dict[Verb, str], ...]] = {}
    approve: tuple[str, ...] = ()
    budget: dict[str, Quota] = {}
    probation: Duration = 14 * DAY
    cooldown: Duration = 14 * DAY
    retention: Retention | None = None
    serving: Serving = Serving()
    """What stands between a version's answer and its caller, where Lossloop serves."""

    @property
    def calendar(self) -> Calendar:
        """How this model's time is cut into blocks."""
        return Calendar(span=self.block, zone=self.timezone)

    @property
    def cuts(self) -> tuple[Cut, ...]:
        """How this model's rows are cut into slices."""
        return resolved(self.slices)


ACTIONS = ("notify", "promote", "retrain", "roll_back")
ROLLOUT = "rollout"
"""What `on` calls the end of a rollout: a promotion, a rollback or a refusal."""
EXPERIMENT = "experiment"
"""What `on` calls the end of an experiment, and of one of its arms."""
HOLDOUT = "holdout"
"""What `on` calls the alarm that all others are worse than those held out."""
CIRCUIT = "circuit"
"""What `on` calls a version that a server does not ask any more, or asks again."""
_TOLD = (ROLLOUT, EXPERIMENT, HOLDOUT, CIRCUIT)
TESTS = ("promote", "roll back")
"""What the two tests of a rollout's loss are called."""
MOST_BESIDE = 4
"""Losses beside the one that judges: each costs as much as that one with every outcome."""
NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")


def read_policy(text: str, *, source: str = "policy") -> Policy:
    """Read a policy file.

    Raises:
        PolicyError: With the line, what is wrong, and what could be written instead.
    """
    return _read(text, source)


@lru_cache(maxsize=256)
def _read(text: str, source: str) -> Policy:
    """The policy that a text says; the same text is read when it is checked, put in force and judged by."""
    document = load(text, source=source)
    try:
        policy: Policy = build(Policy, document.value, _READERS)
        for problem in _impossible(policy):
            raise problem
    except Problem as problem:
        place = ".".join(map(str, problem.path))
        message = f"{place}: {problem}" if place else str(problem)
        raise PolicyError(message, line=document.line(problem.path), source=source) from None
    return policy


AnyPlan = TypeVar("AnyPlan", Plan, ExperimentPlan)


def override(plan: AnyPlan, changes: dict[str, Any]) -> AnyPlan:
    """A plan with some of its keys set anew, as an operator may for one release, or one experiment.

    Raises:
        InputError: A key that a plan does not have, or an impossible value.
    """
    hints = get_type_hints(type(plan), include_extras=True)
    for key in changes:
        if key not in hints:
            raise InputError(f"unknown key {key!r}; {alternatives(key, hints)}", field=key)
    try:
        read = {key: build(hints[key], value, _READERS, (key,)) for key, value in changes.items()}
        made = msgspec.structs.replace(plan, **read)
        for problem in _impossible_plan(made):
            raise problem
    except Problem as problem:
        raise InputError(str(problem), field=".".join(map(str, problem.path))) from None
    return made


def _impossible(policy: Policy) -> Iterator[Problem]:
    if not NAME.fullmatch(policy.model):
        yield Problem(("model",), f"{policy.model!r} is no name; use small letters, digits, '-', '_', '.'")
    try:
        policy.calendar.end(0)
    except InputError as error:
        yield Problem((error.field or "block",), str(error))
    yield from _absence(policy)
    yield from _beside(policy)
    yield from _slices(policy)
    if policy.retention is not None and policy.retention.age is policy.retention.size:
        yield Problem(("retention",), "needs an age, a size or both, as {age: 400d, size: 10GB}")
    for name, watch in policy.watches.items():
        for key, message in watch.problems():
            yield Problem(("watches", name, key), message)
    if policy.rollout is not None:
        yield from _plan(policy.rollout, ("rollout",))
    yield from _experiment(policy.experiment, ("experiment",))
    for path, message in policy.serving.problems(policy.task):
        yield Problem(("serving", *path), message)
    yield from _checks(policy)
    yield from _reactions(policy)


def _checks(policy: Policy) -> Iterator[Problem]:
    """Problems with what a version must pass."""
    for keys, message in () if policy.check is None else policy.check.problems():
        yield Problem(("check", *keys), message)


def _absence(policy: Policy) -> Iterator[Problem]:
    """Problems with an outcome that is that none came."""
    value, after = policy.labels.absent_means, policy.labels.after
    if (value is None) != (after is None):
        has, lacks = ("absent_means", "after") if after is None else ("after", "absent_means")
        yield Problem(
            ("labels", has), f"needs the key {lacks!r} beside it, as {{absent_means: 0, after: 90d}}"
        )
    elif value is not None and after is not None:
        if after <= 0 or after > policy.labels.mature_after:
            yield Problem(
                ("labels", "after"),
                "must lie above 0 and not beyond mature_after: what is judged has its label by then",
            )
        try:
            read_label(policy.task, value)
        except InputError as error:
            yield Problem(("labels", "absent_means"), str(error))


def _beside(policy: Policy) -> Iterator[Problem]:
    """Problems with the losses beside the one that judges."""
    names = (policy.loss, *policy.beside)
    if len(set(names)) < len(names):
        yield Problem(("beside",), "names a loss twice, or the one that judges")
    if len(policy.beside) > MOST_BESIDE:
        yield Problem(("beside",), f"at most {MOST_BESIDE} losses run beside, not {len(policy.beside)}")


def _slices(policy: Policy) -> Iterator[Problem]:
    """Problems with what rows are told apart by, and with watches that look at it."""
    names = [cut.name for cut in policy.slices]
    if len(set(names)) < len(names):
        yield Problem(("slices",), "the same slices stand there twice")
    if len(names) > MOST_CUTS:
        yield Problem(("slices",), f"rows are told apart in {MOST_CUTS} ways at most, not {len(names)}")
    for place, cut in enumerate(policy.slices):
        if any(axis.feature == policy.unit for axis in cut.axes):
            yield Problem(
                ("slices", place),
                f"{policy.unit!r} is the unit: it names whom a row is about, and a slice names a group",
            )
    for watch_name, watch in policy.watches.items():
        if isinstance(watch, SlicesWatch):
            yield from _sliced(names, watch, ("watches", watch_name))


def _sliced(names: list[str], watch: SlicesWatch, path: Path) -> Iterator[Problem]:
    if not names:
        yield Problem(path, "the policy has no slices; add some, such as: slices: [carrier, origin]")
    for name in watch.by:
        if names and name not in names:
            yield Problem((*path, "by"), f"the policy has no slices by {name!r}; {alternatives(name, names)}")


def _reactions(policy: Policy) -> Iterator[Problem]:
    for name in _TOLD:
        if name in policy.watches:
            yield Problem(("watches", name), f"{name!r} names the {name} itself; give the watch another name")
    known = (*policy.watches, *_TOLD)
    for name, entries in policy.on.items():
        if name not in known:
            yield Problem(("on", name), f"there is no watch {name!r}; {alternatives(name, known)}")
        if name in _TOLD and any(verb is not Verb.NOTIFY for entry in entries for verb in entry):
            article = "an" if name == EXPERIMENT else "a"
            yield Problem(("on", name), f"{article} {name} acts by itself; of it one can only be notified")
    for field, names in (("approve", policy.approve), ("budget", tuple(policy.budget))):
        for name in names:
            if name not in ACTIONS:
                yield Problem((field,), f"{name!r} is no action; {alternatives(name, ACTIONS)}")


def _plan(plan: Plan, path: Path) -> Iterator[Problem]:
    if not plan.steps:
        yield Problem((*path, "steps"), "needs one step or more, such as [1%, 5%, 25%, 50%]")
    if list(plan.steps) != sorted(set(plan.steps)):
        yield Problem((*path, "steps"), "must rise: a unit that has met the challenger keeps it")
    for name in ("promote_if_within", "roll_back_if_worse_by"):
        if not (math.isfinite(getattr(plan, name)) and getattr(plan, name) >= 0):
            yield Problem((*path, name), "must be 0 or above, in the loss's unit")
    if plan.clip_difference is not None and not plan.clip_difference > max(
        plan.promote_if_within, plan.roll_back_if_worse_by
    ):
        yield Problem(
            (*path, "clip_difference"), "must be above both margins, or no evidence could reach them"
        )
    if plan.step_for <= 0:
        yield Problem((*path, "step_for"), "must last longer than nothing")
    yield from _only(plan.only, path)
    for name, gate in plan.gates.items():
        if not NAME.fullmatch(name) or name in TESTS:
            yield Problem(
                (*path, "gates", name),
                f"{name!r} is no name of a gate; use small letters, digits, '-', '_', '.', and not promote",
            )
        for key, message in gate.problems():
            yield Problem((*path, "gates", name, key), message)


def _impossible_plan(plan: Plan | ExperimentPlan) -> Iterator[Problem]:
    return _plan(plan, ()) if isinstance(plan, Plan) else _experiment(plan, ())


def _experiment(plan: ExperimentPlan, path: Path) -> Iterator[Problem]:
    for name in ("better_by", "worse_by"):
        if not (math.isfinite(getattr(plan, name)) and getattr(plan, name) >= 0):
            yield Problem((*path, name), "must be 0 or above, in the loss's unit")
    if plan.decide_within <= 0:
        yield Problem((*path, "decide_within"), "must last longer than nothing")
    yield from _only(plan.only, path)


def _only(only: dict[str, tuple[str, ...]], path: Path) -> Iterator[Problem]:
    for name, values in only.items():
        if not values:
            yield Problem((*path, "only", name), "needs one value or more, such as [UA, DL]")


def _duration(value: Any) -> Micros:
    return parse_duration(str(value))


def _size(value: Any) -> int:
    return parse_size(str(value))


def _share(value: Any) -> float:
    text = str(value).strip()
    try:
        number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise ValueError(f"{value!r} is not a share; write 5% or 0.05") from None
    if not 0 < number < 1:
        raise ValueError(f"a share lies between 0 and 1, not at {text}")
    return number


def _blocks(value: Any) -> int:
    match = re.fullmatch(r"\s*(\d+)\s*(blocks?)?\s*", str(value))
    if match is None:
        raise ValueError(f"{value!r} is not a number of blocks; write one such as 21 blocks")
    return int(match[1])


def _quota(value: Any) -> Quota:
    match = re.fullmatch(r"\s*(\d+)\s+per\s+(\S+)\s*", str(value))
    if match is None:
        raise ValueError(f"{value!r} is not a budget; write one such as 3 per 7d")
    span = parse_duration(match[2])
    if span <= 0:
        raise ValueError("a budget must span longer than nothing; write one such as 3 per 7d")
    return Quota(most=int(match[1]), span=span)


def _names(value: Any) -> tuple[str, ...]:
    if value == "all":
        return ()
    if not isinstance(value, list) or not value or not all(isinstance(name, str) for name in value):
        raise ValueError(f"{value!r} names nothing; write all, or a list such as [age, country]")
    if len(set(value)) < len(value):
        raise ValueError("names one twice")
    return tuple(value)


def _answer(value: Any) -> float | tuple[float, ...]:
    """A prediction that is stated."""
    numbers = value if isinstance(value, list) else [value]
    if not numbers or not all(
        isinstance(each, int | float) and not isinstance(each, bool) for each in numbers
    ):
        raise ValueError(f"{value!r} is no prediction; write a number, or a list of numbers")
    try:
        read = tuple(map(float, numbers))
    except OverflowError:
        raise ValueError("is larger than any number that can be computed with") from None
    return read if isinstance(value, list) else read[0]


_READERS: dict[Any, Reader] = {
    Duration: _duration,
    Share: _share,
    Blocks: _blocks,
    Names: _names,
    Quota: _quota,
    Size: _size,
    Portion: read_portion,
    Times: read_times,
    Given: read_given,
    Value: read_value,
    SliceBy: read_cut,
    StaticAnswer: _answer,
}
