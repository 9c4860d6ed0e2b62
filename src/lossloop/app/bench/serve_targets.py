"""What every figure of serving is, where it should be, and what it is held against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lossloop.app.bench.figure import Figure
from lossloop.app.bench.target import Target

_BARE = "the same of a bare Granian handler with msgspec and the same model, that logs nothing"

TARGETS: Mapping[str, Target] = {
    "cpu_us_1": Target(
        value=100, unit="us", floor=_BARE, at_least=False,
        what="processor time of the server for a request of one row, logistic regression, durable before it "
        "is answered",
    ),
    "cpu_us_64": Target(
        value=450, unit="us", floor=_BARE, at_least=False, what="the same for a request of 64 rows",
    ),
    "over_bare_handler": Target(
        value=1.3, unit="times", at_least=False,
        what="cpu_us_1 over that of a bare handler, Granian with msgspec and the same model, asked in turns",
    ),
    "cold_start_s": Target(
        value=3, unit="s", at_least=False, floor="starting Python and importing ONNX Runtime and Granian",
        what="from the start of all processes until a row is answered",
    ),
    "swap_failed_requests": Target(
        value=0, unit="requests", at_least=False,
        what="failed requests under load while versions are swapped, ramped up and rolled back",
    ),
    "rollback_ms": Target(
        value=250, unit="ms", at_least=False,
        what="from the decision to roll back until the last answer of the canary, the longest of all",
    ),
}  # fmt: skip


def figure(
    id: str, value: float | None, *, floor: float | None = None, problem: str = "", **more: Any
) -> Figure:
    """A figure of serving, with its target."""
    return TARGETS[id].figure(id, value, floor=floor, problem=problem, **more)
