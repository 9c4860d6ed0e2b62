"""Axes, and numbers as charts and their tables have them. Pure."""

from __future__ import annotations

from collections.abc import Sequence


def axis(values: Sequence[float | None], limits: Sequence[float]) -> list[float]:
    """From the least to the greatest of what is drawn; a band that is still very wide is cut.

    Args:
        values: What is drawn, and behind it, as many again, the ends of its band.
        limits: What has to be seen too.
    """
    drawn = [value for value in values[: len(values) // 2] if value is not None] + list(limits)
    ends = [value for value in values if value is not None] + list(limits)
    low, high = min(drawn, default=0.0), max(drawn, default=1.0)
    room = max(high - low, 1e-9)
    return [
        round(max(min(ends, default=low), low - room) - 0.05 * room, 6),
        round(min(max(ends, default=high), high + room) + 0.05 * room, 6),
    ]


def rounded(value: float | None) -> float | None:
    """A value to six digits, which no screen tells from the whole one."""
    return None if value is None else float(f"{value:.6g}")


def text(value: float | None) -> str:
    """A value in a table; nothing where there is none."""
    return "" if value is None else f"{value:.4g}"
