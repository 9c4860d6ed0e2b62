"""From rows to blocks: rows are averaged per unit within a block, then units per block (statistics.md, 2h).

A unit with many rows in a block counts once, and what a block's rows share (a day's weather) counts once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lossloop.core.errors import InputError
from lossloop.core.records import Interval
from lossloop.judges.base import losses_array
from lossloop.judges.quantiles import t_quantile

Array = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class BlockMeans:
    """One entry per block that has a loss, blocks ascending; arrays of shape (b,)."""

    block: Codes
    mean: Array
    units: Codes
    """How many units the mean is over."""
    rows: Codes
    """How many rows had a loss."""
    missing: Codes
    """How many rows had none."""

    def __len__(self) -> int:
        return len(self.block)


LEVEL = 0.95


def block_interval(values: npt.ArrayLike, blocks: npt.ArrayLike) -> Interval:
    """The mean of rows and its 95% interval over blocks, which weigh by their rows (a ratio, linearised).

    Student's t for a number of blocks that was fixed beforehand, and blocks that do not depend on each other.

    Args:
        values: Shape (n,), finite.
        blocks: The block of each row. Shape (n,).

    Raises:
        InputError: There are fewer than 2 blocks.
    """
    found = losses_array(values)
    rows = np.unique(np.asarray(blocks), return_inverse=True, return_counts=True)
    _, codes, counts = rows
    if len(counts) < 2 or len(codes) != len(found):
        raise InputError(f"an interval needs 2 blocks or more, not {len(counts)}", field="blocks")
    mean = float(found.mean())
    # Summed as differences from the mean: equal values then have a width of 0, not of rounding.
    left = np.bincount(codes, weights=found - mean)
    error = math.sqrt(float(left @ left) * len(counts) / (len(counts) - 1)) / len(found)
    half = t_quantile(0.5 + LEVEL / 2.0, len(counts) - 1.0) * error
    return Interval(estimate=mean, low=mean - half, high=mean + half, level=LEVEL, approximate=True)


def fill_missing(losses: npt.ArrayLike, value: float) -> Array:
    """Losses with NaN (no outcome came) replaced: the floor for an alarm, the bound for a certificate."""
    array = losses_array(losses)
    return np.where(np.isnan(array), value, array)


def block_means(
    losses: npt.ArrayLike, blocks: npt.ArrayLike, units: npt.ArrayLike | None = None
) -> BlockMeans:
    """Average losses per (unit, block), then per block.

    Args:
        losses: Shape (n,), in prediction order; NaN where no outcome came: such rows are left out, and
            counted in `missing`. Use `fill_missing` first to count them as a value instead.
        blocks: Shape (n,): integers, such as days since 1970.
        units: Shape (n,): integers or strings; None where each row is its own unit.

    A block in which every outcome is missing has no mean and is left out.
    """
    values = losses_array(losses)
    days = _codes(blocks, len(values), "blocks")
    who = np.arange(len(values)) if units is None else _labels(units, len(values))
    came = ~np.isnan(values)
    names, codes = np.unique(days[came], return_inverse=True)
    pair, first, pairs = np.unique(
        codes * (who.max(initial=0) + 1) + who[came], return_index=True, return_inverse=True
    )
    unit_means = np.bincount(pairs, weights=values[came], minlength=len(pair)) / np.bincount(
        pairs, minlength=len(pair)
    )
    owner = codes[first]
    per_block = np.bincount(owner, minlength=len(names))
    mean = np.bincount(owner, weights=unit_means, minlength=len(names)) / per_block
    rows = np.bincount(codes, minlength=len(names))
    absent = np.isin(days, names) & ~came
    where = np.searchsorted(names, days[absent])
    return BlockMeans(
        block=names,
        mean=mean,
        units=per_block.astype(np.int64),
        rows=rows.astype(np.int64),
        missing=np.bincount(where, minlength=len(names)).astype(np.int64),
    )


def _codes(values: npt.ArrayLike, count: int, name: str) -> Codes:
    array = np.asarray(values)
    if array.shape != (count,):
        raise InputError(f"{name} must have the losses' shape ({count},), not {array.shape}", field=name)
    if count and array.dtype.kind not in "iu":
        raise InputError(f"{name} must be integers, such as days since 1970", field=name)
    return array.astype(np.int64)


def _labels(values: npt.ArrayLike, count: int) -> Codes:
    array = np.asarray(values)
    if array.shape != (count,):
        raise InputError(f"units must have the losses' shape ({count},), not {array.shape}", field="units")
    return np.unique(array, return_inverse=True)[1].astype(np.int64)
