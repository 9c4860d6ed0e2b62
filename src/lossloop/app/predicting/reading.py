"""A piece of an input as rows to predict: those that fit the version's features, and words on the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lossloop.app.importing.checking import Bad
from lossloop.app.importing.sources import Piece
from lossloop.app.importing.values import Read, numbers, texts, times
from lossloop.core.clock import Micros
from lossloop.core.errors import InputError, UnknownName
from lossloop.core.records import Record
from lossloop.registry import Feature, FeatureKind
from lossloop.serve import columns as rules


class Naming(Record, frozen=True):
    """Which columns of the inputs are what; features have their own names."""

    id: str = ""
    """Whose values name the predictions; without one, ids are made of the input and the row's number."""
    unit: str = ""
    time: str = ""
    timezone: str = ""
    """Of times that say none."""
    time_unit: str = ""
    """Of times that are numbers since 1970."""
    keep: tuple[str, ...] = ()
    """What else is written to the output, as it stands in the input."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is read of one input.

    Args:
        naming: What was said of its columns.
        features: What the version takes, and the input has.
        wanted: Its columns that are read, each once.
        ids: What ids are made of where no column has them, up to the row's number.
        began: The time of rows that have none.
        now: The receipt time: a row's own may not be more than minutes ahead of it.
        replays: Whether event times are trusted.
    """

    naming: Naming
    features: tuple[Feature, ...]
    wanted: tuple[str, ...]
    ids: str
    began: Micros
    now: Micros
    replays: bool = False


@dataclass(frozen=True, kw_only=True)
class Held:
    """Rows of a piece that can be predicted, as Arrow arrays of one length, and the others."""

    ids: pa.Array
    rows: np.ndarray[tuple[int], np.dtype[np.int64]]
    times: pa.Array
    units: pa.Array | None
    features: Mapping[str, pa.Array]
    kept: Mapping[str, pa.Array]
    bad: Sequence[Bad]

    def __len__(self) -> int:
        return len(self.rows)


def check_columns(naming: Naming, features: Sequence[Feature], names: Sequence[str], source: str) -> None:
    """Hold what is wanted against the columns that an input has.

    Raises:
        UnknownName: A column that was named is not there.
        InputError: A feature that may not be null has no column.
    """
    for field in ("id", "unit", "time"):
        if (said := getattr(naming, field)) and said not in names:
            raise UnknownName("column", said, names, field=field)
    for said in naming.keep:
        if said not in names:
            raise UnknownName("column", said, names, field="keep")
    for feature in features:
        if feature.name not in names and not feature.nullable:
            words = f"{source} has no column {feature.name!r}, which the version needs; it has: "
            raise InputError(words + ", ".join(map(repr, names[:12])), field=f"features.{feature.name}")


def wanted(naming: Naming, features: Sequence[Feature], names: Sequence[str]) -> tuple[str, ...]:
    """The columns of an input that are read, each once."""
    said = (naming.id, naming.unit, naming.time, *naming.keep, *(feature.name for feature in features))
    return tuple(dict.fromkeys(name for name in said if name and name in names))


def hold(piece: Piece, plan: Plan) -> Held:
    """Read a piece.

    Raises:
        InputError: A column's type is none that can be taken.
    """
    naming, count = plan.naming, len(piece)
    read: dict[str, Read] = {}
    if naming.id:
        read["id"] = _filled(texts(piece.columns[naming.id], "id"), "the id is empty")
    if naming.unit:
        read["unit"] = texts(piece.columns[naming.unit], "unit")
    if naming.time:
        read["time"] = _moments(piece.columns[naming.time], plan)
    taken = {
        feature.name: _feature(feature, piece.columns.get(feature.name), count) for feature in plan.features
    }
    read |= {f"features.{name}": each for name, each in taken.items()}
    problems: dict[int, tuple[str, str]] = {}
    for name, column in reversed(read.items()):
        problems.update({place: (name, words) for place, words in column.bad.items()})
    if naming.id:
        problems = {**_repeated(read["id"].values, piece), **problems}
    fit = np.ones(count, np.bool_)
    fit[list(problems)] = False
    return _held(piece, plan, read, fit, _bad(piece, plan, problems))


def _held(
    piece: Piece, plan: Plan, read: Mapping[str, Read], fit: np.ndarray[tuple[int], np.dtype[np.bool_]],
    bad: list[Bad],
) -> Held:  # fmt: skip
    kept = None if fit.all() else pa.array(fit)

    def of(values: pa.Array) -> pa.Array:
        return values if kept is None else values.filter(kept)

    rows = piece.rows[fit]
    made = pc.binary_join_element_wise(plan.ids, pa.array(rows).cast(pa.string()), "")
    moments = pa.array(np.full(len(rows), plan.began, np.int64)).cast(pa.timestamp("us", tz="UTC"))
    return Held(
        rows=rows,
        ids=of(read["id"].values) if "id" in read else made,
        times=of(read["time"].values) if "time" in read else moments,
        units=of(read["unit"].values) if "unit" in read else None,
        features={each.name: of(read[f"features.{each.name}"].values) for each in plan.features},
        kept={name: of(piece.columns[name]) for name in plan.naming.keep},
        bad=bad,
    )


def _bad(piece: Piece, plan: Plan, problems: Mapping[int, tuple[str, str]]) -> list[Bad]:
    malformed = [Bad(row=each.row, column="", reason=each.reason, text=each.text) for each in piece.malformed]
    found = [
        Bad(
            row=int(piece.rows[place]), column=_shown(name, plan.naming), reason=words,
            cells=cells(piece, place),
        )
        for place, (name, words) in problems.items()
    ]  # fmt: skip
    return sorted([*malformed, *found], key=lambda bad: bad.row)


def cells(piece: Piece, place: int) -> dict[str, object]:
    """What stands in a row."""
    return {name: column[place].as_py() for name, column in piece.columns.items()}


def _shown(name: str, naming: Naming) -> str:
    return str(getattr(naming, name, "")) or name.removeprefix("features.")


def _filled(read: Read, words: str) -> Read:
    empty = np.flatnonzero(~rules.filled(read.values)).tolist()
    checked = rules.texts(read.values)
    long = np.flatnonzero(~checked.fit & rules.filled(read.values)).tolist()
    bad = {**dict.fromkeys(empty, words), **dict.fromkeys(long, "the id is too long")}
    return Read(values=checked.values, bad={**bad, **read.bad})


def _repeated(ids: pa.Array, piece: Piece) -> dict[int, tuple[str, str]]:
    """Rows whose id an earlier row of the piece has: an id names one prediction."""
    codes = ids.dictionary_encode().indices.to_numpy(zero_copy_only=False)
    found, firsts, which = np.unique(codes, return_index=True, return_inverse=True)
    if len(found) == len(codes):
        return {}
    again = np.flatnonzero(firsts[which] != np.arange(len(codes)))
    bad = {}
    for place in again.tolist():
        first, id = int(piece.rows[firsts[which[place]]]), ids[place].as_py()
        if id is not None:
            bad[place] = ("id", f"row {first} has the same id {id!r}")
    return bad


def _moments(raw: pa.Array, plan: Plan) -> Read:
    naming = plan.naming
    read = times(raw, "time", zone=naming.timezone, unit=naming.time_unit, column=naming.time)
    checked = rules.moments(read.values, now=plan.now, replays=plan.replays)
    empty = np.flatnonzero(~rules.filled(read.values)).tolist()
    ahead = np.flatnonzero(~checked.fit).tolist()
    bad = dict.fromkeys(ahead, "the time is in the future, or in no calendar")
    return Read(values=checked.values, bad={**bad, **dict.fromkeys(empty, "the time is empty"), **read.bad})


def _feature(feature: Feature, raw: pa.Array | None, count: int) -> Read:
    """A feature's column: float64 or text, null where there is none; what does not fit is bad."""
    name = f"feature {feature.name!r}"
    if feature.kind is FeatureKind.CATEGORY:
        if raw is None:
            return Read(values=pa.nulls(count, pa.string()))
        read = texts(raw.cast(pa.string()) if pa.types.is_floating(raw.type) else raw, name)
    elif raw is None:
        return Read(values=pa.nulls(count, pa.float64()))
    else:
        read = _finite(numbers(raw, name), name)
    if feature.nullable or not read.values.null_count:
        return read
    missing = np.flatnonzero(~rules.filled(read.values)).tolist()
    return Read(values=read.values, bad={**dict.fromkeys(missing, f"{name} is missing"), **read.bad})


def _finite(read: Read, name: str) -> Read:
    """Numbers; NaN, which says that there is none, is null, and an infinite one is bad."""
    values = read.values.cast(pa.float64())
    plain = values.to_numpy(zero_copy_only=False)
    bad = dict.fromkeys(np.flatnonzero(np.isinf(plain)).tolist(), f"{name} must be a finite number")
    there = np.isfinite(plain)
    if not there.all():
        values = pa.array(plain, mask=~there)
    return Read(values=values, bad={**bad, **read.bad})
