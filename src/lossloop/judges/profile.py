"""How a reference profile is made: bins from one half of the blocks, intervals from the other half."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lossloop.core.errors import InputError
from lossloop.core.profile import BlockMoment, FeatureProfile, Moment, Profile
from lossloop.judges.bins import Bins, Cut, bins_of, cut_of, statistics_of, values_of
from lossloop.judges.quantiles import t_quantile
from lossloop.judges.reference import betting_upper, clopper_pearson_upper

Array = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

PREDICTION = "y_pred"
MOST_ROWS = 20_000
"""Rows that an interval is made of; more would hardly narrow it."""
TRAIN, HELD_OUT = 1_500, 2_000
"""Rows kept for a domain classifier."""
WIDE = 4.0
"""How many standard deviations of block means make one unit of a block's statistic."""
LEAST_SCALE = 0.02
"""Of that unit, where block means hardly vary."""
_SEED = 20_260_101


class _Column(NamedTuple):
    """A feature, cut: its bin in each reference row."""

    name: str
    cut: Cut
    bins: Bins


class _Halves(NamedTuple):
    """Which rows the bins are made of, and which block each row is in, numbered from 0."""

    first: Flags
    block: Int64


def profile_of(
    features: Mapping[str, Any],
    *,
    blocks: npt.ArrayLike,
    predictions: npt.ArrayLike | None = None,
    block: str = "1d",
    confidence: float = 0.95,
    joint: bool = True,
) -> Profile:
    """The reference profile of a version, from reference rows that look like what it will meet.

    Args:
        features: The columns by name, shape (n,) each: numbers (NaN or None where missing) or text (None).
        blocks: The block of each row, such as days since 1970: integers, shape (n,), two blocks or more.
        predictions: What the version answered on rows that it was not trained on: shape (n,) or (n, k).
        block: The span of a block, as the policy has it.
        confidence: The chance that all intervals hold together.
        joint: Whether to keep 3,500 rows, a byte for each feature, for a domain classifier.

    Raises:
        InputError: Columns of unequal lengths, of mixed kinds, or fewer than two blocks.
    """
    if not 0.0 < confidence < 1.0:
        raise InputError(f"a confidence lies between 0 and 1, not {confidence}", field="confidence")
    columns = {name: values_of(values, name) for name, values in features.items()}
    answers = _answers(predictions)
    halves = _halves(blocks, {**columns, **answers})
    made = [_column(name, values, halves) for name, values in columns.items()]
    said = [_column(name, values, halves) for name, values in answers.items()]
    error = (1.0 - confidence) / (2 * sum(column.cut.bins for column in [*made, *said]) or 1)
    return Profile(
        features=tuple(_feature(column, halves, error) for column in made),
        predictions=tuple(_feature(column, halves, error) for column in said),
        rows=len(halves.first),
        blocks=int(halves.block.max()) + 1,
        block=block,
        confidence=confidence,
        train=_sample(made, halves.first, TRAIN) if joint else b"",
        held_out=_sample(made, ~halves.first, HELD_OUT) if joint else b"",
    )


def prediction_names(width: int) -> list[str]:
    """What the numbers of a prediction are called."""
    return [PREDICTION] if width == 1 else [f"{PREDICTION}[{place}]" for place in range(width)]


def _answers(predictions: npt.ArrayLike | None) -> dict[str, npt.NDArray[Any]]:
    if predictions is None:
        return {}
    array = np.asarray(predictions, dtype=np.float64)
    if array.ndim not in (1, 2):
        raise InputError("predictions have the shape (n,) or (n, k)", field="predictions")
    columns = array.reshape(len(array), -1)
    names = prediction_names(columns.shape[1])
    return {name: values_of(column, name) for name, column in zip(names, columns.T, strict=True)}


def _halves(blocks: npt.ArrayLike, columns: Mapping[str, npt.NDArray[Any]]) -> _Halves:
    """Halve the blocks at random, by a fixed seed: taking turns could put all nights into one half."""
    names, codes = np.unique(np.asarray(blocks), return_inverse=True)
    if np.asarray(blocks).ndim != 1 or len(names) < 2:
        raise InputError(
            f"a profile needs a block for each row, and two or more of them, not {len(names)}", field="blocks"
        )
    if not columns:
        raise InputError("a profile needs a feature or predictions", field="features")
    for name, values in columns.items():
        if len(values) != len(codes):
            raise InputError(f"{name!r} has {len(values)} rows, blocks have {len(codes)}", field=name)
    first = np.random.default_rng(_SEED).permutation(len(names)) < (len(names) + 1) // 2
    return _Halves(first[codes], codes.astype(np.int64))


def _column(name: str, values: npt.NDArray[Any], halves: _Halves) -> _Column:
    cut = cut_of(values[halves.first])
    return _Column(name, cut, bins_of(cut, values))


def _feature(column: _Column, halves: _Halves, error: float) -> FeatureProfile:
    """A feature's profile; each interval is wrong on either side with a chance of `error` at most."""
    cut, first = column.cut, halves.first
    shares = np.bincount(column.bins[first], minlength=cut.bins) / first.sum()
    names, table = statistics_of(cut, shares)
    means = _block_means(column.bins, halves.block, table)
    inside = np.zeros(len(means), dtype=bool)
    inside[halves.block[first]] = True
    return FeatureProfile(
        name=column.name,
        shares=tuple(shares.tolist()),
        moments=tuple(
            _moment(
                name, table[column.bins[~first], place], error, _block_moment(means[:, place], inside, error)
            )
            for place, name in enumerate(names)
        ),
        design_effect=_design_effect(column.bins, halves.block, table, means),
        cuts=cut.cuts,
        categories=cut.categories,
        rare=cut.rare,
        pools_unseen=cut.pools_unseen,
    )


def _moment(name: str, values: Array, error: float, block: BlockMoment | None) -> Moment:
    rows = np.random.default_rng(_SEED).permutation(len(values))[:MOST_ROWS]
    mean = float(values.mean())
    return Moment(
        name=name,
        mean=mean,
        low=min(mean, 1.0 - _upper(1.0 - values[rows], error)),
        high=max(mean, _upper(values[rows], error)),
        block=block,
    )


def _upper(values: Array, error: float) -> float:
    """An upper bound of the mean of independent values in [0, 1], wrong with a chance of `error` at most."""
    if bool(np.isin(values, (0.0, 1.0)).all()):
        return clopper_pearson_upper(int(values.sum()), len(values), 1.0 - error)
    return betting_upper(values, bound=1.0, confidence=1.0 - error)


def _block_moment(means: Array, inside: Flags, error: float) -> BlockMoment | None:
    """Centre and scale from the first half's block means, bounds from the second's; None with too few."""
    first, second = means[inside], means[~inside]
    if len(first) < 2 or len(second) < 2:
        return None
    centre, scale = float(np.clip(first.mean(), 0.0, 1.0)), max(WIDE * float(first.std(ddof=1)), LEAST_SCALE)
    quantile = t_quantile(1.0 - error, len(second) - 1.0)
    up, down = (_block_upper(found, quantile) for found in hinges(second, centre, scale))
    return BlockMoment(centre=centre, scale=scale, up=min(up, 1.0), down=min(down, 1.0))


def _block_upper(values: Array, quantile: float) -> float:
    """Student's bound of the mean of values in [0, 1]; at least what one more block of 1 would make of it."""
    bound = float(values.mean() + quantile * values.std(ddof=1) / np.sqrt(len(values)))
    return max(bound, float(values.sum() + 1.0) / (len(values) + 1.0))


def hinges(means: Array, centre: float, scale: float | Array, tolerance: float = 0.0) -> tuple[Array, Array]:
    """How far block means lie beyond the tolerance above and below the centre, in units of the scale.

    Within [0, 1] by cutting off. Means that have moved by the tolerance give no more than they gave before.
    """
    above, below = means - centre - tolerance, centre - means - tolerance
    return np.clip(above / scale, 0.0, 1.0), np.clip(below / scale, 0.0, 1.0)


def _block_means(bins: Bins, blocks: Int64, table: Array) -> Array:
    """The mean of each statistic in each block, shape (blocks, statistics)."""
    counts = np.bincount(blocks * len(table) + bins, minlength=(int(blocks.max()) + 1) * len(table))
    counted = counts.reshape(-1, len(table))
    return np.asarray(counted @ table / counted.sum(axis=1, keepdims=True))


def _design_effect(bins: Bins, blocks: Int64, table: Array, means: Array) -> float:
    """As `reference.design_effect`, over all statistics together; 1 where nothing varies."""
    shares = np.bincount(bins, minlength=len(table)) / len(bins)
    overall = shares @ table
    variance = float((shares @ np.square(table - overall)).sum()) * len(bins) / (len(bins) - 1)
    if variance <= 1e-12:
        return 1.0
    rows = np.bincount(blocks)
    return float((rows @ np.square(means - overall)).sum()) / (len(rows) - 1) / variance


def _sample(columns: list[_Column], rows: Flags, most: int) -> bytes:
    """Bins of some rows, drawn without replacement, row by row."""
    if not columns:
        return b""
    drawn = np.random.default_rng(_SEED).permutation(np.flatnonzero(rows))[:most]
    return np.column_stack([column.bins[drawn] for column in columns]).astype(np.uint8).tobytes()
