"""Limits that follow a season, and models compared with one answer for all."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from lossloop.core.errors import InputError
from lossloop.core.records import VerdictKind
from lossloop.judges import Guardrail, Seasonal, SeasonalGuardrail, Skill, parse

PROMISE = parse("5% ever")


def test_with_one_limit_for_all_it_is_a_guardrail() -> None:
    losses = np.random.default_rng(0).random(400)
    judge, plain = SeasonalGuardrail(promise=PROMISE), Guardrail(limit=0.4, promise=PROMISE)
    seasonal = judge.update(judge.start(), Seasonal(loss=losses, limit=np.full(400, 0.4)))[1]
    guardrail = plain.update(plain.start(), losses)[1]
    assert seasonal.evidence == guardrail.evidence
    assert seasonal.crossed_at == guardrail.crossed_at
    assert seasonal.effect is not None
    assert seasonal.effect.estimate == pytest.approx(losses.mean() - 0.4)


def test_a_limit_at_the_floor_or_ill_losses_are_errors() -> None:
    judge = SeasonalGuardrail(promise=PROMISE, floor=0.1)
    for loss, limit in ((0.5, 0.1), (0.5, math.nan), (0.5, math.inf), (0.0, 0.4), (math.nan, 0.4)):
        state, verdict = judge.update(judge.start(), Seasonal(loss=np.array([loss]), limit=np.array([limit])))
        assert verdict.kind is VerdictKind.ERROR
        assert state == judge.start()
    with pytest.raises(InputError, match="equally long"):
        Seasonal(loss=np.zeros(2), limit=np.zeros(1))


def test_what_hits_model_and_baseline_alike_cancels() -> None:
    """Day shocks as on the flights: the difference does not feel them, the loss does."""
    rng = np.random.default_rng(1)
    shock = rng.gamma(10.3, 0.5 / 10.3, 400)
    model, baseline = shock - 0.05 + rng.normal(0, 0.01, 400), shock + rng.normal(0, 0.01, 400)
    judge = Skill(tolerance=0.0, promise=PROMISE, reach=0.5, clips=True)
    assert judge.update(judge.start(), model - baseline)[1].kind is VerdictKind.HEALTHY
    _, verdict = judge.update(judge.start(), baseline + 0.05 - model)
    assert verdict.kind is VerdictKind.ALARM
    assert verdict.effect is not None
    assert verdict.effect.estimate == pytest.approx(0.1, abs=0.01)
    assert "against the baseline" in verdict.reason


def test_missing_labels_speak_for_the_model_and_never_alarm() -> None:
    judge = Skill(tolerance=0.0, promise=PROMISE, reach=1.0)
    _, verdict = judge.update(judge.start(), np.full(500, np.nan))
    assert verdict.kind is VerdictKind.HEALTHY


def test_a_difference_beyond_what_was_declared_is_an_error_unless_it_is_clipped() -> None:
    for clips, kind in ((False, VerdictKind.ERROR), (True, VerdictKind.HEALTHY)):
        judge = Skill(tolerance=0.0, promise=PROMISE, reach=1.0, clips=clips)
        for beyond in (1.5, -1.5):
            assert judge.update(judge.start(), np.array([0.0, beyond]))[1].kind is kind


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"reach": math.inf}, "clip_difference"),
        ({"reach": 0.0}, "clip_difference"),
        ({"tolerance": 1.0}, "tolerance"),
        ({"tolerance": -0.1}, "tolerance"),
        ({"tolerance": math.nan}, "tolerance"),
    ],
)
def test_what_cannot_be_judged_is_refused(wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as caught:
        Skill(**{"tolerance": 0.0, "reach": 1.0, "promise": PROMISE, **wrong})
    assert caught.value.field == field
