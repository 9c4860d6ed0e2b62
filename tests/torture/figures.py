"""The figures of a ledger, and those of the recount: where they differ."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from lossloop.app.books import Books
from lossloop.app.home import Home
from lossloop.app.reading import status
from lossloop.app.showing import shown
from lossloop.core.clock import SECOND, Micros
from lossloop.ledger.joined.keys import Keys
from lossloop.ledger.store import Store
from tests.torture.recount import Model, Recount

BLOCK = 60 * SECOND
MOMENT: Micros = 60 * SECOND
"""A row's clock is at most so far behind its receipt: something later may have been folded before it."""
COUNTS = ("predictions", "outcomes", "corrections", "waiting", "repeats", "conflicts")


@dataclass
class Sum:
    """Predictions of a version in a role, and the losses of those that have a number for an outcome."""

    predictions: int = 0
    outcomes: int = 0
    total: float = 0.0

    def add(self, loss: float | None) -> None:
        """One prediction more."""
        self.predictions += 1
        if loss is not None:
            self.outcomes += 1
            self.total += loss

    def agrees(self, other: Sum) -> bool:
        """Whether both are the same, but for the order in which losses were added."""
        same = (self.predictions, self.outcomes) == (other.predictions, other.outcomes)
        return same and math.isclose(self.total, other.total, rel_tol=1e-9, abs_tol=1e-6)


def differences(recount: Recount, home: Home, store: Store) -> list[str]:
    """Where a store's figures are not those of the recount."""
    found = []
    for name in sorted(recount.models):
        model, books = recount.models[name], Books(store)
        blocks, wrong = _blocks(store, Keys(home.settings().secret), name, model)
        told = status(books, name)
        wrong += [*of_status(told, model), *_of_blocks(books, name, model, blocks)]
        found += [f"{name}: {words}" for words in wrong]
    return found


def of_status(told: Mapping[str, Any], model: Model) -> Iterator[str]:
    """What anyone is shown of a model."""
    for count in COUNTS:
        if told["counts"].get(count, 0) != model.counts[count]:
            yield f"{count} are {told['counts'].get(count, 0)}, the recount has {model.counts[count]}"
    if told["missing"] != dict(model.missing):
        yield f"missing for reasons {told['missing']}, the recount has {dict(model.missing)}"
    sums: dict[tuple[int, str], Sum] = {}
    for id, row in model.predictions.items():
        sums.setdefault((row.version, row.role), Sum()).add(_loss(model, id))
    shown_ = {
        (each["version"], each["role"]): Sum(
            each["predictions"], each["outcomes"], (each["mean"] or 0.0) * each["outcomes"]
        )
        for each in told["losses"]
    }
    yield from _unlike(sums, shown_)


def _of_blocks(books: Books, name: str, model: Model, blocks: Mapping[str, int]) -> Iterator[str]:
    """The figures by version, role and block."""
    sums: dict[tuple[int, str, int], Sum] = {}
    for id, row in model.predictions.items():
        if id in blocks:
            sums.setdefault((row.version, row.role, blocks[id]), Sum()).add(_loss(model, id))
    kept = {
        (each.version, each.role, each.block): Sum(each.predictions, each.losses.count, each.losses.total)
        for each in shown(books.documents, name)
    }
    yield from _unlike(sums, kept)


def _unlike(wanted: Mapping[Any, Sum], found: Mapping[Any, Sum]) -> Iterator[str]:
    for place in sorted({*wanted, *found}):
        one, other = wanted.get(place, Sum()), found.get(place, Sum())
        if not one.agrees(other):
            yield f"at {place} there is {other}, the recount has {one}"


def _loss(model: Model, id: str) -> float | None:
    """The Brier score, computed here once more."""
    outcome = model.outcomes.get(id)
    if outcome is None or outcome.y_true is None:
        return None
    return (model.predictions[id].y_pred - outcome.y_true) ** 2


def _blocks(store: Store, keys: Keys, name: str, model: Model) -> tuple[dict[str, int], list[str]]:
    """The block that each prediction was put in, and what is wrong with that.

    By receipt times alone it is not known to the microsecond: a tick may have been folded before a row that
    was received before it.
    """
    ids = list(model.predictions)
    high, low = keys.of(pa.array(ids, pa.string()))
    known = dict(zip(zip(high.tolist(), low.tolist(), strict=True), ids, strict=True))
    blocks: dict[str, int] = {}
    wrong: list[str] = []
    last = 0
    for chunk in store.chunks(f"rows/{name}"):
        columns = [chunk.batch.column(each).to_pylist() for each in ("key_high", "key_low", "at", "block")]
        for one, other, at, block in zip(*columns, strict=True):
            id = known.get((one, other))
            if id is None or id in blocks:
                wrong.append("a row of the store is of no prediction, or a second one of the same")
                continue
            blocks[id] = block
            if at < last or not 0 <= at - model.received[id] <= MOMENT or block != at // BLOCK * BLOCK:
                wrong.append(f"{id}, received at {model.received[id]}, has the clock {at} and block {block}")
            last = max(last, at)
    if len(blocks) != len(ids):
        wrong.append(f"the store has rows of {len(blocks)} predictions, the recount of {len(ids)}")
    return blocks, wrong[:10]
