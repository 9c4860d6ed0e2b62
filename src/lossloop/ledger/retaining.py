"""What of a model is too old or too much, as far as its pieces tell: a decision, carried out elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lossloop.core.clock import Micros


@dataclass(frozen=True, kw_only=True)
class Holding:
    """What a segment, or a stretch of one, holds of a model."""

    segment: str
    """The name of the piece; no two have the same."""
    rows: int
    bytes: int
    first: Micros
    last: Micros
    """Receipt times of its first and its last row."""


@dataclass(frozen=True, kw_only=True)
class Cut:
    """What goes of a piece: rows of the model received before a moment, or all of them (None)."""

    segment: str
    before: Micros | None = None


def oldest_first(held: Iterable[Holding]) -> list[Holding]:
    """Pieces by when their last row came, ties by name."""
    return sorted(held, key=lambda holding: (holding.last, holding.segment))


def plan(
    held: Sequence[Holding], *, cutoff: Micros | None = None, larger_than: int | None = None
) -> list[Cut]:
    """What would go, oldest first.

    Args:
        held: What there is of one model, oldest first.
        cutoff: Rows received before this go.
        larger_than: Where what is left has more bytes than this, the oldest pieces' rows go, all of them.
    """
    cuts: dict[str, Cut] = {}
    for holding in held:
        if cutoff is not None and holding.first < cutoff:
            whole = holding.last < cutoff
            cuts[holding.segment] = Cut(segment=holding.segment, before=None if whole else cutoff)
    left = [each for each in held if each.segment not in cuts or cuts[each.segment].before is not None]
    room = float("inf") if larger_than is None else larger_than
    for holding in reversed(left):
        room -= holding.bytes
        if room < 0:
            cuts[holding.segment] = Cut(segment=holding.segment)
    return [cuts[holding.segment] for holding in held if holding.segment in cuts]
