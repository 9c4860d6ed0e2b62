"""What the figures `backtest` time is a whole replay of a ledger, for each kind of watch of outcomes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lossloop.act.watches import SlicesWatch
from lossloop.app.backtest import Question, backtest
from lossloop.app.bench import replaying
from lossloop.app.bench.judge_base import JudgeBench
from lossloop.app.bench.judge_sizes import QUICK
from lossloop.app.bench.screen import Quiet
from lossloop.app.home import Home
from lossloop.app.watches import OF_OUTCOMES, by_rows

COUNT = replaying.A_DAY * 3 + 7


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    draw = np.random.default_rng(0)
    y_pred, y_true = draw.random(COUNT), draw.integers(0, 2, COUNT).astype(np.float64)
    return replaying._home(Path(tmp_path_factory.mktemp("bench")) / "s", y_pred, y_true)


@pytest.mark.parametrize("id", replaying.IDS)
def test_the_ledger_that_is_replayed_is_judged_day_by_day_and_never_alarms(home: Home, id: str) -> None:
    found = backtest(home, [replaying.candidate(id)], Question(model=replaying.MODEL))
    (account,) = found.outcomes[0].accounts
    assert account.replayed.problems == ()
    assert [point.rows for point in account.replayed.points] == [replaying.A_DAY] * 3 + [7]
    assert account.replayed.alarms == ()
    assert found.rows == COUNT
    if "estimate" not in id:  # it asks for the labels of a tenth
        assert all(point.labelled == point.rows for point in account.replayed.points)


def test_every_kind_that_judges_outcomes_without_slices_is_timed() -> None:
    """By rows, where each outcome costs something."""
    tried = [watch for id in replaying.IDS for watch in replaying.candidate(id).policy.watches.values()]
    assert {type(watch) for watch in tried if by_rows(watch)} == set(OF_OUTCOMES) - {SlicesWatch}


def test_each_figure_is_held_against_its_target_and_a_floor() -> None:
    figures = list(replaying.measure(JudgeBench(sizes=QUICK, screen=Quiet())))
    assert [figure.id for figure in figures] == list(replaying.IDS)
    assert all(0 < (figure.value or 0.0) < (figure.floor or 0.0) for figure in figures)
