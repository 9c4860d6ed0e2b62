"""A backtest as plain values, every key there, times in ISO 8601: what `--json` prints. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from lossloop.app.backtest.base import Account, Alarm, Backtest, Day, Met, Outcome
from lossloop.app.books import Point
from lossloop.core.clock import SECOND, format_time


def plain(found: Backtest) -> dict[str, Any]:
    """All of a backtest; durations in seconds, evidence as natural logarithms."""
    return {
        "model": found.model, "since": format_time(found.since), "until": format_time(found.until),
        "rows": found.rows,
        "incidents": [
            {"text": each.text, "start": format_time(each.start), "end": format_time(each.end)}
            for each in found.incidents
        ],
        "policies": [_outcome(outcome) for outcome in found.outcomes],
        "seconds": found.seconds,
    }  # fmt: skip


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "policy": outcome.policy, "loss": outcome.loss, "unit": outcome.unit, "in_force": outcome.in_force,
        "watches": [_account(each) for each in outcome.accounts],
        "blocks": [_day(day) for day in outcome.days], "notes": list(outcome.notes),
    }  # fmt: skip


def _account(account: Account) -> dict[str, Any]:
    found = account.replayed
    return {
        "watch": found.watch, "asks": found.asks, "promise": found.promise, "counts": found.counts,
        "judged": found.judged(found.points),
        "alarms": [_alarm(each) for each in found.alarms],
        "incidents": [_met(each) for each in account.met],
        "false_alarms": account.false_alarms, "quiet": account.quiet,
        "problems": list(found.problems),
        "points": [
            {**_point(point), "made": format_time(made)}
            for point, made in zip(found.points, found.made, strict=True)
        ],
    }  # fmt: skip


def _alarm(alarm: Alarm) -> dict[str, Any]:
    times = {"at": format_time(alarm.at), "made": format_time(alarm.made)}
    return {**msgspec.structs.asdict(alarm), **times}


def _met(met: Met) -> dict[str, Any]:
    return {
        "incident": met.incident,
        "alarm": None if met.alarm is None else format_time(met.alarm),
        "delay_seconds": None if met.delay is None else met.delay / SECOND,
        "judged": met.judged,
        "saving": msgspec.structs.asdict(met.saving),
    }


def _day(day: Day) -> dict[str, Any]:
    return {**msgspec.structs.asdict(day), "first": format_time(day.first), "last": format_time(day.last)}


def _point(point: Point) -> dict[str, Any]:
    return {**msgspec.structs.asdict(point), "at": format_time(point.at), "kind": str(point.kind)}
