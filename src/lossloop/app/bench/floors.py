"""The floors: what the same data costs with nothing of ours around it."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lossloop.ledger.files.opened import sync
from lossloop.ledger.joined.keys import Int64

Floats = np.ndarray[Any, np.dtype[np.float64]]


def appended(directory: Path, pieces: Sequence[bytes]) -> list[float]:
    """Seconds that each piece needs to be appended to a file and durable."""
    times = []
    with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
        for piece in pieces:
            started = time.perf_counter()
            file.write(piece)
            sync(file.fileno())
            times.append(time.perf_counter() - started)
    return times


class Joined:
    """Predictions in memory under sorted 64-bit keys: the least that a join can be.

    Args:
        count: How many.
        directory: Where what a batch changed is appended and synced.
    """

    def __init__(self, count: int, directory: Path) -> None:
        self._random = np.random.default_rng(0)
        self._keys = np.sort(self._random.integers(0, 2**63 - 1, count))
        self._y_pred = self._random.uniform(0.01, 0.99, count)
        self._y_true = np.full(count, np.nan)
        self._file = tempfile.TemporaryFile(dir=directory, buffering=0)  # noqa: SIM115 - closed by close
        self.loss = 0.0

    def batch(self, size: int) -> tuple[Int64, Floats]:
        """Keys of some predictions in any order, and an outcome for each."""
        found = self._random.integers(0, len(self._keys), size)
        return self._keys[found], (self._random.random(size) < 0.5).astype(float)

    def take(self, keys: Int64, y_true: Floats) -> float:
        """Join, score and add up a batch, and make it durable; return the seconds that took."""
        started = time.perf_counter()
        rows = np.searchsorted(self._keys, keys)
        self._y_true[rows] = y_true
        self.loss += float(log_loss(y_true, self._y_pred[rows]).sum())
        os.write(self._file.fileno(), keys.tobytes() + y_true.tobytes())
        sync(self._file.fileno())
        return time.perf_counter() - started

    def rate(self, size: int, batches: int) -> float:
        """Rows a second over some batches."""
        given = [self.batch(size) for _ in range(batches)]
        return size * batches / sum(self.take(*each) for each in given)

    def close(self) -> None:
        self._file.close()


def log_loss(y_true: Floats, y_pred: Floats) -> Floats:
    """-ln of what was given to what happened."""
    return np.asarray(-np.log(np.where(y_true == 1.0, y_pred, 1.0 - y_pred)))
