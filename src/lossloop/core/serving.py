"""What a policy says of serving: what stands between a model and its caller."""

from __future__ import annotations

import math
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

from lossloop.core.clock import SECOND, Duration
from lossloop.core.errors import InputError
from lossloop.core.holdout import Holdout
from lossloop.core.records import Record
from lossloop.core.tasks import LISTED, Task, read_prediction

StaticAnswer = Annotated[float | tuple[float, ...], "answer"]
"""A prediction that a policy states: a number, or a list of them."""
BOUNDED = frozenset({Task.BINARY, Task.REGRESSION, Task.VECTOR})
"""Tasks whose predictions can be cut to bounds, number by number."""
MOST_GUARDS = 50
MOST_CALLS = 1000
Wrong = tuple[tuple[str | int, ...], str]
"""A path of keys, and what is wrong with its value."""


class Then(StrEnum):
    """What becomes of an answer that may not leave."""

    CLAMP = "clamp"
    FALL_BACK = "fall_back"
    REFUSE = "refuse"


class Breaker(Record, frozen=True):
    """When a version is not asked any more: after `errors` failures among its last `of` calls, in `within`.

    After `retry_after` single calls are let through again, until one succeeds.
    """

    errors: int = 5
    """0 for none: the version is asked whatever happens."""
    of: int = 20
    within: Duration = 30 * SECOND
    retry_after: Duration = 60 * SECOND

    def problems(self) -> Iterator[Wrong]:
        """What is wrong with it, by key."""
        if not 0 <= self.errors <= self.of:
            yield ("errors",), f"must lie between 0 and `of`, which is {self.of}"
        if not 1 <= self.of <= MOST_CALLS:
            yield ("of",), f"must lie between 1 and {MOST_CALLS} calls"
        for name in ("within", "retry_after"):
            if getattr(self, name) <= 0:
                yield (name,), "must last longer than nothing"


class Limit(Record, frozen=True):
    """Bounds of an answer, for all rows or for those with some values of features."""

    low: float | None = None
    high: float | None = None
    where: dict[str, tuple[str, ...]] = {}
    """Values by feature; a row is meant that has one of them for each."""
    then: Then = Then.CLAMP

    @property
    def words(self) -> str:
        """Such as ``0.01 <= y_pred <= 0.9 where country is DE or AT``."""
        low = "" if self.low is None else f"{self.low:g} <= "
        high = "" if self.high is None else f" <= {self.high:g}"
        rows = [f"{name} is {' or '.join(values)}" for name, values in self.where.items()]
        return f"{low}y_pred{high}{' where ' if rows else ''}{' and '.join(rows)}"

    def problems(self, task: Task) -> Iterator[Wrong]:
        """What is wrong with it, by key."""
        low, high = self.low, self.high
        if low is None and high is None:
            yield ("low",), "a limit needs the key 'low', the key 'high', or both"
        for name, bound in (("low", low), ("high", high)):
            if bound is not None and not math.isfinite(bound):
                yield (name,), "must be a number; leave it out for no bound"
        if low is not None and high is not None and low > high:
            yield ("low",), f"must not lie above `high`, which is {high:g}"
        if task not in BOUNDED:
            yield ("then",), f"predictions of a {task} task have no bounds; use `constraints`"
        if task is Task.BINARY and any(b is not None and not 0 <= b <= 1 for b in (low, high)):
            yield ("low" if low is not None else "high",), "bounds of a probability lie between 0 and 1"
        for name, values in self.where.items():
            if not values:
                yield ("where", name), "needs one value or more, such as [DE, AT]"


class Constraint(Record, frozen=True):
    """A loss that needs no outcome, and how much of it an answer may cost."""

    loss: str
    at_most: float = 0.0
    then: Then = Then.FALL_BACK

    def problems(self) -> Iterator[Wrong]:
        """What is wrong with it, by key; whether its loss exists is known elsewhere."""
        if self.then is Then.CLAMP:
            yield (
                ("then",),
                "a loss says that an answer is ill, not which would do; write fall_back or refuse",
            )
        if not math.isfinite(self.at_most):
            yield ("at_most",), "must be a number, in the loss's unit"


class Fallback(Record, frozen=True):
    """Who answers where neither a row's own version nor the champion does."""

    previous: bool = True
    """Whether the champion before stays loaded for it."""
    answer: StaticAnswer | None = None
    """What is answered where no version does; else the row has an error."""


class Serving(Record, frozen=True):
    """The key `serving` of a policy."""

    deadline: Duration | None = None
    """How long a version is waited for before another is asked; without it, half a minute."""
    breaker: Breaker = Breaker()
    fallback: Fallback = Fallback()
    limits: tuple[Limit, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    holdout: Holdout | None = None

    def problems(self, task: Task) -> Iterator[Wrong]:
        """What is wrong with it under a task, by the path of the key."""
        if self.deadline is not None and self.deadline <= 0:
            yield ("deadline",), "must last longer than nothing"
        yield from _under(("breaker",), self.breaker.problems())
        for place, limit in enumerate(self.limits):
            yield from _under(("limits", place), limit.problems(task))
        for place, constraint in enumerate(self.constraints):
            yield from _under(("constraints", place), constraint.problems())
        for name, found in (("limits", self.limits), ("constraints", self.constraints)):
            if len(found) > MOST_GUARDS:
                yield (name,), f"at most {MOST_GUARDS} are looked at for each answer, not {len(found)}"
        if self.holdout is not None:
            yield from _under(("holdout",), self.holdout.problems())
        yield from self._static(task)

    def _static(self, task: Task) -> Iterator[Wrong]:
        """Problems with the static answer: it leaves as it is, so it must fit what holds for every row."""
        answer = self.fallback.answer
        if answer is None:
            return
        path = ("fallback", "answer")
        listed = isinstance(answer, tuple)
        if listed != (task in LISTED):
            yield path, f"a {task} task answers {'a list' if task in LISTED else 'one number'}"
            return
        numbers = answer if isinstance(answer, tuple) else (answer,)
        try:
            read_prediction(task, list(numbers) if listed else numbers[0])
        except InputError as error:
            yield path, str(error)
        for limit in self.limits:
            low = -math.inf if limit.low is None else limit.low
            high = math.inf if limit.high is None else limit.high
            if not limit.where and not all(low <= number <= high for number in numbers):
                yield path, f"lies beyond the policy's own limit, {limit.words}"


def _under(path: tuple[str | int, ...], found: Iterator[Wrong]) -> Iterator[Wrong]:
    for inner, message in found:
        yield (*path, *inner), message
