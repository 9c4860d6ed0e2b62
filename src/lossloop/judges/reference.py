"""What a version's loss was before release: the reference, an upper bound of its risk for a fixed n.

A fixed reference needs no confidence sequence, which would be needlessly wide (statistics.md, 2b):
Clopper-Pearson for losses of 0 and 1, a betting bound for other bounded losses, and, where rows are judged
in blocks, Student's t over block means, which is marked approximate.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from lossloop.core.errors import InputError
from lossloop.core.records import Record
from lossloop.judges.base import losses_array, problem_in
from lossloop.judges.quantiles import beta_quantile, t_quantile

Array = npt.NDArray[np.float64]

MOST_DESIGN_EFFECT = 2.0
"""Above this, losses are judged in blocks."""


class Reference(Record, frozen=True):
    """An upper bound of the reference risk, and how it was found."""

    estimate: float
    """The mean loss of the reference."""
    upper: float
    count: int
    """How many rows (or blocks) it rests on."""
    method: str
    """``clopper_pearson``, ``betting`` or ``student_t``."""
    counts: str = "outcomes"
    """``outcomes`` or ``blocks``."""
    confidence: float = 0.95
    approximate: bool = False


def reference_of(
    losses: npt.ArrayLike, *, bound: float, floor: float = 0.0, confidence: float = 0.95
) -> Reference:
    """The reference from independent rows of losses in [floor, bound], shape (n,), n >= 1."""
    values = _checked(losses, floor, bound)
    if floor == 0.0 and bool(np.isin(values, (0.0, 1.0)).all()):
        method, upper = "clopper_pearson", clopper_pearson_upper(int(values.sum()), len(values), confidence)
    else:
        method, upper = "betting", betting_upper(values, bound=bound, floor=floor, confidence=confidence)
    return Reference(
        estimate=float(values.mean()), upper=upper, count=len(values), method=method, confidence=confidence
    )


def reference_of_blocks(block_means: npt.ArrayLike, *, confidence: float = 0.95) -> Reference:
    """The reference from block means, shape (n,), n >= 2, by Student's t; approximate."""
    values = _checked(block_means, -math.inf, math.inf)
    upper = t_upper(values, confidence)
    return Reference(
        estimate=float(values.mean()),
        upper=upper,
        count=len(values),
        method="student_t",
        counts="blocks",
        confidence=confidence,
        approximate=True,
    )


def clopper_pearson_upper(ones: int, count: int, confidence: float = 0.95) -> float:
    """The one-sided exact upper bound of a probability, after `ones` of `count` trials."""
    _check_confidence(confidence)
    if not 0 <= ones <= count or count == 0:
        raise InputError(f"{ones} of {count}: needs 0 <= ones <= count and count >= 1")
    return 1.0 if ones == count else beta_quantile(confidence, ones + 1.0, float(count - ones))


def betting_upper(values: Array, *, bound: float, floor: float = 0.0, confidence: float = 0.95) -> float:
    """The one-sided fixed-n betting upper bound of a mean of values in [floor, bound], shape (n,).

    "The mean is at least m" is refuted once a gambler on lower values, whose stakes follow the spread seen so
    far, has multiplied a unit by 1/(1 - confidence) (Waudby-Smith, Ramdas, section 3, fixed n).
    """
    _check_confidence(confidence)
    if len(values) == 0 or not floor < bound:
        raise InputError(f"a betting bound needs at least one value and floor < bound ({floor}, {bound})")
    scaled = np.clip((values - floor) / (bound - floor), 0.0, 1.0)
    log_needed = math.log(1.0 / (1.0 - confidence))
    count = np.arange(1, len(scaled) + 1)
    means = (0.5 + np.cumsum(scaled)) / (count + 1)
    variances = (0.25 + np.cumsum(np.square(scaled - means))) / (count + 1)
    stakes = np.sqrt(2.0 * log_needed / (len(scaled) * np.concatenate(([0.25], variances[:-1]))))
    low, high = float(scaled.mean()), 1.0
    for _ in range(60):
        m = 0.5 * (low + high)
        stake = np.minimum(stakes, 0.75 / max(1.0 - m, 1e-12))
        if np.cumsum(np.log1p(stake * (m - scaled))).max() >= log_needed:
            high = m
        else:
            low = m
    return floor + high * (bound - floor)


def t_upper(values: Array, confidence: float = 0.95) -> float:
    """The one-sided upper bound of a mean by Student's t, over independent values of shape (n,), n >= 2."""
    _check_confidence(confidence)
    if len(values) < 2:
        raise InputError(f"a t-bound needs at least 2 blocks, there are {len(values)}", field="block_means")
    error = float(values.std(ddof=1)) / math.sqrt(len(values))
    return float(values.mean()) + t_quantile(confidence, len(values) - 1.0) * error


def needed_for(reference: Reference, tolerance: float) -> int:
    """How many rows (or blocks) a reference needs for its bound to be within `tolerance` of its estimate.

    By the square-root law; as many as it has where it is so already. A bound that is wider hides a rise of
    the tolerance behind the doubt about the reference itself.
    """
    width = reference.upper - reference.estimate
    if width <= tolerance or not tolerance > 0.0:
        return reference.count
    return math.ceil(reference.count * (width / tolerance) ** 2)


def design_effect(losses: npt.ArrayLike, block_ids: npt.ArrayLike) -> float:
    """How many times wider than independent rows would have it the block means vary.

    The variance of block means over the variance of a mean of that many independent rows, blocks weighing by
    their rows; 1 for independent rows, and where nothing varies. Raises InputError below 2 blocks.
    """
    values = _checked(losses, -math.inf, math.inf)
    blocks, codes = np.unique(np.asarray(block_ids), return_inverse=True)
    if len(codes) != len(values):
        raise InputError(
            f"{len(values)} losses and {len(codes)} block ids: needs one for each", field="block_ids"
        )
    if len(blocks) < 2:
        raise InputError("a design effect needs at least 2 blocks", field="block_ids")
    variance = float(values.var(ddof=1))
    if variance == 0.0:
        return 1.0
    rows = np.bincount(codes)
    means = np.bincount(codes, weights=values) / rows
    return float(rows @ np.square(means - values.mean())) / (len(blocks) - 1) / variance


def refuse_per_row(effect: float) -> None:
    """Raise InputError where rows depend on each other too much to be judged one by one."""
    if effect > MOST_DESIGN_EFFECT:
        raise InputError(
            f"the reference's design effect is {effect:.3g}, above {MOST_DESIGN_EFFECT:g}: rows of one block "
            "vary together, and judged one by one they would raise false alarms; judge blocks, such as "
            "'block: 1d'",
            field="block",
        )


def _checked(values: npt.ArrayLike, low: float, high: float) -> Array:
    array = losses_array(values, name="reference losses")
    if len(array) == 0:
        raise InputError("a reference needs at least one loss", field="reference losses")
    problem = problem_in(array, low, high, name="reference loss")
    if problem:
        raise InputError(problem, field="reference losses")
    return array


def _check_confidence(confidence: float) -> None:
    if not 0.0 < confidence < 1.0:
        raise InputError(f"a confidence lies between 0 and 1, not {confidence}", field="confidence")
