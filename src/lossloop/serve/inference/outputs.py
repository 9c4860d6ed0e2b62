"""Answers in, tensors out: what is answered unasked, and what can be asked for by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lossloop.core.errors import InputError, alternatives
from lossloop.serve.inference.datatypes import BYTES, FP64, INT64, Array
from lossloop.serve.inference.inputs import PREDICTION_ID
from lossloop.serve.inference.tensors import Reply, Request, Tensor, Wanted
from lossloop.serve.repeats import Answer

Y_PRED, VERSION, ROLE, ACTION = "y_pred", "version", "role", "action"
OUTPUTS = (Y_PRED, PREDICTION_ID, VERSION, ROLE, ACTION)
_UNASKED = (Wanted(name=Y_PRED),)
_REFUSED = ("classification", "shared_memory_region")
"""Parameters of outputs that ask for what is not done here; to pass over them would answer something else."""


def check_outputs(outputs: Sequence[Wanted]) -> None:
    """Raise InputError for an output that there is not: before anything is predicted."""
    seen: set[str] = set()
    for wanted in outputs:
        if wanted.name not in OUTPUTS:
            words = f"unknown output {wanted.name!r}; {alternatives(wanted.name, OUTPUTS)}"
            raise InputError(words, field=f"outputs.{wanted.name}")
        if wanted.name in seen:
            raise InputError(f"the output {wanted.name!r} is asked for twice", field="outputs")
        seen.add(wanted.name)
        for name in _REFUSED:
            if name in wanted.parameters:
                raise InputError(f"outputs with {name} are not served here", field=f"outputs.{wanted.name}")


def write_reply(request: Request, answers: Sequence[Answer], actions: Mapping[int, str]) -> Reply:
    """The reply to a request whose rows all have an answer, in their order.

    Raises:
        InputError: The answers are lists of different lengths, which are no tensor.
    """
    versions = ",".join(dict.fromkeys(str(answer.version) for answer in answers))
    return Reply(
        model=request.model,
        version=versions,
        id=request.id,
        parameters={
            **_common(answers),
            VERSION: versions,
            ROLE: ",".join(dict.fromkeys(answer.role for answer in answers)),
        },
        outputs=[_output(wanted, answers, actions) for wanted in request.outputs or _UNASKED],
    )


def _common(answers: Sequence[Answer]) -> dict[str, str]:
    """The id of a single row; or what the ids of several have in common, before a `/` and the row's number.

    Ids of other kinds are only in the output of this name: there may be a hundred thousand.
    """
    if len(answers) == 1:
        return {PREDICTION_ID: answers[0].id}
    base = answers[0].id.removesuffix("/0")
    common = all(answer.id == f"{base}/{row}" for row, answer in enumerate(answers))
    return {PREDICTION_ID: base} if common else {}


def _output(wanted: Wanted, answers: Sequence[Answer], actions: Mapping[int, str]) -> Tensor:
    if wanted.name == Y_PRED:
        values = _predicted(answers)
        return Tensor(
            name=Y_PRED,
            datatype=FP64,
            shape=values.shape,
            values=values.ravel(),
            parameters=wanted.parameters,
        )
    if wanted.name == VERSION:
        numbers = np.array([answer.version for answer in answers], np.int64)
        return Tensor(
            name=VERSION, datatype=INT64, shape=numbers.shape, values=numbers, parameters=wanted.parameters
        )
    texts: list[str | None]
    if wanted.name == PREDICTION_ID:
        texts = [answer.id for answer in answers]
    elif wanted.name == ROLE:
        texts = [answer.role for answer in answers]
    else:
        texts = [actions.get(row, "") for row in range(len(answers))]
    return Tensor(
        name=wanted.name, datatype=BYTES, shape=(len(texts),), values=texts, parameters=wanted.parameters
    )


def _predicted(answers: Sequence[Answer]) -> Array:
    try:
        values: Array = np.array([answer.y_pred for answer in answers], np.float64)
    except ValueError:
        raise InputError(
            "the answers are lists of different lengths, which are no tensor; send rows one by one",
            field=Y_PRED,
        ) from None
    return values
