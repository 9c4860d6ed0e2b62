"""What a conversion is asked for, and what came of it."""

from __future__ import annotations

from typing import Literal

from lossloop.core.errors import InputError
from lossloop.core.records import Record
from lossloop.registry import Manifest

TOLERANCE = 1e-5


class Shrink(Record, frozen=True):
    """How a model is made smaller.

    Raises:
        InputError: Fewer than one tree are kept, or both ways are asked for.
    """

    quantize: Literal["dynamic", "float16"] | None = None
    """Weights as whole numbers of 8 bits, or in half precision."""
    trees: int | None = None
    """How many of the first trees (rounds of boosting) are kept."""

    def __post_init__(self) -> None:
        if self.trees is not None and self.trees < 1:
            raise InputError("keep one tree or more", field="trees")
        if self.trees is not None and self.quantize is not None:
            raise InputError("trees have no weights to quantise; choose one of the two", field="quantize")


class Worst(Record, frozen=True):
    """A row on which two models differ most."""

    row: int
    """Its place in the file of rows, from 0."""
    before: float | tuple[float, ...]
    after: float | tuple[float, ...]
    difference: float


class Parity(Record, frozen=True):
    """How far two models agree on held-out rows. Of several numbers a row, the largest difference counts."""

    rows: int
    largest: float
    """Infinite where one model has an answer and the other has none."""
    mean: float
    tolerance: float
    worst: tuple[Worst, ...]
    threshold: float | None = None
    """The score that decides; None for values. Among chances of classes the largest decides."""
    flips: float | None = None
    """The share of rows whose decision is another one; None where nothing is decided."""

    @property
    def holds(self) -> bool:
        """Whether no row differs by more than the tolerance."""
        return self.largest <= self.tolerance


class Cost(Record, frozen=True):
    """What a model takes: bytes of its file, and CPU microseconds a call of 1 row and of 64."""

    bytes: int
    one: float
    many: float


class Converted(Record, frozen=True):
    """A model that was made of another one."""

    artifact: bytes
    manifest: Manifest
    parity: Parity
    before: Cost
    after: Cost
