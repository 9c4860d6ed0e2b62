"""What was sent with predictions is found again by their keys, frame by frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.app.backtest.sent import Sent, _places
from lossloop.ledger.joined.keys import Keys
from lossloop.ledger.joined.places import Came, frames_of
from lossloop.ledger.joined.table import Table
from tests.app.desk import DAY, MODEL, Desk, happened
from tests.app.test_drift import inputs, sent


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=12),
    st.lists(st.integers(0, 12), max_size=12, unique=True),
)
def test_a_key_is_found_where_it_was_sent_first(keys: list[int], asked: list[int]) -> None:
    found = _places(np.array(keys, np.uint64), np.array(asked, np.uint64)).tolist()
    assert found == [keys.index(key) if key in keys else -1 for key in asked]


def test_who_was_erased_has_no_key_and_nothing_that_was_sent() -> None:
    assert _places(np.array([7, 0, 8], np.uint64), np.array([0, 8], np.uint64)).tolist() == [-1, 2]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Three frames, of which the second brings nothing new, and outcomes between them."""
    desk, rng = Desk.ready(tmp_path / "s"), np.random.default_rng(0)
    first, second = desk.ids(5), desk.ids(4)
    columns, more = inputs(rng, 5), inputs(rng, 4)
    desk.send(sent(desk, 1, columns, [0.1] * 5, ids=first), sent(desk, 2, columns, [0.1] * 5, ids=first))
    desk.send(happened(3, first, 0.0))
    desk.send(sent(desk, DAY + 1, more, [0.2] * 4, ids=second))
    return desk


def asked(desk: Desk) -> tuple[list[Came], list[list[float]], list[int]]:
    """The frames, the ages that each brought, and how many rows are gone."""
    state, log = desk.home.state(), desk.home.log.reader()
    try:
        table = Table(state, MODEL)
        frames = frames_of(state, MODEL, len(table))
        source = Sent(
            log=log, keys=Keys(desk.home.settings().secret), store=state, model=MODEL, frames=frames
        )
        found = [source.of(each, table.slice(each.first, each.end).key_low) for each in frames]
        ages = [[] if each.features is None else each.features.field("age").to_pylist() for each in found]
        return frames, ages, [each.gone for each in found]
    finally:
        log.close()
        state.close()


def test_frames_are_those_that_brought_something_new(desk: Desk) -> None:
    frames, _, gone = asked(desk)
    assert [(each.first, each.end) for each in frames] == [(0, 5), (5, 9)]
    assert gone == [0, 0]


def test_each_row_has_what_was_sent_with_it(desk: Desk) -> None:
    rng = np.random.default_rng(0)
    assert asked(desk)[1] == [inputs(rng, 5)["age"], inputs(rng, 4)["age"]]


def test_a_frame_that_nobody_finds_is_gone(desk: Desk) -> None:
    state, log = desk.home.state(), desk.home.log.reader()
    try:
        nowhere = Came(first=0, end=5, segment="nowhere", start=12)
        source = Sent(log=log, keys=Keys(b"k"), store=state, model=MODEL, frames=[nowhere])
        assert source.of(nowhere, np.arange(5, dtype=np.uint64)).gone == 5
    finally:
        log.close()
        state.close()
