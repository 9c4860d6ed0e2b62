"""Promises are read from words, and nonsense is refused with examples."""

from __future__ import annotations

import math

import msgspec
import pytest

from lossloop.core.errors import InputError
from lossloop.judges import Counts, Mode, Promise, parse
from lossloop.judges.promise import chance, spend


@pytest.mark.parametrize(
    ("words", "mode", "threshold", "counts"),
    [
        ("1 per 3650 blocks", Mode.RATE, 3650.0, Counts.BLOCKS),
        ("1 per 1,000,000 outcomes", Mode.RATE, 1e6, Counts.OUTCOMES),
        ("1 false alarm per 1_000_000 outcomes", Mode.RATE, 1e6, Counts.OUTCOMES),
        ("2 false alarms per 1000 blocks", Mode.RATE, 500.0, Counts.BLOCKS),
        ("  1  PER 100 Outcome ", Mode.RATE, 100.0, Counts.OUTCOMES),
        ("5% ever", Mode.LIFE, 20.0, Counts.EITHER),
        ("5 % chance ever", Mode.LIFE, 20.0, Counts.EITHER),
        ("0.1% once", Mode.ONCE, 1000.0, Counts.EITHER),
        ("5% false among alarms", Mode.AMONG, 20.0, Counts.EITHER),
        ("10% False among alarms over outcomes", Mode.AMONG, 10.0, Counts.OUTCOMES),
        ("10% false among alarms over predictions", Mode.AMONG, 10.0, Counts.OUTCOMES),
        ("5% false among alarms over blocks", Mode.AMONG, 20.0, Counts.BLOCKS),
    ],
)
def test_words_are_read(words: str, mode: Mode, threshold: float, counts: Counts) -> None:
    promise = parse(words)
    assert (promise.mode, promise.counts) == (mode, counts)
    assert promise.threshold == pytest.approx(threshold)
    assert promise.log_threshold == pytest.approx(math.log(threshold))
    assert promise.words == " ".join(words.split())


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("", "is not a promise"),
        ("never", "is not a promise"),
        ("5%", "is not a promise"),
        ("1 per 3650 days", "is not a promise"),
        ("0% false among alarms", "above 0% and below 100%"),
        ("5% false among alarms over days", "is not a promise"),
        ("0% ever", "above 0% and below 100%"),
        ("-5% ever", "above 0% and below 100%"),
        ("100% once", "above 0% and below 100%"),
        ("150% once", "above 0% and below 100%"),
        ("1 per 1 outcomes", "an alarm at every outcome"),
        ("5 per 2 blocks", "an alarm at every block"),
        ("0 per 100 blocks", "must be above 0"),
        ("1 per -100 blocks", "must be above 0"),
        ("1.2.3 per 100 blocks", "'1.2.3' is not a number"),
    ],
)
def test_nonsense_is_refused_with_examples(words: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem) as caught:
        parse(words)
    assert "1 per 3650 blocks" in str(caught.value)
    assert caught.value.field == "promise"


@pytest.mark.parametrize("threshold", [1.0, 0.0, -3.0, math.inf, math.nan])
def test_a_promise_acts_above_one(threshold: float) -> None:
    with pytest.raises(InputError, match="finite threshold above 1"):
        Promise(mode=Mode.RATE, threshold=threshold)


def test_a_chance_says_itself_in_words() -> None:
    assert chance(0.05).words == "5% once"
    assert chance(0.001, Mode.LIFE).words == "0.1% ever"
    assert parse(chance(0.025, Mode.LIFE).words) == chance(0.025, Mode.LIFE)


def test_a_rate_is_no_chance() -> None:
    with pytest.raises(InputError, match="a rate is no chance"):
        chance(0.05, Mode.RATE)


def test_a_promise_goes_through_json() -> None:
    promise = parse("1 per 3650 blocks")
    assert msgspec.json.decode(msgspec.json.encode(promise), type=Promise) == promise


def test_what_all_releases_spend_is_the_error() -> None:
    assert sum(spend(0.05, release) for release in range(1, 20_000)) == pytest.approx(0.05, rel=1e-4)
    with pytest.raises(InputError, match="numbered from 1"):
        spend(0.05, 0)
