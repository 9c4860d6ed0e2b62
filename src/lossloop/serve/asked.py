"""Rows to predict, by column: what a request becomes once it is read, and what a batch of requests is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np

from lossloop.core.clock import Micros
from lossloop.core.errors import InputError
from lossloop.core.ids import new_id
from lossloop.registry import FeatureKind
from lossloop.serve.batch import check_size
from lossloop.serve.given import Given, Values
from lossloop.serve.ids import new_ids
from lossloop.serve.reading import check_first, check_shape, content, moment, text
from lossloop.serve.repeats import Sent
from lossloop.serve.schema import TYPES, Schema

KEYS = ("id", "unit", "time", "features")
_KEYS = frozenset(KEYS)


@dataclass(kw_only=True, slots=True)
class Asked:
    """Rows that fit a schema: n of each column."""

    ids: list[str]
    units: list[str | None]
    times: list[Micros]
    contents: list[bytes | None]
    """Digests of what was sent, None where its id was made here: nobody sends that again."""
    features: Mapping[str, Values]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, places: Sequence[int]) -> Asked:
        """Some of the rows, in the order of their places."""
        return Asked(
            ids=[self.ids[place] for place in places],
            units=[self.units[place] for place in places],
            times=[self.times[place] for place in places],
            contents=[self.contents[place] for place in places],
            features={
                name: values[list(places)] if isinstance(values, np.ndarray) else [values[p] for p in places]
                for name, values in self.features.items()
            },
        )


@dataclass(kw_only=True, slots=True)
class Read:
    """A request: its good rows, where each stands in it, and what is wrong with the others."""

    places: list[int]
    asked: Asked
    sent: list[tuple[int, Sent]]
    """Of rows that came with an id: where each stands among the good ones, and what was sent."""
    problems: list[InputError] = field(default_factory=list)


def read(schema: Schema, rows: Sequence[Any] | Given, *, now: Micros, replays: bool) -> Read:
    """Read rows to predict; a bad one is a problem, never the end of the good ones."""
    if isinstance(rows, Given):
        check_size(rows.count)
        return _read_given(schema, rows, now) or _read_rows(schema, rows.rows(), now, replays)
    check_size(len(rows) if isinstance(rows, list) else 0)
    return _read_plain(schema, rows, now) or _read_rows(schema, rows, now, replays)


def joined(parts: Sequence[Asked], schema: Schema) -> Asked:
    """The rows of several requests, one below the other, with their features as a runtime takes them."""
    features = {
        each.name: _column([part.features[each.name] for part in parts], TYPES[each.kind])
        for each in schema.features
    }
    if len(parts) == 1:
        one = parts[0]
        return Asked(ids=one.ids, units=one.units, times=one.times, contents=one.contents, features=features)
    return Asked(
        ids=list(chain.from_iterable([part.ids for part in parts])),
        units=list(chain.from_iterable([part.units for part in parts])),
        times=list(chain.from_iterable([part.times for part in parts])),
        contents=list(chain.from_iterable([part.contents for part in parts])),
        features=features,
    )


def _column(parts: Sequence[Values], kind: type[Any]) -> np.ndarray[Any, Any]:
    if any(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate([np.asarray(part, dtype=kind) for part in parts])
    return np.array(list(chain.from_iterable(parts)) if len(parts) > 1 else parts[0], dtype=kind)


def _read_plain(schema: Schema, rows: Sequence[Any], now: Micros) -> Read | None:
    """Good rows that say nothing but their features, as most do; None where one of them is another."""
    kept = []
    for row in rows:
        features = row.get("features") if type(row) is dict and len(row) == 1 else None
        if type(features) is not dict:
            return None
        kept.append(features)
    columns: Mapping[str, Values] | None
    if len(kept) < _SEVERAL:
        if not all(map(schema.fits, kept)):
            return None
        columns = {name: [row.get(name) for row in kept] for name in schema.names}
    elif (columns := schema.quick(kept)) is None:
        return None
    return _plain(columns, [None] * len(kept), now)


_SEVERAL = 8
"""Rows from which on looking at columns is faster than looking at rows."""


def _plain(
    features: Mapping[str, Values], units: list[str | None], now: Micros, made: Sequence[str] | None = None
) -> Read:
    """Rows that are all good, and whose ids were made for them, or are made here."""
    count = len(units)
    asked = Asked(
        ids=new_ids(count) if made is None else list(made),
        units=units,
        times=[now] * count,
        contents=[None] * count,
        features=features,
    )
    return Read(places=list(range(count)), asked=asked, sent=[])


def _read_rows(schema: Schema, rows: Sequence[Any], now: Micros, replays: bool) -> Read:
    places: list[int] = []
    kept: list[dict[str, Any]] = []
    asked = Asked(ids=[], units=[], times=[], contents=[], features={})
    found = Read(places=places, asked=asked, sent=[])
    seen: set[str] = set()
    for place, row in enumerate(rows):
        try:
            features = _features(schema, row, place, seen)
            _keep(found, row, place, now, replays)
        except InputError as error:
            found.problems.append(error)
            continue
        places.append(place)
        kept.append(features)
    asked.features = {name: [row.get(name) for row in kept] for name in schema.names}
    return found


def _features(schema: Schema, row: Any, place: int, seen: set[str]) -> dict[str, Any]:
    """The features of a row; raise InputError where it is none, or they are not what the schema says."""
    if type(row) is not dict or not row.keys() <= _KEYS:
        check_shape(row, place, KEYS)
    if "id" in row:
        check_first(row, place, seen)
    features = row.get("features")
    if not isinstance(features, dict):
        raise InputError("features must be an object of names to values", field="features", row=place)
    if not schema.fits(features):
        wrong = schema.problem(features, place)
        if wrong is not None:
            raise wrong
    return features


def _keep(found: Read, row: dict[str, Any], place: int, now: Micros, replays: bool) -> None:
    """Keep what stands beside a row's features."""
    asked = found.asked
    id, unit, at, sent = None, None, now, None
    if len(row) > 1:
        id, unit = text(row, "id", place), text(row, "unit", place)
        at = moment(row, place, now=now, replays=replays)
        if id is not None:
            sent = content(row)
            found.sent.append((len(asked.ids), Sent(id=id, content=sent)))
    asked.ids.append(id or new_id())
    asked.units.append(unit)
    asked.times.append(at)
    asked.contents.append(sent)


def _read_given(schema: Schema, given: Given, now: Micros) -> Read | None:
    """Columns as they are; None where not every row is good, or says who it is: those are read row by row."""
    if given.ids is not None or given.times is not None or not given.features.keys() <= set(schema.names):
        return None
    units: list[str | None] = [None] * given.count if given.units is None else list(given.units)
    if not all(unit is None or (type(unit) is str and 0 < len(unit) <= _SHORT) for unit in units):
        return None
    features: dict[str, Values] = {}
    for feature in schema.features:
        values = given.features.get(feature.name)
        column = _array(values, given.count, number=feature.kind is FeatureKind.NUMBER)
        if column is None or not (feature.nullable or _is_full(column)):
            return None
        features[feature.name] = column
    return _plain(features, units, now, given.made)


_SHORT = 64
"""Characters of a unit's name that need no closer look."""


def _array(values: Values | None, count: int, *, number: bool) -> np.ndarray[Any, Any] | None:
    """Values as an array of their kind; None where one of them is of another, or infinite."""
    if values is None:
        return np.full(count, np.nan if number else None, dtype=np.float64 if number else object)
    if not number:
        texts = np.asarray(values, dtype=object)
        return texts if all(each is None or type(each) is str for each in texts.tolist()) else None
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
        return None
    column = values.astype(np.float64)
    return None if np.isinf(column).any() else column


def _is_full(column: np.ndarray[Any, Any]) -> bool:
    if column.dtype == object:
        return None not in column.tolist()
    return not np.isnan(column).any()
