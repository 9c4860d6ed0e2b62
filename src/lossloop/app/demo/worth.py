"""What the loop was worth: the same flights in several courses of events, month by month. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lossloop.app import words
from lossloop.app.charts.spec import Plain
from lossloop.app.demo.compare import Courses, Month, delay_cost

FIRST, LOOP, SAME = "version 1", "the loop", "same"


def worth(courses: Courses) -> Plain:
    """What the loop was worth against the other courses, over all months and month by month."""
    names, all_months = list(courses), list(courses.values())
    totals = [total(course) for course in all_months]
    rows = [_row(months) for months in zip(*all_months, strict=True)]
    loop, others = totals[0], list(zip(names[1:], totals[1:], strict=True))
    return {
        "names": names,
        "rows": rows,
        "total": _row(totals),
        "loop_usd": f"{loop.usd:,.0f}",
        "loop_loss": f"{loop.mean_loss:.3f}",
        "flights": f"{loop.flights:,}",
        "usd": [_than(name, other.usd - loop.usd, "USD", 0) for name, other in others],
        "loss": [_than(name, other.mean_loss - loop.mean_loss, "nats", 3) for name, other in others],
        "worse_usd": [row["month"] for row in rows if row["better_usd"] == FIRST],
        "worse_loss": [row["month"] for row in rows if row["better_loss"] == FIRST],
        "most": max((abs(row["usd_gap"]) for row in rows), default=0.0),
        "axis": axis_end(max((month.usd for course in all_months for month in course), default=1.0)),
        "cost": dict(delay_cost.parameters),
    }


def total(course: Sequence[Month]) -> Month:
    """All months of a course as one; losses weigh by flights."""
    flights = sum(month.flights for month in course)
    loss = sum(month.flights * month.mean_loss for month in course)
    return Month(
        month="all", flights=flights, mean_loss=loss / flights if flights else 0.0,
        usd=sum(month.usd for month in course),
    )  # fmt: skip


def axis_end(most: float) -> float:
    """The least of 1, 2, 2.5, 3, 4, 5, 6 and 8 times a power of ten that is not below `most`, at least 1."""
    power = 10.0 ** math.floor(math.log10(max(most, 1.0)))
    return next(step * power for step in (1, 2, 2.5, 3, 4, 5, 6, 8, 10) if step * power >= most)


def _than(name: str, saved: float, unit: str, decimals: int) -> str:
    if round(saved, decimals) == 0:
        return f"the same as {name}"
    return f"{abs(saved):,.{decimals}f} {unit} {'less' if saved > 0 else 'more'} than {name}"


def _row(months: Sequence[Month]) -> Plain:
    """One month in all courses; the second course is the one that the loop is compared with."""
    loop, first = months[0], months[1] if len(months) > 1 else months[0]
    gap = round(loop.usd - first.usd)
    return {
        "month": loop.month,
        "flights": f"{loop.flights:,}",
        "cells": [
            {"loss": f"{each.mean_loss:.3f}", "usd": f"{each.usd:,.0f}", "amount": each.usd}
            for each in months
        ],
        "usd_gap": gap,
        "usd_text": words.minus(words.signed(gap, decimals=0)),
        "loss_text": words.minus(words.signed(loop.mean_loss - first.mean_loss)),
        "better_usd": _better(gap),
        "better_loss": _better(round(loop.mean_loss, 3) - round(first.mean_loss, 3)),
    }


def _better(gap: float) -> str:
    return FIRST if gap > 1e-9 else LOOP if gap < -1e-9 else SAME
