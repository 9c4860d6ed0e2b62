"""A lens that remembers scores rows once, and is never asked for more than it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lossloop.app.backtest import past as ours
from lossloop.app.backtest.past import Remembering
from lossloop.app.books import Books
from lossloop.app.home import Home
from lossloop.app.judging import Lens
from lossloop.ledger.joined.table import Rows, Table
from tests.app.backtest.ledgers import ledger
from tests.app.desk import MODEL

LOSSES = np.random.default_rng(0).random((6, 50))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return ledger(Path(tmp_path_factory.mktemp("p")) / "s", LOSSES, missing=0.2)


@pytest.fixture
def rows(home: Home) -> Rows:
    state = home.state()
    try:
        return Table(state, MODEL).slice(0, LOSSES.size)
    finally:
        state.close()


@pytest.fixture
def lens(home: Home) -> Remembering:
    state = home.state()
    try:
        return Remembering(policy=Books(state).policy(MODEL))
    finally:
        state.close()


def cut(rows: Rows, start: int, end: int) -> Rows:
    return rows.pick((rows.seq > start) & (rows.seq <= end))


def test_what_it_remembers_is_what_is_scored(rows: Rows, lens: Remembering) -> None:
    plain = Lens(policy=lens.policy)
    for start, end in ((0, 50), (50, 120), (0, 50), (0, 51), (0, 300), (50, 120)):
        mine = cut(rows, start, end)
        assert lens.matured_scores(mine).tobytes() == plain.matured_scores(mine).tobytes()


def test_the_same_rows_are_scored_once_however_they_were_picked(rows: Rows, lens: Remembering) -> None:
    first = lens.matured_scores(cut(rows, 0, 50))
    assert lens.matured_scores(cut(cut(rows, 0, 80), 0, 50)) is first
    assert not first.flags.writeable


def test_rows_with_a_gap_between_are_others(rows: Rows, lens: Remembering) -> None:
    whole, odd = cut(rows, 0, 51), rows.pick((rows.seq <= 51) & (rows.seq % 2 == 1))
    assert (whole.seq[0], whole.seq[-1]) == (odd.seq[0], odd.seq[-1])
    assert len(lens.matured_scores(whole)) == 51
    assert len(lens.matured_scores(odd)) == 26


def test_no_rows_have_no_scores(rows: Rows, lens: Remembering) -> None:
    assert len(lens.matured_scores(cut(rows, 7, 7))) == 0


def test_it_forgets_what_was_asked_longest_ago(
    rows: Rows, lens: Remembering, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ours, "MOST_KEPT", 100)
    first = lens.matured_scores(cut(rows, 0, 60))
    lens.matured_scores(cut(rows, 60, 120))
    again = lens.matured_scores(cut(rows, 0, 60))
    assert again is not first
    assert again.tobytes() == first.tobytes()
    assert len(lens.matured_scores(cut(rows, 0, 300))) == 300  # more than is kept, and answered all the same
