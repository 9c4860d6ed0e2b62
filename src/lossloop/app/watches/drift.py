"""Drift and prediction shift: do inputs, or answers, look as they did in the champion's reference profile?

Features are read as they were sent. A feature that a prediction leaves out is missing, which is a statistic
of its own; a prediction that was sent without any features says nothing about them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lossloop.act.watches import DriftWatch, PredictionShiftWatch
from lossloop.app.judging import Lens
from lossloop.app.watches.base import Arrived
from lossloop.core.clock import format_duration, parse_duration
from lossloop.core.errors import InputError, UnknownName
from lossloop.core.profile import FeatureProfile, Profile
from lossloop.judges import Averages, BlockDrift, Counts, Domain, Drift, parse
from lossloop.judges.bins import Bins, Reader
from lossloop.ledger.joined.columns import Floats
from lossloop.registry import Version

DriftJudge = Drift | BlockDrift
Watched = DriftWatch | PredictionShiftWatch
Flags = np.ndarray[Any, np.dtype[np.bool_]]


class _Drifts:
    """What both say to their judge."""

    shows_mean = False

    def of_block(self, means: Floats, rows: int) -> Averages:
        """See `OfArrivals`."""
        return Averages(mean=means, rows=np.array([float(rows)]))


class DriftKind(_Drifts):
    """The features that a model is asked with."""

    asks = "features"
    cannot_see = (
        "whether the loss has changed: inputs may move and the model still be right, and what the same "
        "inputs mean may change while they stay; without joint: true also how features go together"
    )

    def judge(self, lens: Lens, watch: DriftWatch, champion: Version) -> DriftJudge:
        """See `OfArrivals`."""
        return _asked(watch, _profile_for(lens, watch, champion)).judge

    def evidence(self, lens: Lens, watch: DriftWatch, champion: Version, arrived: Arrived) -> Floats:
        """See `OfArrivals`: bins where rows are judged, statistics of them where blocks are."""
        asked = _asked(watch, _profile_for(lens, watch, champion))
        columns: dict[str, pa.Array] = {}
        there: Flags = np.zeros(len(arrived), dtype=bool)
        if arrived.features is not None:
            columns = _columns(arrived.features, [name for name, _ in asked.readers])
            there = arrived.features.is_valid().to_numpy(zero_copy_only=False)
        bins = [_bins(reader, columns.get(name), len(arrived)) for name, reader in asked.readers]
        return _said(asked.judge, np.column_stack(bins), there)


class PredictionShiftKind(_Drifts):
    """The answers that a model gives."""

    asks = ""
    cannot_see = (
        "whether the answers are right: they move with the inputs, as they should, and stay where they are "
        "while the truth moves away"
    )

    def judge(self, lens: Lens, watch: PredictionShiftWatch, champion: Version) -> DriftJudge:
        """See `OfArrivals`."""
        return _asked(watch, _profile_for(lens, watch, champion)).judge

    def evidence(
        self, lens: Lens, watch: PredictionShiftWatch, champion: Version, arrived: Arrived
    ) -> Floats:
        """See `OfArrivals`: bins where rows are judged, statistics of them where blocks are."""
        asked = _asked(watch, _profile_for(lens, watch, champion))
        answers = _answers(arrived.y_pred, len(asked.readers))
        bins = [reader.numbers(answers[:, place]) for place, (_, reader) in enumerate(asked.readers)]
        there = np.count_nonzero(~np.isnan(answers), axis=1) > 0
        return _said(asked.judge, np.column_stack(bins), there)


@dataclass(frozen=True)
class _Of:
    """A champion's profile, known by its version's digest: judges are made once for each."""

    digest: str
    profile: Profile = field(compare=False)


def _profile_for(lens: Lens, watch: Watched, champion: Version) -> _Of:
    """The champion's profile, if a watch can be judged by it.

    Raises:
        InputError: There is none, or it is over other blocks than the policy's.
    """
    profile = champion.manifest.profile
    if profile is None:
        raise InputError(
            f"{champion.name} has no profile of its reference rows; make one with lossloop.profile_of, and "
            "register the version with it under the key 'profile'",
            field="profile",
        )
    by_rows = parse(watch.promise).counts is Counts.OUTCOMES
    if not by_rows and parse_duration(profile.block) != lens.policy.block:
        raise InputError(
            f"the profile of {champion.name} is over blocks of {profile.block}, the policy's are of "
            f"{format_duration(lens.policy.block)}",
            field="profile.block",
        )
    return _Of(champion.digest, profile)


class _Asked(NamedTuple):
    """A judge, and what reads the features that it looks at, by name."""

    judge: DriftJudge
    readers: tuple[tuple[str, Reader], ...]


@lru_cache(maxsize=64)
def _asked(watch: Watched, of: _Of) -> _Asked:
    judge = _judge(watch, of)
    return _Asked(judge, tuple((feature.name, Reader(feature)) for feature in judge.features))


def _judge(watch: Watched, of: _Of) -> DriftJudge:
    promise, features = parse(watch.promise), _features(watch, of.profile)
    by_rows = promise.counts is Counts.OUTCOMES
    joint = isinstance(watch, DriftWatch) and watch.joint
    if not by_rows:
        if joint:
            raise InputError(
                "joint drift is judged by row; write the promise per outcomes, such as "
                "'1 per 1,000,000 outcomes'",
                field="promise",
            )
        usual = of.profile.rows / max(of.profile.blocks, 1)
        return BlockDrift(features=features, tolerance=watch.tolerance, promise=promise, usual=usual)
    domain = Domain.of(of.profile, features) if joint else None
    return Drift(features=features, tolerance=watch.tolerance, promise=promise, joint=domain)


def _features(watch: Watched, profile: Profile) -> tuple[FeatureProfile, ...]:
    if isinstance(watch, PredictionShiftWatch):
        if not profile.predictions:
            raise InputError(
                "the profile says nothing about predictions; make it with predictions=...", field="profile"
            )
        return profile.predictions
    known = {feature.name: feature for feature in profile.features}
    if not known:
        raise InputError("the profile says nothing about features; make it with features", field="profile")
    for name in watch.features:
        if name not in known:
            raise UnknownName("feature", name, known, field="features")
    return tuple(known[name] for name in watch.features) or profile.features


def _said(judge: DriftJudge, bins: Bins, there: Flags) -> Floats:
    """What rows say to a judge, shape (n, m); NaN of those that say nothing."""
    found = bins.astype(np.float64) if isinstance(judge, Drift) else judge.statistics(bins)
    found[~there] = np.nan
    return found


def _answers(y_pred: Floats, width: int) -> Floats:
    """Predictions as so many columns, NaN where there are fewer. Shape (n, width)."""
    there = y_pred.reshape(len(y_pred), -1)[:, :width]
    return np.pad(there, ((0, 0), (0, width - there.shape[1])), constant_values=np.nan)


def _columns(features: pa.Array, wanted: Sequence[str]) -> dict[str, pa.Array]:
    """The wanted features by name: of a struct, or of the JSON text that was sent.

    Of no others: each of 100,000 rows may have brought names that no other row has.
    """
    if not pa.types.is_struct(features.type):
        rows = [_row(text) for text in features.to_pylist()] if _is_text(features) else []
        return {name: _column([row.get(name) for row in rows]) for name in wanted}
    return dict(zip((each.name for each in features.type), features.flatten(), strict=True))


def _row(text: str | None) -> dict[str, Any]:
    """A row's features; none of what is no object: the servers refuse it, and it must not stop the loop."""
    try:
        return msgspec.json.decode(text or "{}", type=dict[str, Any])
    except msgspec.DecodeError:
        return {}


def _column(values: list[Any]) -> pa.Array:
    """Values as JSON has them; of mixed kinds, as text."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array([None if value is None else str(value) for value in values], pa.string())


def _bins(reader: Reader, column: pa.Array | None, rows: int) -> Bins:
    """The bin of each value; what is of another kind than the reference's is missing. Shape (n,)."""
    if column is not None and pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    values = None if column is None or not reader.is_number else _floats(column)
    if values is not None:
        return reader.numbers(values)
    if column is None or reader.is_number or not _is_text(column):
        return np.full(rows, reader.missing, np.uint8)
    found = column.dictionary_encode()
    table = reader.texts([*found.dictionary.to_pylist(), None])
    bins: Bins = table[found.indices.fill_null(len(table) - 1).to_numpy(zero_copy_only=False)]
    return bins


def _is_text(column: pa.Array) -> bool:
    return bool(pa.types.is_string(column.type) or pa.types.is_large_string(column.type))


def _floats(column: pa.Array) -> Floats | None:
    """Numbers with NaN for none; None where they are no numbers."""
    kind = column.type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        return None
    floats = column if pa.types.is_float64(kind) else pc.cast(column, pa.float64(), safe=False)
    return np.asarray(floats.to_numpy(zero_copy_only=False))
