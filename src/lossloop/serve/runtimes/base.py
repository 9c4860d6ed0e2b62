"""The contract of a runtime: an artifact's bytes become something that predicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from lossloop.registry import Feature, Manifest

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """A kind of artifact."""

    load: Callable[[bytes, Manifest], Runtime]
    """Makes a runtime of an artifact; raises InputError where it is none or does not fit the manifest."""
    features: Callable[[bytes], tuple[Feature, ...] | None] | None = None
    """What an artifact knows of its features; None where it does not name them."""
    code: bool = False
    """Whether loading or asking one may run code that it brings."""
