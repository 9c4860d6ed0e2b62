"""Which two periods an alarm is about: from where the loss began to rise, and what was before it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from lossloop.app.books import Point
from lossloop.core.clock import Micros
from lossloop.core.records import VerdictKind


def rise(points: Sequence[Point], limit: float) -> tuple[Micros, Micros] | None:
    """From when to when the loss of the last incident stood above a limit; None where there was no alarm.

    It ends with the last step of that alarm, which stays until its actions had their time.

    The beginning is the step behind which the means, less the limit, add up to the most until the alarm:
    where a CUSUM would have started. Both are moments at which a step was judged.

    Args:
        points: The steps of a watch on one version, in order.
        limit: Of its mean loss, or any level between the two periods.
    """
    last = next(
        (place for place in range(len(points) - 1, -1, -1) if points[place].kind == VerdictKind.ALARM), None
    )
    if last is None:
        return None
    alarm = last
    while alarm and points[alarm - 1].kind == VerdictKind.ALARM:
        alarm -= 1
    total, most, first = 0.0, float("-inf"), alarm
    for place in range(alarm, -1, -1):
        mean = points[place].mean
        total += 0.0 if mean is None else mean - limit
        if total > most:
            most, first = total, place
    begun = points[first - 1].at if first else points[0].at - 1
    return begun, points[last].at
