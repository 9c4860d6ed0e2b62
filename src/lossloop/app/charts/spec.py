"""What a chart is: numbers, roles and marks, and a table that says the same; looks are a page's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Plain = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart and the table that says the same.

    `data` is JSON: `x` in seconds on the policy's wall clock; `series` with `y` (None for nothing), a `role`
    that gives the colour and perhaps a band, `lo` to `hi`; `limits` and `refs` as [from, to, y]; `marks` of
    decisions; `spans` as [from, to], times that are shaded; `y` the axis; `log` where it is logarithmic.
    """

    id: str
    title: str
    sub: str
    data: Plain
    head: list[str]
    rows: list[list[str]]
    about: str = ""
    """Whose chart it is: those of one watch on one version, or of one stage of a rollout, stand together."""
    says: str = ""
    """The chart in a sentence, for those who do not see it."""
