"""Every chart of a model's verdicts, as pages, the report and notebooks show them. Pure.

Of each watch on a version, and of each stage of a rollout: the loss with its anytime-valid band against its
limit, then the evidence against its threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lossloop.app.books import Point
from lossloop.app.charts.chapters import EXPERIMENT, HOLDOUT, Chapter, chapters
from lossloop.app.charts.control import control_charts
from lossloop.app.charts.coursecharts import course_charts
from lossloop.app.charts.evidence import evidence_chart
from lossloop.app.charts.history import History, Measure
from lossloop.app.charts.scales import axis, rounded, text
from lossloop.app.charts.spec import Chart, Plain
from lossloop.judges import e_value


def watch_charts(history: History) -> list[Chart]:
    """All charts, in the order in which watches and rollouts began; then the losses, if several."""
    found: list[Chart] = []
    for number, chapter in enumerate(chapters(history), start=1):
        loss = loss_chart(history, chapter, number)
        mine = [] if loss is None else [loss]
        mine += [evidence_chart(history, chapter, number), *control_charts(history, chapter, number)]
        found += [replace(each, about=chapter.title) for each in mine]
    return found + course_charts(history)


def loss_chart(history: History, chapter: Chapter, number: int) -> Chart | None:
    """The mean since the beginning with its band, and of each step its own; None of what has no mean."""
    points = _one_line(chapter)
    if not points:
        return None
    measure = history.measures.get((chapter.watch, chapter.version, chapter.era))
    if not chapter.compares and (measure is None or all(point.mean is None for point in points)):
        return None
    origin = measure.reference or 0.0 if measure is not None else 0.0
    xs = [history.wall(point.at) for point in points]
    mean = [_of(point, "estimate", origin) for point in points]
    low, high = ([_of(point, side, origin) for point in points] for side in ("low", "high"))
    own = [rounded(point.mean if measure is None or measure.steps else None) for point in points]
    limits = _limits(history, chapter, measure)
    what = "difference" if measure is None or chapter.compares else measure.what
    data: Plain = {
        "x": xs,
        "series": [
            {"name": f"{what} since the beginning", "role": "champion", "y": mean, "lo": low, "hi": high,
             "end": what.split()[0]},
            *([] if measure is None or not measure.steps else [
                {"name": "each step", "role": "champion", "y": own, "thin": True}
            ]),
        ],
        "limits": [[xs[0], xs[-1], limit] for limit in limits],
        "refs": [] if measure is None or measure.reference is None else [[xs[0], xs[-1], measure.reference]],
        "y": axis([*mean, *own, *low, *high], limits),
        "marks": history.marks(xs[0], xs[-1]),
    }  # fmt: skip
    rows = [
        [_moment(history, point), text(one), text(bottom), text(top), text(step), f"{point.rows:,}",
         f"{point.labelled:,}", str(point.kind), e_value(point.evidence)]
        for point, one, bottom, top, step in zip(points, mean, low, high, own, strict=True)
    ]  # fmt: skip
    head = ["time", what, "from", "to", "this step", "rows", "with outcome", "verdict", "evidence"]
    return Chart(
        id=f"loss-{number}", title=f"{chapter.title}: {what}",
        sub=_sub(limits, measure, compared=chapter.watch if chapter.compares else ""), data=data,
        head=head, rows=rows, says=_says(what, points, mean, low, high),
    )  # fmt: skip


def _one_line(chapter: Chapter) -> Sequence[Point]:
    """Both tests of a comparison look at the same difference: one is drawn, and none of its gates."""
    names = {point.watch for point in chapter.points}
    test = "worse" if chapter.watch == HOLDOUT else "roll back"
    name = f"{chapter.watch}{test}" if chapter.compares else min(names)
    return [point for point in chapter.points if point.watch == name]


def _limits(history: History, chapter: Chapter, measure: Measure | None) -> list[float]:
    policy = history.eras[chapter.era]
    plan = policy.rollout
    if chapter.watch == HOLDOUT:
        return [0.0]
    if chapter.watch == EXPERIMENT:
        return sorted({0.0 - policy.experiment.better_by, policy.experiment.worse_by})
    if chapter.compares:
        return [] if plan is None else sorted({plan.promote_if_within, plan.roll_back_if_worse_by})
    return [] if measure is None else [round(measure.limit, 6)]


def _sub(limits: Sequence[float], measure: Measure | None, *, compared: str) -> str:
    if compared == EXPERIMENT:
        return "The arm minus the champion; the lines are where it is better, and where it is given up."
    if compared == HOLDOUT:
        return "All others minus those held out: below 0 the others lose less."
    if compared:
        return "Challenger minus champion; the lines are the margins of promotion and rollback."
    words = f"The limit is {limits[0]:.4g}" if limits else ""
    if measure is not None and measure.reference is not None:
        words += f"; on its reference the version had {measure.reference:.4g}"
    return f"{words}."


def _says(
    what: str, points: Sequence[Point], mean: Sequence[float | None], low: Sequence[float | None],
    high: Sequence[float | None],
) -> str:  # fmt: skip
    rows = sum(point.rows for point in points[_begun(mean) :])
    if mean[-1] is None:
        return f"{rows:,} predictions so far; too few steps for a band."
    level = points[-1].effect.level if points[-1].effect is not None else 0.95
    about = ", approximately," if points[-1].effect is not None and points[-1].effect.approximate else ""
    return (
        f"The {what} is {mean[-1]:.4g} over {rows:,} predictions, and lies between {text(low[-1])} and "
        f"{text(high[-1])} at {level:.0%}{about} however often one looks."
    )


def _begun(mean: Sequence[float | None]) -> int:
    """Where the last run of the watch began: it begins anew behind an incident, first without a band."""
    place = len(mean)
    while place and mean[place - 1] is not None:
        place -= 1
    while place and mean[place - 1] is None:
        place -= 1
    return place


def _of(point: Point, side: str, origin: float) -> float | None:
    return None if point.effect is None else rounded(getattr(point.effect, side) + origin)


def _moment(history: History, point: Point) -> str:
    return point.block or history.label(point.at)
