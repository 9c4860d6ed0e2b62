"""Retention: rows of a model in sealed segments that are too old or too many expire."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import numpy as np

from lossloop.core.clock import Clock, Micros
from lossloop.ledger.expired import Needs
from lossloop.ledger.files import durable, manifests
from lossloop.ledger.files.manifests import Manifest
from lossloop.ledger.files.removing import Remover
from lossloop.ledger.files.sealed import SealedSegment
from lossloop.ledger.files.segments import SegmentLog
from lossloop.ledger.files.sweeping import sweep
from lossloop.ledger.joined.keys import Keys
from lossloop.ledger.removals import Mask, Pruned, check_limits
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
    keys: Keys,
    features: Collection[str] = (),
    cutoff: Micros | None = None,
    larger_than: int | None = None,
    dry_run: bool = False,
    clock: Clock | None = None,
) -> Pruned:
    """Let rows of a model in sealed segments expire that are too old or too many; a fact says what went.

    Positions of all rows stay, the log may be in use, and it is folded as it was.

    Args:
        log: The directory of segments.
        model: Whose rows.
        keys: Those of the ledger: what is sent of these rows later is known by them.
        features: By which the model's rows are told apart: these are kept.
        cutoff: Rows received before this go.
        larger_than: Where sealed rows have more bytes than this, the oldest segments' rows go.
        dry_run: Only say what would go.
        clock: Tells when.

    Raises:
        InputError: Neither an age nor a size.
        InUse: Another process seals, prunes, erases or exports.
        StateError: A file that rows go from is damaged.
    """
    check_limits(cutoff, larger_than)
    with durable.maintained(manifests.sealed_directory(log)), durable.explained(log):
        found = {manifest.segment: manifest for manifest in manifests.manifests(log)}
        cuts = plan(holdings(found.values(), model), cutoff=cutoff, larger_than=larger_than)
        if dry_run:
            return _would_go(log, model, [(found[cut.segment], cut) for cut in cuts])
        sweep(log)
        needs = Needs(keys=keys, features=frozenset(features))
        return _carry_out(log, model, [(found[cut.segment], cut) for cut in cuts], clock, needs)


def _carry_out(
    log: Path, model: str, cuts: Sequence[tuple[Manifest, Cut]], clock: Clock | None, needs: Needs
) -> Pruned:
    writer = SegmentLog(log).writer()
    try:
        remover, size = Remover(log, writer, clock), 0
        for manifest, cut in cuts:
            after = remover.expire(manifest, _going(log, manifest, model, cut), needs)
            size += sum(blob.bytes for blob in manifest.blobs) - sum(blob.bytes for blob in after.blobs)
    finally:
        writer.close()
    gone = remover.gone
    return Pruned(
        model=model,
        predictions=sum(each.predictions for each in gone),
        outcomes=sum(each.outcomes for each in gone),
        segments=len(gone),
        bytes=max(size, 0),
        first=min((each.first for each in gone), default=None),
        last=max((each.last for each in gone), default=None),
    )


def _would_go(log: Path, model: str, cuts: Sequence[tuple[Manifest, Cut]]) -> Pruned:
    rows, size, segments = {"prediction": 0, "outcome": 0}, 0.0, 0
    times: list[Micros] = []
    for manifest, cut in cuts:
        index = SealedSegment(log, manifest.segment, manifest).index
        going = _going(log, manifest, model, cut)
        for number in np.unique(index.table[going]).tolist():
            table = manifest.tables[number]
            count = int(index.rows[going & (index.table == number)].sum())
            rows[table.kind] += count
            size += table.file.bytes * count / table.rows
        if going.any():
            times += [int(index.time[going].min()), int(index.time[going].max())]
        segments += bool(going.any())
    return Pruned(
        model=model, predictions=rows["prediction"], outcomes=rows["outcome"], segments=segments,
        bytes=round(size), first=min(times, default=None), last=max(times, default=None),
    )  # fmt: skip


def _going(log: Path, manifest: Manifest, model: str, cut: Cut) -> Mask:
    """Which frames expire. Shape (frames,)."""
    index = SealedSegment(log, manifest.segment, manifest).index
    mine = [
        number
        for number, table in enumerate(manifest.tables)
        if table.model == model and table.kind in _KINDS and table.rows
    ]
    old = index.time < (_NEVER if cut.before is None else cut.before)
    return np.asarray(np.isin(index.table, mine) & old & (index.rows > 0))
