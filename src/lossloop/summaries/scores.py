"""Predicted probabilities by what came of them: accuracy, AUC and calibration of all rows together.

Probabilities are counted in fixed bins by label, so merging is addition. What depends on a threshold is
counted exactly at one threshold, and what is a sum (Brier score, mean prediction) is exact. The AUC is exact
but for pairs of a 0 and a 1 within one bin, of which nobody knows any more which was ranked higher: half of
them count, and `auc_bounds` says between which values the AUC of the rows themselves lies.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import msgspec
import numpy as np
import numpy.typing as npt

from lossloop.core.errors import InputError
from lossloop.core.records import Record
from lossloop.summaries.tables import Array, pack, ratio, refuse, rows_of, taken, unpack


def _edges() -> Array:
    """Multiples of 0.005, and steps of 5% to 10% from 0.05 down to 1e-5 (and likewise to 1): rare events."""
    digits = [*range(10, 20), *range(20, 40, 2), *range(40, 100, 5)]
    tail = np.array([step / 10**power for power in (6, 5, 4, 3) for step in digits])
    fine = tail[tail < 0.05]
    edges = np.unique(np.concatenate((np.arange(201) / 200, fine, 1.0 - fine)))
    edges = edges[np.diff(edges, prepend=-1.0) > 1e-9]  # such as 1 - 0.01, which is not quite 0.99
    edges.flags.writeable = False
    return edges


EDGES = _edges()
"""The borders of the bins, ascending from 0 to 1; a value on a border belongs to the bin above it."""
BINS = len(EDGES) - 1
TENTHS = 10
"""Into how many parts of equal width calibration is cut."""

_TENTH_OF_BIN = np.minimum((EDGES[:-1] * TENTHS + 1e-9).astype(np.int64), TENTHS - 1)


class Reliable(NamedTuple):
    """What was said and what happened, of predictions in one tenth of [0, 1]."""

    low: float
    high: float
    rows: int
    predicted: float | None
    """The mean predicted probability; None of nothing."""
    happened: float | None
    """The share of ones; None of nothing."""


class Scores(Record, frozen=True):
    """Labels of 0 and 1 with the probabilities that were given to 1.

    Values have shape (n, 2): label and probability.
    """

    threshold: float = 0.5
    """From which probability on a row is called a 1: the metrics of decisions are exact there."""
    count: int = 0
    called: tuple[int, int] = (0, 0)
    """How many zeros, and how many ones, were called a 1."""
    squares: float = 0.0
    """The sum of (p - y)^2."""
    bins: bytes = bytes(3 * BINS * 8)
    """By bin: zeros, ones, and the sum of their probabilities; packed floats of shape (3, BINS)."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.threshold <= 1.0:
            raise InputError(f"a threshold lies between 0 and 1, not {self.threshold}", field="threshold")
        if self.count < 0 or len(self.bins) != 3 * BINS * 8:
            raise InputError(f"scores have {BINS} bins and a count of at least 0", field="bins")

    def add(self, values: npt.NDArray[np.float64]) -> Self:
        """With labels and probabilities, shape (n, 2); InputError names the first row that is not such."""
        table = rows_of(values, 2)
        if not len(table):
            return self
        label, chance = table[:, 0], table[:, 1]
        refuse(table, (label != 0) & (label != 1), "a label is 0 or 1")
        refuse(table, (chance < 0) | (chance > 1), "a probability lies in [0, 1]")
        ones = label == 1
        place = np.minimum(np.searchsorted(EDGES, chance, side="right") - 1, BINS - 1)
        counts = np.bincount(place + BINS * ones, minlength=2 * BINS)
        sums = np.bincount(place, weights=chance, minlength=BINS)
        called = chance >= self.threshold
        hits = int(np.count_nonzero(called & ones))
        return self.merge(
            msgspec.structs.replace(
                self,
                count=len(table),
                called=(int(np.count_nonzero(called)) - hits, hits),
                squares=float(np.square(chance - label).sum()),
                bins=pack(np.concatenate((counts, sums))),
            )
        )

    def merge(self, other: Self) -> Self:
        """Both together; InputError unless they have the same threshold."""
        return self._combined(other, 1, self.count + other.count)

    def minus(self, other: Self) -> Self:
        """Without what `other` is of, which must have been added before."""
        return self._combined(other, -1, taken(self.count, other.count))

    def _combined(self, other: Self, sign: int, count: int) -> Self:
        if other.threshold != self.threshold:
            raise InputError("scores at different thresholds cannot be combined", field="threshold")
        zeros, ones = (mine + sign * theirs for mine, theirs in zip(self.called, other.called, strict=True))
        return msgspec.structs.replace(
            self,
            count=count,
            called=(zeros, ones),
            squares=self.squares + sign * other.squares,
            bins=pack(unpack(self.bins) + sign * unpack(other.bins)),
        )

    @property
    def _table(self) -> Array:
        return np.maximum(unpack(self.bins), 0.0).reshape(3, BINS)

    def auc_bounds(self) -> tuple[float, float, float] | None:
        """The AUC with half of the pairs within a bin, and the least and the most that it can be of the rows.

        None unless there are zeros and ones.
        """
        zeros, ones, _ = self._table
        pairs = float(zeros.sum() * ones.sum())
        if pairs == 0:
            return None
        below = np.cumsum(zeros) - zeros
        ranked, within = float(ones @ below), float(ones @ zeros)
        return (ranked + within / 2) / pairs, ranked / pairs, (ranked + within) / pairs

    def reliability(self) -> list[Reliable]:
        """What was said and what happened, by tenths of [0, 1]."""
        zeros, ones, sums = (np.bincount(_TENTH_OF_BIN, weights=row, minlength=TENTHS) for row in self._table)
        return [
            Reliable(
                place / TENTHS, (place + 1) / TENTHS, round(count),
                ratio(sums[place], count), ratio(ones[place], count),
            )
            for place, count in enumerate((zeros + ones).tolist())
        ]  # fmt: skip

    def calibration_error(self) -> float | None:
        """The distance between what was said and what happened, over tenths, weighed by their rows (ECE).

        It is above 0 also where the probabilities are right, the more the fewer rows there are.
        """
        parts = [
            each.rows * abs((each.predicted or 0.0) - (each.happened or 0.0)) for each in self.reliability()
        ]
        return ratio(sum(parts), self.count)

    def miscalibration(self) -> float | None:
        """The mean squared distance of what was said from what happened, over tenths, less that of chance.

        0 on average where the probabilities are right, so it may fall below; the reliability of the Brier
        score (Ferro and Fricker 2012, A bias-corrected decomposition of the Brier score, Q. J. R. Meteorol.
        Soc. 138).
        """
        parts = [
            each.rows * ((each.predicted - each.happened) ** 2 - _chance(each.happened, each.rows))
            for each in self.reliability()
            if each.predicted is not None and each.happened is not None
        ]
        return ratio(sum(parts), self.count)

    def metrics(self) -> dict[str, float | None]:
        """Metrics of decisions at the threshold, of ranking and of calibration."""
        zeros, ones, sums = self._table.sum(axis=1).tolist()
        wrong, hits = self.called
        auc = self.auc_bounds()
        said, happened = ratio(sums, self.count), ratio(ones, self.count)
        return {
            "positives": happened,
            "flagged": ratio(wrong + hits, self.count),
            "accuracy": ratio(hits + zeros - wrong, self.count),
            "precision": ratio(hits, wrong + hits),
            "recall": ratio(hits, ones),
            "f1": ratio(2 * hits, wrong + hits + ones),
            "false_positive_rate": ratio(wrong, zeros),
            "auc": None if auc is None else auc[0],
            "brier": ratio(max(self.squares, 0.0), self.count),
            "calibration_error": self.calibration_error(),
            "miscalibration": self.miscalibration(),
            "bias": None if said is None or happened is None else said - happened,
        }


def _chance(share: float, rows: int) -> float:
    """The variance of a share of so many rows, estimated without bias; 0 of one row, which tells nothing."""
    return share * (1.0 - share) / (rows - 1) if rows > 1 else 0.0
