"""Retention: rows of a model that are too old or too many are removed from sealed segments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from lossloop.core.clock import Clock, Micros
from lossloop.ledger.files import durable, manifests
from lossloop.ledger.files.manifests import Manifest
from lossloop.ledger.files.removing import Remover
from lossloop.ledger.files.sealed import SealedSegment
from lossloop.ledger.files.segments import SegmentLog
from lossloop.ledger.files.sweeping import sweep
from lossloop.ledger.removals import EXPIRED, Mask, Pruned, Summarise, check_limits
from lossloop.ledger.retaining import Cut, Holding, oldest_first, plan

_KINDS = ("prediction", "outcome")
_NEVER = np.iinfo(np.int64).max


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
    return oldest_first(held)


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
    check_limits(cutoff, larger_than)
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
