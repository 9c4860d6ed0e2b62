"""scikit-learn's trees, looked through before they are asked: compiled code follows their indices unchecked.

A child stands behind its parent in every tree that scikit-learn grows. Where that holds, a walk ends; where
features lie within the table, it stays in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from lossloop.core.errors import InputError

_TREE, _PREDICTOR = (
    "sklearn.tree._tree.Tree",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
)
TYPES = (_TREE, _PREDICTOR)
_HAND_ON = ("sklearn.ensemble._forest", "sklearn.ensemble._gb")
"""Modules whose ensembles hand their table to their trees without another check."""


def estimators(model: Any) -> Iterator[Any]:
    """An estimator and every one inside it."""
    return (each for each, _ in _walk(model, set()) if hasattr(each, "get_params"))


def ensembles(model: Any) -> list[Any]:
    """The forests and gradient boostings inside an estimator, each with its trees in `estimators_`."""
    found = (each for each in estimators(model) if type(each).__module__ in _HAND_ON)
    return [each for each in found if hasattr(each, "estimators_")]


def check(model: Any) -> None:
    """Raise InputError where a tree inside leads out of its own arrays or the table's columns."""
    for each, width in _walk(model, set()):
        name = _name(each)
        if name == _TREE:
            inner = each.children_left != -1
            children = np.stack([each.children_left, each.children_right])[:, inner]
            sound = _behind(children, inner) and _within(each.feature[inner], width)
        elif name == _PREDICTOR:
            inner = each.nodes["is_leaf"] == 0
            children = np.stack([each.nodes["left"], each.nodes["right"]])[:, inner].astype(np.int64)
            texts = each.nodes["bitset_idx"][inner & (each.nodes["is_categorical"] != 0)]
            sound = (
                _behind(children, inner)
                and _within(each.nodes["feature_idx"][inner], width)
                and _within(texts, min(len(each.raw_left_cat_bitsets), len(each.binned_left_cat_bitsets)))
            )
        else:
            continue
        if not sound:
            raise InputError(
                "a tree in the file leads to nodes or features that there are not", field="artifact"
            )


def _behind(children: Any, inner: Any) -> bool:
    """Whether both children of each inner node stand behind it, and in the tree."""
    return bool((children > np.flatnonzero(inner)).all() and (children < len(inner)).all())


def _within(places: Any, count: float) -> bool:
    return bool((places >= 0).all() and (places < count).all())


def _walk(
    found: Any, seen: set[tuple[int, float, float]], given: float = math.inf, handed: float = math.inf
) -> Iterator[tuple[Any, float]]:
    """Everything of scikit-learn from here on down, each with how many columns it is given for certain.

    `given` counts for a tree that stands here, `handed` for an estimator, which otherwise counts for itself.
    """
    if (id(found), given, handed) in seen:
        return
    seen.add((id(found), given, handed))
    inside: Iterable[Any] = ()
    if isinstance(found, dict):
        inside = found.values()
    elif isinstance(found, list | tuple) or (isinstance(found, np.ndarray) and found.dtype == object):
        inside = found.ravel().tolist() if isinstance(found, np.ndarray) else found
    elif type(found).__module__.split(".")[0] == "sklearn":
        own = getattr(found, "__dict__", {})
        if hasattr(found, "get_params"):
            given = min(handed, float(own.get("n_features_in_", math.inf)))
            handed = given if type(found).__module__ in _HAND_ON else math.inf
        yield found, given
        inside = own.values()
    for each in inside:
        yield from _walk(each, seen, given, handed)


def _name(found: Any) -> str:
    return f"{type(found).__module__}.{type(found).__name__}"
