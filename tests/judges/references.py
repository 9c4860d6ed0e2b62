"""Reference rows and their profiles, for the tests of drift."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from lossloop.core.profile import Profile
from lossloop.judges.bins import Bins, bins_of, values_of
from lossloop.judges.drift import Averages
from lossloop.judges.profile import profile_of
from lossloop.judges.shifts import row_shifts

Columns = dict[str, npt.NDArray[Any]]
NAMES = np.array(["ant", "bee", "cat", "dog"], dtype=object)


def columns(
    rng: np.random.Generator, rows: int, *, shift: float = 0.0, spread: float = 1.0, joined: float = 0.0
) -> Columns:
    """Two normal numbers, one of which may be moved, or follow the other, and a category."""
    one, other = rng.normal(size=(2, rows))
    return {
        "age": shift + spread * one,
        "size": joined * one + np.sqrt(1.0 - joined**2) * other,
        "kind": rng.choice(NAMES, rows, p=[0.4, 0.3, 0.2, 0.1]),
    }


def reference(rows: int = 4000, *, per_block: int = 100, seed: int = 0) -> Profile:
    rng = np.random.default_rng(seed)
    return profile_of(columns(rng, rows), blocks=np.arange(rows) // per_block)


def binned(profile: Profile, found: Columns) -> Bins:
    """The bins of rows, shape (n, features)."""
    return np.column_stack(
        [bins_of(feature, values_of(found[feature.name], feature.name)) for feature in profile.features]
    )


def block_means(profile: Profile, found: Columns, blocks: int) -> Averages:
    """The means of the statistics in blocks of equal size."""
    shifts = row_shifts(profile.features, 0.0)
    rows = shifts.statistics(binned(profile, found)).reshape(blocks, -1, int(shifts.starts[-1]))
    return averages(rows.mean(axis=1), rows.shape[1])


def averages(means: npt.NDArray[np.float64], rows: float) -> Averages:
    """Blocks of as many rows each."""
    return Averages(mean=means, rows=np.full(len(means), float(rows)))
