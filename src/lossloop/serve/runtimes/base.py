"""The contract of a runtime: an artifact's bytes become something that predicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

Floats = np.ndarray[Any, np.dtype[np.float64]]


class Runtime(Protocol):
    """A loaded model."""

    def predict(self, columns: Mapping[str, pa.Array]) -> Floats:
        """Predictions for n rows: shape (n,), or (n, classes).

        Args:
            columns: One array of n per feature: float64 or string, null where a nullable feature is absent.
        """
        ...
