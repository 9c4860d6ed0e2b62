"""A chart for each loss and champion: its mean by block, with a band of its own. Pure.

Blocks, and not rows, are averaged, as rows of a block depend on each other; the band takes blocks for
independent, and holds however often one looks. Nothing is decided by it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lossloop.app.charts.courses import Course
from lossloop.app.charts.history import History
from lossloop.app.charts.scales import axis, rounded, text
from lossloop.app.charts.spec import Chart, Plain
from lossloop.core.clock import SECOND
from lossloop.core.records import Interval
from lossloop.judges import Moments, asymptotic_interval


def course_charts(history: History, *, judging: bool = True) -> list[Chart]:
    """One chart for each loss and version; those of the loss that judges only where they are wanted."""
    wanted = [each for each in history.courses if each.blocks and (judging or not each.judges)]
    return [course_chart(history, each, number) for number, each in enumerate(wanted, start=1)]


def course_chart(history: History, course: Course, number: int) -> Chart:
    """The mean of each block, the mean since the beginning with its band, and the decisions."""
    calendar = history.policy.calendar
    own = [each.losses.mean or 0.0 for each in course.blocks]
    band = bands(own)
    mean = [None if each is None else rounded(each.estimate) for each in band]
    low = [None if each is None else rounded(each.low) for each in band]
    high = [None if each is None else rounded(each.high) for each in band]
    xs = [(each.block + calendar.span // 2) // SECOND for each in course.blocks]
    means = [rounded(each) for each in own]
    first, last = course.blocks[0].block // SECOND, (course.blocks[-1].block + 2 * calendar.span) // SECOND
    data: Plain = {
        "x": xs,
        "series": [
            {"name": "mean since the beginning", "role": "champion", "y": mean, "lo": low, "hi": high,
             "end": "mean"},
            {"name": "each block", "role": "champion", "y": means, "thin": True},
        ],
        "limits": [],
        "refs": [],
        "y": axis([*mean, *means, *low, *high], []),
        "marks": history.marks(first, last),
    }  # fmt: skip
    rows = [
        [calendar.label(each.block), text(block), text(middle), text(bottom), text(top),
         f"{each.predictions:,}", f"{each.losses.count:,}"]
        for each, block, middle, bottom, top in zip(course.blocks, own, mean, low, high, strict=True)
    ]  # fmt: skip
    return Chart(
        id=f"course-{number}", title=f"Loss of version {course.version} by {course.loss}",
        about=f"Version {course.version} by {course.loss}",
        sub=_sub(course), data=data,
        head=["block", "mean loss", "since the beginning", "from", "to", "predictions", "with outcome"],
        rows=rows, says=_says(course, band[-1]),
    )  # fmt: skip


def bands(means: Sequence[float]) -> list[Interval | None]:
    """The mean of blocks up to each of them, and its anytime-valid interval; None of fewer than five."""
    moments, found = Moments(), list[Interval | None]()
    for mean in means:
        moments = moments.add(np.array([mean]))
        found.append(asymptotic_interval(moments))
    return found


def _sub(course: Course) -> str:
    unit = f"In {course.unit}. " if course.unit else ""
    role = "This loss judges." if course.judges else "It runs beside, and judges nothing."
    return f"{unit}{role} Outcomes count as they are known now."


def _says(course: Course, band: Interval | None) -> str:
    outcomes = sum(each.losses.count for each in course.blocks)
    if band is None:
        return f"{outcomes:,} outcomes so far; too few blocks for a band."
    return (
        f"The mean over {len(course.blocks):,} blocks is {band.estimate:.4g}, and lies between "
        f"{text(band.low)} and {text(band.high)} at {band.level:.0%}, approximately, however often one looks."
    )
