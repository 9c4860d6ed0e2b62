"""Losses as constraints: which a policy may name, and what they say of answers that have no outcome yet."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from lossloop.app import operate
from lossloop.app.constraints import cost_of
from lossloop.core.errors import PolicyError
from tests.app.desk import Desk

TEXT = """\
model: m
task: binary
loss: brier
labels: {mature_after: 1h}
serving:
  constraints:
    - {loss: constraint_violation(high=0.9)}
    - {loss: SECOND}
"""


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        ("log_loss", "line 8: log_loss.* needs an outcome, which is not known when an answer leaves"),
        ("constraint", "line 8: .*constraint_violation"),
    ],
)
def test_a_loss_that_could_not_be_computed_is_refused_with_its_line(
    tmp_path: Path, loss: str, words: str
) -> None:
    home = Desk.at(tmp_path / "s").home
    with pytest.raises(PolicyError, match=words):
        operate.set_policy(home, TEXT.replace("SECOND", loss))
    operate.set_policy(home, TEXT.replace("SECOND", "constraint_violation(low=0.1)"))


def test_a_cost_is_known_without_an_outcome() -> None:
    cost = cost_of("constraint_violation(low=0.1, high=0.9)")
    assert cost(np.array([0.05, 0.5, 0.95]), {}).tolist() == [1, 0, 1]
    assert cost(np.array([[0.5, 0.95], [0.5, 0.5]]), {}).tolist() == [1, 0]


def test_a_cost_may_be_of_rows_with_a_feature_and_is_none_where_they_lack_it() -> None:
    cost = cost_of("constraint_violation(high=0.5).where(country='DE')")
    countries = {"country": np.array(["DE", "FR", None], object)}
    assert cost(np.array([0.9, 0.9, 0.9]), countries).tolist() == [1, 0, 0]
    assert all(map(math.isnan, cost(np.array([0.9]), {"age": np.array([3.0])}).tolist()))


def test_what_cannot_be_computed_is_no_cost_so_that_it_never_passes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert all(map(math.isnan, cost_of("gone_since")(np.array([0.9, 0.1]), {}).tolist()))
    assert "the constraint gone_since cannot be computed here" in capsys.readouterr().err
    assert math.isnan(cost_of("constraint_violation")(np.array([math.nan]), {})[0])
