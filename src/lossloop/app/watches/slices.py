"""Many slices: is the champion's mean loss within its limit in each of them?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lossloop.act.policy import Policy
from lossloop.act.watches import SlicesWatch
from lossloop.app.judging import Lens, numbered_units
from lossloop.app.watches.base import Found
from lossloop.app.watches.risk import check_rows, reference_for
from lossloop.core.calendar import Block, Int64
from lossloop.core.cuts import Cut
from lossloop.core.errors import InputError, alternatives
from lossloop.judges import (
    Counts,
    SliceLosses,
    Slices,
    block_means,
    bound_of_blocks,
    bound_of_rows,
    fill_missing,
    parse,
)
from lossloop.ledger.joined.columns import Floats
from lossloop.ledger.joined.slicing import Sliced
from lossloop.ledger.joined.table import Rows
from lossloop.registry import Version

Entries = tuple[Int64, Int64, Floats, Int64, Int64]
"""Moments, places in the names, losses, rows, and how many of these have an outcome. Arrays of m."""


class SlicesKind:
    """A limit for the mean loss of each slice."""

    shows_mean = True
    cannot_see = (
        "who is to blame, as a single limit cannot; a slice that the policy does not name; rows that were "
        "there before their slice was asked for; and how slices go together, unless it is asked"
    )

    def judge(self, lens: Lens, watch: SlicesWatch, champion: Version) -> Slices:
        """See `OfOutcomes`."""
        check_rows(lens, watch.promise, champion)
        _check_features(cuts_of(lens.policy, watch), champion)
        promise = parse(watch.promise)
        if watch.limit is not None:
            return Slices(limit=watch.limit, promise=promise, floor=lens.floor)
        reference = reference_for(lens, promise, champion)
        profile = champion.manifest.reference.slices if champion.manifest.reference is not None else {}
        bound = bound_of_rows if promise.counts is Counts.OUTCOMES else bound_of_blocks
        bounds = {name: bound(each) for name, each in profile.items()}
        return Slices(
            reference=reference, references={name: each for name, each in bounds.items() if each is not None},
            tolerance=watch.tolerance or 0.0, promise=promise, floor=lens.floor,
        )  # fmt: skip

    def evidence(
        self, lens: Lens, watch: SlicesWatch, champion: Version, rows: Rows, block: Block | None
    ) -> Found:
        """See `OfOutcomes`; an outcome that did not come counts as the least loss."""
        known = lens.matured_scores(rows)
        there, risk = ~np.isnan(known), fill_missing(known, lens.floor)
        units = None if block is None else numbered_units(rows)
        names: list[str] = []
        entries: list[Entries] = []
        for named, mine, places in _cut(rows.slices, cuts_of(lens.policy, watch)):
            if block is None:
                entries.append((mine, places + len(names), risk[mine], np.ones_like(mine), there[mine] * 1))
            else:
                who = None if units is None else units[mine]
                entries.append(_of_block(risk[mine], places, who, there[mine], len(names)))
            names += named
        return Found(
            evidence=_together(entries, tuple(names), len(rows), by_rows=block is None),
            mean=float(risk.mean()), labelled=int(np.count_nonzero(there)),
        )  # fmt: skip


def cuts_of(policy: Policy, watch: SlicesWatch) -> tuple[Cut, ...]:
    """The cuts that a watch looks at."""
    return tuple(cut for cut in policy.cuts if not watch.by or cut.name in watch.by)


def _check_features(cuts: tuple[Cut, ...], champion: Version) -> None:
    known = [feature.name for feature in champion.manifest.features]
    for name in (axis.feature for cut in cuts for axis in cut.axes):
        if known and name not in known:
            raise InputError(
                f"{champion.name} has no feature {name!r} to slice by; {alternatives(name, known)}",
                field="slices",
            )


def _cut(sliced: Sliced, cuts: tuple[Cut, ...]) -> Iterator[tuple[tuple[str, ...], Int64, Int64]]:
    """By each cut: its slices, the rows that belong to one, and to which."""
    for cut in cuts:
        names, places = sliced.dictionary.names(cut), sliced.by(cut)
        if places is None:
            continue
        first = 0 if (places == 0).any() else 1  # the rest is no slice until a row belongs to it
        mine = np.flatnonzero(places >= first)
        yield names[first:], mine, places[mine] - first


def _of_block(
    risk: Floats,
    places: Int64,
    units: Int64 | None,
    there: np.ndarray[tuple[int], np.dtype[np.bool_]],
    first: int,
) -> Entries:
    found = block_means(risk, places, units)
    labelled = np.bincount(places[there], minlength=int(places.max(initial=-1)) + 1)[found.block]
    return np.zeros(len(found), np.int64), found.block + first, found.mean, found.rows, labelled


def _together(entries: list[Entries], names: tuple[str, ...], rows: int, *, by_rows: bool) -> SliceLosses:
    empty = (
        np.zeros(0, np.int64),
        np.zeros(0, np.int64),
        np.zeros(0),
        np.zeros(0, np.int64),
        np.zeros(0, np.int64),
    )
    moment, place, loss, many, labelled = (np.concatenate(each) for each in zip(empty, *entries, strict=True))
    order = np.argsort(moment, kind="stable")
    return SliceLosses(
        names=names, moment=moment[order], place=place[order], loss=loss[order], rows=many[order],
        labelled=labelled[order], total=np.ones(rows, np.int64) if by_rows else np.array([rows]),
    )  # fmt: skip
