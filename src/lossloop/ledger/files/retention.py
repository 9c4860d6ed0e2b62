"""Retention: which rows of a model are too old or too many, and their removal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lossloop.core.clock import Clock, Micros
from lossloop.core.errors import InputError
from lossloop.ledger.files import durable, manifests
from lossloop.ledger.files.manifests import Manifest
from lossloop.ledger.files.removing import EXPIRED, Remover, Summarise
from lossloop.ledger.files.rewriting import Mask
from lossloop.ledger.files.sealed import SealedSegment
from lossloop.ledger.files.segments import SegmentLog
from lossloop.ledger.files.sweeping import sweep

_KINDS = ("prediction", "outcome")
_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, kw_only=True)
class Holding:
    """What a sealed segment holds of a model."""

    segment: str
    rows: int
    bytes: int
    first: Micros
    last: Micros
    """Receipt times of its first and its last row."""


@dataclass(frozen=True, kw_only=True)
class Cut:
    """What goes of a segment: rows of the model received before a moment, or all of them (None)."""

    segment: str
    before: Micros | None = None


def holdings(found: Iterable[Manifest], model: str) -> list[Holding]:
    """What sealed segments hold of a model's predictions and outcomes, oldest first."""
    held = []
    for manifest in found:
        tables = [
            table for table in manifest.tables if table.model == model and table.kind in _KINDS and table.rows
        ]
        if tables:
            held.append(
                Holding(
                    segment=manifest.segment,
                    rows=sum(table.rows for table in tables),
                    bytes=sum(table.file.bytes for table in tables),
                    first=min(table.first for table in tables),
                    last=max(table.last for table in tables),
                )
            )
    return sorted(held, key=lambda holding: (holding.last, holding.segment))


def plan(
    held: Sequence[Holding], *, cutoff: Micros | None = None, larger_than: int | None = None
) -> list[Cut]:
    """What would go, oldest first.

    Args:
        held: What there is of one model, oldest first.
        cutoff: Rows received before this go.
        larger_than: Where what is left has more bytes than this, the oldest segments' rows go, all of them.
    """
    cuts: dict[str, Cut] = {}
    for holding in held:
        if cutoff is not None and holding.first < cutoff:
            whole = holding.last < cutoff
            cuts[holding.segment] = Cut(segment=holding.segment, before=None if whole else cutoff)
    left = [each for each in held if each.segment not in cuts or cuts[each.segment].before is not None]
    room = float("inf") if larger_than is None else larger_than
    for holding in reversed(left):
        room -= holding.bytes
        if room < 0:
            cuts[holding.segment] = Cut(segment=holding.segment)
    return [cuts[holding.segment] for holding in held if holding.segment in cuts]


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """What went, or would go, of a model."""

    model: str
    predictions: int = 0
    outcomes: int = 0
    segments: int = 0
    bytes: int = 0
    """Of the files, before less after; of rows that would go, their share of the bytes."""
    first: Micros | None = None
    last: Micros | None = None


def prune(
    log: Path,
    model: str,
    *,
    cutoff: Micros | None = None,
    larger_than: int | None = None,
    dry_run: bool = False,
    clock: Clock | None = None,
    summarise: Summarise | None = None,
) -> Pruned:
    """Remove rows of a model that are too old or too many from sealed segments; a fact says what went.

    Positions of what stays do not change, and the log may be in use.

    Raises:
        InputError: Neither an age nor a size.
        InUse: Another process seals, prunes, erases or exports.
    """
    if cutoff is None and larger_than is None:
        raise InputError("nothing says what is too old or too much; give --older-than or --larger-than")
    with durable.maintained(manifests.sealed_directory(log)), durable.explained(log):
        found = {manifest.segment: manifest for manifest in manifests.manifests(log)}
        cuts = plan(holdings(found.values(), model), cutoff=cutoff, larger_than=larger_than)
        if dry_run:
            return _would_go(log, model, [(found[cut.segment], cut) for cut in cuts])
        sweep(log)
        return _carry_out(log, model, [(found[cut.segment], cut) for cut in cuts], clock, summarise)


def _carry_out(
    log: Path,
    model: str,
    cuts: Sequence[tuple[Manifest, Cut]],
    clock: Clock | None,
    summarise: Summarise | None,
) -> Pruned:
    writer = SegmentLog(log).writer()
    try:
        remover, size = Remover(log, writer, clock, summarise), 0
        for manifest, cut in cuts:
            after = remover.remove(manifest, _masks(log, manifest, model, cut), why=EXPIRED)
            size += sum(blob.bytes for blob in manifest.blobs) - sum(blob.bytes for blob in after.blobs)
    finally:
        writer.close()
    gone = remover.gone
    return Pruned(
        model=model,
        predictions=sum(each.predictions for each in gone),
        outcomes=sum(each.outcomes for each in gone),
        segments=len(gone),
        bytes=size,
        first=min((each.first for each in gone), default=None),
        last=max((each.last for each in gone), default=None),
    )


def _would_go(log: Path, model: str, cuts: Sequence[tuple[Manifest, Cut]]) -> Pruned:
    rows, size, segments = {"prediction": 0, "outcome": 0}, 0.0, 0
    times: list[Micros] = []
    for manifest, cut in cuts:
        index, touched = SealedSegment(log, manifest.segment, manifest).index, False
        for number, mask in _masks(log, manifest, model, cut).items():
            table, here = manifest.tables[number], index.table == number
            going = np.repeat(index.time[here], index.rows[here])[~mask]
            if len(going):
                touched = True
                rows[table.kind] += len(going)
                size += table.file.bytes * len(going) / table.rows
                times += [int(going.min()), int(going.max())]
        segments += touched
    return Pruned(
        model=model, predictions=rows["prediction"], outcomes=rows["outcome"], segments=segments,
        bytes=round(size), first=min(times, default=None), last=max(times, default=None),
    )  # fmt: skip


def _masks(log: Path, manifest: Manifest, model: str, cut: Cut) -> dict[int, Mask]:
    """Which rows of the model's tables stay."""
    index = SealedSegment(log, manifest.segment, manifest).index
    stays = index.time >= (_NEVER if cut.before is None else cut.before)
    return {
        number: np.repeat(stays[index.table == number], index.rows[index.table == number])
        for number, table in enumerate(manifest.tables)
        if table.model == model and table.kind in _KINDS and table.rows
    }
