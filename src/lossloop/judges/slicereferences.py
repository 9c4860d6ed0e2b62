"""What a version's loss was in each slice of its reference: what a watch over slices measures against."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lossloop.core.cuts import SliceReference
from lossloop.core.errors import InputError
from lossloop.judges.base import losses_array
from lossloop.judges.blocks import block_means
from lossloop.judges.quantiles import t_quantile
from lossloop.judges.reference import Reference, reference_of

FEWEST_BLOCKS = 5
"""A slice with fewer has no reference of its own: a bound from them would say next to nothing."""


def slice_references(
    losses: npt.ArrayLike,
    slices: Sequence[str],
    blocks: npt.ArrayLike,
    units: npt.ArrayLike | None = None,
    *,
    floor: float = 0.0,
    bound: float = math.inf,
) -> dict[str, SliceReference]:
    """The reference of each slice that has enough blocks, by name.

    Call it once for each way to cut rows, and put the results together.

    Args:
        losses: Of the reference rows, shape (n,), finite.
        slices: To which slice each row belongs, ``carrier=UA``; length n.
        blocks: Shape (n,): integers, such as days since 1970.
        units: Shape (n,), if rows have any.
        floor: The least loss.
        bound: The largest; where it is finite, a bound over rows is found too.
    """
    values, names = losses_array(losses), np.asarray(slices)
    if names.shape != values.shape or not np.isfinite(values).all():
        raise InputError(f"{len(values)} finite losses need a slice each, not {len(names)}", field="slices")
    days, who = np.asarray(blocks), None if units is None else np.asarray(units)
    order = np.argsort(names, kind="stable")
    ends = np.flatnonzero(names[order][1:] != names[order][:-1]) + 1
    found: dict[str, SliceReference] = {}
    for rows in np.split(order, ends):
        means = block_means(values[rows], days[rows], None if who is None else who[rows]).mean
        if len(means) < FEWEST_BLOCKS:
            continue
        by_row = reference_of(values[rows], bound=bound, floor=floor) if math.isfinite(bound) else None
        found[str(names[rows[0]])] = SliceReference(
            mean=float(means.mean()), blocks=len(means), spread=float(means.std(ddof=1)), rows=len(rows),
            row_mean=None if by_row is None else by_row.estimate,
            row_upper=None if by_row is None else by_row.upper,
        )  # fmt: skip
    return found


def bound_of_blocks(found: SliceReference, *, confidence: float = 0.95) -> Reference | None:
    """The upper bound over a slice's block means, by Student's t; approximate. None of too few blocks."""
    if found.blocks < 2:
        return None
    error = found.spread / math.sqrt(found.blocks)
    return Reference(
        estimate=found.mean, upper=found.mean + t_quantile(confidence, found.blocks - 1.0) * error,
        count=found.blocks, method="student_t", counts="blocks", confidence=confidence, approximate=True,
    )  # fmt: skip


def bound_of_rows(found: SliceReference) -> Reference | None:
    """The upper bound over a slice's rows; None where there is none."""
    if found.row_upper is None:
        return None
    mean = found.mean if found.row_mean is None else found.row_mean
    return Reference(estimate=mean, upper=found.row_upper, count=found.rows, method="betting")
