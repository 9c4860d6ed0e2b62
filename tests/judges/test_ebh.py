"""e-BH names the features to believe, and few of them wrongly."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.judges import e_bh

logs = st.lists(st.floats(-20.0, 20.0), max_size=20)


def test_the_largest_that_together_are_enough_are_believed() -> None:
    assert e_bh([math.log(100.0), 0.0, math.log(40.0)], 0.05) == [0, 2]  # 3 / .05 = 60, 3 / (2 * .05) = 30
    assert e_bh([math.log(59.0), 0.0, 0.0], 0.05) == []
    assert e_bh([], 0.05) == []


@given(values=logs, rate=st.floats(0.01, 0.5), more=st.floats(0.0, 5.0))
def test_more_evidence_never_takes_a_name_away(values: list[float], rate: float, more: float) -> None:
    found = e_bh(values, rate)
    assert [values[place] for place in found] == sorted(values, reverse=True)[: len(found)]
    for place in range(len(values)):
        raised = [*values[:place], values[place] + more, *values[place + 1 :]]
        assert len(e_bh(raised, rate)) >= len(found)


def test_few_are_named_wrongly() -> None:
    """20 e-values, 15 of them of nothing (mean 1): the share named wrongly is within the rate."""
    rng = np.random.default_rng(0)
    wrong = []
    for _ in range(2000):
        values = np.concatenate((np.full(5, 8.0), rng.normal(-2.0, 2.0, 15)))  # log-normal of mean 1
        named = e_bh(values.tolist(), 0.2)
        wrong.append(sum(place >= 5 for place in named) / max(len(named), 1))
    assert np.mean(wrong) == pytest.approx(0.05, abs=0.05)
