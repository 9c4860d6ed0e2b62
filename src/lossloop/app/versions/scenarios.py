"""Must-pass scenarios: examples with their answers, what may change nothing, and what may only go one way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from lossloop.act.checks import Check, Status
from lossloop.act.scenarios import AnyScenario as Scenario
from lossloop.act.scenarios import DirectionScenario, ExampleScenario, InvarianceScenario, Must
from lossloop.app.versions.base import Case, Detail, Shown, drawn, told
from lossloop.core.errors import alternatives
from lossloop.ledger.joined.columns import Array, Floats
from lossloop.registry import Feature, FeatureKind
from lossloop.serve.runtimes import Columns
from lossloop.serve.schema import columns as as_columns
from lossloop.serve.schema import problem

MOST_DRAWN = 200
"""Recent rows that a scenario without rows of its own is tried on."""
_SHOWN = 20
_NAMED = 3


class Miss(NamedTuple):
    """A row that does not answer as it must."""

    row: str
    got: str
    wanted: str


class _Rows(NamedTuple):
    """What a scenario is tried on."""

    columns: Columns
    names: list[str]


class _CannotTell(Exception):
    """A scenario cannot be tried."""


def check(case: Case) -> Shown:
    """Hold the version to every scenario of the policy."""
    scenarios = case.rules.scenarios
    if not scenarios:
        return told(Check.SCENARIOS, Status.SKIPPED, "the policy has no scenarios (check.scenarios)")
    if case.version.runtime is None:
        return told(Check.SCENARIOS, Status.NOT_TOLD, case.version.why_not)
    missed: dict[str, list[Miss]] = {}
    untold: dict[str, str] = {}
    for name, scenario in scenarios.items():
        try:
            if found := _misses(case, scenario):
                missed[name] = found
        except _CannotTell as reason:
            untold[name] = str(reason)
    status = Status.FAILED if missed else Status.NOT_TOLD if untold else Status.PASSED
    held = len(scenarios) - len(missed) - len(untold)
    words = [f"{held} of {len(scenarios)} scenarios hold"]
    words += [f"{name}: {_first(found)}" for name, found in list(missed.items())[:_NAMED]]
    words += [f"{name} could not be tried: {why}" for name, why in list(untold.items())[:_NAMED]]
    rows = tuple((name, *miss) for name, found in missed.items() for miss in found[:_SHOWN])
    details = [Detail(title="Rows that miss", head=("scenario", "row", "got", "wanted"), rows=rows)]
    figures = {"scenarios": len(scenarios), "held": held, "missed": len(missed), "untold": len(untold)}
    return told(Check.SCENARIOS, status, "; ".join(words), figures, details if missed else ())


def _first(found: list[Miss]) -> str:
    miss = found[0]
    more = f"; {len(found)} rows miss" if len(found) > 1 else ""
    return f"{miss.row} got {miss.got}, wanted {miss.wanted}{more}"


def _misses(case: Case, scenario: Scenario) -> list[Miss]:
    rows, found = _rows(case, scenario)
    if found:
        return found
    match scenario:
        case ExampleScenario():
            return list(_example(case, scenario, rows))
        case InvarianceScenario():
            return list(_invariance(case, scenario, rows))
        case DirectionScenario():
            return list(_direction(case, scenario, rows))


def _rows(case: Case, scenario: Scenario) -> tuple[_Rows, list[Miss]]:
    """What a scenario is tried on, or the rows that the version does not take."""
    features = case.version.manifest.features
    if scenario.rows:
        names = [f"row {place}" for place in range(len(scenario.rows))]
        found = [problem(features, row, place) for place, row in enumerate(scenario.rows)]
        wrong = [Miss(name, str(each), "an answer") for name, each in zip(names, found, strict=True) if each]
        return _Rows({} if wrong else as_columns(features, scenario.rows), names), wrong
    rows = drawn(np.flatnonzero(case.inputs.fits), MOST_DRAWN)
    if not len(rows):
        raise _CannotTell("it has no rows, and no recent prediction has features that the version takes")
    return _Rows(case.inputs.rows(rows), [f"recent row {row}" for row in rows.tolist()]), []


def _run(case: Case, columns: Columns, count: int) -> Array:
    values, error = case.version.run(columns, count, case.task)
    if error:
        raise _CannotTell(f"the version {error}")
    return values


def _output(case: Case, scenario: Scenario, columns: Columns, count: int) -> Floats:
    """The number of each answer that a scenario is about. Shape (n,)."""
    values = _run(case, columns, count)
    if values.ndim == 1:
        return values
    if scenario.output >= values.shape[1]:
        raise _CannotTell(f"answers have {values.shape[1]} numbers, and it is about output {scenario.output}")
    found: Floats = values[:, scenario.output]
    return found


def _example(case: Case, scenario: ExampleScenario, rows: _Rows) -> Iterator[Miss]:
    got = _output(case, scenario, rows.columns, len(rows.names))
    for name, value in zip(rows.names, got.tolist(), strict=True):
        for holds, wanted in _wanted(scenario, value):
            if not holds:
                yield Miss(name, _said(value), wanted)
    if scenario.action is not None:
        yield from _actions(case, scenario.action, got, rows)


def _wanted(scenario: ExampleScenario, value: float) -> Iterator[tuple[bool, str]]:
    """Whether a value is as it must be, and how; NaN never is."""
    slack = scenario.within
    if scenario.answer is not None:
        off = f" within {slack:g}" if slack else ""
        yield abs(value - scenario.answer) <= slack, f"{scenario.answer:g}{off}"
    if scenario.at_least is not None:
        yield value >= scenario.at_least - slack, f"at least {scenario.at_least:g}"
    if scenario.at_most is not None:
        yield value <= scenario.at_most + slack, f"at most {scenario.at_most:g}"


def _actions(case: Case, action: str, got: Floats, rows: _Rows) -> Iterator[Miss]:
    thresholds = case.version.manifest.thresholds
    if thresholds is None:
        yield Miss("every row", "no action: the version has no thresholds", f"the action {action!r}")
        return
    for name, value in zip(rows.names, got.tolist(), strict=True):
        done = "none" if np.isnan(value) else thresholds.action(value)
        if done != action:
            yield Miss(name, f"{done} at {_said(value)}", f"the action {action!r}")


def _invariance(case: Case, scenario: InvarianceScenario, rows: _Rows) -> Iterator[Miss]:
    feature = _feature(case, scenario.feature)
    if feature is None:
        return
    count = len(rows.names)
    base = _output(case, scenario, rows.columns, count)
    for value in scenario.values:
        if wrong := problem([feature], {feature.name: value}, 0):
            yield Miss("every row", str(wrong), f"an answer with {feature.name} = {value!r}")
            continue
        column = as_columns([feature], [{feature.name: value}] * count)
        got = _output(case, scenario, {**rows.columns, **column}, count)
        for place in np.flatnonzero(~(np.abs(got - base) <= scenario.within)).tolist():
            wanted = f"{_said(base[place])} within {scenario.within:g}, with {feature.name} = {value!r}"
            yield Miss(rows.names[place], _said(got[place]), wanted)


def _direction(case: Case, scenario: DirectionScenario, rows: _Rows) -> Iterator[Miss]:
    feature = _feature(case, scenario.feature)
    if feature is None:
        return
    if feature.kind is not FeatureKind.NUMBER:
        yield Miss("every row", f"{feature.name!r} is a category", "a number that can rise")
        return
    count, name = len(rows.names), feature.name
    base = _output(case, scenario, rows.columns, count)
    got = _output(case, scenario, {**rows.columns, name: rows.columns[name] + scenario.add}, count)
    moved = got - base if scenario.must is Must.NOT_FALL else base - got
    known = ~np.isnan(rows.columns[name])
    bound = "at least" if scenario.must is Must.NOT_FALL else "at most"
    for place in np.flatnonzero(known & ~(moved >= -scenario.within)).tolist():
        wanted = f"{bound} {_said(base[place])}, with {name} {scenario.add:+g}"
        yield Miss(rows.names[place], _said(got[place]), wanted)


def _feature(case: Case, name: str) -> Feature | None:
    """A feature of the version; None where only the champion has it, so that it changes nothing here."""
    known = {each.name: each for each in case.version.manifest.features}
    if name in known:
        return known[name]
    if case.champion is not None and any(each.name == name for each in case.champion.manifest.features):
        return None
    raise _CannotTell(f"there is no feature {name!r}; {alternatives(name, known)}")


def _said(value: float) -> str:
    return "no valid answer" if np.isnan(value) else f"{value:.6g}"
