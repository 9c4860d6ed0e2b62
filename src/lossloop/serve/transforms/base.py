"""The contract of a transform: raw inputs in, the features that a model takes out. It has no state."""

from __future__ import annotations

from typing import Protocol

from lossloop.serve.runtimes.base import Columns


class Transforming(Protocol):
    """A loaded transform. It is asked from one thread at a time, and leaves the columns as they are."""

    native: bool
    """Whether it computes outside of Python."""

    def apply(self, columns: Columns) -> Columns:
        """Features of n rows, in the order that the manifest says.

        Args:
            columns: The raw inputs, as runtimes take columns: float64 with NaN for null, or objects that are
                texts or None.
        """
        ...
