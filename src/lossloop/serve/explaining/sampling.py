"""Shapley values of any model, from its answers alone, on the scale of the answer.

What a feature contributes is what the answer changes by when the row's value takes the place of a background
row's, on average over the background rows and over all orders in which the values may be put in (Strumbelj
and Kononenko, 2014; Lundberg and Lee, 2017: interventional). With few features all orders are gone through;
with more, orders are drawn, each with its reverse (Mitchell et al., 2022), and a standard error says how far
off that may be. Either way contributions sum to the answer less its mean over the background rows used.
"""

from __future__ import annotations

from collections.abc import Callable
from math import factorial
from typing import Any

import numpy as np

from lossloop.serve.explaining.base import Y_PRED, Explanation
from lossloop.serve.runtimes import Columns

Floats = np.ndarray[Any, np.dtype[np.float64]]
Ask = Callable[[Columns], Floats]
"""Answers (n,) to n rows."""
EVALUATIONS = 2000
"""Answers that one row may cost, about."""
LEAST_BACKGROUND = 20
"""Background rows below which orders are drawn instead of gone through."""
LEAST_ORDERS = 10
_SEED = 0
_AT_ONCE = 1 << 15


def sampled(
    ask: Ask, columns: Columns, against: Columns, *, evaluations: int = EVALUATIONS, seed: int = _SEED
) -> Explanation:
    """Explain rows by asking the model.

    Args:
        ask: The model.
        columns: n rows, one feature or more.
        against: Background rows, one or more.
        evaluations: About how many answers a row may cost; 10 orders are drawn, and their reverses,
            however few these are.
        seed: Of the orders, so that a row is explained the same again.
    """
    width, rows = len(columns), _length(against)
    there = min(rows, evaluations // 2**width)
    if there >= min(LEAST_BACKGROUND, rows):
        return _exact(ask, columns, _head(against, there))
    return _drawn(ask, columns, against, max(LEAST_ORDERS, evaluations // (2 * (width + 1))), seed)


def _exact(ask: Ask, columns: Columns, against: Columns) -> Explanation:
    """All coalitions of features, in binary: bit j says that feature j has the row's value."""
    width, rows, number = len(columns), _length(against), _length(columns)
    known = (np.arange(2**width)[:, None] >> np.arange(width)) & 1 == 1
    sizes = known.sum(axis=1)
    weights = np.array([factorial(s) * factorial(width - s - 1) / factorial(width) for s in range(width)])
    base, found = np.empty(number), np.empty((number, width))
    for row in range(number):
        # Each coalition over each background row, one coalition behind the other.
        answers = _mixed(
            ask, columns, against, row, np.repeat(known, rows, axis=0), np.tile(np.arange(rows), 2**width)
        )
        worth = answers.reshape(2**width, rows).mean(axis=1)
        for feature in range(width):
            without = np.flatnonzero(~known[:, feature])
            gains = worth[without | (1 << feature)] - worth[without]
            found[row, feature] = float(weights[sizes[without]] @ gains)
        base[row] = worth[0]
    return Explanation(
        base=base, contributions=found, scale=Y_PRED, method="shapley", evaluations=2**width * rows
    )


def _drawn(ask: Ask, columns: Columns, against: Columns, orders: int, seed: int) -> Explanation:
    """Orders that were drawn, and the reverse of each with the same background row."""
    width, number = len(columns), _length(columns)
    random = np.random.default_rng(seed)
    order = np.array([random.permutation(width) for _ in range(orders)])
    rank = np.argsort(order, axis=1)
    used = np.concatenate(
        [random.permutation(_length(against)) for _ in range(orders // _length(against) + 1)]
    )[:orders]
    # After `step` of `width` features: forwards those of the lowest ranks are known, backwards the highest.
    steps = np.arange(width + 1)[None, :, None]
    known = np.stack([rank[:, None, :] < steps, rank[:, None, :] >= width - steps], axis=1)
    base, found, errors = np.empty(number), np.empty((number, width)), np.empty((number, width))
    for row in range(number):
        answers = _mixed(
            ask, columns, against, row, known.reshape(-1, width), np.repeat(used, 2 * (width + 1))
        ).reshape(orders, 2, width + 1)
        gains = np.diff(answers, axis=2)
        each = (
            np.take_along_axis(gains[:, 0], rank, axis=1)
            + np.take_along_axis(gains[:, 1], width - 1 - rank, axis=1)
        ) / 2.0
        found[row], base[row] = each.mean(axis=0), answers[:, 0, 0].mean()
        errors[row] = each.std(axis=0, ddof=1) / np.sqrt(orders)
    return Explanation(
        base=base, contributions=found, scale=Y_PRED, method="permutation",
        evaluations=2 * orders * (width + 1), errors=errors,
    )  # fmt: skip


def _mixed(
    ask: Ask,
    columns: Columns,
    against: Columns,
    row: int,
    known: np.ndarray[Any, np.dtype[np.bool_]],
    used: Any,
) -> Floats:
    """Answers to background rows of which some features were replaced by a row's. Shape (len(used),)."""
    found = np.empty(len(used))
    for start in range(0, len(used), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        made: dict[str, np.ndarray[Any, Any]] = {}
        for place, (name, column) in enumerate(columns.items()):
            values = against[name][used[part]]
            values[known[part, place]] = column[row]
            made[name] = values
        found[part] = ask(made)
    return found


def _length(columns: Columns) -> int:
    return len(next(iter(columns.values())))


def _head(columns: Columns, rows: int) -> Columns:
    return {name: column[:rows] for name, column in columns.items()}
