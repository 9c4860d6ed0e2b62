"""What a figure is held to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lossloop.app.bench.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Target:
    """One figure's promise, in numbers and in words."""

    value: float
    unit: str
    what: str
    floor: str = ""
    peer: str = ""
    """Both are empty where there is none."""
    at_least: bool = True

    def figure(
        self,
        id: str,
        value: float | None,
        *,
        floor: float | None = None,
        peer: float | None = None,
        problem: str = "",
        **more: Any,
    ) -> Figure:
        """The figure that was measured, held to this."""
        return Figure(
            id=id, value=value, unit=self.unit, target=self.value, at_least=self.at_least,
            floor=floor, peer=peer, problem=problem, more=more,
        )  # fmt: skip
