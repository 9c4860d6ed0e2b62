"""Do recent inputs look as the version's training rows did? Total variation of its profile's bins.

The distance of a feature is half the sum of |recent share - reference share| over its bins. Shares of n rows
are off by chance; with probability 1 - d the true distance is at least the one seen less sqrt(k / n) / 2 +
sqrt(log(1 / d) / (2 n)), for k bins (by Jensen's and McDiarmid's inequalities; Boucheron, Lugosi and Massart
(2013), Concentration Inequalities, section 6.1). The limit is held against that lower bound, over all
features together. Rows are taken as independent, and the profile's own shares as exact.
"""

from __future__ import annotations

import math

import numpy as np

from lossloop.act.checks import Check, Status
from lossloop.app.versions.base import Case, Detail, Shown, told
from lossloop.core.profile import FeatureProfile
from lossloop.judges.bins import bins_of
from lossloop.ledger.joined.columns import Array

ERROR = 0.05
"""The chance that any feature's lower bound lies above its distance."""
_SHOWN = 10


def check(case: Case) -> Shown:
    """Fail where a feature's distance is shown to lie above the policy's limit."""
    profile = case.version.manifest.profile
    if profile is None or not profile.features:
        why = "the version has no profile of its training rows; make one with lossloop.profile_of"
        return told(Check.SKEW, Status.NOT_TOLD, why)
    count = len(case.recent)
    if not count:
        return told(Check.SKEW, Status.NOT_TOLD, "no recent prediction has features in the log")
    error = ERROR / len(profile.features)
    found = [
        (
            feature.name,
            *distance(feature, _sent(feature, case.recent.features.get(feature.name), count), error),
        )
        for feature in profile.features
    ]
    found.sort(key=lambda each: -each[1])
    limit = case.rules.skew_at_most
    beyond = [name for name, _, least in found if limit is not None and least > limit]
    name, most, least = found[0]
    words = f"most for {name}: {most:.3f}, at least {least:.3f}, over {count:,} recent rows"
    rows = tuple((name, f"{seen:.3f}", f"{least:.3f}") for name, seen, least in found[:_SHOWN])
    details = [Detail(title="Distance from training rows", head=("feature", "seen", "at least"), rows=rows)]
    figures = {"features": len(found), "most": most, "at_least": least, "rows": count, "beyond": len(beyond)}
    if limit is None:
        return told(Check.SKEW, Status.REPORTED, words, figures, details)
    if beyond:
        named = ", ".join(beyond[:5])
        words = f"{named} lie further than {limit:g} from the training rows; {words}"
        return told(Check.SKEW, Status.FAILED, words, figures, details)
    return told(Check.SKEW, Status.PASSED, words, figures, details)


def distance(feature: FeatureProfile, values: Array, error: float) -> tuple[float, float]:
    """The total variation between values and a feature's profile, and a lower bound of the true one.

    Args:
        feature: The profile.
        values: Floats with NaN, or texts with None. Shape (n,), n above 0.
        error: The chance that the bound lies above the true distance.
    """
    shares = np.bincount(bins_of(feature, values), minlength=feature.bins) / len(values)
    seen = 0.5 * float(np.abs(shares - np.asarray(feature.shares)).sum())
    noise = 0.5 * math.sqrt(feature.bins / len(values)) + math.sqrt(-math.log(error) / (2 * len(values)))
    return seen, max(0.0, seen - noise)


def _sent(feature: FeatureProfile, values: Array | None, count: int) -> Array:
    """A column as a profile reads it; what is of another kind is missing."""
    if feature.categories is None:
        return np.full(count, np.nan) if values is None or values.dtype.kind != "f" else values
    if values is None or values.dtype.kind == "f":
        return np.full(count, None, object)
    return np.array([value if isinstance(value, str) else None for value in values], dtype=object)
