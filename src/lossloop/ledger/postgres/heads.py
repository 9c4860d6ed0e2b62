"""In which order frames come, as far as their heads tell: the order of ledger.base.merged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from lossloop.core.clock import Micros


@dataclass(frozen=True, slots=True)
class Head:
    """A frame without its payload."""

    segment: str
    number: int
    time: Micros
    size: int


@dataclass(frozen=True, slots=True)
class Heads:
    """The heads of a segment that follow a number, as far as they were read."""

    after: int
    heads: list[Head] = field(default_factory=list)

    def behind(self, number: int) -> Heads:
        """What is known of what follows another number."""
        if number < self.after:
            return Heads(number)
        return Heads(number, [head for head in self.heads if head.number > number])


def in_order(segments: Mapping[str, Sequence[Head]], cut: AbstractSet[str]) -> list[Head]:
    """Heads of several segments by receipt time, ties by segment; each segment stays in its own order.

    What belongs behind the last head of a segment in `cut`, which goes on, has to wait.
    """
    keyed: list[tuple[Micros, str, Head]] = []
    limits: list[tuple[Micros, str]] = []
    for segment, heads in segments.items():
        time = 0
        for head in heads:
            time = max(time, head.time)
            keyed.append((time, segment, head))
        if segment in cut and heads:
            limits.append((time, segment))
    keyed.sort(key=lambda each: each[:2])
    limit = min(limits, default=None)
    return [head for time, segment, head in keyed if limit is None or (time, segment) <= limit]


def up_to(heads: Sequence[Head], most: int) -> Sequence[Head]:
    """The first heads with about so many bytes between them; one at least."""
    total = 0
    for count, head in enumerate(heads):
        total += head.size
        if total > most and count:
            return heads[:count]
    return heads
