"""Features of a source: columns side by side, a struct, or JSON objects."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from enum import StrEnum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lossloop.app.importing.values import Read, is_number, is_text, numbers, objects, texts
from lossloop.core.errors import InputError


class Sort(StrEnum):
    """What values a feature has. It is the same for all rows of a model, or its history were no table."""

    NUMBER = "number"
    TEXT = "text"
    TRUTH = "truth"


def features(
    raws: Sequence[pa.Array], names: Sequence[str], sorts: MutableMapping[str, Sort], *, several: bool
) -> Read:
    """One column of features.

    Args:
        raws: The source's columns.
        names: Their names.
        sorts: What values each feature has; of one that is not there these rows decide, and it is added.
        several: Whether each column is a feature; else the one column holds all features of its row.

    Raises:
        InputError: A column's type is none that a feature has.
    """
    if not several:
        return _whole(raws[0], sorts)
    read = [_one(raw, name, sorts) for raw, name in zip(raws, names, strict=True)]
    bad = {place: words for each in reversed(read) for place, words in each.bad.items()}
    return Read(values=pa.StructArray.from_arrays([each.values for each in read], list(names)), bad=bad)


def _whole(raw: pa.Array, sorts: MutableMapping[str, Sort]) -> Read:
    if not pa.types.is_struct(raw.type):
        if not is_text(raw.type):
            raise InputError(
                f"the column of features has type {raw.type}; it must be structs or JSON objects, or write "
                "each feature's column: --map features=a,b",
                field="features",
            )
        return objects(raw, "features")
    names = [field.name for field in raw.type]
    return features(raw.flatten(), names, sorts, several=True)


def _one(raw: pa.Array, name: str, sorts: MutableMapping[str, Sort]) -> Read:
    label = f"features.{name}"
    if name not in sorts:
        if _says_nothing(raw):
            return Read(values=pa.nulls(len(raw)))
        sorts[name] = _sort_of(raw, label)
    if sorts[name] is Sort.TEXT:
        return _texts(raw, label)
    if sorts[name] is Sort.NUMBER:
        read = numbers(raw, label)
        return Read(values=_without_nan(read.values.cast(pa.float64())), bad=read.bad)
    return _truths(raw, label)


def _says_nothing(raw: pa.Array) -> bool:
    if pa.types.is_binary(raw.type):  # cells of a CSV; an empty one is null
        return not pc.any(pc.greater(pc.binary_length(raw), 0)).as_py()
    return bool(raw.null_count == len(raw))


def _sort_of(raw: pa.Array, label: str) -> Sort:
    if pa.types.is_boolean(raw.type):
        return Sort.TRUTH
    if is_number(raw.type):
        return Sort.NUMBER
    cells = pa.types.is_binary(raw.type)
    return Sort.NUMBER if cells and not numbers(raw, label).bad else Sort.TEXT


def _texts(raw: pa.Array, label: str) -> Read:
    return texts(raw.cast(pa.string()) if pa.types.is_floating(raw.type) else raw, label)


def _truths(raw: pa.Array, label: str) -> Read:
    if pa.types.is_boolean(raw.type):
        return Read(values=raw)
    read = numbers(raw, label, {})
    floats = read.values
    fit = pc.or_kleene(pc.equal(floats, 0.0), pc.equal(floats, 1.0))
    wrong = np.flatnonzero(~fit.fill_null(True).to_numpy(zero_copy_only=False)).tolist()
    bad = {place: f"{label} must be true or false, not {floats[place].as_py()}" for place in wrong}
    return Read(
        values=pc.if_else(fit, pc.equal(floats, 1.0), pa.scalar(None, pa.bool_())), bad={**bad, **read.bad}
    )


def _without_nan(values: pa.Array) -> pa.Array:
    """Numbers; NaN, which says that there is none, is null."""
    return pc.if_else(pc.is_finite(values), values, pa.scalar(None, pa.float64()))


def known(said: Mapping[str, str]) -> dict[str, Sort]:
    """What values columns have, as it was written down."""
    return {name: Sort(sort) for name, sort in said.items()}
