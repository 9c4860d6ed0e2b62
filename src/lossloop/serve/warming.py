"""Warm-up: a version is asked for rows of its own kind before anyone else asks it.

The first answers of most libraries take longer than all others; and a version that cannot answer rows like
those that it knows is better found out before it takes traffic.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from lossloop.core.errors import StateError
from lossloop.core.profile import Profile
from lossloop.registry import Feature, FeatureKind, Manifest
from lossloop.serve.lanes import MOST_INLINE
from lossloop.serve.runtimes import Columns, Runtime

WITHIN = 60.0
"""Seconds that a warm-up may take."""
MANY = 64
_TRIES = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """How fast a version answers when it is warm, in seconds: one row, and each row more."""

    first: float
    more: float

    def rows_within(self, seconds: float) -> int:
        """How many rows it answers in that time."""
        if self.first > seconds:
            return 0
        return 1 + int((seconds - self.first) / max(self.more, 1e-9))


def warm(manifest: Manifest, runtime: Runtime, *, within: float = WITHIN) -> int:
    """Ask a version for a few rows; return how many it may be asked for in the event loop.

    Raises:
        StateError: It raised, gave a wrong number of answers, or did not come back.
    """
    found: list[Pace | BaseException] = []

    def ask() -> None:
        try:
            found.append(_pace(manifest, runtime))
        except BaseException as error:  # noqa: BLE001 - whatever it raises is told
            found.append(error)

    thread = threading.Thread(target=ask, name="warm-up", daemon=True)
    thread.start()
    thread.join(within)
    if not found:
        raise StateError(f"it did not answer its first rows within {within:g} s")
    (pace,) = found
    if isinstance(pace, BaseException):
        raise StateError(
            f"it failed at its first rows ({type(pace).__name__}: {pace}); "
            "a profile says which values it knows"
        ) from pace
    return pace.rows_within(MOST_INLINE)


def samples(features: Sequence[Feature], profile: Profile | None, count: int) -> Columns:
    """Rows as a version knows them: by its profile where it has one, else of zeros and empty texts."""
    known = {} if profile is None else {each.name: each for each in profile.features}
    columns: dict[str, np.ndarray[Any, Any]] = {}
    for feature in features:
        own = known.get(feature.name)
        values: Sequence[Any] = ()
        if own is not None:
            values = (own.categories or ()) if feature.kind is FeatureKind.CATEGORY else own.cuts
        if feature.kind is FeatureKind.CATEGORY:
            column = np.empty(count, dtype=object)
            column[:] = [values[place % len(values)] if values else "" for place in range(count)]
        else:
            column = np.resize(np.array(values or (0.0,), dtype=np.float64), count)
        columns[feature.name] = column
    return columns


def _pace(manifest: Manifest, runtime: Runtime) -> Pace:
    one, many = _fastest(manifest, runtime, 1), _fastest(manifest, runtime, MANY)
    return Pace(first=one, more=max(0.0, many - one) / (MANY - 1))


def _fastest(manifest: Manifest, runtime: Runtime, count: int) -> float:
    rows, took = samples(manifest.features, manifest.profile, count), []
    for _ in range(_TRIES):
        began = perf_counter()
        found = runtime.predict(rows)
        took.append(perf_counter() - began)
        if len(found) != count:
            raise ValueError(f"{len(found)} answers to {count} rows")
        if sum(took) > 1.0:
            break  # it is slow enough to know so
    return min(took)
