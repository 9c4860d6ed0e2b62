"""What the figure `backtest` times is a whole replay of a ledger."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lossloop.act.policy import read_policy
from lossloop.app.backtest import Candidate, Question, backtest
from lossloop.app.bench import replaying
from lossloop.app.bench.judge_base import JudgeBench
from lossloop.app.bench.judge_sizes import QUICK
from lossloop.app.bench.screen import Quiet


def test_the_ledger_that_is_replayed_is_judged_day_by_day_and_never_alarms(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    count = replaying.A_DAY * 3 + 7
    home = replaying._home(tmp_path / "s", draw.random(count), draw.integers(0, 2, count).astype(np.float64))
    candidate = Candidate(name="bench", policy=read_policy(replaying.POLICY))
    found = backtest(home, [candidate], Question(model=replaying.MODEL))
    (account,) = found.outcomes[0].accounts
    assert [point.rows for point in account.replayed.points] == [replaying.A_DAY] * 3 + [7]
    assert all(point.labelled == point.rows for point in account.replayed.points)
    assert account.replayed.alarms == ()
    assert found.rows == count


def test_the_figure_is_held_against_its_target_and_a_floor() -> None:
    (figure,) = replaying.measure(JudgeBench(sizes=QUICK, screen=Quiet()))
    assert figure.id == "backtest"
    assert 0 < (figure.value or 0.0) < (figure.floor or 0.0)
