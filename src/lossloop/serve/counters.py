"""What a server counts: requests, rows, refusals and writes, for whoever watches the watcher."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from lossloop.core.errors import LossloopError

BAD_ROW = "bad_row"
Labels = tuple[tuple[str, str], ...]


def reason_of(error: LossloopError) -> str:
    """The reason of a refusal: the error's kind, such as ``too_large`` or ``storage_full``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(error).__name__).lower()


def key_of(name: str, **labels: str) -> tuple[str, Labels]:
    """What a counter is kept under."""
    return name, tuple(sorted(labels.items()))


@dataclass(kw_only=True)
class Counters:
    """Numbers that only grow, by name and labels."""

    values: Counter[tuple[str, Labels]] = field(default_factory=Counter)

    def add(self, name: str, count: int = 1, **labels: str) -> None:
        """Count."""
        if count:
            self.values[key_of(name, **labels)] += count

    def count(self, key: tuple[str, Labels]) -> None:
        """Count one of what `key_of` names: for what is counted with every request."""
        self.values[key] += 1

    def get(self, name: str, **labels: str) -> int:
        """A number; 0 where nothing was counted."""
        return self.values.get(key_of(name, **labels), 0)


class Sizes:
    """How large things were: a histogram with a bucket per power of two."""

    def __init__(self, buckets: int = 12) -> None:
        self._buckets = [0] * buckets
        self.count = 0
        self.total = 0

    def add(self, size: int) -> None:
        """Count one of this size."""
        self.count += 1
        self.total += size
        place = max(size - 1, 0).bit_length()
        if place < len(self._buckets):
            self._buckets[place] += 1

    def up_to(self) -> Mapping[int, int]:
        """How many were at most so large, for each power of two."""
        found, sum_ = {}, 0
        for place, number in enumerate(self._buckets):
            sum_ += number
            found[1 << place] = sum_
        return found
