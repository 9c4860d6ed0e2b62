"""Moments as people write them."""

from __future__ import annotations

import pytest

from lossloop.app.moments import last_moment, moment
from lossloop.core.calendar import Calendar
from lossloop.core.clock import DAY, HOUR, Micros, parse_time
from lossloop.core.errors import InputError

NEW_YORK = Calendar(span=DAY, zone="America/New_York")
NOW: Micros = parse_time("2013-06-20T12:00:00Z")


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("2013-03-18T17:45:00Z", "2013-03-18T17:45:00Z"),
        ("2013-03-18T17:45:00-04:00", "2013-03-18T21:45:00Z"),
        ("2013-06-01", "2013-06-01T04:00:00Z"),  # midnight in New York, in summer
        ("2013-01-01", "2013-01-01T05:00:00Z"),
        ("2d", "2013-06-18T12:00:00Z"),
    ],
)
def test_a_moment_a_day_and_how_long_ago(text: str, means: str) -> None:
    assert moment(text, NEW_YORK, NOW, "since") == parse_time(means)


def test_nothing_is_no_moment() -> None:
    assert moment(None, NEW_YORK, NOW, "since") is None


def test_a_span_ends_with_its_last_day() -> None:
    assert last_moment("2013-06-01", NEW_YORK, NOW, "incident") == parse_time("2013-06-02T04:00:00Z")
    assert last_moment("2013-06-01T00:00:00Z", NEW_YORK, NOW, "incident") == parse_time(
        "2013-06-01T00:00:00Z"
    )


def test_the_day_on_which_clocks_change_is_shorter() -> None:
    start = moment("2013-03-10", NEW_YORK, NOW, "incident")
    assert start is not None
    assert last_moment("2013-03-10", NEW_YORK, NOW, "incident") - start == 23 * HOUR


@pytest.mark.parametrize("text", ["", "June", "2013-02-30", "2013-06-01T12:00", "3 moons", "-2d", "2013-6-1"])
def test_what_is_no_moment_is_refused_with_examples(text: str) -> None:
    with pytest.raises(InputError, match="write a moment such as 2013-03-18T17:45:00Z") as refused:
        moment(text, NEW_YORK, NOW, "since")
    assert refused.value.field == "since"
    with pytest.raises(InputError, match="write a moment such as"):
        last_moment(text, NEW_YORK, NOW, "incident")
