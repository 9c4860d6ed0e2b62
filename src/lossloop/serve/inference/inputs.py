"""Tensors in, rows to predict out.

A feature is an input tensor of its own, of shape [n] or [n, 1], under the feature's name; or, where all
features are numbers, they are the columns of one tensor of shape [n, features] under any name. Texts of n
rows under the names in ROW_TENSORS say what else belongs to a row; a feature of that name comes first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lossloop.core.errors import InputError, alternatives
from lossloop.core.ids import new_id
from lossloop.registry import Feature, FeatureKind
from lossloop.serve.batch import check_size
from lossloop.serve.given import Given
from lossloop.serve.inference.datatypes import BYTES, Array, Values, to_floats
from lossloop.serve.inference.tensors import Request, Tensor
from lossloop.serve.reading import LONGEST_NAME

PREDICTION_ID, UNIT, TIME = "prediction_id", "unit", "time"
ROW_TENSORS = (PREDICTION_ID, UNIT, TIME)
"""Names of inputs, and of parameters, that are about rows and no features."""


def read_rows(features: Sequence[Feature], request: Request) -> Given:
    """What a request asks to predict; one value that does not fit is the end of all of it.

    Raises:
        InputError: An input is missing, unknown, twice there, of the wrong shape or kind, or lacks a value.
    """
    tensors = _by_name(request.inputs)
    kinds = {feature.name: feature for feature in features}
    about = {name: tensors.pop(name) for name in ROW_TENSORS if name in tensors and name not in kinds}
    matrix = _matrix(features, tensors)
    columns = _columns_of(features, matrix) if matrix is not None else _each(kinds, tensors)
    lengths = {len(values) for values in columns.values()} or {1}
    if len(lengths) > 1:
        raise InputError(f"inputs have different numbers of rows: {sorted(lengths)}", field="inputs")
    count = lengths.pop()
    check_size(count)
    for feature in features:
        _check(feature, columns.get(feature.name))
    own = _texts(about, PREDICTION_ID, count) or _ids(request, count)
    return Given(
        count=count,
        features=columns,
        ids=own,
        made=None if own else _under(new_id(), count),
        units=_texts(about, UNIT, count) or _same(request, UNIT, count),
        times=_texts(about, TIME, count) or _same(request, TIME, count),
    )


def _ids(request: Request, count: int) -> list[str] | None:
    """The ids of the rows, None where the request has none."""
    base = parameter(request, PREDICTION_ID) or request.id
    if len(base) > LONGEST_NAME:  # before there is one of it for each row
        raise InputError(f"an id has {len(base)} characters; at most {LONGEST_NAME} are taken", field="id")
    return _under(base, count) if base else None


def _under(base: str, count: int) -> list[str]:
    """The id of a single row as it is; of several `base/0`, `base/1`, ..."""
    return [base] if count == 1 else [f"{base}/{row}" for row in range(count)]


def parameter(request: Request, name: str) -> str | None:
    """A parameter that is text; raise InputError where it is something else."""
    value = request.parameters.get(name)
    if value is not None and not isinstance(value, str):
        raise InputError(f"the parameter {name} must be text, not {value!r:.40}", field=f"parameters.{name}")
    return value or None


def _same(request: Request, name: str, count: int) -> list[str] | None:
    value = parameter(request, name)
    return None if value is None else [value] * count


def _by_name(inputs: Sequence[Tensor]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for tensor in inputs:
        if tensor.name in found:
            raise InputError(f"the input {tensor.name!r} stands twice in this request", field="inputs")
        found[tensor.name] = tensor
    return found


def _matrix(features: Sequence[Feature], tensors: Mapping[str, Tensor]) -> Tensor | None:
    """The one input that holds all features, if this is how they came."""
    if len(tensors) != 1:
        return None
    (tensor,) = tensors.values()
    named = any(feature.name == tensor.name for feature in features)
    if named and (len(tensor.shape) == 1 or tensor.shape[1:] == (1,)):
        return None
    if len(features) == 1 and len(tensor.shape) == 1:
        return tensor
    return tensor if len(tensor.shape) == 2 and (named or tensor.shape[1] == len(features)) else None


def _columns_of(features: Sequence[Feature], tensor: Tensor) -> dict[str, Values]:
    field = f"inputs.{tensor.name}"
    rows, width = tensor.shape[0], tensor.shape[1] if len(tensor.shape) == 2 else 1
    if width != len(features):
        raise InputError(
            f"{tensor.name} has {width} columns; there are {len(features)} features", field=field
        )
    categories = [feature.name for feature in features if feature.kind is FeatureKind.CATEGORY]
    if categories:
        raise InputError(
            f"{categories[0]!r} is a category: send each feature as an input of its own", field=field
        )
    table = _numbers(tensor).reshape(rows, width)
    return {feature.name: table[:, place] for place, feature in enumerate(features)}


def _each(kinds: Mapping[str, Feature], tensors: Mapping[str, Tensor]) -> dict[str, Values]:
    found: dict[str, Values] = {}
    for name, tensor in tensors.items():
        if name not in kinds:
            words = f"unknown input {name!r}; {alternatives(name, kinds)}"
            raise InputError(words, field=f"inputs.{name}")
        if len(tensor.shape) != 1 and tensor.shape[1:] != (1,):
            words = f"{name} has the shape {list(tensor.shape)}; a feature has [n] or [n, 1]"
            raise InputError(words, field=f"inputs.{name}.shape")
        found[name] = _numbers(tensor) if kinds[name].kind is FeatureKind.NUMBER else _category(tensor)
    return found


def _numbers(tensor: Tensor) -> Array:
    if isinstance(tensor.values, list):
        raise InputError(
            f"{tensor.name} is a number; send FP64, not BYTES", field=f"inputs.{tensor.name}.datatype"
        )
    return to_floats(tensor.values, f"inputs.{tensor.name}")


def _category(tensor: Tensor) -> list[str | None]:
    if not isinstance(tensor.values, list):
        words = f"{tensor.name} is a category; send BYTES, not {tensor.datatype}"
        raise InputError(words, field=f"inputs.{tensor.name}.datatype")
    return tensor.values


def _check(feature: Feature, values: Values | None) -> None:
    """Raise InputError where a feature lacks a value that it needs, or has one that is no number."""
    field = f"inputs.{feature.name}"
    if values is None:
        if not feature.nullable:
            raise InputError(f"the input {feature.name!r} is missing", field="inputs")
        return
    if isinstance(values, list):
        row = None if feature.nullable or None not in values else values.index(None)
    else:
        bad = ~np.isfinite(values)
        if not bad.any():
            return
        endless = np.isinf(values)
        if endless.any():
            raise InputError(f"{feature.name} must be finite", field=field, row=int(np.argmax(endless)))
        row = None if feature.nullable else int(np.argmax(bad))
    if row is not None:
        raise InputError(f"{feature.name} has no value in row {row}", field=field, row=row)


def _texts(about: Mapping[str, Tensor], name: str, count: int) -> list[Any] | None:
    tensor = about.get(name)
    if tensor is None:
        return None
    if tensor.datatype != BYTES or not isinstance(tensor.values, list) or len(tensor.values) != count:
        raise InputError(f"{name} must be BYTES of {count} texts, one a row", field=f"inputs.{name}")
    return [value or None for value in tensor.values]
