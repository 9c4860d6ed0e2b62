"""How much rows of one block depend on each other, and how long a block must be. Pure."""

from __future__ import annotations

import math

import numpy as np

from lossloop.app.proposing.base import Span
from lossloop.core.calendar import Calendar, Int64
from lossloop.core.clock import DAY, HOUR, Micros
from lossloop.core.errors import InputError
from lossloop.judges import design_effect
from lossloop.ledger.joined.columns import Floats

LADDER: tuple[Micros, ...] = (HOUR, 6 * HOUR, 12 * HOUR, DAY, 7 * DAY)
"""Lengths that are tried."""
FEWEST_BLOCKS = 8
"""Below so many nothing is said of a length."""
CARRIES = 0.3
"""A correlation with the next block that is let pass."""
SEASON = 28
"""Blocks around whose mean it is taken."""


def spans(losses: Floats, at: Int64, block: Micros, zone: str) -> list[Span]:
    """What each length says of rows of losses made at some moments, ascending; shape (n,) each.

    Raises:
        InputError: There are too few blocks of the policy's own length; says how many it needs.
    """
    own = _means(losses, Calendar(span=block, zone=zone).blocks(at))
    if len(own) < FEWEST_BLOCKS:
        raise InputError(
            f"there are {len(own)} blocks with outcomes; to measure how they vary "
            f"it takes {FEWEST_BLOCKS} or more",
            field="block",
        )
    found = []
    for length in sorted({*LADDER, block}):
        blocks = Calendar(span=length, zone=zone).blocks(at)
        means = _means(losses, blocks)
        if len(means) >= FEWEST_BLOCKS:
            carried = carries_over(means)
            # What independent blocks would show by chance is let pass too.
            enough = carried <= max(CARRIES, 1.645 / math.sqrt(len(means)))
            effect = design_effect(losses, blocks)
            found.append(
                Span(
                    block=length, blocks=len(means), design_effect=effect, carries_over=carried, enough=enough
                )
            )
    return found


def carries_over(means: Floats) -> float:
    """The correlation of each block's mean with the next one's, around the mean of its season.

    A season is SEASON blocks: that a loss moves slowly over the year is for a limit that follows it, and no
    reason for longer blocks. 0 where nothing varies. Shape (b,), b >= 2.
    """
    seasons = np.arange(len(means)) * max(1, round(len(means) / SEASON)) // len(means)
    gaps = means - (np.bincount(seasons, weights=means) / np.bincount(seasons))[seasons]
    whole = float(gaps @ gaps)
    varies = whole > 1e-24 * float(means @ means)  # beyond what rounding leaves of a constant
    return float(gaps[1:] @ gaps[:-1]) / whole if varies else 0.0


def rounded_up(value: float) -> float:
    """The next number that people write: 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(float(f"{step * power:.12g}") for step in (1, 2, 5, 10) if step * power >= value * (1 - 1e-9))


def _means(losses: Floats, blocks: Int64) -> Floats:
    codes, inverse = np.unique(blocks, return_inverse=True)
    means: Floats = np.bincount(inverse, weights=losses, minlength=len(codes)) / np.bincount(inverse)
    return means
