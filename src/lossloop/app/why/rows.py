"""The champion's rows with their losses and features, of two periods, as columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from lossloop.app.home import Home
from lossloop.app.judging import CHAMPION, Lens
from lossloop.app.recompute.features import PREFIX
from lossloop.app.recompute.history import Columns, History, Span
from lossloop.app.recompute.past import read_past
from lossloop.core.errors import InputError
from lossloop.ledger.joined.columns import Array, Floats, Int64
from lossloop.ledger.store import Store

_AT_ONCE = 1 << 17
VERSION = "version"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Rows of a champion that have a loss. Arrays of n."""

    time: Int64
    block: Int64
    loss: Floats
    features: Mapping[str, Array]
    """By name, floats with NaN or objects with None; among them the version that answered."""
    unlabelled: int
    """How many more rows had no loss, mostly for want of an outcome."""

    def __len__(self) -> int:
        return len(self.loss)

    def within(self, span: Span) -> Seen:
        """Those whose predictions were made in a span."""
        inside = span.holds(self.time)
        return self if inside is None else self._pick(np.flatnonzero(inside))

    def some(self, most: int, seed: int) -> Seen:
        """At most so many of them, drawn at random, in their order."""
        if len(self) <= most:
            return self
        return self._pick(np.sort(np.random.default_rng(seed).choice(len(self), most, replace=False)))

    def _pick(self, rows: Int64) -> Seen:
        return replace(
            self, time=self.time[rows], block=self.block[rows], loss=self.loss[rows],
            features={name: values[rows] for name, values in self.features.items()},
        )  # fmt: skip


def read_rows(home: Home, store: Store, lens: Lens, span: Span) -> Seen:
    """Read what champions answered in a span, imported or as it happened, with the outcomes now in force.

    Raises:
        TooLarge: The model has more predictions than features are read for.
        InputError: There is no row in the span that has a loss.
    """
    model = lens.policy.model
    past, _ = read_past(home, store, model, (), whole=True)
    found = [rows for history in past for rows in _scored(history, lens, span)]
    names = [name.removeprefix(PREFIX) for name in past[0].more if name in past[1].more]
    return _together(found, names, model)


def _scored(history: History, lens: Lens, span: Span) -> Iterator[Columns]:
    for piece in history.pieces(span):
        for batch in piece.work.batches(_AT_ONCE):
            inside, champions = span.holds(batch["time"]), batch["role"] == CHAMPION
            mine = champions if inside is None else champions & inside
            rows = {name: values[mine] for name, values in batch.items()}
            if mine.any():
                yield {**rows, "loss": lens.scores(rows["y_true"], rows["y_pred"])}


def _together(found: list[Columns], names: list[str], model: str) -> Seen:
    if not found:
        raise InputError(f"{model} has no predictions of a champion in that time", field="since")
    columns = {name: np.concatenate([rows[name] for rows in found]) for name in ("time", "block", "loss")}
    kept = ~np.isnan(columns["loss"])
    if not kept.any():
        raise InputError(f"none of the {len(kept):,} predictions in that time has an outcome", field="since")
    features: dict[str, Array] = {
        name: np.concatenate([rows[f"{PREFIX}{name}"] for rows in found])[kept] for name in names
    }
    versions = np.concatenate([rows["version"] for rows in found])[kept]
    if len(np.unique(versions)) > 1 and VERSION not in features:
        features[VERSION] = versions.astype(str).astype(object)
    return Seen(
        time=columns["time"][kept], block=columns["block"][kept], loss=columns["loss"][kept],
        features=features, unlabelled=int(np.count_nonzero(~kept)),
    )  # fmt: skip
