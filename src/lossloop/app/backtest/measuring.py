"""What a version lost on what it answered, under another loss than that of its reference. Read-only.

A reference is measured on rows that are not judged by it afterwards: those of before the span that is
replayed, or, where a loss is switched, those of before the switch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import msgspec
import numpy as np

from lossloop.act.watches import GuardrailWatch, SeasonalWatch, Watch
from lossloop.app.backtest.blocks import champion_blocks
from lossloop.app.backtest.past import Past
from lossloop.app.judging import Lens, numbered_units
from lossloop.app.references import version_under, with_reference
from lossloop.app.reigns import Reign
from lossloop.app.watches import asks_of_loss, by_rows, needs_rows
from lossloop.core.calendar import Block, Calendar, Int64
from lossloop.core.clock import format_duration
from lossloop.core.cuts import SliceReference
from lossloop.core.estimates import CALIBRATED, Estimate
from lossloop.judges import block_means, design_effect, slice_references
from lossloop.judges.reference import reference_of
from lossloop.ledger.joined.columns import Floats
from lossloop.ledger.joined.table import Rows
from lossloop.registry import Reference, Version

FEWEST_BLOCKS = 8
"""A version with fewer has no reference: how its blocks vary would not be known."""
MOST_ROWS = 1_000_000
"""Bounds over rows, seasons and slices rest on the latest so many rows."""


def champion_of(past: Past, lens: Lens, number: int) -> Version:
    """A version as a policy measures it: by a reference of its own, or one that is measured on the past.

    Under another loss than the version's reference is of, the reference is measured on what the version
    answered before the span that is replayed, or, where that is too little, in all of it.
    """
    version = version_under(past.books.documents, lens, number)
    if not lacks(past, lens, version):
        return version
    found, _ = _found(past, lens, version)
    return version if found is None else with_reference(version, found)


def lacks(past: Past, lens: Lens, version: Version) -> bool:
    """Whether a version needs a reference under a policy's loss, another than its own, and has none."""
    policy, own = lens.policy, version.manifest.reference
    needs = policy.rollout is not None or any(map(_measures, policy.watches.values()))
    return needs and not lens.is_of(past.in_force.loss if own is None else own.loss)


def _measures(watch: Watch) -> bool:
    """Whether a watch may look at the reference; where rows are judged, for how they depend on each other."""
    return asks_of_loss(watch) and (by_rows(watch) or not isinstance(watch, GuardrailWatch))


def notes(past: Past, lens: Lens) -> Iterator[str]:
    """What has to be said of references that were measured."""
    made = [version_under(past.books.documents, lens, number) for number in past.champions]
    found = [_found(past, lens, version) for version in made if lacks(past, lens, version)]
    if any(reference is None for reference, _ in found):
        yield (
            f"no reference under {lens.policy.loss} could be measured of every version; it takes "
            f"{FEWEST_BLOCKS} blocks of what a version answered"
        )
    if any(reference is not None and not earlier for reference, earlier in found):
        yield (
            f"references under {lens.policy.loss} are what the versions lost in the span that is replayed: "
            "what was bad in all of it does not show; begin later (--since), and they are of the time before"
        )
    elif any(reference is not None for reference, _ in found):
        yield f"references under {lens.policy.loss} are what the versions lost before the span"


def _found(past: Past, lens: Lens, version: Version) -> tuple[Reference | None, bool]:
    """What can be measured of a version, once, and whether on what was before the span."""
    key = (repr(lens.policy), version.number)
    if key not in past.measures:
        earlier = measured(replace(past, since=0, until=past.since), lens, version)
        past.measures[key] = (measured(past, lens, version), False) if earlier is None else (earlier, True)
    return past.measures[key]


def measured(past: Past, lens: Lens, version: Version) -> Reference | None:
    """The reference of a version under a policy's loss, on what it answered; None below 8 blocks.

    Rows without an outcome at their judging age are left out.
    """
    mine = [reign for reign in past.reigns if reign.crowned.version == version.number]
    rows = _rows(past, lens, mine)
    if rows is None:
        return None
    means = block_means(rows.losses, rows.blocks, rows.units).mean
    if len(means) < FEWEST_BLOCKS:
        return None
    own, latest = version.manifest.reference, rows.latest(MOST_ROWS)
    by_rows = needs_rows(lens) and np.isfinite(lens.bound)
    return Reference(
        loss=lens.policy.loss, mean=float(rows.losses.mean()), block=format_duration(lens.policy.block),
        block_means=tuple(means.tolist()), rows=len(rows.losses),
        design_effect=design_effect(rows.losses, rows.blocks),
        row_upper=reference_of(latest.losses, bound=lens.bound, floor=lens.floor).upper if by_rows else None,
        baseline=None if own is None else own.baseline,
        estimate=None if own is None else _estimate(own.estimate, lens),
        seasons=_seasons(lens, latest), slices=_slices(lens, latest),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Rows:
    """Rows with an outcome, in prediction order. Arrays of n."""

    parts: list[Rows]
    losses: Floats
    blocks: Int64
    units: Int64

    @cached_property
    def at(self) -> Int64:
        return np.concatenate([part.at for part in self.parts])

    def latest(self, most: int) -> _Rows:
        """The last rows: whole parts, of which the first may make them more than `most`."""
        parts, count = list[Rows](), 0
        for part in reversed(self.parts):
            if count >= most:
                break
            parts.insert(0, part)
            count += len(part)
        return _Rows(
            parts=parts, losses=self.losses[-count:], blocks=self.blocks[-count:], units=self.units[-count:]
        )


def _rows(past: Past, lens: Lens, reigns: Iterable[Reign]) -> _Rows | None:
    parts, losses, blocks, units = list[Rows](), list[Floats](), list[Block](), list[Int64]()
    for reign in reigns:
        for _, block, mine in champion_blocks(past, lens, reign):
            scores = lens.matured_scores(mine)
            there = ~np.isnan(scores)
            if not there.any():
                continue
            known, who = mine.pick(there), numbered_units(mine)
            parts.append(known)
            losses.append(scores[there])
            blocks.append(block)
            units.append(np.arange(len(known)) if who is None else who[there])
    if not parts:
        return None
    days = np.repeat(np.array(blocks, np.int64), [len(part) for part in parts])
    return _Rows(parts=parts, losses=np.concatenate(losses), blocks=days, units=np.concatenate(units))


def _estimate(own: Estimate | None, lens: Lens) -> Estimate | None:
    """Calibrated chances are those of any loss; a loss that was estimated directly is of that loss only."""
    if own is None or own.by != CALIBRATED or not np.isfinite(lens.bound):
        return None
    return msgspec.structs.replace(own, most=lens.bound)


def _seasons(lens: Lens, rows: _Rows) -> dict[str, tuple[float, ...]]:
    """The means of each season that a watch learns its limits of, where every part of it has rows."""
    found: dict[str, tuple[float, ...]] = {}
    watches = [watch for watch in lens.policy.watches.values() if isinstance(watch, SeasonalWatch)]
    for season in {watch.season for watch in watches if watch.limit is not None}:
        local = Calendar(span=season.span, zone=lens.policy.timezone).blocks(rows.at)
        parts, count = season.parts(local), len(season.names)
        many = np.bincount(parts, minlength=count)
        if many.all():
            means = np.bincount(parts, weights=rows.losses, minlength=count) / many
            found[str(season)] = tuple(means.tolist())
    return found


def _slices(lens: Lens, rows: _Rows) -> dict[str, SliceReference]:
    found: dict[str, SliceReference] = {}
    for cut in lens.policy.cuts:
        names, places = list[str](), list[Int64]()
        for part in rows.parts:
            here = part.slices.by(cut)
            names = list(part.slices.dictionary.names(cut)) if here is not None else names
            places.append(np.full(len(part), -1, np.int64) if here is None else here)
        place = np.concatenate(places)
        mine = place >= 1
        if mine.any():
            found |= slice_references(
                rows.losses[mine], np.array(names)[place[mine]].tolist(), rows.blocks[mine],
                rows.units[mine], floor=lens.floor, bound=lens.bound,
            )  # fmt: skip
    return found
