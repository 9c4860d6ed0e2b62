"""How answers came, for dashboards: what they took and which failed, by version, role and block.

No judge looks at these. Of rows that were erased a state that is made anew counts none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from lossloop.app.books import Books
from lossloop.app.reasons import count_reasons, reasons
from lossloop.app.showing import Place, by_place, shown
from lossloop.core.calendar import Block
from lossloop.core.documents import Documents
from lossloop.core.records import Record
from lossloop.ledger.facts import optional
from lossloop.ledger.joined.columns import numbers
from lossloop.ledger.joined.join import Arrivals
from lossloop.summaries import Latencies

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_KIND, _ERRORS = "answered", "error"
Times = np.ndarray[Any, np.dtype[np.float64]]


class Answered(Record, frozen=True):
    """How one version's answers in one role and block came."""

    version: int
    role: str
    block: Block
    failed: int = 0
    latency: Latencies = Latencies()
    """Of the answers that were sent with one."""


def answered(documents: Documents, model: str) -> list[Answered]:
    """All there is of a model, by version, role and block; nothing where predictions say neither."""
    return list(documents.all(_KIND, Answered, prefix=f"{model}/").values())


def errors(documents: Documents, model: str) -> dict[str, int]:
    """How many of a model's predictions failed, by reason."""
    return reasons(documents, model, kind=_ERRORS)


def count_answers(
    documents: Documents, model: str, batch: pa.RecordBatch, arrived: Sequence[Arrivals]
) -> None:
    """Add new predictions of a batch; one that says neither latency nor error costs nothing."""
    latency, why = optional(batch, "latency_ms"), optional(batch, "error")
    if latency is None and why is None:
        return
    took = np.full(batch.num_rows, np.nan) if latency is None else numbers(latency)
    for new in arrived:
        failed = np.isnan(new.y_pred if new.y_pred.ndim == 1 else new.y_pred[:, 0])
        times = np.where(failed, np.nan, took[new.place])
        for place, rows in by_place(new.version, new.role, new.block):
            _add(documents, model, place, int(np.count_nonzero(failed[rows])), times[rows])
        if why is not None and failed.any():
            told = why.take(pa.array(new.place[failed])).drop_null().to_pylist()
            count_reasons(documents, model, Counter(told), kind=_ERRORS)


def _add(documents: Documents, model: str, place: Place, failed: int, times: Times) -> None:
    known = times[~np.isnan(times)]
    if not failed and not len(known):
        return
    key = _key(model, place)
    before = documents.get(_KIND, key, Answered) or Answered(version=place[0], role=place[1], block=place[2])
    after = msgspec.structs.replace(
        before, failed=before.failed + failed, latency=before.latency.add(known)
    )  # fmt: skip
    documents.put(_KIND, key, after)


def _key(model: str, place: Place) -> str:
    return f"{model}/{place[0]:09d}/{place[1]}/{place[2]:020d}"


def present(books: Books, model: str) -> list[Answered]:
    """How answers of the versions that have traffic come in the block that is open."""
    traffic, moment = books.traffic(model), np.array([books.now()])
    block = int(books.policy(model).calendar.blocks(moment)[0])
    found = []
    for version, role in () if traffic is None else traffic.answering:
        each = books.documents.get(_KIND, _key(model, (version, str(role), block)), Answered)
        found.append(each or Answered(version=version, role=str(role), block=block))
    return found


def answers(documents: Documents, model: str) -> list[dict[str, Any]]:
    """How answers came, by version and role over all blocks, as plain values; times in ms."""
    found: dict[tuple[int, str], Answered] = {}
    for part in answered(documents, model):
        place = (part.version, part.role)
        before = found.get(place, Answered(version=part.version, role=part.role, block=0))
        found[place] = msgspec.structs.replace(
            before, failed=before.failed + part.failed, latency=before.latency.merge(part.latency)
        )
    sent = Counter[tuple[int, str]]()
    for each in shown(documents, model) if found else ():
        sent[each.version, each.role] += each.predictions
    return [
        {"version": version, "role": role, "predictions": sent[version, role], "failed": one.failed,
         "latency_ms": _told(one.latency)}
        for (version, role), one in sorted(found.items())
    ]  # fmt: skip


def _told(latency: Latencies) -> dict[str, float | int | None] | None:
    if not latency.count:
        return None
    quantiles = {name: latency.quantile(share) for name, share in QUANTILES.items()}
    return {"count": latency.count, "mean": latency.mean, **quantiles, "max": latency.high}
