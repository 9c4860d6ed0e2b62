"""What an inference request and its answer are made of, whatever transport brought them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lossloop.core.errors import InputError
from lossloop.serve.batch import MOST_ROWS
from lossloop.serve.inference.datatypes import BYTES, Values, check_datatype

MOST_VALUES = 32 * 1024 * 1024
"""Of one tensor."""
MOST_TENSORS = 4096
"""Of one request."""
MOST_DIMENSIONS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Tensor:
    """Values of one datatype under a name: flat, in row-major order."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: Values
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """An output that is asked for."""

    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """Tensors to answer."""

    model: str
    version: str = ""
    """Empty for whichever version the traffic says."""
    id: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    inputs: Sequence[Tensor] = ()
    outputs: Sequence[Wanted] = ()
    """Empty for what is answered unasked."""
    patience: float | None = None
    """Seconds for which whoever asks waits, where the transport says so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """Tensors that answer."""

    model: str
    version: str
    id: str
    parameters: Mapping[str, str]
    """`prediction_id`, `version` and `role`: what it takes to send outcomes."""
    outputs: Sequence[Tensor]


def size_of(name: str, datatype: str, shape: Sequence[int]) -> int:
    """How many values a tensor has; raise InputError where its datatype or its shape cannot be.

    Checked before a value is read, since the shape says how much that will be.
    """
    check_datatype(datatype, f"inputs.{name}.datatype")
    if not 1 <= len(shape) <= MOST_DIMENSIONS or any(length < 0 for length in shape):
        raise InputError(
            f"{name}: a shape is a list of 1 to {MOST_DIMENSIONS} lengths from 0, not {list(shape)!r:.60}",
            field=f"inputs.{name}.shape",
        )
    most = MOST_ROWS if datatype == BYTES else MOST_VALUES  # texts belong to one feature each
    if shape[0] > MOST_ROWS or math.prod(shape) > most:
        raise InputError(
            f"{name}: at most {MOST_ROWS} rows and {most} values are taken; send smaller batches",
            field=f"inputs.{name}.shape",
        )
    return math.prod(shape)


def flat(data: Any, shape: Sequence[int], name: str) -> list[Any]:
    """The values of nested or flat lists, flat; raise InputError where the shape is another."""
    where = f"inputs.{name}.data"
    if not isinstance(data, list):
        raise InputError(f"{name}: data is a list, not {type(data).__name__}", field=where)
    level, depth = data, 1
    while level and isinstance(level[0], list):
        if depth == len(shape) or len(level) != math.prod(shape[:depth]):
            raise _misshapen(name, shape)
        nested, level = level, []
        for part in nested:
            if not isinstance(part, list) or len(part) != shape[depth]:
                raise _misshapen(name, shape)
            level += part
        depth += 1
    if len(level) != math.prod(shape):
        raise _misshapen(name, shape)
    return level


def _misshapen(name: str, shape: Sequence[int]) -> InputError:
    return InputError(f"{name}: data does not have the shape {list(shape)}", field=f"inputs.{name}.data")
