from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.app import words


@pytest.mark.parametrize(
    ("value", "text"),
    [(27.68, "27.7"), (20.0, "20"), (1.0, "1"), (0.653, "0.653"), (3650.0, "3,650"), (4914.9, "4,915"),
     (0.001, "0.001"), (1e-8, "1.0e-8"), (1e10, "1.0e10"), (1_000_400.0, "1,000,400"),
      (1000.0, "1,000"), (0.5, "0.5")],
)  # fmt: skip
def test_e_values_are_read_at_a_glance(value: float, text: str) -> None:
    assert words.e_value(math.log(value)) == text


@given(st.floats(-1000, 1000))
def test_any_evidence_has_words_as_near_as_their_digits(log: float) -> None:
    digits, _, power = words.e_value(log).replace(",", "").partition("e")
    tenths = math.log10(float(digits)) + float(power or 0)
    assert tenths == pytest.approx(log / math.log(10), abs=0.03)


def test_evidence_names_its_threshold() -> None:
    assert words.evidence({"evidence": math.log(10), "threshold": math.log(20)}) == "10 of 20"


@pytest.mark.parametrize(
    ("value", "text"), [(0.0724, "+0.072"), (-0.2371, "-0.237"), (-0.0001, "0.000"), (0, "0.000")]
)
def test_a_difference_has_a_sign_unless_it_is_nothing(value: float, text: str) -> None:
    assert words.signed(value) == text


def test_digits_are_chosen_by_who_shows_them() -> None:
    assert words.signed(6630.4, decimals=0) == "+6,630"
    assert words.interval({"low": -0.1, "high": 0.25}, decimals=2) == "[-0.10, +0.25]"


def test_actions_and_days() -> None:
    assert words.action({"action": "roll_back", "share": 0.0}) == "roll back"
    assert words.action({"action": "ramp", "share": None}) == "ramp"
    assert words.moment({"at": "2013-07-13T16:00:00Z"}) == "2013-07-13"
    assert words.moment({"at": "1970-01-01T00:00:00Z"}) == "at set-up"
