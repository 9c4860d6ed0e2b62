"""To which slices a row belongs, known long after its features: a number per row, in 10 bits per cut.

A cut by which a model's rows were ever told apart has a place in the number for good: 0 says that the row
came before the cut was asked for, 1 that it is one of the rest, and from 2 on each is a value, numbered as
values came. What the numbers mean is a small document of the store, made of the facts like any other: the
same facts give the same numbers.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lossloop.core.cuts import MOST_CUTS, TIMES, Axis, Cut
from lossloop.core.documents import Documents
from lossloop.core.records import Record

Int64 = npt.NDArray[np.int64]
Codes = tuple[Int64, list[str | None]]
"""For each row a place in a list of labels; None for what is no value to tell rows apart by."""

MOST_VALUES = 1_000
"""Values of a cut that have a slice of their own; those that come later are slices together: the rest."""
MOST_LENGTH = 100
"""Characters of a value; a longer one belongs to the rest."""
UNSAID, REST = 0, 1

SLICE_FEATURES = "slice_features"
"""The column of a row that has expired with those features by which rows were told apart."""

_BITS = 10
_MASK = (1 << _BITS) - 1
_FIRST = 2
_RANGES = re.compile(r"\[[^\[]*\]$")
"""What the key of an axis says behind its feature."""
_KIND = "slices"


class Dictionary(Record, frozen=True):
    """What the numbers of a model's rows mean: cuts in the order of their places, and their values."""

    cuts: tuple[str, ...] = ()
    """Keys of cuts."""
    values: tuple[tuple[str, ...], ...] = ()
    """Labels such as ``carrier=UA`` of each cut, from number 2 on."""

    def names(self, cut: Cut) -> tuple[str, ...]:
        """The labels of a cut by number, from 1 on; none where no row was ever told apart by it."""
        if cut.key not in self.cuts:
            return ()
        return (f"{cut.name}=other", *self.values[self.cuts.index(cut.key)])


_EMPTY = Dictionary()


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Sliced:
    """The slices of some rows; what the numbers mean is said beside them."""

    numbers: Int64 | None = None
    """Shape (n,); None where no row belongs to any slice."""
    dictionary: Dictionary = _EMPTY

    def __getitem__(self, wanted: Any) -> Sliced:
        """Of some of the rows."""
        if self.numbers is None:
            return self
        return Sliced(numbers=self.numbers[wanted], dictionary=self.dictionary)

    def by(self, cut: Cut) -> Int64 | None:
        """Each row's place in the cut's `Dictionary.names`, -1 where it has none; None where no row has."""
        if self.numbers is None or cut.key not in self.dictionary.cuts:
            return None
        place = self.dictionary.cuts.index(cut.key)
        return np.asarray(((self.numbers >> (_BITS * place)) & _MASK) - 1)


NOT_SLICED = Sliced()
"""Rows that belong to no slice."""


class Slicer:
    """Numbers the slices of a model's rows as they come.

    Args:
        documents: Where the dictionary lies; what is new is put there at once.
        model: Whose rows.
    """

    def __init__(self, documents: Documents, model: str) -> None:
        self._documents = documents
        self._model = model
        kept = dictionary_of(documents, model)
        self._cuts = list(kept.cuts)
        self._codes = [{label: code for code, label in enumerate(each, _FIRST)} for each in kept.values]

    def numbers(self, batch: pa.RecordBatch, cuts: Sequence[Cut]) -> Int64 | None:
        """The number of each row of a batch of predictions, shape (n,); None without cuts."""
        if not cuts:
            return None
        found, before = np.zeros(batch.num_rows, np.int64), self._size
        columns = _columns(batch, tuple(dict.fromkeys(axis.feature for cut in cuts for axis in cut.axes)))
        axes: dict[Axis, Codes] = {}
        for cut in cuts:
            place = self._place(cut)
            if place is None:
                continue
            for axis in cut.axes:
                if axis not in axes:
                    axes[axis] = _along(axis, columns.get(axis.feature), batch.num_rows)
            rows, labels = _together([axes[axis] for axis in cut.axes])
            codes = np.array([self._code(place, label) for label in labels], np.int64)
            found |= codes[rows] << (_BITS * place)
        if self._size != before:
            self._documents.put(_KIND, self._model, self._dictionary)
        return found

    @property
    def _size(self) -> tuple[int, int]:
        return len(self._cuts), sum(map(len, self._codes))

    @property
    def _dictionary(self) -> Dictionary:
        return Dictionary(cuts=tuple(self._cuts), values=tuple(map(tuple, self._codes)))

    def _place(self, cut: Cut) -> int | None:
        if cut.key not in self._cuts:
            if len(self._cuts) == MOST_CUTS:
                return None  # a policy that asks for more is refused
            self._cuts.append(cut.key)
            self._codes.append({})
        return self._cuts.index(cut.key)

    def _code(self, place: int, label: str | None) -> int:
        if label is None:
            return REST
        codes = self._codes[place]
        if label not in codes and len(codes) < MOST_VALUES:
            codes[label] = _FIRST + len(codes)
        return codes.get(label, REST)


def dictionary_of(documents: Documents, model: str) -> Dictionary:
    """What the numbers of a model's rows mean."""
    return documents.get(_KIND, model, Dictionary) or Dictionary()


def features_of(documents: Documents, model: str) -> frozenset[str]:
    """The features by which a model's rows were ever told apart."""
    axes = {axis for cut in dictionary_of(documents, model).cuts for axis in cut.split(TIMES)}
    return frozenset({*axes, *(_RANGES.sub("", axis) for axis in axes)})


def picked(batch: pa.RecordBatch, names: Collection[str]) -> pa.Array | None:
    """Only these of the features of a batch of predictions; None where there are none of them."""
    if "features" not in batch.schema.names or not names:
        return None
    features = batch.column("features")
    if pa.types.is_struct(features.type):
        fields = [field for field in features.type if field.name in names]
        columns = [pc.struct_field(features, [field.name]) for field in fields]
        return pa.StructArray.from_arrays(columns, fields=fields, mask=features.is_null()) if fields else None
    if not pa.types.is_string(features.type) and not pa.types.is_large_string(features.type):
        return None
    texts = [None if text is None else _picked(text, names) for text in features.to_pylist()]
    return pa.array(texts, features.type)


def _picked(text: str, names: Collection[str]) -> str:
    try:
        found = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError:
        return "{}"
    return msgspec.json.encode({name: raw for name, raw in found.items() if name in names}).decode()


def said(value: Any) -> str:
    """A feature's value in words; whole numbers without a point."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "none"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _together(axes: Sequence[Codes]) -> Codes:
    """What rows are along several axes at once."""
    rows, labels = axes[0]
    for more, theirs in axes[1:]:
        pairs, rows = np.unique(rows * len(theirs) + more, return_inverse=True)
        both = [(labels[pair // len(theirs)], theirs[pair % len(theirs)]) for pair in pairs.tolist()]
        labels = [None if None in pair else ", ".join(map(str, pair)) for pair in both]
    return rows, labels


def _along(axis: Axis, values: pa.Array | list[Any] | None, count: int) -> Codes:
    """What rows are along an axis."""
    if values is None:
        return np.zeros(count, np.int64), [_label(axis, None)]
    values = values if isinstance(values, pa.Array) else _alike(values)
    if axis.bins and isinstance(values, pa.Array) and _is_numeric(values.type):
        return _ranges(axis, values.cast(pa.float64()).to_numpy(zero_copy_only=False))
    if isinstance(values, pa.Array):
        encoded = values.dictionary_encode(null_encoding="encode")
        rows, found = encoded.indices.to_numpy(zero_copy_only=False), encoded.dictionary.to_pylist()
    else:
        places: dict[Any, int] = {}
        plain = [value if isinstance(value, _PLAIN) else _Other for value in values]
        # Of 1, 1.0 and True a dict makes one key; what they are called is the type's.
        found_rows = [places.setdefault((value, type(value)), len(places)) for value in plain]
        rows, found = np.array(found_rows, np.int64), [value for value, _ in places]
    labels: dict[str | None, int] = {}
    short = [labels.setdefault(_label(axis, value), len(labels)) for value in found]
    return np.array(short, np.int64)[rows], list(labels)


def _label(axis: Axis, value: Any) -> str | None:
    if value is _Other:
        return None
    name = axis.feature
    if isinstance(value, int) and abs(value) >= _TOO_LARGE:
        return None
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return f"{name}=none"
    if axis.bins:
        return None if isinstance(value, bool | str) else _range(axis, float(value))
    words = said(value)
    return None if len(words) > MOST_LENGTH else f"{name}={_quoted(words)}"


def _quoted(words: str) -> str:
    """A value that cannot be taken for more than one, for the rest, or for an order to a terminal."""
    plain = words.isprintable() and words.strip() == words and not any(each in words for each in ',="')
    return words if plain and words not in ("", "none", "other") else json.dumps(words)


def _is_numeric(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _ranges(axis: Axis, values: npt.NDArray[np.float64]) -> Codes:
    """In which range each number lies; NaN in none."""
    places = np.searchsorted(axis.bins, values, side="right")
    places[np.isnan(values)] = len(axis.bins) + 1
    used = np.flatnonzero(np.bincount(places))
    middles = [axis.bins[0] - 1.0, *axis.bins, None]
    labels = [_label(axis, middles[place]) for place in used.tolist()]
    return np.searchsorted(used, places), labels


def _range(axis: Axis, value: float) -> str:
    place = int(np.searchsorted(axis.bins, value, side="right"))
    low, high = (
        f"{end:g}" for end in (axis.bins[max(place - 1, 0)], axis.bins[min(place, len(axis.bins) - 1)])
    )
    if place == 0:
        return f"{axis.feature}<{high}"
    return f"{axis.feature}>={low}" if place == len(axis.bins) else f"{low}<={axis.feature}<{high}"


class _Other:
    """A value that is none to tell rows apart by, such as a list."""


_PLAIN = (str, int, float, type(None))
_TOO_LARGE = 10**MOST_LENGTH


def _alike(values: list[Any]) -> pa.Array | list[Any]:
    """Values of one type as a column, which is many times faster to work on."""
    kinds = set(map(type, values)) - {type(None)}
    if kinds == {str}:
        return pa.array(values, pa.string())
    if kinds and kinds <= {int, float}:
        with contextlib.suppress(OverflowError, pa.ArrowInvalid):
            return pa.array([None if value is None else float(value) for value in values], pa.float64())
    return values


def _columns(batch: pa.RecordBatch, names: tuple[str, ...]) -> Mapping[str, pa.Array | list[Any]]:
    """The features that are asked for, as the batch has them: columns, or read out of JSON."""
    kept = "features" if "features" in batch.schema.names else SLICE_FEATURES
    if kept not in batch.schema.names:
        return {}
    features = batch.column(kept)
    if pa.types.is_struct(features.type):
        there = {field.name for field in features.type}
        return {name: _plain(pc.struct_field(features, [name])) for name in names if name in there}
    if not pa.types.is_string(features.type) and not pa.types.is_large_string(features.type):
        return {}
    decoder = _decoder(names)
    rows = [_read(decoder, text) for text in features.to_pylist()]
    return {name: [row[place] for row in rows] for place, name in enumerate(names)}


def _plain(column: pa.Array) -> pa.Array | list[Any]:
    kind = column.type
    if pa.types.is_nested(kind):
        return [None if value is None else _Other for value in column.to_pylist()]
    return column.dictionary_decode() if pa.types.is_dictionary(kind) else column


@lru_cache(maxsize=64)
def _decoder(names: tuple[str, ...]) -> msgspec.json.Decoder[Any]:
    """Reads these keys of a JSON object, and passes the others over."""
    fields = {f"f{place}": name for place, name in enumerate(names)}
    wanted = msgspec.defstruct("Wanted", [(field, Any, None) for field in fields], rename=fields)
    return msgspec.json.Decoder(wanted)


def _read(decoder: msgspec.json.Decoder[Any], text: str | None) -> tuple[Any, ...]:
    try:
        return msgspec.structs.astuple(decoder.decode(text or "{}"))
    except msgspec.DecodeError:
        return msgspec.structs.astuple(decoder.decode("{}"))


__all__ = ["MOST_VALUES", "NOT_SLICED", "Dictionary", "Sliced", "Slicer", "dictionary_of", "said"]
