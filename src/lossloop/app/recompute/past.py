"""The past that a question is about: which span of it, told apart by what, and the features that takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lossloop.app.home import Home
from lossloop.app.moments import moment
from lossloop.app.recompute.features import PREFIX, SLICE, read_features, slices
from lossloop.app.recompute.figures import Words
from lossloop.app.recompute.history import History, Span, read_history
from lossloop.app.recompute.tally import KEYS
from lossloop.core.calendar import Calendar
from lossloop.core.clock import Micros, format_time
from lossloop.core.errors import InputError
from lossloop.ledger.joined.keys import Keys
from lossloop.ledger.joined.table import ROLES
from lossloop.ledger.store import Store

TOLD_BY = KEYS[:3]
"""What predictions are told apart by without their features: version, role, block."""


def read_past(
    home: Home, store: Store, model: str, wanted: Sequence[str], *, whole: bool = False
) -> tuple[list[History], list[str]]:
    """The tables of a model, the slice of each row by the wanted features, and what slices are called.

    Args:
        home: The state directory, whose log has the features.
        store: Its derived state.
        model: Whose predictions.
        wanted: Names of features that make slices.
        whole: Whether every feature is given beside, for a loss that needs them.

    Raises:
        UnknownName: There is no such feature.
        TooLarge: There are too many predictions to read features of, or too many slices.
    """
    past = read_history(store, model)
    if not wanted and not whole:
        return past, []
    reader = home.log.reader()
    try:
        features = read_features(reader, store, Keys(home.settings().secret), model)
    finally:
        reader.close()
    codes, names = slices(features, wanted)
    found = []
    for place, history in enumerate(past):
        more = {f"{PREFIX}{name}": values for name, values in features[place].items()} if whole else {}
        found.append(replace(history, more={**more, SLICE: codes[place]} if wanted else more))
    return found, names


def span_of(since: str | None, until: str | None, calendar: Calendar, now: Micros) -> Span:
    """The span as people write it: moments, days of the calendar, or how long before now."""
    span = Span(since=moment(since, calendar, now, "since"), until=moment(until, calendar, now, "until"))
    if span.since is not None and span.until is not None and span.since >= span.until:
        raise InputError(f"since {since} is not before until {until}", field="since")
    return span


def between(span: Span) -> str:
    """A span in words that follow others; empty where it has no limits."""
    since = "" if span.since is None else f" from {format_time(span.since)}"
    return since if span.until is None else f"{since} until {format_time(span.until)}"


def words_of(calendar: Calendar, names: Sequence[str]) -> Words:
    """How a version, a role, a block or a slice is told from its number."""
    return {
        "version": int, "role": ROLES.__getitem__, "block": calendar.label, SLICE: names.__getitem__,
    }  # fmt: skip
