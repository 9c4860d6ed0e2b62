"""A piece of a source against what the log takes: facts of the rows that fit, and words on those that do not.

The rules are those of the endpoints that record (`serve.columns`, and `serve.rowwise` in words). Two differ:
a prediction has to say its time, and an id may stand twice. Of predictions the join keeps the first. Of the
labels that stand in one piece only the last is sent, so that the same piece sent again changes nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from lossloop.app.importing.features import Sort, features
from lossloop.app.importing.mapping import Plan
from lossloop.app.importing.sources import Piece
from lossloop.app.importing.values import Read, joined, numbers, texts, times, vectors, whole
from lossloop.core.errors import InputError
from lossloop.core.tasks import LISTED, LISTED_LABELS, Mask, Task
from lossloop.ledger import facts
from lossloop.ledger.frames import Kind
from lossloop.serve import columns
from lossloop.serve.columns import Checked
from lossloop.serve.rowwise import Terms, read_happened, read_recorded

HISTORY = {b"history": b"1"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Bad:
    """A row that was not taken.

    Args:
        row: Its number in the source, from 1.
        column: The source's name of the column that is wrong; empty where the row as a whole is.
        reason: What is wrong.
        cells: What stands in the columns that were read, by the source's names.
        text: What stands there instead of a row.
    """

    row: int
    column: str
    reason: str
    cells: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """What is to be logged of a piece, and what is not.

    `superseded` counts labels that a later row of the piece says anew.
    """

    facts: pa.RecordBatch | None
    taken: int
    bad: list[Bad]
    superseded: int = 0


def hold(piece: Piece, plan: Plan, terms: Terms, sorts: MutableMapping[str, Sort], *, history: bool) -> Held:
    """Check a piece.

    Args:
        piece: Rows of a source.
        plan: Which of its columns is what.
        terms: What they are held against.
        sorts: What values features have; added to.
        history: Whether the facts are marked as brought in later.

    Raises:
        InputError: A column's type is none that can be taken.
    """
    malformed = [Bad(row=each.row, column="", reason=each.reason, text=each.text) for each in piece.malformed]
    if not len(piece):
        return Held(facts=None, taken=0, bad=malformed)
    read = _read(piece, plan, terms, sorts)
    checked = _checked(read, plan, terms)
    fit = columns.all_of(len(piece))
    for each in checked.values():
        fit = fit & each.fit
    problems: dict[int, tuple[str, str]] = {}
    for name, column in reversed(read.items()):
        problems.update({place: (name, words) for place, words in column.bad.items()})
    fit[list(problems)] = False
    for place in np.flatnonzero(~fit).tolist():
        if place not in problems:
            problems[place] = _worded(read, checked, place, plan, terms)
    bad = [
        Bad(
            row=int(piece.rows[place]), column=plan.shown(name), reason=words,
            cells={each: _cell(column[place]) for each, column in piece.columns.items()},
        )
        for place, (name, words) in sorted(problems.items())
    ]  # fmt: skip
    taken = int(np.count_nonzero(fit))
    superseded = 0
    if plan.kind is Kind.OUTCOME:
        last = _last_of_each(checked["id"].values, fit)
        superseded, fit = taken - int(np.count_nonzero(last)), last
    batch = _facts(checked, fit, plan.kind, terms.traffic.model, history=history) if fit.any() else None
    return Held(facts=batch, taken=taken, bad=sorted([*malformed, *bad], key=_row_of), superseded=superseded)


def _row_of(bad: Bad) -> int:
    return bad.row


# What the source says.


def _read(piece: Piece, plan: Plan, terms: Terms, sorts: MutableMapping[str, Sort]) -> dict[str, Read]:
    read = {"id": _ids(piece, plan)}
    for name, theirs in plan.columns.items():
        if name == "id":
            continue
        raws = [piece.columns[each] for each in theirs]
        if name == "features":
            read[name] = (
                features(raws, theirs, sorts, several=name in plan.several)
                if raws
                else Read(values=pa.nulls(len(piece)))
            )
        elif _is_list(name, terms.traffic.task):
            read[name] = vectors(raws, name)
        elif len(raws) > 1:
            words = f"{name} of a {terms.traffic.task} task is one column, not {len(raws)}"
            raise InputError(words, field=f"map.{name}")
        else:
            read[name] = _scalar(name, raws[0], plan)
    if plan.naming.version is not None and plan.kind is Kind.PREDICTION:
        read.setdefault("version", Read(values=pa.array(np.full(len(piece), plan.naming.version, np.int64))))
    return read


_TEXTS = frozenset({"unit", "role", "reason", "error"})


def _is_list(name: str, task: Task) -> bool:
    return (name == "y_pred" and task in LISTED) or (name == "y_true" and task in LISTED_LABELS)


def _ids(piece: Piece, plan: Plan) -> Read:
    names = plan.naming.id_from
    if names:
        return joined([piece.columns[name] for name in names], names)
    read = texts(piece.columns[plan.columns["id"][0]], "id")
    bad = dict.fromkeys(np.flatnonzero(~columns.filled(read.values)).tolist(), "the id is empty")
    return Read(values=read.values, bad={**bad, **read.bad})


def _scalar(name: str, raw: pa.Array, plan: Plan) -> Read:
    if name == "time":
        said = plan.naming
        read = times(raw, name, zone=said.timezone, unit=said.time_unit, column=plan.shown(name))
        if plan.kind is Kind.OUTCOME:
            return read
        bad = dict.fromkeys(np.flatnonzero(~columns.filled(read.values)).tolist(), "the time is empty")
        return Read(values=read.values, bad={**bad, **read.bad})
    if name == "version":
        return whole(raw, name)
    if name == "y_true":
        return _labels(raw, name, plan)
    return texts(raw, name) if name in _TEXTS else numbers(raw, name)


def _labels(raw: pa.Array, name: str, plan: Plan) -> Read:
    read = numbers(raw, name, plan.naming.labels)
    if plan.naming.labels:
        return read
    hint = "; a word gets its number by --label WORD=NUMBER"
    return Read(values=read.values, bad={place: words + hint for place, words in read.bad.items()})


# What the log takes.


def _checked(read: Mapping[str, Read], plan: Plan, terms: Terms) -> dict[str, Checked]:
    """Each column by its rules; a value that could not be read is null here."""
    values = {name: each.values for name, each in read.items()}
    task = terms.traffic.task
    found = {"id": columns.texts(values["id"])}
    if plan.kind is Kind.PREDICTION:
        found["version"] = columns.versions(values["version"], terms.known)
        failed = values.get("error", pa.nulls(len(values["id"])))
        found["y_pred"] = columns.answers(values["y_pred"], task, failed)
    else:
        found["y_true"] = columns.labels(values["y_true"], task)
    count = len(values["id"])
    moments = values.get("time", pa.nulls(count, facts.TIME))
    found["time"] = columns.moments(moments, now=terms.now, replays=terms.replays)
    for name, check in _OPTIONAL.items():
        if name in values:
            found[name] = check(values[name])
    if "reason" in found:
        alone = ~(columns.filled(found["reason"].values) & columns.filled(found["y_true"].values))
        found["reason"] = Checked(found["reason"].values, found["reason"].fit & alone)
    return found


def _as_they_are(values: pa.Array) -> Checked:
    return Checked(values, columns.all_of(len(values)))


_OPTIONAL = {
    "unit": columns.texts,
    "role": columns.roles,
    "propensity": columns.propensities,
    "features": _as_they_are,
    "reason": columns.texts,
    "latency_ms": columns.latencies,
    "error": columns.texts,
}


def _worded(
    read: Mapping[str, Read], checked: Mapping[str, Checked], place: int, plan: Plan, terms: Terms
) -> tuple[str, str]:
    """The field of a row that does not fit, and why."""
    row = {name: _plain(each.values[place]) for name, each in read.items() if name != "features"}
    try:
        (read_recorded if plan.kind is Kind.PREDICTION else read_happened)(row, place, terms)
    except InputError as error:
        return error.field or "", str(error)
    wrong = next((name for name, each in checked.items() if not each.fit[place]), "")
    return wrong, f"{wrong or 'this row'} cannot be taken"


def _cell(value: pa.Scalar) -> Any:
    """A value as a source has it; a time that is in no calendar as its number."""
    with contextlib.suppress(OverflowError, ValueError):
        return value.as_py()
    return str(value.cast(pa.int64()).as_py())


def _plain(value: pa.Scalar) -> Any:
    """A value as a sender of rows would write it."""
    if pa.types.is_timestamp(value.type) and value.is_valid:
        return f"{np.datetime64(value.cast(pa.int64()).as_py(), 'us')}Z"
    return value.as_py()


def _last_of_each(ids: pa.Array, fit: Mask) -> Mask:
    """The rows that fit, less those whose id a later one of them has. Shape (n,)."""
    places = np.flatnonzero(fit)[::-1]
    codes = ids.take(pa.array(places)).dictionary_encode().indices.to_numpy(zero_copy_only=False)
    _, firsts = np.unique(codes, return_index=True)
    kept = np.zeros(len(fit), np.bool_)
    kept[places[firsts]] = True
    return kept


def _facts(
    checked: Mapping[str, Checked], fit: Mask, kind: Kind, model: str, *, history: bool
) -> pa.RecordBatch:
    kept = pa.array(fit)
    values = {name: each.values if fit.all() else each.values.filter(kept) for name, each in checked.items()}
    if kind is Kind.PREDICTION:
        batch = facts.predictions(values, model=model)
    else:
        batch = facts.outcomes(
            values["id"], values["y_true"], values["time"], values.get("reason"), model=model
        )
    return batch.replace_schema_metadata({**batch.schema.metadata, **HISTORY}) if history else batch
