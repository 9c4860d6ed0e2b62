"""Arms over runtimes that do as a test says, and rows to ask them for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from lossloop.core.tasks import Task
from lossloop.core.traffic import Arm, Traffic
from lossloop.serve.arms import Arms
from lossloop.serve.asked import Asked
from lossloop.serve.assign import Drawn
from lossloop.serve.guarding import Guarding, Patience
from lossloop.serve.lanes import Lane
from lossloop.serve.predicting import Answered, answer
from lossloop.serve.repeats import Answer
from lossloop.serve.schema import Schema
from tests.serve.models import FEATURES, Scripted, version

Say = Callable[[list[float]], Sequence[Any]]
"""What a version makes of the column x."""
PATIENT = Patience(deadline=60.0, limit=60.0)
HURRIED = Patience(deadline=0.05, limit=0.05)
INLINE = 1000


def doubled(xs: list[float]) -> list[float]:
    return [2 * x for x in xs]


def negated(xs: list[float]) -> list[float]:
    return [-x for x in xs]


def raises(xs: list[float]) -> list[float]:
    raise RuntimeError("never thought of")


def lane(number: int, say: Say, task: Task = Task.REGRESSION, *, inline: int = INLINE) -> Lane:
    return Lane(version(number), Scripted(say), task, inline=inline)


def arms(
    champion: Say | None = doubled, challenger: Say | None = negated, previous: Say | None = None,
    *, inline: int = INLINE, guarding: Guarding | None = None, **traffic: Any,
) -> Arms:  # fmt: skip
    """Champion 1, challenger 2 and the champion before, 3; None for one that cannot be asked."""
    usual = {"task": Task.REGRESSION, "salt": "s"}
    arm = Arm(version=2, share=traffic.pop("share", 0.5))
    split = Traffic(model="m", champion=1, arms=(arm,), previous=3, **{**usual, **traffic})
    says = {1: champion, 2: challenger, 3: previous}
    lanes = {
        number: lane(number, say, split.task, inline=inline)
        for number, say in says.items()
        if say is not None
    }
    return Arms.of(split, Schema(FEATURES), lanes, (guarding or Guarding()).of(split))


def drawn(found: Arms, version: int = 1) -> Drawn:
    """What a row is that is drawn to a version."""
    rows = asked(*range(100))
    return next(each for each in found.draw(rows) if each.version == version)


def asked(*xs: float, units: Sequence[str | None] | None = None) -> Asked:
    """Rows that have their x for an id too."""
    return Asked(
        ids=[f"{x:g}" for x in xs],
        units=[None] * len(xs) if units is None else list(units),
        times=[7] * len(xs),
        contents=[b"c"] * len(xs),
        features={"x": list(xs), "y": [None] * len(xs), "colour": [None] * len(xs)},
    )


def said(found: Arms, *parts: Asked, to: int = 1, patience: Patience = PATIENT) -> Answered:
    """What becomes of requests whose rows were all drawn to one version."""
    return asyncio.run(answer(found, drawn(found, to), parts, patience, now=9))


def answers_of(answered: Answered) -> list[Any]:
    """What each row was answered, or in words why it was not."""
    return [each.y_pred if isinstance(each, Answer) else each.words("m") for each in answered.answers]


def facts(answered: Answered) -> list[dict[str, Any]]:
    """What is logged, with what it means by what it leaves out."""
    if answered.draft is None:
        return []
    unsaid = {
        "role": "champion", "propensity": 1.0, "shadow_version": None, "shadow_y_pred": None, "error": None,
        "content": None, "limited": None, "raw_y_pred": None,
    }  # fmt: skip
    return [{**unsaid, **row} for row in answered.draft.frame().batch.to_pylist()]
