"""Evidence against its threshold, a chart for each watch on a version and each stage of a rollout. Pure.

Evidence goes out as e-values; times are seconds on the wall clock of the policy's time zone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import groupby

import numpy as np

from lossloop.app import words
from lossloop.app.books import Point
from lossloop.app.charts.chapters import EXPERIMENT, HOLDOUT, ROLLOUT, Chapter, chapters, sort_of
from lossloop.app.charts.history import History
from lossloop.app.charts.spec import Chart, Plain
from lossloop.core.clock import Micros

_QUESTIONS = {
    f"{ROLLOUT}promote": "for promoting", f"{ROLLOUT}roll back": "for rolling back",
    f"{EXPERIMENT}promote": "for being better", f"{EXPERIMENT}roll back": "for giving it up",
    f"{HOLDOUT}better": "for being better", f"{HOLDOUT}worse": "for being worse",
}  # fmt: skip
"""What the evidence of the tests of comparisons speaks for."""
_GOOD = (f"{ROLLOUT}promote", f"{EXPERIMENT}promote", f"{HOLDOUT}better")
_MOST = 600.0
"""Of a logarithm that is drawn: beyond, an e-value is more than a number holds."""


def evidence_charts(history: History) -> list[Chart]:
    """One chart for each watch on each champion, and for each stage of each rollout."""
    return [evidence_chart(history, each, number) for number, each in enumerate(chapters(history), start=1)]


def evidence_chart(history: History, chapter: Chapter, number: int) -> Chart:
    """The evidence of a chapter against its threshold, on a logarithmic scale, decisions marked."""
    points = chapter.points
    lines = {name: list(found) for name, found in groupby(points, key=lambda point: point.watch)}
    moments = sorted({point.at for point in points})
    where = {moment: index for index, moment in enumerate(moments)}
    reach = 1.15 * max(max(_shown(point.evidence), point.threshold) for point in points)
    xs = [history.wall(moment) for moment in moments]
    threshold = points[-1].threshold
    data = {
        "x": xs,
        "log": True,
        "y": [math.exp(-reach), math.exp(reach)],
        "ticks": _powers(reach),
        "series": [_line(name, found, where) for name, found in lines.items()],
        "limits": [[xs[0], xs[-1], math.exp(threshold)]],
        "refs": [[xs[0], xs[-1], 1]],
        "limitText": f"threshold {words.e_value(threshold)}",
        "neutral": True,
        "marks": history.marks(xs[0], xs[-1]),
    }
    names = [_question(name) for name in lines]
    rows = _evidence_rows(history, lines, moments)
    title, sub = chapter.title, _sub(history, chapter)
    return Chart(
        id=f"evidence-{number}", title=title, sub=sub, data=data, head=["last of the day", *names],
        rows=rows, says=_says(lines),
    )  # fmt: skip


def _line(name: str, points: Iterable[Point], where: dict[Micros, int]) -> Plain:
    values: list[float | None] = [None] * len(where)
    for point in points:
        values[where[point.at]] = float(f"{math.exp(max(-_MOST, min(point.evidence, _MOST))):.4g}")
    promotes, question = name in _GOOD, _question(name)
    return {
        "name": question,
        "role": "better" if promotes else "alarm",
        "y": values,
        "end": question,
        "dash": not promotes and bool(sort_of(name)),
    }


def _question(name: str) -> str:
    """What evidence speaks for."""
    if not (sort := sort_of(name)):
        return "for an alarm"
    return _QUESTIONS.get(name, f"for rolling back ({name.removeprefix(sort)})")


def _sub(history: History, chapter: Chapter) -> str:
    policy = history.eras[chapter.era]
    if chapter.watch == EXPERIMENT:
        plan = policy.experiment
        return (
            "Compared with the champion on predictions drawn at random, each unit once."
            f" Better: by more than {plan.better_by:g}. Given up: worse by more than {plan.worse_by:g}."
        )
    if chapter.watch == HOLDOUT:
        return "All units that are not held out against those that are, each unit once in a period."
    if not chapter.compares:
        watch = policy.watches.get(chapter.watch)
        return (
            "" if watch is None else f"{watch.kind.replace('_', ' ').capitalize()}, promise {watch.promise}."
        )
    rollout = policy.rollout
    margins = "" if rollout is None else (
        f" Promote: not worse by more than {rollout.promote_if_within:g}."
        f" Roll back: worse by more than {rollout.roll_back_if_worse_by:g}."
    )  # fmt: skip
    how = "the same predictions, by block" if chapter.in_shadow else "predictions drawn at random, one by one"
    return f"Compared on {how}.{margins}"


def _shown(evidence: float) -> float:
    return min(abs(evidence), _MOST)


def _says(lines: dict[str, list[Point]]) -> str:
    """How far each line came, in words."""
    parts = []
    for name, points in lines.items():
        most = max(points, key=lambda point: point.evidence)
        reached = (
            "reached its threshold" if most.evidence >= most.threshold else "never reached its threshold"
        )
        of = f"{words.e_value(most.evidence)} of {words.e_value(most.threshold)}"
        parts.append(f"Evidence {_question(name)} {reached}: {of} at its highest.")
    return " ".join(parts)


def _evidence_rows(
    history: History, lines: dict[str, list[Point]], moments: Sequence[Micros]
) -> list[list[str]]:
    last: dict[str, dict[str, str]] = {}
    for moment, (name, point) in sorted(
        ((point.at, (name, point)) for name, points in lines.items() for point in points),
        key=lambda pair: pair[0],
    ):
        day = str(np.datetime64(history.wall(moment), "s").astype("datetime64[D]"))
        last.setdefault(day, {})[name] = words.e_value(point.evidence)
    return [[day, *(found.get(name, "") for name in lines)] for day, found in last.items()]


def _powers(reach: float) -> list[float]:
    """Powers of ten around 1, at most nine."""
    most = math.floor(reach / math.log(10))
    step = max(1, math.ceil(most / 4))
    return [10.0**power for power in range(-(most // step) * step, most + 1, step)]
