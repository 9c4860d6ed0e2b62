"""Control charts of a regression's blocks, for people to read. They show; they never decide. Pure.

Centre and deviation are those of the reference's blocks. Limits that are learned signal falsely far more
often than their textbooks say, so each chart says beside its signals how often chance would give one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lossloop.app.books import Point
from lossloop.app.charts.chapters import Chapter
from lossloop.app.charts.history import History
from lossloop.app.charts.spec import Chart, Plain
from lossloop.judges import run_lengths
from lossloop.judges.charts import (
    CUSUM_THRESHOLD,
    SHEWHART_WIDTH,
    Array,
    ControlChart,
    cusum,
    ewma,
    shewhart,
    western_electric,
)

NO_DECISION = "For looking only: nothing follows from a control chart."


def control_charts(history: History, chapter: Chapter, number: int) -> list[Chart]:
    """A regression's blocks as Shewhart, Western Electric, EWMA and CUSUM charts; none of other watches."""
    measure = history.measures.get((chapter.watch, chapter.version, chapter.era))
    points = [point for point in chapter.points if point.block and point.mean is not None]
    if measure is None or measure.usual is None or not points:
        return []
    mean, deviation = measure.usual
    values = np.array([point.mean for point in points])
    return [
        _levels(history, chapter, points, values, (mean, deviation), number),
        _sums(history, chapter, points, values, (mean, deviation), number),
    ]


def _levels(
    history: History, chapter: Chapter, points: Sequence[Point], values: Array, usual: tuple[float, float],
    number: int,
) -> Chart:  # fmt: skip
    mean, deviation = usual
    weighted = ewma(values, mean=mean, deviation=deviation)
    single = shewhart(values, mean=mean, deviation=deviation)
    runs = western_electric(values, mean=mean, deviation=deviation)
    xs = [history.wall(point.at) for point in points]
    low, high = mean - SHEWHART_WIDTH * deviation, mean + SHEWHART_WIDTH * deviation
    drawn = np.concatenate((values, weighted.points, weighted.low, weighted.high, [low, high]))
    data: Plain = {
        "x": xs,
        "series": [
            {"name": "EWMA limits about", "role": "holdout", "y": [mean] * len(xs), "lo": _told(weighted.low),
             "hi": _told(weighted.high)},
            {"name": "each step", "role": "champion", "y": _told(values), "thin": True},
            {"name": "EWMA", "role": "champion", "y": _told(weighted.points), "end": "EWMA"},
            {"name": "EWMA signals", "role": "alarm", "y": _where(weighted), "points": True},
        ],
        "limits": [[xs[0], xs[-1], _round(low)], [xs[0], xs[-1], _round(high)]],
        "refs": [[xs[0], xs[-1], _round(mean)]],
        "y": _axis(drawn),
        "marks": history.marks(xs[0], xs[-1]),
    }  # fmt: skip
    rows = [
        [point.block, _text(value), _text(smooth), _text(bottom), _text(top),
         ", ".join(chart.name for chart in (weighted, single, runs) if chart.signals[place])]
        for place, (point, value, smooth, bottom, top) in enumerate(
            zip(points, values, weighted.points, weighted.low, weighted.high, strict=True)
        )
    ]  # fmt: skip
    lengths = {
        "EWMA": run_lengths.ewma_run_length(), "Shewhart": run_lengths.shewhart_run_length(),
        "Western Electric": run_lengths.western_electric_run_length(),
    }  # fmt: skip
    return Chart(
        id=f"control-{number}", title=f"{chapter.title}: control chart",
        sub=f"{NO_DECISION} The band is EWMA's limits, the lines are Shewhart's: "
        f"{SHEWHART_WIDTH:g} standard deviations of the reference's blocks.",
        data=data, head=["block", "mean", "EWMA", "from", "to", "signals of"], rows=rows,
        says=_says((weighted, single, runs), points, lengths),
    )  # fmt: skip


def _sums(
    history: History, chapter: Chapter, points: Sequence[Point], values: Array, usual: tuple[float, float],
    number: int,
) -> Chart:  # fmt: skip
    rise, fall = cusum(values, mean=usual[0], deviation=usual[1])
    xs = [history.wall(point.at) for point in points]
    data: Plain = {
        "x": xs,
        "series": [
            {"name": "rise", "role": "champion", "y": _told(rise.points), "end": "rise"},
            {"name": "fall", "role": "holdout", "y": _told(fall.points), "end": "fall", "dash": True},
        ],
        "limits": [[xs[0], xs[-1], CUSUM_THRESHOLD]],
        "y": _axis(np.concatenate((rise.points, fall.points, [0.0, CUSUM_THRESHOLD]))),
        "marks": history.marks(xs[0], xs[-1]),
    }
    rows = [
        [point.block, _text(up), _text(down), "yes" if up > CUSUM_THRESHOLD or down > CUSUM_THRESHOLD else ""]
        for point, up, down in zip(points, rise.points, fall.points, strict=True)
    ]
    lengths = {rise.name: run_lengths.cusum_run_length(), fall.name: run_lengths.cusum_run_length()}
    return Chart(
        id=f"cusum-{number}", title=f"{chapter.title}: CUSUM",
        sub=f"{NO_DECISION} What exceeds the reference's mean adds up, in standard deviations of its blocks.",
        data=data, head=["block", "rise", "fall", "signals"], rows=rows,
        says=_says((rise, fall), points, lengths),
    )  # fmt: skip


def _says(charts: Sequence[ControlChart], points: Sequence[Point], lengths: dict[str, float]) -> str:
    told = []
    for chart in charts:
        count = int(chart.signals.sum())
        first = f", first on {points[int(chart.signals.argmax())].block}" if count else ""
        told.append(f"{chart.name} signals on {count:,} of {len(points):,} blocks{first}")
    usual = ", ".join(dict.fromkeys(f"{round(length):,}" for length in lengths.values()))
    return (
        f"{'; '.join(told)}. While nothing changes chance would signal once in {usual} blocks, if "
        "they were normal and independent and the reference's mean and deviation were the true ones."
    )


def _where(chart: ControlChart) -> list[float | None]:
    return [
        _round(value) if signals else None
        for value, signals in zip(chart.points.tolist(), chart.signals.tolist(), strict=True)
    ]


def _axis(values: Array) -> list[float]:
    low, high = float(values.min()), float(values.max())
    room = 0.05 * max(high - low, 1e-9)
    return [_round(low - room), _round(high + room)]


def _told(values: Array) -> list[float]:
    return [_round(value) for value in values.tolist()]


def _round(value: float) -> float:
    return float(f"{value:.6g}")


def _text(value: float) -> str:
    return f"{value:.4g}"
