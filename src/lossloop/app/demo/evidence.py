"""Evidence against its threshold as data for charts, one for each watch and each stage of a rollout. Pure.

Evidence goes out as e-values; times are seconds on the wall clock of the policy's time zone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import groupby

import numpy as np

from lossloop.app import words
from lossloop.app.books import Point
from lossloop.app.demo.account import Account
from lossloop.app.demo.charts import Chart, Plain
from lossloop.core.clock import Micros

ROLLOUT = "rollout: "
_LEAVES_SHADOW = ("ramp", "refuse")


def evidence_charts(account: Account) -> list[Chart]:
    """One chart for each watch on each champion, and for each stage of each rollout."""
    ordered = sorted(account.points, key=lambda point: (_chapter(account, point), point.watch, point.at))
    return sorted(
        (
            _evidence(account, list(found), number)
            for number, (_, found) in enumerate(
                groupby(ordered, key=lambda point: _chapter(account, point)), start=1
            )
        ),
        key=lambda chart: float(chart.data["x"][0]),
    )


def _chapter(account: Account, point: Point) -> tuple[str, int, bool]:
    """Points of one chart: the rollout's evidence begins anew when the challenger leaves the shadow."""
    rollout = point.watch.startswith(ROLLOUT)
    return ("" if rollout else point.watch), point.version, rollout and point.at <= _left(account, point)


def _left(account: Account, point: Point) -> Micros:
    """When a challenger left the shadow; before all time if in none, after all if it never did."""
    mine = [d for d in account.decisions if d.version == point.version and d.status == "done"]
    if not any(d.action == "start_rollout" and not d.share for d in mine):
        return -1
    return min((d.at for d in mine if d.action in _LEAVES_SHADOW), default=1 << 62)


def _evidence(account: Account, points: Sequence[Point], number: int) -> Chart:
    lines = {name: list(found) for name, found in groupby(points, key=lambda point: point.watch)}
    moments = sorted({point.at for point in points})
    where = {moment: index for index, moment in enumerate(moments)}
    reach = 1.15 * max(max(abs(point.evidence), point.threshold) for point in points)
    xs = [account.wall(moment) for moment in moments]
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
    }
    names = [_question(name) for name in lines]
    rows = _evidence_rows(account, lines, moments)
    title, sub = _headings(account, points[0])
    return Chart(
        id=f"evidence-{number}", title=title, sub=sub, data=data, head=["last of the day", *names],
        rows=rows, says=_says(lines),
    )  # fmt: skip


def _line(name: str, points: Iterable[Point], where: dict[Micros, int]) -> Plain:
    values: list[float | None] = [None] * len(where)
    for point in points:
        values[where[point.at]] = float(f"{math.exp(point.evidence):.4g}")
    promotes, question = name.endswith("promote"), _question(name)
    return {
        "name": question,
        "role": "better" if promotes else "alarm",
        "y": values,
        "end": question,
        "dash": not promotes and name.startswith(ROLLOUT),
    }


def _question(name: str) -> str:
    """What evidence speaks for."""
    if name.startswith(ROLLOUT):
        return "for promoting" if name.endswith("promote") else "for rolling back"
    return "for an alarm"


def _headings(account: Account, point: Point) -> tuple[str, str]:
    _, version, shadow = _chapter(account, point)
    plan = account.policy.rollout
    if not point.watch.startswith(ROLLOUT):
        watch = account.policy.watches.get(point.watch)
        promise = "" if watch is None else f", promise {watch.promise}"
        return f"Watch '{point.watch}' on version {version}", f"Mean loss above the limit{promise}."
    margins = "" if plan is None else (
        f" Promote: not worse by more than {plan.promote_if_within:g}."
        f" Roll back: worse by more than {plan.roll_back_if_worse_by:g}."
    )  # fmt: skip
    how = "the same flights, by day" if shadow else "flights drawn at random, one by one"
    return f"Version {version} in {'shadow' if shadow else 'canary'}", f"Compared on {how}.{margins}"


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
    account: Account, lines: dict[str, list[Point]], moments: Sequence[Micros]
) -> list[list[str]]:
    last: dict[str, dict[str, str]] = {}
    for moment, (name, point) in sorted(
        ((point.at, (name, point)) for name, points in lines.items() for point in points),
        key=lambda pair: pair[0],
    ):
        day = str(np.datetime64(account.wall(moment), "s").astype("datetime64[D]"))
        last.setdefault(day, {})[name] = words.e_value(point.evidence)
    return [[day, *(found.get(name, "") for name in lines)] for day, found in last.items()]


def _powers(reach: float) -> list[float]:
    """Powers of ten around 1, at most nine."""
    most = math.floor(reach / math.log(10))
    step = max(1, math.ceil(most / 4))
    return [10.0**power for power in range(-(most // step) * step, most + 1, step)]
