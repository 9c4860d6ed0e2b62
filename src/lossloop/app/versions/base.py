"""What a check is handed, and what it answers with.

A check is a function of a `Case`: it runs loaded versions over columns, and touches no disk. What it found
goes into the ledger with the command that asked, so a `Finding` has no row's features in it; its details may,
and are only shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec
import numpy as np

from lossloop.act.checks import Check, Checked, Checks, Finding, Status
from lossloop.app.judging import Lens
from lossloop.app.versions.recent import Recent, missing
from lossloop.core.records import Record
from lossloop.core.tasks import LISTED, Task, lists_fit, predictions_fit
from lossloop.ledger.joined.columns import Array, Floats, Int64
from lossloop.registry import Feature, FeatureKind, Manifest
from lossloop.serve.runtimes import Columns, Runtime
from lossloop.serve.schema import columns as as_columns
from lossloop.serve.schema import problem

Flags = np.ndarray[Any, np.dtype[np.bool_]]
_AT_ONCE = 1_024


class Detail(Record, frozen=True):
    """A small table that is shown below a check."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Shown(Record, frozen=True):
    """What a check found, and what is shown of it."""

    finding: Finding
    details: tuple[Detail, ...] = ()


class Report(Record, frozen=True):
    """All checks of a version."""

    model: str
    name: str
    """``model:number``, or the model's name of a version that is not registered."""
    champion: str
    """Empty where there is none."""
    required: tuple[Check, ...]
    checked: Checked
    shown: tuple[Shown, ...]
    objections: tuple[str, ...]
    """Why it may not take traffic."""

    def plain(self) -> dict[str, Any]:
        """As plain values, every key there."""
        return {
            "model": self.model, "version": self.name, "champion": self.champion or None,
            "rows": self.checked.rows, "fine": not self.objections, "objections": list(self.objections),
            "checks": [
                {
                    "check": str(each.finding.check), "status": str(each.finding.status),
                    "required": each.finding.check in self.required, "words": each.finding.words,
                    "figures": dict(each.finding.figures),
                    "details": [msgspec.to_builtins(detail) for detail in each.details],
                }
                for each in self.shown
            ],
            "checked": msgspec.to_builtins(self.checked),
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """Columns as a version takes them, and which rows it would take."""

    columns: Columns
    fits: Flags
    wrong: Mapping[str, tuple[int, int]]
    """By feature, in how many rows it is missing though it must be there, and of another kind."""

    def rows(self, rows: Array) -> Columns:
        """Some of the rows."""
        return {name: values[rows] for name, values in self.columns.items()}


def fitted(features: Sequence[Feature], sent: Mapping[str, Array], count: int) -> Fitted:
    """Recent inputs as a version's schema reads them."""
    columns: dict[str, Array] = {}
    fits: Flags = np.ones(count, dtype=bool)
    wrong: dict[str, tuple[int, int]] = {}
    for feature in features:
        values = sent.get(feature.name)
        column, bad = _column(feature, values, count)
        empty = missing(column)
        lacks = empty & ~bad & (not feature.nullable)
        columns[feature.name], fits = column, fits & ~bad & ~lacks
        if bad.any() or lacks.any():
            wrong[feature.name] = int(lacks.sum()), int(bad.sum())
    return Fitted(columns=columns, fits=fits, wrong=wrong)


def _column(feature: Feature, values: Array | None, count: int) -> tuple[Array, Flags]:
    """A column of the feature's kind, and which of its values are of another."""
    if feature.kind is FeatureKind.CATEGORY:
        texts: Array = np.full(count, None, object)
        if values is None:
            return texts, np.zeros(count, bool)
        if values.dtype.kind == "f":
            return texts, ~np.isnan(values)
        bad = np.array([value is not None and not isinstance(value, str) for value in values], bool)
        texts[~bad] = values[~bad]
        return texts, bad
    if values is None:
        return np.full(count, np.nan), np.zeros(count, bool)
    numbers = values if values.dtype.kind == "f" else np.array([_number(each) for each in values], np.float64)
    bad = (~missing(values) & np.isnan(numbers)) | np.isinf(numbers)
    return np.where(bad, np.nan, numbers), bad


def _number(value: Any) -> float:
    """A number that stands as text, since other rows had text there; NaN for what is none."""
    try:
        return float(value) if isinstance(value, str) else np.nan
    except ValueError:
        return np.nan


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a version answered: NaN where it gave no valid answer, or was not asked."""

    values: Floats
    """Shape (n,), or (n, k)."""
    asked: Flags
    error: str = ""
    """Why it gave none at all."""
    logged: bool = False
    """Whether these are the answers that were recorded, because it cannot be run here."""

    @cached_property
    def there(self) -> Flags:
        """Which rows have an answer."""
        found: Flags = ~np.isnan(self.values if self.values.ndim == 1 else self.values[:, 0])
        return found


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A version, and its runtime where it can be run here."""

    name: str
    manifest: Manifest
    number: int | None = None
    """None of a version that is not registered."""
    runtime: Runtime | None = None
    why_not: str = ""
    """Why there is no runtime."""

    def run(self, columns: Columns, count: int, task: Task) -> tuple[Floats, str]:
        """Its answers to columns that fit its schema, NaN where they are not valid; and what it raised."""
        assert self.runtime is not None
        parts: list[Floats] = []
        try:
            for start in range(0, count, _AT_ONCE):
                part = {name: values[start : start + _AT_ONCE] for name, values in columns.items()}
                rows = min(_AT_ONCE, count - start)
                found = np.asarray(self.runtime.predict(part), dtype=np.float64)
                if found.ndim not in (1, 2) or len(found) != rows:
                    return np.full(count, np.nan), f"answers {rows} rows with the shape {found.shape}"
                parts.append(found)
            values = np.concatenate(parts) if parts else np.empty(0)
        except Exception as error:  # noqa: BLE001 - whatever a model raises is what the check is about
            return np.full(count, np.nan), f"raises {type(error).__name__}: {error}"
        if (values.ndim == 2) != (task in LISTED):
            words = "lists of numbers" if values.ndim == 2 else "single numbers"
            return np.full(count, np.nan), f"answers with {words}, which a {task} task does not predict"
        return _valid(values, task), ""


def _valid(values: Floats, task: Task) -> Floats:
    """Answers, NaN where the task has no such answer."""
    if values.ndim == 1:
        return np.where(predictions_fit(task, values), values, np.nan)
    lengths = np.full(len(values), values.shape[1], np.int64)
    return np.where(lists_fit(task, values.ravel(), lengths)[:, None], values, np.nan)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A version, what it is held to, and what it is held against."""

    lens: Lens
    rules: Checks
    version: Arm
    champion: Arm | None
    recent: Recent
    original: Arm | None = None
    """What the version was converted from, where that is a version too."""
    seconds: float = 1.0
    """How long latency is measured for each number of rows, at most."""

    @property
    def task(self) -> Task:
        """What is predicted."""
        return self.lens.policy.task

    @cached_property
    def inputs(self) -> Fitted:
        """Recent inputs as the version takes them."""
        return fitted(self.version.manifest.features, self.recent.features, len(self.recent))

    @cached_property
    def given(self) -> tuple[Columns, int]:
        """The rows of scenarios that the version takes, as columns, and how many."""
        features = self.version.manifest.features
        sent = [row for each in self.rules.scenarios.values() for row in each.rows]
        rows = [row for row in sent if problem(features, row, 0) is None]
        return as_columns(features, rows), len(rows)

    @cached_property
    def mine(self) -> Answers:
        """The version's answers to recent inputs."""
        return self._answers(self.version, self.inputs)

    @cached_property
    def theirs(self) -> Answers:
        """The champion's answers to recent inputs."""
        assert self.champion is not None
        sent = fitted(self.champion.manifest.features, self.recent.features, len(self.recent))
        return self._answers(self.champion, sent)

    def _answers(self, arm: Arm, inputs: Fitted) -> Answers:
        if arm.runtime is None:
            return _logged(arm, self.recent)
        rows = np.flatnonzero(inputs.fits)
        found, error = arm.run(inputs.rows(rows), len(rows), self.task)
        shape = (len(self.recent), *found.shape[1:])
        values: Floats = np.full(shape, np.nan)
        values[rows] = found
        return Answers(values=values, asked=inputs.fits, error=error)


def _logged(arm: Arm, recent: Recent) -> Answers:
    """What a version that cannot be run answered in traffic or in shadow."""
    values, number = recent.y_pred, arm.number
    if number is None:
        return Answers(
            values=np.full(values.shape, np.nan), asked=np.zeros(len(recent), bool), error=arm.why_not
        )
    answered, shadowed = recent.version == number, recent.shadow_version == number
    columns = answered if values.ndim == 1 else answered[:, None]
    found = np.where(columns, values, np.nan)
    if shadowed.any():
        shadow = recent.shadow_y_pred
        if shadow.shape == found.shape:
            found = np.where(shadowed if found.ndim == 1 else shadowed[:, None], shadow, found)
    return Answers(values=found, asked=answered | shadowed, error="", logged=True)


Decide = Callable[[Case], Shown]


def told(
    check: Check, status: Status, words: str, figures: Mapping[str, float] | None = None,
    details: Sequence[Detail] = (),
) -> Shown:  # fmt: skip
    """What a check answers; figures that no number is are left out."""
    kept = {name: float(value) for name, value in (figures or {}).items() if np.isfinite(value)}
    return Shown(
        finding=Finding(check=check, status=status, words=words, figures=kept), details=tuple(details)
    )


def drawn(rows: Int64, most: int) -> Int64:
    """At most so many of some rows, the same ones each time, in their order."""
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, most, replace=False))
