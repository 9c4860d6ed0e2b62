"""Units that a rollout has judged: each counts once, since its later rows are not randomised again."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lossloop.ledger.joined.columns import Int64
from lossloop.ledger.joined.stream import Stream
from lossloop.ledger.store import Store

UNITS = "units"


class Units:
    """The units of one rollout, kept in a stream of the store.

    Args:
        store: Where they lie.
        rollout: Such as ``flight-delay/2``.
    """

    def __init__(self, store: Store, rollout: str) -> None:
        self._stream = Stream(store, f"{UNITS}/{rollout}")
        self._seen: set[int] = set()
        self._new: list[int] = []
        for columns in self._stream.read():
            self._seen.update(columns["unit"].tolist())

    def first(self, units: Int64) -> npt.NDArray[np.bool_]:
        """Which rows are the first of their unit, and note them; a row without a unit (0) is its own.

        Shape (n,) to (n,).
        """
        found = np.zeros(len(units), dtype=bool)
        for place, unit in enumerate(units.tolist()):
            if unit == 0:
                found[place] = True
            elif unit not in self._seen:
                self._seen.add(unit)
                self._new.append(unit)
                found[place] = True
        return found

    def flush(self) -> None:
        """Write what was noted since the last flush; call it inside a transaction."""
        if self._new:
            self._stream.append({"unit": np.array(self._new, np.int64)})
            self._new.clear()
