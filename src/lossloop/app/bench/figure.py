"""How a benchmark tells its figures: lines for people, or JSON in one shape for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lossloop.app.bench.machine import Machine


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One measured number.

    Args:
        id: What it is called.
        value: The number; None where it could not be measured, and `problem` says why.
        unit: What it counts.
        target: Where it should be; None where nobody promised anything.
        at_least: Whether more is better; else less is.
        floor: What the same data costs with nothing of ours around it, measured in the same run.
        peer: What another tool needs for the same, measured in the same run.
        problem: Why there is no value.
        more: What else was measured on the way, under further keys.
    """

    id: str
    value: float | None
    unit: str
    target: float | None = None
    at_least: bool = False
    floor: float | None = None
    peer: float | None = None
    problem: str = ""
    more: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        if self.value is None:
            return f"{self.id:<44}{'-':>10} {self.problem}"
        aim = "" if self.target is None else f"   (at {'least' if self.at_least else 'most'} {self.target:g})"
        return f"{self.id:<44}{self.value:>10.4g} {self.unit}{aim}"

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None where there is none, or no value."""
        if self.target is None or self.value is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target

    def plain(self) -> dict[str, Any]:
        """The figure as plain values; numbers with as many digits as they are good for."""
        numbers = {"value": self.value, "target": self.target, "floor": self.floor, "peer": self.peer}
        told = {name: _digits(number) for name, number in numbers.items()}
        return {
            "id": self.id, "value": told["value"], "unit": self.unit, "target": told["target"],
            "floor": told["floor"], "peer": told["peer"], "met": self.met,
            **({"problem": self.problem} if self.problem else {}),
            **{name: _digits(value) for name, value in self.more.items()},
        }  # fmt: skip


def as_json(bench: str, figures: Sequence[Figure], machine: Machine | None = None) -> dict[str, Any]:
    """The figures with the machine they were measured on."""
    found = Machine.here() if machine is None else machine
    return {"bench": bench, "machine": found.plain(), "figures": [each.plain() for each in figures]}


def _digits(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value
