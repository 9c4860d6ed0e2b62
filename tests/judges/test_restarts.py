"""Restart masses: one for each ratio, the same in every form in which the engine asks for them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.judges import Mode
from lossloop.judges.restarts import (
    log_restart_mass,
    log_restart_masses,
    piece_restarts,
    restarts_at,
)

modes = st.sampled_from(list(Mode))
starts = st.integers(0, 10**9)
counts = st.integers(1, 400)


@given(mode=modes, start=starts, count=counts)
def test_pieces_are_the_restarts_of_their_places(mode: Mode, start: int, count: int) -> None:
    piece = piece_restarts(mode, start, count)
    assert piece.tobytes() == restarts_at(mode, np.arange(start, start + count, dtype=np.float64)).tobytes()


@given(mode=modes, start=starts, count=counts)
def test_the_mass_of_a_block_is_that_of_its_ratios(mode: Mode, start: int, count: int) -> None:
    total = float(piece_restarts(mode, start, count).sum())
    assert math.exp(log_restart_mass(mode, start, count)) == pytest.approx(total, rel=1e-9)


@given(mode=modes, blocks=st.lists(st.tuples(starts, counts), min_size=1, max_size=6))
def test_many_streams_have_the_masses_of_each(mode: Mode, blocks: list[tuple[int, int]]) -> None:
    start, count = (np.array(column, dtype=np.float64) for column in zip(*blocks, strict=True))
    found = log_restart_masses(mode, start, count)
    expected = [log_restart_mass(mode, *block) for block in blocks]
    assert found == pytest.approx(expected, rel=1e-12)


def test_a_piece_cannot_be_written_to() -> None:
    """Whoever asks again is given the same one."""
    piece = piece_restarts(Mode.LIFE, 256, 256)
    assert piece is piece_restarts(Mode.LIFE, 256, 256)
    with pytest.raises(ValueError, match="read-only"):
        piece[0] = 1.0


@pytest.mark.parametrize(
    ("mode", "spent"), [(Mode.RATE, 1000.0), (Mode.ONCE, 1.0), (Mode.LIFE, 1 - 1 / math.log2(1002))]
)
def test_what_is_spent_in_a_thousand(mode: Mode, spent: float) -> None:
    assert piece_restarts(mode, 0, 1000).sum() == pytest.approx(spent, rel=1e-9)


def test_life_never_spends_more_than_one() -> None:
    for start in (0, 10, 10**6, 10**12):
        assert math.exp(log_restart_mass(Mode.LIFE, start, 10**12)) < 1.0
    later = [
        float(restarts_at(Mode.LIFE, np.array([float(place)]))[0]) for place in (0, 9, 99, 10**6, 10**12)
    ]
    assert later == sorted(later, reverse=True)
    assert later[-1] > 0.0


def test_once_is_spent_on_the_first() -> None:
    assert piece_restarts(Mode.ONCE, 0, 4).tolist() == [1.0, 0.0, 0.0, 0.0]
    assert piece_restarts(Mode.ONCE, 4, 3).tolist() == [0.0, 0.0, 0.0]
    assert log_restart_mass(Mode.ONCE, 1, 10) == -math.inf
