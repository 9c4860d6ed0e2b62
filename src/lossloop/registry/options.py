"""What a manifest says about how its artifact is to be asked, where the artifact leaves a choice."""

from __future__ import annotations

from lossloop.core.errors import InputError
from lossloop.core.records import Record


class Options(Record, frozen=True):
    """Which of a model's answers is the prediction.

    Raises:
        InputError: The column is below 0.
    """

    output: str = ""
    """The output to take, by name; empty for the only one, or the probabilities of a classifier."""
    column: int | None = None
    """The column to take of an answer of shape (n, k), from 0; None for all of them."""
    trusted: tuple[str, ...] = ()
    """Types in a skops file that are to be loaded though they are not on our list."""

    def __post_init__(self) -> None:
        if self.column is not None and self.column < 0:
            raise InputError("a column is counted from 0", field="options.column")
