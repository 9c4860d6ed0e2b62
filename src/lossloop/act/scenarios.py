"""Must-pass scenarios: what a version has to answer before it takes traffic, as a policy writes it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any

from lossloop.act.watches import Wrong
from lossloop.core.records import Record

Given = Annotated[dict[str, Any], "row of features"]
"""A row of features, written ``{distance: 500, carrier: UA}``."""
Value = Annotated[Any, "value of a feature"]
"""A number, a text or null."""
MOST_ROWS = 1_000
"""Rows of one scenario."""


class Must(StrEnum):
    """Which way an answer may not go where a feature rises."""

    NOT_FALL = "not_fall"
    NOT_RISE = "not_rise"


class Scenario(Record, frozen=True, tag_field="kind"):
    """What must hold of a version's answers to `rows`, or to recent ones where none are given."""

    rows: tuple[Given, ...] = ()
    output: int = 0
    """Of an answer that is a list: which number of it, from 0."""
    within: float = 0.0
    """How far an answer may be off, in its own unit."""

    def problems(self) -> Iterator[Wrong]:
        """What is wrong with the scenario, by key."""
        if len(self.rows) > MOST_ROWS:
            yield "rows", f"at most {MOST_ROWS} rows are taken, not {len(self.rows)}"
        if self.output < 0:
            yield "output", "counts from 0"
        if not (math.isfinite(self.within) and self.within >= 0):
            yield "within", "must be 0 or above, in the unit of the answer"


class ExampleScenario(Scenario, frozen=True, kw_only=True, tag="example"):
    """Each of the rows has this answer, or one within bounds, or leads to this action."""

    answer: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    action: str | None = None

    def problems(self) -> Iterator[Wrong]:
        """See `Scenario`."""
        yield from super().problems()
        wanted = (self.answer, self.at_least, self.at_most, self.action)
        if all(each is None for each in wanted):
            yield "kind", "an example needs an answer, at_least, at_most or an action"
        if not self.rows and (self.answer is not None or self.action is not None):
            yield "kind", "an example with an answer or an action needs its own rows"
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            yield "at_least", "must not lie above at_most"


class InvarianceScenario(Scenario, frozen=True, kw_only=True, tag="invariance"):
    """With `feature` set to any of `values` the answer stays `within` of what it was."""

    feature: str
    values: tuple[Value, ...]

    def problems(self) -> Iterator[Wrong]:
        """See `Scenario`."""
        yield from super().problems()
        if not self.values:
            yield "values", "needs one value or more, such as [a, b]"


class DirectionScenario(Scenario, frozen=True, kw_only=True, tag="direction"):
    """With `add` added to `feature` the answer must not fall, or not rise, by more than `within`."""

    feature: str
    add: float
    must: Must

    def problems(self) -> Iterator[Wrong]:
        """See `Scenario`."""
        yield from super().problems()
        if not (math.isfinite(self.add) and self.add != 0):
            yield "add", "must be a number other than 0"


AnyScenario = ExampleScenario | InvarianceScenario | DirectionScenario
"""Every kind there is; strict reading picks one by its tag."""


def read_given(value: Any) -> dict[str, Any]:
    """A row of features as it stands in a policy."""
    if not isinstance(value, dict) or not value:
        raise ValueError(f"{value!r} is no row; write its features, such as {{distance: 500, carrier: UA}}")
    return {str(name): read_value(each) for name, each in value.items()}


def read_value(value: Any) -> float | str | None:
    """A feature's value as it stands in a policy."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no value of a feature: a finite number, a text or null")
    return float(value)
