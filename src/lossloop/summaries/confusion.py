"""Which class was predicted where which one happened: accuracy, and precision, recall and F1 by class."""

from __future__ import annotations

from typing import NamedTuple, Self

import msgspec
import numpy as np
import numpy.typing as npt

from lossloop.core.records import Record
from lossloop.core.tasks import MOST_CLASSES
from lossloop.summaries.tables import cells_of, combined, counted, ratio, refuse, rows_of, taken


class OfClass(NamedTuple):
    """How well one class was recognised; None where there is nothing to divide by."""

    label: int
    happened: int
    predicted: int
    precision: float | None
    recall: float | None
    f1: float | None


class Confusion(Record, frozen=True):
    """Classes that happened with the classes that were predicted. Values have shape (n, 2)."""

    count: int = 0
    cells: bytes = b""
    """Cells of the matrix that are not 0, by what happened * MOST_CLASSES + what was predicted."""

    def add(self, values: npt.NDArray[np.float64]) -> Self:
        """With classes from 0, shape (n, 2): what happened, what was predicted."""
        table = rows_of(values, 2)
        if not len(table):
            return self
        fits = (table >= 0) & (table < MOST_CLASSES) & (table == np.floor(table))
        refuse(table, ~fits.all(axis=1), f"a class is a whole number from 0 to {MOST_CLASSES - 1}")
        cells = counted(table[:, 0] * MOST_CLASSES + table[:, 1])
        return self.merge(msgspec.structs.replace(self, count=len(table), cells=cells))

    def merge(self, other: Self) -> Self:
        """Both together."""
        return self._combined(other, 1, self.count + other.count)

    def minus(self, other: Self) -> Self:
        """Without what `other` is of, which must have been added before."""
        return self._combined(other, -1, taken(self.count, other.count))

    def _combined(self, other: Self, sign: int, count: int) -> Self:
        cells = combined(self.cells, other.cells, sign)
        return msgspec.structs.replace(self, count=count, cells=cells)

    def matrix(self) -> npt.NDArray[np.int64]:
        """Rows by what happened, columns by what was predicted; shape (k, k), k the classes seen."""
        codes, counts = cells_of(self.cells)
        happened, predicted = np.divmod(codes.astype(np.int64), MOST_CLASSES)
        size = int(max(happened.max(initial=-1), predicted.max(initial=-1))) + 1
        found = np.zeros((size, size), np.int64)
        found[happened, predicted] = counts
        return found

    def by_class(self) -> list[OfClass]:
        """How well each class was recognised that happened or was predicted."""
        matrix = self.matrix()
        happened, predicted, hits = matrix.sum(axis=1), matrix.sum(axis=0), matrix.diagonal()
        return [
            OfClass(
                label, int(happened[label]), int(predicted[label]),
                ratio(hits[label], predicted[label]), ratio(hits[label], happened[label]),
                ratio(2 * hits[label], happened[label] + predicted[label]),
            )
            for label in np.flatnonzero(happened + predicted).tolist()
        ]  # fmt: skip

    def metrics(self) -> dict[str, float | None]:
        """Accuracy, and means over classes.

        Balanced accuracy is the mean recall of classes that happened. The other means are over every class
        that happened or was predicted, where one without predictions has precision 0.
        """
        classes = self.by_class()
        recalls = [each.recall for each in classes if each.recall is not None]
        return {
            "accuracy": ratio(float(self.matrix().trace()), self.count),
            "balanced_accuracy": ratio(sum(recalls), len(recalls)),
            "macro_precision": ratio(sum(each.precision or 0.0 for each in classes), len(classes)),
            "macro_f1": ratio(sum(each.f1 or 0.0 for each in classes), len(classes)),
        }
