"""The contract of a kind of watch: with which judge it judges a champion, and on what evidence.

A kind looks at predictions either once they have reached their judging age, with their outcomes
(`OfOutcomes`), or as they arrive (`OfArrivals`). Either way a watch judges rows where its promise counts
outcomes, and else blocks. `app/watching.py` asks, keeps the state and answers verdicts; a kind is pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from lossloop.app.judging import Lens
from lossloop.core.calendar import Block, Int64
from lossloop.core.records import Verdict
from lossloop.judges.base import Judge
from lossloop.ledger.joined.columns import Floats
from lossloop.ledger.joined.table import Rows
from lossloop.registry import Version


@dataclass(frozen=True, kw_only=True)
class Found:
    """Evidence for a judge, and what a chart shows beside it."""

    evidence: Any
    """What the judge's `update` takes."""
    mean: float | None = None
    """The mean of what is judged, in its own unit."""
    labelled: int | None = None
    """How many rows had their outcome; None where outcomes do not matter."""


@dataclass(frozen=True, kw_only=True)
class Arrived:
    """New predictions of a champion, in prediction order. Arrays of n; `y_pred` (n,) or (n, classes)."""

    y_pred: Floats
    unit: Int64
    """A number per unit, 0 where there is none."""
    seq: Int64
    features: pa.Array | None
    """Their features, a struct or JSON text as they were sent; None where none were."""
    latency_ms: Floats | None = None
    """What each took, NaN where that was not said; None where no row says it."""

    def __len__(self) -> int:
        return len(self.seq)

    @property
    def failed(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which of them gave no answer. Shape (n,)."""
        return np.isnan(self.y_pred if self.y_pred.ndim == 1 else self.y_pred[:, 0])


class OfOutcomes(Protocol):
    """A kind that judges predictions at their judging age."""

    cannot_see: str
    """What it is blind to, in words."""

    def judge(self, lens: Lens, watch: Any, champion: Version) -> Judge[Any, Any, Verdict]:
        """The judge of a watch on a champion.

        Raises:
            InputError: It cannot judge this champion; says what is missing.
        """
        ...

    def evidence(self, lens: Lens, watch: Any, champion: Version, rows: Rows, block: Block | None) -> Found:
        """What the champion's rows say: of each, or, with a block, of all of them together."""
        ...


class OfArrivals(Protocol):
    """A kind that judges predictions as they arrive; no outcome is waited for."""

    asks: str
    """What it looks at besides the answers: ``features``, ``latency_ms``, or nothing."""
    shows_mean: bool
    """Whether the mean of its evidence is something that a chart can show."""
    cannot_see: str
    """What it is blind to, in words."""

    def judge(self, lens: Lens, watch: Any, champion: Version) -> Judge[Any, Any, Verdict]:
        """The judge of a watch on a champion; by row it takes arrays of shape (n, m).

        Raises:
            InputError: It cannot judge this champion; says what is missing.
        """
        ...

    def evidence(self, lens: Lens, watch: Any, champion: Version, arrived: Arrived) -> Floats:
        """What each prediction says, shape (n, m); NaN where it says nothing."""
        ...

    def of_block(self, means: Floats, rows: int) -> Any:
        """What the judge of blocks takes: of the mean of each column over a block, shape (1, m).

        A mean of nothing is NaN. `rows` is how many predictions said something.
        """
        ...


def mean_of(values: Sequence[float] | Floats) -> float | None:
    """The mean of what is a number; None of nothing."""
    array = np.asarray(values, dtype=np.float64)
    there = array[~np.isnan(array)]
    return float(there.mean()) if len(there) else None
