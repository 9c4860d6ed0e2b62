"""What judges share: reading evidence, naming what is wrong with it, and wording verdicts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lossloop.core.errors import InputError
from lossloop.core.records import VerdictKind
from lossloop.judges import Engine, parse
from lossloop.judges.base import e_value, error_of, losses_array, problem_in, reached, verdict_of

ENGINE = Engine(parse("5% once"))
KINDS = (VerdictKind.ALARM, VerdictKind.HEALTHY)


@pytest.mark.parametrize("values", [[0, 1], (True, False), np.ones(2, dtype=np.float32), np.empty(0)])
def test_numbers_become_float64(values: object) -> None:
    assert losses_array(values).dtype == np.float64  # type: ignore[arg-type]  # any sequence, on purpose


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["late"], "losses must be numbers"),
        ([None, {}], "losses must be numbers"),
        (0.5, "must have one dimension, not 0"),
        ([[0.5]], "must have one dimension, not 2"),
    ],
)
def test_what_is_no_row_of_numbers_is_refused(values: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        losses_array(values)  # type: ignore[arg-type]  # the point is to give it what it does not take
    assert caught.value.field == "losses"


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ([], ""),
        ([0.0, 5.0], ""),
        ([5.0 + 1e-9], ""),
        ([-1e-9], ""),
        ([0.0, 5.1], "loss 5.1 at row 1 lies outside [0, 5]"),
        ([-0.1, math.nan], "loss -0.1 at row 0 lies outside [0, 5]"),
        ([1.0, math.nan], "loss at row 1 is nan, not a finite number"),
        ([-math.inf], "loss at row 0 is -inf, not a finite number"),
    ],
)
def test_the_first_problem_is_named(values: list[float], problem: str) -> None:
    assert problem_in(np.array(values), 0.0, 5.0) == problem


def test_an_open_end_lets_every_finite_value_pass() -> None:
    values = np.array([-1e300, 1e300])
    assert problem_in(values, -math.inf, math.inf) == ""
    assert problem_in(values, 0.0, math.inf) == "loss -1e+300 at row 0 lies outside [0, inf]"
    assert problem_in(values, -math.inf, 0.0) == "loss 1e+300 at row 1 lies outside [-inf, 0]"


def test_a_verdict_says_how_the_evidence_stands() -> None:
    state, step = ENGINE.update(ENGINE.start(), np.full(3, 1.5))
    assert reached(ENGINE, state, step.evidence) == f"evidence {e_value(step.evidence)} of 20"
    verdict = verdict_of(ENGINE, state, step, KINDS, effect=None, assumption="none", reason="so it is")
    assert (verdict.kind, verdict.reason, verdict.promise) == (VerdictKind.HEALTHY, "so it is", "5% once")
    state, step = ENGINE.update(state, np.full(1500, 2.0))
    assert state.crossed is not None
    assert reached(ENGINE, state, step.evidence).endswith(f"reached 20 at number {state.crossed}")
    crossed = verdict_of(ENGINE, state, step, KINDS, effect=None, assumption="none", reason="it rose")
    assert (crossed.kind, crossed.crossed_at) == (VerdictKind.ALARM, state.crossed - 4)


def test_nothing_judged_has_its_own_words() -> None:
    state, step = ENGINE.update(ENGINE.start(), np.empty(0))
    verdict = verdict_of(ENGINE, state, step, KINDS, effect=None, assumption="none", reason="so it is")
    assert (verdict.kind, verdict.reason) == (VerdictKind.NO_DATA, "nothing was judged yet")


def test_an_error_keeps_the_evidence_that_was() -> None:
    state, step = ENGINE.update(ENGINE.start(), np.full(3, 1.5))
    verdict = error_of(ENGINE, state, "row 7 is odd", assumption="none")
    assert (verdict.kind, verdict.evidence, verdict.count) == (VerdictKind.ERROR, step.evidence, 3)
    assert verdict.reason == "row 7 is odd; nothing of this batch was judged"
