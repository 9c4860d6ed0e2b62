"""A share of rows against its limit: slow answers, failures. The promise needs no law of the times."""

from __future__ import annotations

import numpy as np
import pytest

from lossloop.core.errors import InputError
from lossloop.judges import Guardrail, Share, parse

PROMISE = parse("1 per 20000 outcomes")


def test_it_is_a_guardrail_on_rows_of_0_and_1() -> None:
    rows = (np.random.default_rng(1).random(400) < 0.2).astype(np.float64)
    share, guardrail = Share(limit=0.1, promise=PROMISE), Guardrail(limit=0.1, promise=PROMISE)
    one, other = share.update(share.start(), rows)[1], guardrail.update(guardrail.start(), rows)[1]
    assert (one.kind, one.evidence, one.count, one.effect, one.crossed_at) == (
        other.kind, other.evidence, other.count, other.effect, other.crossed_at
    )  # fmt: skip


def test_it_says_what_it_counts_and_what_it_assumes() -> None:
    judge = Share(limit=0.01, promise=parse("1 per 3650 blocks"), what="slower than 200ms")
    found = judge.update(judge.start(), np.array([0.002, 0.004]))[1]
    assert found.reason.startswith("0.3% slower than 200ms over 2 blocks, at most 1% allowed")
    assert "nothing of how times are distributed" in found.assumption
    assert "block" in found.assumption


def test_a_small_limit_is_not_told_as_none_nor_as_twice_as_much() -> None:
    judge = Share(limit=5e-6, promise=PROMISE, what="failed")
    found = judge.update(judge.start(), np.zeros(10))[1]
    assert found.reason.startswith("0% failed over 10 rows, at most 0.0005% allowed")


def test_rows_that_do_not_say_are_left_out() -> None:
    judge = Share(limit=0.1, promise=PROMISE)
    said, silent = np.array([0.0, 1.0, 0.0]), np.array([[np.nan], [0.0], [np.nan], [1.0], [0.0]])
    assert judge.update(judge.start(), silent) == judge.update(judge.start(), said)
    assert judge.update(judge.start(), np.full((4, 1), np.nan))[1].kind == "no_data"


@pytest.mark.parametrize("limit", [0.0, 1.0, -0.1, float("nan")])
def test_a_limit_is_a_share(limit: float) -> None:
    with pytest.raises(InputError, match="a share lies above 0 and below 1") as caught:
        Share(limit=limit, promise=PROMISE)
    assert caught.value.field == "tolerance"


def test_the_promise_holds_at_the_limit_and_a_rise_is_told() -> None:
    """A 99th percentile at its limit, of times with a tail without a mean; then 5% are slower."""
    rng, judge, runs, rows = np.random.default_rng(7), Share(limit=0.01, promise=PROMISE), 200, 2000
    alarms = delays = 0
    limit = 1.0 / 0.01 ** (1 / 0.9)  # of a Pareto law of exponent 0.9
    for _ in range(runs):
        times = (1.0 - rng.random(rows)) ** (-1 / 0.9)
        alarms += judge.update(judge.start(), (times > limit).astype(float))[1].kind == "alarm"
    for _ in range(40):
        found = judge.update(judge.start(), (rng.random(rows) < 0.05).astype(float))[1]
        delays += found.crossed_at is not None and found.crossed_at < 1000
    assert alarms / runs <= rows / 20000 + 3 * (0.1 * 0.9 / runs) ** 0.5
    assert delays >= 36
