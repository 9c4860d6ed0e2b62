"""The contract of an explanation: contributions of features that sum to a prediction less its base."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from lossloop.core.errors import InputError
from lossloop.core.records import Record
from lossloop.core.tasks import LISTED, Task

Floats = np.ndarray[Any, np.dtype[np.float64]]
MOST_EXPLAINED = 100
"""Rows of one request that are explained: each may cost thousands of answers."""
Y_PRED = "y_pred"
"""The scale of the answer itself."""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What n rows' features contributed: `base + contributions.sum(axis=1)` is the prediction, on a scale."""

    base: Floats
    """What the prediction is of rows of which nothing is known, shape (n,)."""
    contributions: Floats
    """Shape (n, features)."""
    scale: str
    """``y_pred``, or a scale of the model's own on which features add up, such as ``log_odds``."""
    method: str
    evaluations: int = 0
    """Answers of the model that one row cost."""
    errors: Floats | None = None
    """Standard errors of contributions that were sampled, shape (n, features)."""

    def __post_init__(self) -> None:
        arrays = [self.base, self.contributions, *([] if self.errors is None else [self.errors])]
        if not all(bool(np.isfinite(each).all()) for each in arrays):
            raise InputError(
                "the model has no finite answer to rows that it is compared with", field="explain"
            )


class Part(Record, frozen=True):
    """The explanation of one row, as it is kept and shown."""

    base: float
    contributions: dict[str, float]
    scale: str
    method: str
    evaluations: int = 0
    errors: dict[str, float] = {}
    """Standard errors of contributions that were sampled."""
    of: int | None = None
    """Which number of the prediction is explained, where it is a list."""

    @property
    def text(self) -> str:
        """As it stands in the log."""
        return msgspec.json.encode(self).decode()

    @property
    def plain(self) -> dict[str, Any]:
        """As it is shown."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found


def parts(found: Explanation, names: Sequence[str], of: int | None = None) -> Iterator[Part]:
    """The explanations of the rows one by one.

    Args:
        found: Of n rows.
        names: The features, in order.
        of: Which number of the predictions was explained.
    """
    errors = [None] * len(found.base) if found.errors is None else found.errors.tolist()
    for base, values, error in zip(found.base.tolist(), found.contributions.tolist(), errors, strict=True):
        yield Part(
            base=base, contributions=dict(zip(names, values, strict=True)), scale=found.scale,
            method=found.method, evaluations=found.evaluations, of=of,
            errors={} if error is None else dict(zip(names, error, strict=True)),
        )  # fmt: skip


def number_of(task: Task, value: float | list[float]) -> int | None:
    """Which number of a prediction is explained: of classes the likeliest; None where there is but one.

    Raises:
        InputError: The prediction is a list of another kind.
    """
    if isinstance(value, float):
        return None
    if task is not Task.MULTICLASS:
        kinds = ", ".join(sorted(each for each in Task if each not in LISTED or each is Task.MULTICLASS))
        raise InputError(
            f"predictions of a {task} task cannot be explained; those of {kinds} can", field="explain"
        )
    return int(np.argmax(value))
