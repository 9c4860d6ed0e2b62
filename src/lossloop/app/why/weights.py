"""How much likelier each input is in one period than in another: a classifier tells them apart.

The odds that it gives are the ratio of densities. Every row is asked of a classifier that was not fitted on
its block, so that a day which is remembered does not pass for a day that is alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from lossloop.core.errors import InputError
from lossloop.ledger.joined.columns import Array, Floats, Int64

FOLDS = 5
_CLIP = 1e-3
_UNLIKE = 20.0
"""A row this much likelier to be new than old is taken for unlike all old ones."""
_MOST_CATEGORIES = 200


@dataclass(frozen=True, kw_only=True)
class Ratios:
    """What a classifier says of two periods."""

    weights: Floats
    """Of each row of the first period, shape (n,)."""
    unseen: float
    """The share of the second period's rows that are unlike all of the first."""
    told_apart: float
    """How well periods are told apart: the chance that a new row looks newer than an old one (AUC)."""


def ratios(before: dict[str, Array], after: dict[str, Array], blocks: tuple[Int64, Int64]) -> Ratios:
    """Weigh the rows of a period to the inputs of a later one.

    Args:
        before: Features of the first period by name: floats with NaN, or objects with None. Shape (n,) each.
        after: The same of the second, shape (m,) each.
        blocks: The block of each row of both.

    Raises:
        InputError: scikit-learn is not installed, or there are no features.
    """
    if not before:
        raise InputError("no features were sent with these predictions", field="features")
    rows = len(blocks[0])
    columns, categories = _encoded(before, after)
    is_new = np.concatenate((np.zeros(rows), np.ones(len(blocks[1]))))
    groups = np.unique(np.concatenate((blocks[0] * 2, blocks[1] * 2 + 1)), return_inverse=True)[1]
    chance = _chances(columns, is_new, groups % FOLDS, categories)
    odds = chance / (1.0 - chance) * rows / len(blocks[1])
    return Ratios(
        weights=odds[:rows],
        unseen=float((odds[rows:] > _UNLIKE).mean()),
        told_apart=_auc(chance[:rows], chance[rows:]),
    )


def _chances(columns: Floats, is_new: Floats, folds: Int64, categories: list[bool]) -> Floats:
    classifier, one_core = _learning()
    chance = np.empty(len(is_new))
    for fold in np.unique(folds).tolist():
        asked = folds == fold
        taught = ~asked
        if len(np.unique(is_new[taught])) < 2:  # too few blocks to leave one out
            taught = np.ones(len(is_new), dtype=bool)
        with one_core(
            limits=1
        ):  # on a busy machine its threads wait for each other, which takes most of the time
            model = classifier(
                max_iter=60, max_leaf_nodes=15, min_samples_leaf=40, l2_regularization=1.0,
                early_stopping=False, categorical_features=categories, random_state=0,
            ).fit(columns[taught], is_new[taught])  # fmt: skip
            chance[asked] = model.predict_proba(columns[asked])[:, 1]
    return np.clip(chance, _CLIP, 1.0 - _CLIP)


def _learning() -> tuple[Any, Any]:
    """scikit-learn's classifier, and what keeps it on one core."""
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier

        threads = import_module("threadpoolctl")  # scikit-learn needs and brings it
    except ImportError:
        raise InputError(
            "to tell changed inputs from changed answers a classifier is needed; "
            "pip install 'lossloop[sklearn]'"
        ) from None
    return HistGradientBoostingClassifier, threads.threadpool_limits


def _encoded(before: dict[str, Array], after: dict[str, Array]) -> tuple[Floats, list[bool]]:
    """Features as numbers, NaN for none; what is no number by the rank of how often it comes."""
    columns, categories = [], []
    for name, values in before.items():
        both = np.concatenate((values, after[name]))
        categorical = both.dtype.kind not in "fiub"
        columns.append(_codes(both) if categorical else both.astype(np.float64))
        categories.append(categorical)
    return np.column_stack(columns), categories


def _codes(values: Array) -> Floats:
    there = np.array([value is not None for value in values])
    found = np.full(len(values), np.nan)
    names, code, count = np.unique(values[there].astype(str), return_inverse=True, return_counts=True)
    rank = np.empty(len(names))
    rank[np.argsort(-count, kind="stable")] = np.arange(len(names))
    found[there] = np.minimum(rank, _MOST_CATEGORIES)[code]
    return found


def _auc(old: npt.NDArray[np.float64], new: npt.NDArray[np.float64]) -> float:
    """The chance that a new row's score is above an old one's, ties counting half."""
    order = np.sort(old)
    below, up_to = np.searchsorted(order, new, "left"), np.searchsorted(order, new, "right")
    return float((below + up_to).mean() / (2.0 * len(old)))
