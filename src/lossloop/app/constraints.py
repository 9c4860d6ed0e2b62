"""Losses as constraints: what an answer costs, known before it leaves."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lossloop import losses
from lossloop.core.errors import InputError, LossloopError
from lossloop.core.serving import Serving

Floats = np.ndarray[Any, np.dtype[np.float64]]
Columns = Mapping[str, np.ndarray[Any, Any]]


def check_constraints(serving: Serving) -> None:
    """Raise InputError where a constraint's loss does not exist, or is known only once the outcome is."""
    for place, constraint in enumerate(serving.constraints):
        field = f"serving.constraints.{place}.loss"
        try:
            loss = losses.parse(constraint.loss)
        except InputError as error:
            raise InputError(str(error), field=field) from None
        if loss.needs_outcome:
            raise InputError(
                f"{constraint.loss} needs an outcome, which is not known when an answer leaves; take a loss "
                "that needs none, such as constraint_violation(high=0.9)",
                field=field,
            )


def cost_of(text: str) -> Callable[[Floats, Columns], Floats]:
    """What answers (n,) or (n, k) with their features cost by a loss that needs no outcome, shape (n,).

    NaN where that cannot be computed, whatever the reason: such an answer does not leave.
    """
    try:
        loss = losses.parse(text)
    except LossloopError as error:  # the policy was checked where losses were found; they are not found here
        print(f"the constraint {text} cannot be computed here: {error}", file=sys.stderr, flush=True)
        return lambda values, columns: np.full(len(values), np.nan)

    def cost(values: Floats, columns: Columns) -> Floats:
        try:
            found, _ = loss.rows(None, values, columns if loss.needs_features else None)
        except Exception as error:  # noqa: BLE001 - a loss may be anybody's code; what cannot be checked stays
            print(f"the constraint {text} failed: {error}", file=sys.stderr, flush=True)
            return np.full(len(values), np.nan)
        return np.asarray(found, dtype=np.float64)

    return cost
