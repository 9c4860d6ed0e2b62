"""How often to retrain, from question to answer: the ledger is only read, and the user's target trains."""

from __future__ import annotations

import resource
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa

from lossloop.act.policy import Policy, Verb
from lossloop.act.retrain import Order, retrain
from lossloop.app.books import Books
from lossloop.app.home import Home
from lossloop.app.moments import moment
from lossloop.app.retraining.alarms import not_replayed, retraining_watches
from lossloop.app.retraining.base import Floats, Made, Predict, Replayed, Schedule, Stream, Train
from lossloop.app.retraining.replay import Tell, replay
from lossloop.core.clock import Micros
from lossloop.core.errors import InputError, UnknownName
from lossloop.core.records import Record
from lossloop.ledger.history import predicted
from lossloop.ledger.joined.keys import Keys
from lossloop.ledger.joined.table import Table, history_of
from lossloop.ledger.store import Store
from lossloop.registry import Artifacts, Feature, FeatureKind, Manifest
from lossloop.serve.runtimes import RUNTIMES, Columns, load
from lossloop.serve.schema import of_arrow

FIRST, EVERY = 28, (7, 28)
MOST_ROWS = 5_000_000
"""Whose features are held in memory."""


class Question(Record, frozen=True):
    """Which past, which schedules, and what trains."""

    model: str
    target: str = ""
    """A name in settings.yaml; the one that the policy retrains with if left out."""
    every: tuple[int, ...] = EVERY
    first: int = FIRST
    warm: bool = False
    """Whether each schedule is also tried with warm starts."""
    since: str | None = None


def how_often(home: Home, question: Question, *, tell: Tell = lambda done, of: None) -> Replayed:
    """Replay a model's past under schedules of retraining.

    Raises:
        UnknownName: There is no such model, or no such target in settings.yaml.
        InputError: The past is too short, or what the target makes cannot be run here.
        LossloopError: The target failed; the message holds the end of what it wrote.
    """
    store = home.state()
    try:
        books = Books(store)
        lens, policy = books.lens(question.model), books.policy(question.model)
        target = target_of(home, policy, question.target)
        stream = read_stream(home, store, books, question)
        with tempfile.TemporaryDirectory() as folder:
            train = child_of(target, policy, Path(folder))
            schedules = schedules_of(question, alarms=bool(retraining_watches(policy)))
            found = replay(stream, lens, schedules, train, first=question.first, tell=tell)
    finally:
        store.close()
    names = [name for name, _ in not_replayed(policy)]
    said = [f"not asked, as they look at predictions as they arrive: {', '.join(names)}"] if names else []
    if not retraining_watches(policy):
        said.append("the policy has no watch of outcomes, so there is no schedule on alarm")
    return replace_notes(found, said)


def replace_notes(found: Replayed, notes: Sequence[str]) -> Replayed:
    """An answer with what has to be said beside it, each once."""
    unjudged = [problem for course in found.courses for problem in course.unjudged]
    return Replayed(
        **{name: getattr(found, name) for name in found.__struct_fields__ if name != "notes"},
        notes=tuple(dict.fromkeys([*notes, *unjudged])),
    )


def schedules_of(question: Question, *, alarms: bool) -> list[Schedule]:
    """What is asked about: every so many blocks and on alarm, cold and, where asked for, warm.

    Raises:
        InputError: A number of blocks is below 1.
    """
    if any(each < 1 for each in question.every):
        raise InputError("a model can be trained every block at most: write 1 or more", field="every")
    found = []
    for warm in (False, True) if question.warm else (False,):
        start = ", warm" if warm else ""
        spans = sorted(set(question.every), reverse=True)
        found += [Schedule(name=f"every {each}{start}", every=each, warm=warm) for each in spans]
        if alarms:
            found.append(Schedule(name=f"on alarm{start}", on_alarm=True, warm=warm))
    return found


def target_of(home: Home, policy: Policy, name: str) -> str:
    """The code that trains: the named target of settings.yaml, or the one that the policy names.

    Raises:
        InputError: The policy names none, or several.
        UnknownName: The settings have no such target.
    """
    known = home.settings().retrain
    if not name:
        entries = [entry for each in policy.on.values() for entry in each]
        named = {entry[Verb.RETRAIN] for entry in entries if Verb.RETRAIN in entry}
        if len(named) != 1:
            raise InputError(
                f"the policy of {policy.model} retrains with {', '.join(sorted(named)) or 'nothing'}; choose "
                "a target of settings.yaml with --target",
                field="target",
            )
        (name,) = named
    if name not in known:
        raise UnknownName("retrain target", name, known, field="target")
    return known[name]


def read_stream(home: Home, store: Store, books: Books, question: Question) -> Stream:
    """A model's predictions with their features: those that were made, or else those that were imported.

    Raises:
        InputError: There are none in that time, or too many to hold.
    """
    calendar = books.policy(question.model).calendar
    since = moment(question.since, calendar, books.now(), "since")
    live = Table(store, question.model)
    table = live if len(live) else Table(store, history_of(question.model))
    start = 0 if since is None else table.rows_up_to("at", since - 1)
    if start:  # whole blocks only
        block = table.columns(["block"], np.array([max(start - 1, 0)]))[0]
        start = table.rows_up_to("block", int(block[0]))
    if len(table) - start > MOST_ROWS:
        raise InputError(
            f"features of at most {MOST_ROWS:,} predictions are held; these are {len(table) - start:,}: "
            "begin later with --since",
            field="since",
        )
    reader = home.log.reader()
    try:
        asked = predicted(reader, question.model)
    finally:
        reader.close()
    places = _places(table, asked, Keys(home.settings().secret))
    rows = table.slice(start, len(table))
    there = places[start:] >= 0  # of one that was erased the features are gone
    if not there.any():
        raise InputError(f"{question.model} has no predictions with features in that time", field="since")
    return Stream(rows=rows.pick(there), asked=asked.take(pa.array(places[start:][there])))


def _places(table: Table, asked: pa.Table, keys: Keys) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Where in `asked` each row of the table is, -1 where it is not. Shape (n,)."""
    found = np.full(len(table), -1, np.int64)
    if len(asked) and len(table):
        rows = table.find(*keys.of(asked["id"].combine_chunks()))
        here = np.flatnonzero(rows >= 0)
        found[rows[here]] = here
    return found


def child_of(target: str, policy: Policy, folder: Path) -> Train:
    """Trainings as the loop makes them: in a child process without secrets, which is given the rows."""
    artifacts = Artifacts(folder / "artifacts")

    def train(rows: pa.Table, at: Micros, previous: bytes | None) -> Made:
        order = Order(
            target=target, state=str(folder), model=policy.model, at=at, age=policy.labels.mature_after,
            loss=policy.loss, previous="" if previous is None else artifacts.put(previous),
        )  # fmt: skip
        before = _cpu_of_children()
        manifest = retrain(order, rows)
        artifact = artifacts.get(manifest.artifact)
        return Made(
            manifest=manifest, artifact=artifact, predict=predictor(manifest, artifact),
            cpu=_cpu_of_children() - before,
        )  # fmt: skip

    return train


def predictor(manifest: Manifest, artifact: bytes) -> Predict:
    """What a trained artifact answers, by columns.

    Raises:
        InputError: Nothing here runs it.
    """
    if manifest.runtime not in RUNTIMES:
        raise InputError(
            f"a replay runs what is trained; runtime {manifest.runtime!r} is served elsewhere",
            field="runtime",
        )
    runtime = load(manifest, artifact)

    def predict(asked: pa.Table) -> Floats:
        return np.asarray(runtime.predict(columns_of(asked, manifest.features)), dtype=np.float64)

    return predict


def columns_of(asked: pa.Table, features: Sequence[Feature]) -> Columns:
    """The features of rows as a runtime takes them, from columns of their own or from JSON.

    Raises:
        UnknownName: There is no such feature in any row.
    """
    lacking = [each.name for each in features if _place(asked, each.name) is None]
    if lacking and "features" in asked.column_names:
        texts = asked["features"].to_pylist()
        sent = [msgspec.json.decode(text) if text else {} for text in texts]
        for name in lacking:
            values = [row.get(name) for row in sent]
            if values and all(value is None for value in values):
                break
            asked = asked.append_column(name, pa.array(values))
    found = {}
    for each in features:
        if (place := _place(asked, each.name)) is None:
            raise UnknownName("feature", each.name, asked.column_names, field=f"features.{each.name}")
        wanted = pa.string() if each.kind is FeatureKind.CATEGORY else pa.float64()
        found[each.name] = of_arrow(asked[place].cast(wanted).combine_chunks())
    return found


def _place(asked: pa.Table, name: str) -> str | None:
    return next((each for each in (name, f"features.{name}") if each in asked.column_names), None)


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
