"""What is asked about skew, and what was found.

answers     what the version says to the inputs in the log, against the answers in the log
features    what its transform makes of raw inputs from a file, against the features that were sent
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from lossloop.app.books import Books
from lossloop.app.home import Home
from lossloop.app.importing.sources import Piece
from lossloop.app.moments import moment
from lossloop.app.predicting import Input, Naming, inputs
from lossloop.app.predicting.reading import Plan, check_columns, hold, wanted
from lossloop.app.skew.comparing import Difference, compare
from lossloop.app.skew.sampling import Sampled, Wanted, sample
from lossloop.app.trusting import trust_of
from lossloop.core.clock import Micros
from lossloop.core.errors import Conflict, InputError
from lossloop.core.records import Record
from lossloop.ledger.store import Store
from lossloop.registry import By, Feature, Version, versions
from lossloop.serve.runtimes import EXTERNAL, Columns
from lossloop.serve.schema import of_arrow
from lossloop.serve.transforms import load_transform, load_version

MOST_RAW = 1_000_000
"""Rows of raw inputs that are looked up."""


class Question(Record, frozen=True):
    """What is checked.

    Raises:
        InputError: A number lies outside of what is possible, or raw inputs have no column of ids.
    """

    model: str
    version: int | None = None
    """None for the champion."""
    rows: int = 10_000
    """How many predictions are drawn at most."""
    since: str | None = None
    raw: tuple[str, ...] = ()
    """Files of raw inputs."""
    id: str = ""
    """Their column that has the ids of the predictions."""
    tolerance: float = 1e-5
    allow: float = 0.0
    """The share of rows that may differ."""

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise InputError("draw one row or more", field="rows")
        if not 0.0 <= self.allow < 1.0:
            raise InputError("the share that may differ lies in [0, 1)", field="allow")
        if not 0.0 <= self.tolerance < 1.0:
            raise InputError("the tolerance lies in [0, 1)", field="tolerance")
        if self.raw and not self.id:
            raise InputError("say which column of the raw inputs has the ids: --id COLUMN", field="id")


class Found(Record, frozen=True, omit_defaults=False):
    """What was found, in the order in which it was compared."""

    model: str
    version: int
    seen: int
    """Predictions that could be drawn."""
    rows: int
    """Predictions that were."""
    answers: Difference | None
    """None where Lossloop cannot run the version."""
    features: tuple[Difference, ...]
    matched: int
    """Predictions of which there are raw inputs."""
    unread: int
    """Rows of raw inputs that the transform does not take."""
    skewed: tuple[str, ...]
    """What differs in more rows than is allowed."""

    @property
    def fine(self) -> bool:
        return not self.skewed


def check_skew(home: Home, question: Question) -> Found:
    """Draw predictions, recompute them offline, and compare.

    Raises:
        UnknownName: There is no such model or version.
        Conflict: There is no champion.
        InputError: Nothing was logged that could be compared, or raw inputs cannot be read.
    """
    state = home.state()
    try:
        version, since = _version(state, question)
    finally:
        state.close()
    features = version.manifest.features
    if not features:
        raise InputError(f"{version.name} does not say its features", field="features")
    raw = _raw(home, question, version) if question.raw else None
    with contextlib.closing(home.log.reader()) as log:
        mine = Wanted(
            model=question.model, version=version.number, rows=question.rows, since=since,
            ids=None if raw is None else pa.array(list(raw.places), pa.string()),
        )  # fmt: skip
        drawn = sample(log, mine, features)
    if not len(drawn):
        which = "of these ids " if raw is not None else ""
        raise InputError(
            f"the log has no predictions {which}by {version.name} with their features", field="model"
        )
    answers = _answers(home, version, drawn, question.tolerance)
    compared = () if raw is None else tuple(_compared(raw, drawn, features, question.tolerance))
    both = [*compared, *([answers] if answers is not None else [])]
    return Found(
        model=question.model, version=version.number, seen=drawn.seen, rows=len(drawn), answers=answers,
        features=compared, matched=0 if raw is None else len(drawn), unread=0 if raw is None else raw.unread,
        skewed=tuple(each.name for each in both if each.skewed(question.allow)),
    )  # fmt: skip


def _version(state: Store, question: Question) -> tuple[Version, Micros | None]:
    books = Books(state)
    policy = books.policy(question.model)
    traffic = books.traffic(question.model)
    number = question.version or (None if traffic is None else traffic.champion)
    if number is None:
        raise Conflict(f"{question.model} has no champion yet; say which version with --version")
    since = moment(question.since, policy.calendar, books.now(), "since")
    return versions.find(state, question.model, number), since


def _answers(home: Home, version: Version, drawn: Sampled, tolerance: float) -> Difference | None:
    if version.manifest.runtime == EXTERNAL:
        return None
    runtime = load_version(version.manifest, home.artifacts.get, trust_of(home).permit(version))
    try:
        made = runtime.predict(drawn.features)
    finally:
        close = getattr(runtime, "close", None)
        if close is not None:
            close()
    return compare("y_pred", drawn.ids, drawn.y_pred, np.asarray(made, np.float64), tolerance=tolerance)


@dataclass(frozen=True, kw_only=True)
class _Raw:
    """What should have been sent, by id."""

    places: Mapping[str, int]
    columns: Columns
    unread: int


def _raw(home: Home, question: Question, version: Version) -> _Raw:
    """Read raw inputs, and make of them what should have been sent."""
    transform = version.manifest.transform
    made_here = transform is not None and transform.by is By.CALLER
    features = transform.inputs if made_here and transform is not None else version.manifest.features
    ids: list[str] = []
    parts: list[Columns] = []
    unread = 0
    for each in inputs(question.raw):
        for held_ids, columns, bad in _read(each, Naming(id=question.id), features):
            ids += held_ids
            parts.append(columns)
            unread += bad
            if len(ids) > MOST_RAW:
                raise InputError(f"raw inputs have more than {MOST_RAW:,} rows; give fewer", field="raw")
    if not ids:
        raise InputError(f"not one row of {question.raw[0]} is what the transform takes", field="raw")
    together = {each.name: np.concatenate([part[each.name] for part in parts]) for each in features}
    if made_here and transform is not None:
        permit = trust_of(home).permit(version)
        data = home.artifacts.get(transform.artifact)
        made = load_transform(transform, data, version.manifest.process, permit)
        together = dict(made.apply(together))
    return _Raw(places={id: place for place, id in enumerate(ids)}, columns=together, unread=unread)


def _read(
    each: Input, naming: Naming, features: Sequence[Feature]
) -> Iterable[tuple[list[str], Columns, int]]:
    with contextlib.closing(each.open()) as source:
        names = source.columns()
        check_columns(naming, features, names, source.name)
        plan = Plan(
            naming=naming, features=tuple(features), wanted=wanted(naming, features, names), ids="", began=0,
            now=0,
        )  # fmt: skip
        for piece in source.pieces(plan.wanted):
            yield _held(piece, plan)


def _held(piece: Piece, plan: Plan) -> tuple[list[str], Columns, int]:
    held = hold(piece, plan)
    columns = {name: of_arrow(values) for name, values in held.features.items()}
    return held.ids.to_pylist(), columns, len(held.bad)


def _compared(
    raw: _Raw, drawn: Sampled, features: Sequence[Feature], tolerance: float
) -> Iterable[Difference]:
    places = np.array([raw.places[id] for id in drawn.ids])
    for feature in features:
        made = raw.columns[feature.name][places]
        yield compare(feature.name, drawn.ids, drawn.features[feature.name], made, tolerance=tolerance)
