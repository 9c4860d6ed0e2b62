"""What a part of the judges' bench has at hand."""

from __future__ import annotations

from dataclasses import dataclass

from lossloop.app.bench.judge_sizes import JudgeSizes
from lossloop.app.bench.screen import Screen


@dataclass(frozen=True, kw_only=True)
class JudgeBench:
    """How much to measure, and where to say what goes on."""

    sizes: JudgeSizes
    screen: Screen
