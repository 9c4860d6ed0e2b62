"""What `lossloop check skew` prints of what was found, and what it asks with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lossloop.app.cli.skew import Limits, _lines
from lossloop.app.skew import Difference, Found, Question
from lossloop.app.skew.comparing import compare

IDS = [f"r{place}" for place in range(100)]
MADE = np.arange(1.0, 101.0)


def difference(name: str = "distance", sent: Any = MADE, made: Any = MADE) -> Difference:
    return compare(name, IDS, sent, made, tolerance=1e-5)


def found(*features: Difference, answers: Difference | None = None, **more: Any) -> Found:
    usual: dict[str, Any] = {
        "model": "late", "version": 3, "seen": 100, "rows": 100, "matched": 0, "unread": 0, "skewed": (),
    }  # fmt: skip
    return Found(features=features, answers=answers, **{**usual, **more})


def told(*features: Difference, **more: Any) -> list[str]:
    return list(_lines(found(*features, **more)))


def test_all_predictions_or_how_many_of_them() -> None:
    assert told()[0] == "late:3, 100 predictions recomputed"
    assert told(seen=12_345)[0] == "late:3, 100 of 12,345 predictions recomputed"


def test_who_is_served_elsewhere_has_no_answers_to_compare() -> None:
    assert told()[-1] == "y_pred: not recomputed; another system serves the version"
    assert "not recomputed" not in told(answers=difference("y_pred"))[-1]


def test_rows_that_were_left_out_are_counted() -> None:
    assert told(unread=1_000)[1].startswith("1,000 rows of raw inputs are not what the transform takes")
    assert len(told()) == 2


def test_the_same_everywhere_still_leaves_a_share_open() -> None:
    line = told(difference())[1]
    assert line == "  distance: the same in all 100 rows (95%: at most 3.622% differ)"


def test_a_pattern_stands_instead_of_the_typical_difference() -> None:
    lines = told(difference(sent=MADE * 1000), skewed=("distance",))
    assert lines[1].startswith("  distance: SKEW in 100.00% of 100 rows (95%: 96.378% to 100.000%)")
    assert lines[2] == "    what was sent is 1000 times what should be"
    assert not any("typically" in line for line in lines)


def test_without_a_pattern_it_is_said_by_how_much() -> None:
    draw = np.random.default_rng(5)
    lines = told(difference(sent=MADE + draw.normal(0, 40, 100)), skewed=("distance",))
    assert lines[2].startswith("    typically by ")


def test_what_is_allowed_differs_and_is_no_skew() -> None:
    sent = MADE.copy()
    sent[7] = -1.0
    lines = told(difference(sent=sent))
    assert lines[1].startswith("  distance: differs in 1.00% of 100 rows")
    assert "    r7: -1.0 was sent, 8.0 should be" in lines


def test_rows_of_answers_are_told_in_other_words() -> None:
    sent = MADE.copy()
    sent[0] = 9.5
    lines = told(answers=difference("y_pred", sent=sent), skewed=("y_pred",))
    assert "    r0: 9.5 was answered, 1.0 is what the version says" in lines


def test_at_most_five_rows_are_shown() -> None:
    lines = told(difference(sent=MADE + 1))
    assert sum(" was sent, " in line for line in lines) == 5


def test_texts_have_no_typical_difference() -> None:
    made = np.array(["UA", "DL"] * 50, object)
    sent = made.copy()
    sent[[0, 1]] = ["ua", "dl"]
    lines = told(difference("carrier", sent=sent, made=made))
    assert not any("typically" in line for line in lines)
    assert "    r0: ua was sent, UA should be" in lines


@pytest.mark.parametrize("allow", [0.0, 0.01, 0.5])
def test_it_is_fine_just_where_nothing_is_skewed(allow: float) -> None:
    moved = difference(sent=MADE + 1)
    assert moved.skewed(allow)
    assert not difference().skewed(allow)
    assert found().fine
    assert not found(moved, skewed=("distance",)).fine


def test_the_command_asks_as_the_question_does_by_default() -> None:
    limits, question = Limits(), Question(model="late")
    assert (limits.rows, limits.tolerance, limits.allow) == (
        question.rows, question.tolerance, question.allow,
    )  # fmt: skip
