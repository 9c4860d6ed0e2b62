"""Features of a source: columns side by side, a struct, or JSON objects."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from enum import StrEnum

import pyarrow as pa
import pyarrow.compute as pc

from lossloop.app.importing.values import Read, is_number, is_text, numbers, objects, texts
from lossloop.core.errors import InputError


class Sort(StrEnum):
    """What values a feature has, where its column is text: all rows of a source have the same."""

    NUMBER = "number"
    TEXT = "text"


def features(
    raws: Sequence[pa.Array], names: Sequence[str], sorts: MutableMapping[str, Sort], *, several: bool
) -> Read:
    """One column of features.

    Args:
        raws: The source's columns.
        names: Their names.
        sorts: What values each column of text has; what is not there is added, as these rows say.
        several: Whether each column is a feature; else the one column holds all features of its row.

    Raises:
        InputError: A column's type is none that a feature has.
    """
    if not several:
        return _whole(raws[0])
    read = [_one(raw, name, sorts) for raw, name in zip(raws, names, strict=True)]
    bad = {place: words for each in reversed(read) for place, words in each.bad.items()}
    return Read(values=pa.StructArray.from_arrays([each.values for each in read], list(names)), bad=bad)


def _whole(raw: pa.Array) -> Read:
    if not pa.types.is_struct(raw.type):
        if not is_text(raw.type):
            raise InputError(
                f"the column of features has type {raw.type}; it must be structs or JSON objects, or write "
                "each feature's column: --map features=a,b",
                field="features",
            )
        return objects(raw, "features")
    names = [field.name for field in raw.type]
    return features(raw.flatten(), names, {}, several=True)


def _one(raw: pa.Array, name: str, sorts: MutableMapping[str, Sort]) -> Read:
    label = f"features.{name}"
    if pa.types.is_boolean(raw.type):
        return Read(values=raw)
    if is_number(raw.type):
        return Read(values=_without_nan(numbers(raw, label).values))
    if pa.types.is_null(raw.type) or not (pa.types.is_binary(raw.type) or pa.types.is_large_binary(raw.type)):
        return texts(raw, label)
    # The cells of a CSV are bytes: what they are is decided once for a source.
    if name not in sorts:
        if not pc.any(pc.greater(pc.binary_length(raw), 0)).as_py():
            return Read(values=pa.nulls(len(raw)))
        sorts[name] = Sort.TEXT if numbers(raw, label).bad else Sort.NUMBER
    if sorts[name] is Sort.TEXT:
        return texts(raw, label)
    read = numbers(raw, label)
    return Read(values=_without_nan(read.values), bad=read.bad)


def _without_nan(values: pa.Array) -> pa.Array:
    """Numbers; NaN, which says that there is none, is null."""
    return pc.if_else(pc.is_finite(values), values, pa.scalar(None, pa.float64()))


def known(said: Mapping[str, str]) -> dict[str, Sort]:
    """What values columns have, as it was written down."""
    return {name: Sort(sort) for name, sort in said.items()}
