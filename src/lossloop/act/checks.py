"""What a version is held to before it takes traffic: what is asked, what was found, what follows. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

import msgspec

from lossloop.act.scenarios import AnyScenario
from lossloop.core.clock import Duration
from lossloop.core.ids import digest
from lossloop.core.records import Record
from lossloop.core.written import Share

Portion = Annotated[float, "portion"]
"""A share that may also be 0, written ``5%`` or ``0.05``."""
Times = Annotated[float, "times"]
"""How many times as much, written ``1.5x`` or ``1.5``."""
Grown = Annotated[int, "size"]
"""A number of bytes, written ``20MB``."""

LEAST_ROWS, MOST_ROWS = 100, 100_000
DEFAULT_ROWS = 10_000


class Check(StrEnum):
    """What is looked at, in this order."""

    SCENARIOS = "scenarios"
    SCHEMA = "schema"
    SKEW = "skew"
    PARITY = "parity"
    LOSS = "loss"
    LOAD = "load"
    BEHAVIOUR = "behaviour"
    OUTCOMES = "outcomes"


class Status(StrEnum):
    """How a check ended. What could not be told is no pass; what has nothing to look at is skipped."""

    PASSED = "passed"
    FAILED = "failed"
    REPORTED = "reported"
    """It has figures, and the policy no limit for them."""
    NOT_TOLD = "not_told"
    SKIPPED = "skipped"


class Checks(Record, frozen=True):
    """What a policy asks of a version before it takes traffic, under its key `check`.

    A check of limits is required where one is written; scenarios, schema, parity and loss always are.
    """

    scenarios: dict[str, AnyScenario] = {}
    rows: int = DEFAULT_ROWS
    """How many recent predictions are looked at, at most."""
    moved_by: float | None = None
    """From which difference on an answer has flipped, where no action and no class says it."""
    flips_at_most: Portion | None = None
    mean_moves_at_most: float | None = None
    skew_at_most: Share | None = None
    slower_at_most: Times | None = None
    """Times the champion's median latency."""
    p95_at_most: Duration | None = None
    """Of one row."""
    grows_at_most: Grown | None = None
    """What memory may grow by in the second half of the load test."""
    only_report: tuple[Check, ...] = ()
    """Checks that refuse nothing."""

    @property
    def required(self) -> tuple[Check, ...]:
        """The checks that a version must pass."""
        limits = {
            Check.SKEW: (self.skew_at_most,),
            Check.LOAD: (self.slower_at_most, self.p95_at_most, self.grows_at_most),
            Check.BEHAVIOUR: (self.flips_at_most, self.mean_moves_at_most),
            Check.OUTCOMES: (None,),
        }
        return tuple(
            each
            for each in Check
            if each not in self.only_report and any(limit is not None for limit in limits.get(each, (0,)))
        )

    @property
    def digest(self) -> str:
        """What names these rules; a version that was checked under others was not checked."""
        return digest(msgspec.json.encode(self, order="deterministic"))[:16]

    def problems(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """What is wrong, by path."""
        if not LEAST_ROWS <= self.rows <= MOST_ROWS:
            yield ("rows",), f"must lie between {LEAST_ROWS} and {MOST_ROWS:,}"
        for name in ("moved_by", "mean_moves_at_most"):
            limit = getattr(self, name)
            if limit is not None and not (math.isfinite(limit) and limit >= 0):
                yield (name,), "must be 0 or above, in the unit of the answers"
        if self.p95_at_most is not None and self.p95_at_most <= 0:
            yield ("p95_at_most",), "must be longer than nothing, such as 20ms"
        for name, scenario in self.scenarios.items():
            for key, message in scenario.problems():
                yield ("scenarios", name, key), message


class Finding(Record, frozen=True):
    """How one check ended; its words and figures name no row's features."""

    check: Check
    status: Status
    words: str
    figures: dict[str, float] = {}


class Checked(Record, frozen=True):
    """How all checks of a version ended, and what they were made against."""

    version: str
    """The digest of its manifest."""
    rules: str
    """The digest of the policy's `check`."""
    champion: int | None
    rows: int
    """Recent predictions that were looked at."""
    findings: tuple[Finding, ...]

    @property
    def words(self) -> str:
        """How many ended how, such as ``checked: 5 passed, 1 reported``."""
        counts = {each: sum(found.status is each for found in self.findings) for each in Status}
        told = ", ".join(f"{n} {each.replace('_', ' ')}" for each, n in counts.items() if n)
        return f"checked: {told or 'nothing'}"


def objections(
    rules: Checks, checked: Checked | None, *, version: str, name: str, champion: int | None
) -> Iterator[str]:
    """Why a version may not take traffic; nothing where it may.

    Args:
        rules: What the policy in force asks.
        checked: What was found; None where nobody looked.
        version: The digest of the version's manifest.
        name: What the version is called, ``model:number``.
        champion: The champion's number.
    """
    again = f"{name.partition(':')[0]} {name.partition(':')[2]}"
    if checked is None:
        yield f"{name} was not checked, and the policy asks for it: lossloop check version {again}"
        return
    if (checked.version, checked.rules, checked.champion) != (version, rules.digest, champion):
        yield f"{name} was checked under another policy or against another champion; order it again"
        return
    found = {each.check: each for each in checked.findings}
    for check in rules.required:
        each = found.get(check)
        if each is None or each.status in (Status.FAILED, Status.NOT_TOLD, Status.REPORTED):
            yield f"{check}: {'was not looked at' if each is None else each.words}"


def read_portion(value: object) -> float:
    """A share from 0 on."""
    text = str(value).strip()
    try:
        number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise ValueError(f"{value!r} is not a share; write 5% or 0.05") from None
    if not 0 <= number <= 1:
        raise ValueError(f"a share lies between 0 and 1, not at {text}")
    return number


def read_times(value: object) -> float:
    """A factor above 0."""
    try:
        number = float(str(value).strip().removesuffix("x"))
    except ValueError:
        raise ValueError(f"{value!r} is no factor; write 1.5x") from None
    if not 0 < number < math.inf:
        raise ValueError(f"a factor lies above 0, not at {value}")
    return number
