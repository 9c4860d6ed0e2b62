"""What the loop keeps in memory of each model: predictions, where they lie, and units that were judged."""

from __future__ import annotations

from collections.abc import Iterable

from lossloop.act.policy import Policy
from lossloop.core.calendar import Int64
from lossloop.ledger.frames import Frame
from lossloop.ledger.joined.join import Join
from lossloop.ledger.joined.keys import Keys
from lossloop.ledger.joined.places import Places
from lossloop.ledger.joined.slicing import Slicer
from lossloop.ledger.joined.table import MOST_OPEN, Table, history_of, keep_within, prepare
from lossloop.ledger.joined.units import Units
from lossloop.ledger.removals import Stretches
from lossloop.ledger.store import Store


class Kept:
    """Opens what is asked for from the store, once, and writes what changed.

    Args:
        store: Where all of it lies.
        keys: How ids become numbers.
    """

    def __init__(self, store: Store, keys: Keys) -> None:
        self._store = store
        self._keys = keys
        self._joins: dict[str, Join] = {}
        self._places: dict[str, Places] = {}
        self._slicers: dict[str, Slicer] = {}
        self._units: dict[tuple[str, str], tuple[str, Units]] = {}

    def join(self, model: str) -> Join:
        """A model's predictions."""
        if model not in self._joins:
            self._joins[model] = Join(self._store, model, self._keys)
        return self._joins[model]

    def prepare(self, models: Iterable[str]) -> bool:
        """Open one more of some models, or index a part of one that is open; False where all is ready.

        Call it after a flush and its commit: what lies open beyond the bound is closed.
        """
        for model in models:
            if model not in self._joins:
                self.join(model)
                self._keep_within()
                return True
        return prepare(self._tables())

    def places(self, name: str) -> Places:
        """Where the rows of a model, or of its history, lie in the log."""
        if name not in self._places:
            self._places[name] = Places(self._store, name)
        return self._places[name]

    def slices(self, policy: Policy, frame: Frame) -> Int64 | None:
        """To which slices each row of a frame of predictions belongs; None where a policy asks for none."""
        if not policy.slices:
            return None
        if policy.model not in self._slicers:
            self._slicers[policy.model] = Slicer(self._store, policy.model)
        return self._slicers[policy.model].numbers(frame.batch, policy.cuts)

    def rows_in(self, model: str, segment: str, frames: Stretches = ()) -> int:
        """How many rows of a model came in a segment, or some of its frames, its history among them."""
        join = self.join(model)
        return sum(
            self.places(name).rows_in(segment, len(table), frames)
            for name, table in ((model, join.table), (history_of(model), join.history))
        )

    def tables(self, model: str) -> tuple[Table, Table]:
        """A model's predictions: those that were judged, and what was brought in."""
        join = self.join(model)
        return join.table, join.history

    def units(self, model: str, sort: str, name: str) -> Units:
        """The units that a comparison has judged.

        Args:
            model: Whose.
            sort: Of comparison; a model has one of each at a time, and does not ask for an older one again.
            name: Of the comparison, unlike all others of the model.
        """
        known = self._units.get((model, sort))
        if known is None or known[0] != name:
            if known is not None:
                known[1].flush()
            known = self._units[model, sort] = (name, Units(self._store, f"{model}/{name}"))
        return known[1]

    def flush(self) -> None:
        """Write what changed to the store, and give memory back; call it inside a transaction."""
        for join in self._joins.values():
            join.flush()
        for places in self._places.values():
            places.flush()
        for _, units in self._units.values():
            units.flush()
        self._keep_within()

    def _keep_within(self) -> None:
        keep_within(self._tables(), MOST_OPEN)

    def _tables(self) -> list[Table]:
        return [table for join in self._joins.values() for table in (join.table, join.history)]
