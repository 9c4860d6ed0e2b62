"""Background rows: what a row is compared with where it is explained, made of a version's profile.

A profile keeps no rows, only into which bins they fell: a bin of numbers is told by where it ends. Where it
has a sample of whole rows, features go together in the background as they did in the reference; else each is
drawn alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lossloop.core.errors import Conflict
from lossloop.core.profile import FeatureProfile, Profile
from lossloop.registry import Feature
from lossloop.serve.runtimes import Columns

ROWS = 100
_SEED = 0


def background(features: Sequence[Feature], profile: Profile | None, rows: int = ROWS) -> Columns:
    """Rows of the reference, as near as a profile knows them.

    Args:
        features: The version's.
        profile: The version's.
        rows: How many.

    Raises:
        Conflict: There is no profile, or not of all features.
    """
    known = {} if profile is None else {each.name: each for each in profile.features}
    lacking = [feature.name for feature in features if feature.name not in known]
    if profile is None or lacking:
        what = f"no profile of {', '.join(lacking)}" if profile else "no profile"
        raise Conflict(
            f"the version has {what}, which an explanation compares with; register it with "
            "lossloop.profile_of(...)",
            field="explain",
        )
    bins = _bins(profile, rows)
    places = {each.name: place for place, each in enumerate(profile.features)}
    return {
        feature.name: _values(feature, known[feature.name], bins[:, places[feature.name]])
        for feature in features
    }


def _bins(profile: Profile, rows: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The bin of each feature in some rows, shape (rows, features); whole rows where there is a sample."""
    random, width = np.random.default_rng(_SEED), len(profile.features)
    sample = np.frombuffer(profile.train, np.uint8).reshape(-1, width)
    if len(sample):
        return sample[random.permutation(len(sample))[:rows]].astype(np.int64)
    even = (np.arange(rows) + 0.5) / rows
    columns = [
        random.permutation(np.searchsorted(_reached(each), even, side="right")) for each in profile.features
    ]
    return np.column_stack(columns).astype(np.int64)


def _reached(feature: FeatureProfile) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The share of the reference that lies in each bin or in one before it, but for the last."""
    shares = np.asarray(feature.shares)
    found: np.ndarray[Any, np.dtype[np.float64]] = np.cumsum(shares)[:-1] / max(float(shares.sum()), 1e-300)
    return found


def _values(feature: Feature, known: FeatureProfile, bins: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if known.categories is None:
        numbers: np.ndarray[Any, Any] = np.array(_numbers(known, feature.nullable))[bins]
        return numbers
    found = np.empty(len(bins), dtype=object)
    found[:] = [_texts(known, feature.nullable)[place] for place in bins.tolist()]
    return found


def _numbers(known: FeatureProfile, nullable: bool) -> list[float]:
    """What stands for each bin: where it ends, a value of the reference. Missing stays so if it may be."""
    cuts = known.cuts
    if not cuts:
        return [0.0, np.nan if nullable else 0.0]
    return [*cuts, cuts[-1], np.nan if nullable else cuts[len(cuts) // 2]]


def _texts(known: FeatureProfile, nullable: bool) -> list[str | None]:
    names = known.categories or ()
    common = names[0] if names else known.rare[0] if known.rare else ""
    rare = known.rare[0] if known.rare else common
    return [*names, rare, rare, None if nullable else common]
