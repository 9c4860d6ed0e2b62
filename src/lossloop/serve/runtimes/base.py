"""The contract of a runtime: an artifact's bytes become something that predicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float64]]
Columns = Mapping[str, np.ndarray[Any, Any]]
"""Rows by feature, in the order of the version's schema.

Numbers are float64 (n,) with NaN for null; categories objects (n,) that are texts, or None for null.
"""


class Runtime(Protocol):
    """A loaded model. It is asked from one thread at a time, and leaves the columns as they are."""

    native: bool
    """Whether it computes outside of Python: then it may run in the event loop, if it is fast."""

    def predict(self, columns: Columns) -> Floats:
        """Predictions for n rows: shape (n,), or (n, classes)."""
        ...
