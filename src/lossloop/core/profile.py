"""What a version's inputs and predictions looked like on its reference rows: what drift is measured by.

Each feature is cut into bins (of equal shares of the reference, or one for each category), and is known by
the means of a few statistics of the bin, all in [0, 1]. A profile holds their intervals.
"""

from __future__ import annotations

import math
from itertools import pairwise

from lossloop.core.errors import InputError
from lossloop.core.records import Record

MOST_BINS = 256
"""A row's bin is a byte."""


class BlockMoment(Record, frozen=True):
    """How a statistic's block means vary: `clip((mean - centre) / scale, 0, 1)`, and the same downwards.

    `up` and `down` bound the means of the two over blocks like those of the reference; approximately, by
    Student's t.
    """

    centre: float
    scale: float
    up: float
    down: float

    def __post_init__(self) -> None:
        sound = 0.0 <= self.centre <= 1.0 and 0.0 < self.scale < math.inf
        if not (sound and 0.0 < self.up <= 1.0 and 0.0 < self.down <= 1.0):
            raise InputError(
                "block means need 0 <= centre <= 1, a scale above 0, and 0 < up, down <= 1", field="profile"
            )


class Moment(Record, frozen=True):
    """The reference mean of a statistic in [0, 1], and its interval if rows are independent."""

    name: str
    """Of a number ``level``, ``spread``, ``low``, ``high``; of a category its name; ``missing``."""
    mean: float
    low: float
    high: float
    block: BlockMoment | None = None
    """None where the reference has too few blocks."""


class FeatureProfile(Record, frozen=True):
    """One feature of the reference.

    Bins of a number: `(-inf, cuts[0]], (cuts[0], cuts[1]], ..., (cuts[-1], inf)`, then missing. Bins of a
    category: one for each of `categories`, then the rare ones together, then values that the reference
    does not have, then missing.
    """

    name: str
    shares: tuple[float, ...]
    """Each bin's share of the half of the reference that the bins are made of."""
    moments: tuple[Moment, ...]
    design_effect: float
    """How many times more block means vary than means of as many independent rows."""
    cuts: tuple[float, ...] = ()
    categories: tuple[str, ...] | None = None
    """None for a number."""
    rare: tuple[str, ...] = ()
    pools_unseen: bool = False
    """Whether there were too many rare values to list: then an unseen one counts as rare."""

    def __post_init__(self) -> None:
        bins = len(self.cuts) + 2 if self.categories is None else len(self.categories) + 3
        if len(self.shares) != bins:
            raise InputError(
                f"the profile of {self.name!r} needs {bins} shares, not {len(self.shares)}", field="profile"
            )
        if bins > MOST_BINS:
            raise InputError(
                f"{self.name!r} has {bins} bins; at most {MOST_BINS} are possible", field="profile"
            )
        if not all(0.0 <= share <= 1.0 for share in self.shares):
            raise InputError(f"the shares of {self.name!r} must lie between 0 and 1", field="profile")
        if not all(one < other for one, other in pairwise(self.cuts)):
            raise InputError(f"the cuts of {self.name!r} must rise", field="profile")
        for moment in self.moments:
            if not 0.0 <= moment.low <= moment.mean <= moment.high <= 1.0:
                raise InputError(
                    f"the moment {moment.name!r} of {self.name!r} needs 0 <= low <= mean <= high <= 1",
                    field="profile",
                )

    @property
    def bins(self) -> int:
        """How many bins there are, the one for missing values among them."""
        return len(self.shares)


class Profile(Record, frozen=True):
    """The inputs and predictions of a version's reference rows; made by `lossloop.profile_of`."""

    features: tuple[FeatureProfile, ...]
    rows: int
    blocks: int
    block: str
    """The span of a block, ``1d``."""
    predictions: tuple[FeatureProfile, ...] = ()
    """One for each number that a prediction consists of."""
    confidence: float = 0.95
    """The chance that all intervals hold together."""
    train: bytes = b""
    """Bins of a sample of rows, a byte each, row by row: what a domain classifier learns from."""
    held_out: bytes = b""
    """The same of other rows: what its scores are ranked among."""

    def __post_init__(self) -> None:
        names = [feature.name for feature in self.features]
        if len(set(names)) < len(names):
            raise InputError("each feature has one profile", field="profile")
        if names and (len(self.train) % len(names) or len(self.held_out) % len(names)):
            raise InputError("a sample of rows has a byte for each feature", field="profile")
        if not (math.isfinite(self.confidence) and 0.0 < self.confidence < 1.0):
            raise InputError("a confidence lies between 0 and 1", field="profile.confidence")
