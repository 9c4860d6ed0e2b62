"""How a backtest looks in a terminal: a timeline and a table. Pure: from plain values to rich."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from lossloop.app import words
from lossloop.core.clock import SECOND, format_duration

Plain = Mapping[str, Any]

_LEVELS = "▁▂▃▄▅▆▇"
_ALARM, _INCIDENT, _NOTHING, _NO_DATA = "█", "▒", " ", "?"
_LEAST_WIDTH, _MOST_WIDTH = 20, 100
_NAMING = ("slices", "drift", "prediction_shift")
"""Watches whose reason says which of many things it was."""
MOST_ALARMS = 8
"""Alarms of a watch that are listed; the others are counted."""


def lines(answer: Plain, *, width: int) -> Iterator[Text | Table | str]:
    """A backtest, line by line.

    Args:
        answer: As `lossloop backtest --json` prints it.
        width: Columns of the terminal.
    """
    yield (
        f"[bold]{escape(answer['model'])}[/]  {answer['rows']:,} predictions, "
        f"{answer['since'][:10]} to {answer['until'][:10]}"
    )
    yield timeline(answer, width=width)
    yield table(answer)
    yield from notes(answer)


# The picture.


def timeline(answer: Plain, *, width: int) -> Text:
    """A line for each watch: how high its evidence stood, and where it would have fired."""
    names = [_name(answer, outcome, watch) for outcome, watch in _watches(answer)]
    margin = max(map(len, [*names, "incidents"]), default=0) + 1
    columns = max(_LEAST_WIDTH, min(_MOST_WIDTH, width - margin - 1))
    scale = _Scale(answer["since"], answer["until"], columns)
    picture = Text()
    if answer["incidents"]:
        picture.append(f"{'incidents':<{margin}}")
        picture.append(_marked(answer["incidents"], scale) + "\n", style="yellow")
    for name, (_, watch) in zip(names, _watches(answer), strict=True):
        picture.append(f"{name:<{margin}}")
        for mark in _line(watch, scale):
            picture.append(mark, style="bold red" if mark == _ALARM else "")
        picture.append("\n")
    picture.append(" " * margin + scale.axis(), style="dim")
    picture.append(f"\n{' ' * margin}{_LEVELS[0]} to {_LEVELS[-1]} evidence, {_ALARM} alarm", style="dim")
    return picture


class _Scale:
    """Moments as columns."""

    def __init__(self, since: str, until: str, columns: int) -> None:
        self._since, self._until = _seconds(since), _seconds(until)
        self.columns = columns
        self._words = since[:10], until[:10]

    def column(self, moment: str) -> int:
        share = (_seconds(moment) - self._since) / max(self._until - self._since, 1e-6)
        return min(max(int(share * self.columns), 0), self.columns - 1)

    def axis(self) -> str:
        first, last = self._words
        return f"{first}{' ' * (self.columns - len(first) - len(last))}{last}"


def _marked(incidents: Sequence[Plain], scale: _Scale) -> str:
    marks = [_NOTHING] * scale.columns
    for incident in incidents:
        for column in range(scale.column(incident["start"]), scale.column(incident["end"]) + 1):
            marks[column] = _INCIDENT
    return "".join(marks)


def _line(watch: Plain, scale: _Scale) -> list[str]:
    """The highest level of each column; an alarm stands where it was raised."""
    levels: dict[int, float] = {}
    for point in watch["points"]:
        column = scale.column(point["made"])
        level = -math.inf if point["kind"] in ("no_data", "error") else point["evidence"] / point["threshold"]
        levels[column] = max(levels.get(column, -math.inf), level)
    fired = {scale.column(alarm["made"]) for alarm in watch["alarms"]}
    return [_ALARM if column in fired else _mark(levels.get(column)) for column in range(scale.columns)]


def _mark(level: float | None) -> str:
    if level is None:
        return _NOTHING
    if math.isinf(level):
        return _NO_DATA
    return _LEVELS[min(int(max(level, 0.0) * len(_LEVELS)), len(_LEVELS) - 1)]


# The table.


def table(answer: Plain) -> Table:
    """A row for each watch of each policy, and below it one for each incident."""
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("policy", "watch", "promise"):
        made.add_column(name, overflow="fold")
    for name in ("judged", "alarms", "false"):
        made.add_column(name, justify="right", no_wrap=True)
    made.add_column("incident", no_wrap=True)
    made.add_column("delay", justify="right", no_wrap=True)
    made.add_column("could have saved [95%]", overflow="fold")
    last = ""
    for outcome, watch in _watches(answer):
        policy = outcome["policy"] if outcome["policy"] != last else ""
        last = outcome["policy"]
        _add(made, policy, watch)
    return made


def _add(made: Table, policy: str, watch: Plain) -> None:
    if watch["problems"] and not watch["points"]:
        made.add_row(*map(Text, (policy, watch["watch"], watch["promise"], "-", "-", "-", "cannot judge")))
        return
    false = "" if watch["false_alarms"] is None else str(watch["false_alarms"])
    judged = f"{watch['judged']:,} {watch['counts']}"
    head = [policy, watch["watch"], watch["promise"], judged, str(len(watch["alarms"])), false]
    if not watch["incidents"]:
        made.add_row(*map(Text, head), "", "", "")
    for number, met in enumerate(watch["incidents"]):
        cells = head if not number else [""] * len(head)
        delay = "missed" if met["alarm"] is None else _duration(met["delay_seconds"])
        made.add_row(*map(Text, cells), met["incident"], delay, _saving(met["saving"]))


def _saving(saving: Plain) -> Text:
    if saving["estimate"] is None:
        return Text("-" if saving["why"].startswith("it would not") else "cannot tell", style="dim")
    if saving["low"] is None:
        return Text(f"{saving['estimate']:,.0f}")
    return Text.assemble(
        f"{saving['estimate']:,.4g}", (f" [{saving['low']:,.4g}, {saving['high']:,.4g}]", "dim")
    )


def notes(answer: Plain) -> Iterator[str]:
    """What has to be said beside the table."""
    for outcome, watch in _watches(answer):
        name = _name(answer, outcome, watch)
        yield from (escape(f"{name}: alarm {told}") for told in _alarms(watch))
        for problem in watch["problems"]:
            yield f"[yellow]{escape(f'{name}: could not judge {problem}')}[/]"
        for met in watch["incidents"]:
            if met["alarm"] is not None and met["saving"]["why"]:
                yield escape(f"{name}: what {met['incident']} could have saved: {met['saving']['why']}")
    for outcome in answer["policies"]:
        for note in outcome["notes"]:
            yield escape(f"{outcome['policy']}: {note}.")
    yield from _assumption(answer)


def _assumption(answer: Plain) -> Iterator[str]:
    savings = [
        met["saving"]
        for _, watch in _watches(answer)
        for met in watch["incidents"]
        if met["saving"]["estimate"] is not None
    ]
    if savings:
        against = ", or ".join(dict.fromkeys(saving["against"] for saving in savings))
        yield escape(
            f"Could have saved: the loss above {against}, summed over outcomes between the alarm and the "
            "incident's end. It is what an action would have saved that brought the loss back there at once; "
            "what another version would have lost on these predictions, the ledger does not hold."
        )
    if answer["incidents"]:
        yield "False: alarms on predictions made outside every incident."
    else:
        yield "Which alarms are false is not told: mark what was wrong with --incident."


def _alarms(watch: Plain) -> Iterator[str]:
    """When a watch would have fired; a line for each where what it said tells them apart."""
    told = [_told(alarm) for alarm in watch["alarms"][:MOST_ALARMS]]
    more = len(watch["alarms"]) - len(told)
    if watch["asks"] in _NAMING:
        for alarm, words_of_it in zip(watch["alarms"], told, strict=False):
            yield f"{words_of_it}: {alarm['reason']}"
        if more:
            yield f"{more} times more"
    elif told:
        yield f"{'; '.join(told)}{f'; and {more} more' if more else ''}"


def _told(alarm: Plain) -> str:
    when = alarm["block"] or alarm["made"][:16]
    return f"on {when} ({words.evidence(alarm)}, version {alarm['version']})"


def _watches(answer: Plain) -> Iterator[tuple[Plain, Plain]]:
    for outcome in answer["policies"]:
        for watch in outcome["watches"]:
            yield outcome, watch


def _name(answer: Plain, outcome: Plain, watch: Plain) -> str:
    name = str(watch["watch"])
    return f"{outcome['policy'].removesuffix('.yaml')} {name}" if len(answer["policies"]) > 1 else name


def _duration(seconds: float) -> str:
    """A delay to two figures: ``12d``, ``7h``."""
    if seconds >= 86_400:
        return f"{seconds / 86_400:.1f}d"
    return f"{seconds / 3600:.1f}h" if seconds >= 3600 else format_duration(round(seconds) * SECOND)


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
