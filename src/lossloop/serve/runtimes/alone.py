"""Rows asked one by one, where a library refuses all of them over one: over its category, say."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lossloop.serve.runtimes.base import Columns, Floats


def one_by_one(
    predict: Callable[[Columns], Floats], columns: Columns, refusals: tuple[type[Exception], ...]
) -> Floats:
    """The rows' answers, NaN where a row is refused.

    Args:
        predict: What answers rows.
        columns: One row or more.
        refusals: What it raises over a row that it does not take.
    """
    found: list[Floats | None] = []
    for place in range(len(next(iter(columns.values())))):
        try:
            found.append(predict({name: each[place : place + 1] for name, each in columns.items()}))
        except refusals:
            found.append(None)
    shape = next((each.shape[1:] for each in found if each is not None), ())
    none = np.full((1, *shape), np.nan)
    return np.concatenate([none if each is None else each for each in found])
