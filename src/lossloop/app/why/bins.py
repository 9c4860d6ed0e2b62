"""Features cut into slices that people can read: values as they are, numbers by their quantiles. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lossloop.ledger.joined.columns import Array, Floats, Int64

MOST_VALUES = 50
"""A feature of more values is cut by quantiles if it is a number; else all but the commonest are `other`."""
PARTS = 5


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A feature as slices."""

    feature: str
    labels: list[str]
    codes: Int64
    """The slice of each row, a place in `labels`. Shape (n,)."""


def cut(features: Mapping[str, Array], *, parts: int = PARTS) -> list[Cut]:
    """Every feature cut into slices; one that is the same in all rows is left out."""
    found = [
        _numbers(name, values.astype(np.float64), parts)
        if values.dtype.kind in "fiub"
        else _values(name, values)
        for name, values in features.items()
    ]
    return [each for each in found if len(each.labels) > 1]


def by_block(codes: Int64, blocks: Int64, most: int) -> Floats:
    """How many rows of each slice each block has, shape (b, most)."""
    names, place = np.unique(blocks, return_inverse=True)
    counts = np.bincount(place * most + codes, minlength=len(names) * most)
    return counts.reshape(len(names), most).astype(np.float64)


def _numbers(name: str, values: Floats, parts: int) -> Cut:
    known = values[~np.isnan(values)]
    distinct = np.unique(known)
    if len(distinct) <= min(parts, MOST_VALUES):
        labels = [f"{name}={_said(value)}" for value in distinct.tolist()]
        codes = np.searchsorted(distinct, values)
    else:
        edges = np.unique(np.quantile(known, np.arange(1, parts) / parts))
        edges = edges[edges > distinct[0]]
        if not len(edges):  # nearly all rows have the least value
            edges = distinct[1:2]
        words = [_said(float(edge)) for edge in edges]
        labels = [f"{name} below {words[0]}"]
        labels += [f"{name} from {low} to {high}" for low, high in pairwise(words)]
        labels.append(f"{name} {words[-1]} or more")
        codes = np.searchsorted(edges, values, side="right")
    return _with_none(name, labels, codes, np.isnan(values))


def _values(name: str, values: Array) -> Cut:
    there = np.array([value is not None for value in values], dtype=bool)
    texts, code, count = np.unique(values[there].astype(str), return_inverse=True, return_counts=True)
    order = np.argsort(-count, kind="stable")[:MOST_VALUES]
    place = np.full(len(texts), len(order))
    place[order] = np.arange(len(order))
    labels = [f"{name}={text}" for text in texts[order].tolist()]
    if len(texts) > len(order):
        labels.append(f"{name} is another")
    codes = np.zeros(len(values), dtype=np.int64)
    codes[there] = place[code]
    return _with_none(name, labels, codes, ~there)


def _with_none(name: str, labels: list[str], codes: Int64, none: Array) -> Cut:
    if none.any():
        codes = np.where(none, len(labels), codes)
        labels = [*labels, f"{name} is none"]
    return Cut(feature=name, labels=labels, codes=codes.astype(np.int64))


def _said(value: float) -> str:
    return f"{value:.6g}"
