"""How a benchmark tells its figures: lines for people, or JSON in one shape for programs."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured number; `target` is where it should be, None where nobody promised anything."""

    id: str
    value: float
    unit: str
    target: float | None = None

    def __str__(self) -> str:
        aim = "" if self.target is None else f"   (at most {self.target:g})"
        return f"{self.id:<44}{self.value:>10.4g} {self.unit}{aim}"


def as_json(bench: str, figures: list[Figure]) -> dict[str, Any]:
    """The figures with the machine they were measured on."""
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.system()}
    shown = [
        {"id": item.id, "value": item.value, "unit": item.unit, "target": item.target} for item in figures
    ]
    return {"bench": bench, "machine": machine, "figures": shown}
