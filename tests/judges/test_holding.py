"""What gamblers hold: products and sums that mean the definition, settled without a trace."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.judges import Mode
from lossloop.judges.engine import CANARY_KAPPAS, KAPPAS
from lossloop.judges.holding import (
    MOST_GAIN,
    MOST_RATIO,
    PIECE,
    Holding,
    grown,
    grown_once,
    log_mean,
    piece_length,
    settled,
)
from lossloop.judges.restarts import piece_restarts

Array = npt.NDArray[np.float64]
MODES = list(Mode)
FLOWING = [mode for mode in Mode if mode is not Mode.ONCE]
modes = st.sampled_from(MODES)
ratios = st.lists(st.floats(0.0, 40.0), min_size=1, max_size=50).map(
    lambda values: np.array(values, dtype=np.float64)
)
logs = st.lists(st.floats(-30.0, 700.0), min_size=12, max_size=12).map(
    lambda values: np.array(values, dtype=np.float64)
)


def start(mode: Mode) -> Holding:
    return settled(np.full(12, -np.inf), mode)


def after(held: Holding, stream: Array, mode: Mode, seen: int = 0) -> Holding:
    """What is held after a stream; nothing is settled on the way."""
    found = grown(held, stream, piece_restarts(mode, seen, len(stream)), KAPPAS, mode)
    assert len(found.gains) == len(found.shares) == len(stream)
    return Holding(held.logs, found.gains[-1], found.shares[-1])


@given(mode=modes, stream=ratios)
def test_wealth_is_the_definition(mode: Mode, stream: Array) -> None:
    wealth = np.zeros(12)
    for ratio, restart in zip(stream, piece_restarts(mode, 0, len(stream)), strict=True):
        wealth = (1.0 + KAPPAS * (ratio - 1.0)) * (wealth + restart)
    gain = np.prod(1.0 + np.multiply.outer(stream - 1.0, KAPPAS), axis=0)
    if gain.max() < MOST_GAIN:
        held = after(start(mode), stream, mode)
        assert np.exp(held.log_wealth()) == pytest.approx(wealth, rel=1e-9)


@given(mode=modes, found=logs)
def test_settling_keeps_what_is_there(mode: Mode, found: Array) -> None:
    held = settled(found, mode)
    assert held.log_wealth() == pytest.approx(found, rel=1e-12, abs=1e-12)
    assert (held.gains == 1.0).all()


@given(mode=modes, found=logs)
def test_settling_twice_is_settling_once(mode: Mode, found: Array) -> None:
    once = settled(found, mode)
    twice = settled(once.log_wealth(), mode)
    for one, other in zip(once, twice, strict=True):
        assert one == pytest.approx(other, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("mode", MODES)
def test_who_has_nothing_yet_is_settled_at_nothing(mode: Mode) -> None:
    held = start(mode)
    assert (held.logs == 0.0).all()
    assert (held.shares == 0.0).all()


@pytest.mark.parametrize("mode", FLOWING)
def test_where_restarts_flow_little_is_written_as_a_share(mode: Mode) -> None:
    """A block of sums may leave less than any exponential holds; the next restart brings it back."""
    held = settled(np.full(12, -30_000.0), mode)
    assert (held.logs > -100.0).all()
    assert np.isfinite(after(held, np.ones(3), mode, seen=PIECE).log_wealth()).all()


def test_where_none_flow_little_stays_little() -> None:
    held = settled(np.full(12, -30_000.0), Mode.ONCE)
    again = after(held, np.ones(3), Mode.ONCE, seen=PIECE)
    assert again.log_wealth() == pytest.approx(np.full(12, -30_000.0), rel=1e-12)


@given(mode=modes, stream=ratios, place=st.integers(0, 49))
def test_one_by_one_is_all_at_once(mode: Mode, stream: Array, place: int) -> None:
    cut = min(place, len(stream))
    restarts = piece_restarts(mode, 0, len(stream))
    whole = grown(start(mode), stream, restarts, KAPPAS, mode)
    held = start(mode)
    for row in range(min(cut, len(whole.gains))):
        held = grown_once(held, float(stream[row]), float(restarts[row]), KAPPAS, mode)
        assert held.gains.tobytes() == whole.gains[row].tobytes()
        assert held.shares.tobytes() == np.ascontiguousarray(whole.shares[row]).tobytes()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("place", [0, 1, 7])
def test_a_gain_too_large_ends_what_was_asked(mode: Mode, place: int) -> None:
    stream = np.ones(10)
    stream[place] = 1e25
    found = grown(start(mode), stream, piece_restarts(mode, 0, 10), KAPPAS, mode)
    assert found.over
    assert len(found.gains) == place + 1
    assert found.gains[-1].max() > MOST_GAIN
    assert np.isfinite(found.gains).all()


def test_a_ratio_beyond_all_counts_as_the_most() -> None:
    restarts = np.ones(1)
    one, other = (
        grown(start(Mode.RATE), np.array([ratio]), restarts, KAPPAS, Mode.RATE)
        for ratio in (MOST_RATIO, 1e300)
    )
    alone = grown_once(start(Mode.RATE), 1e300, 1.0, KAPPAS, Mode.RATE)
    assert one.gains.tobytes() == other.gains.tobytes() == alone.gains.tobytes()
    assert one.over
    assert other.over


@given(mode=modes, stream=ratios, place=st.integers(0, 49))
def test_overflow_behind_a_gain_to_be_settled_is_cut_off(mode: Mode, stream: Array, place: int) -> None:
    """Ratios so large that their product is no number: what was asked ends at the first."""
    huge = np.concatenate([stream[:place], np.full(4, MOST_RATIO)])
    with np.errstate(over="ignore"):
        found = grown(start(mode), huge, piece_restarts(mode, 0, len(huge)), KAPPAS, mode)
    assert found.over
    assert len(found.gains) <= len(stream[:place]) + 1
    assert np.isfinite(found.gains).all()
    assert np.isfinite(found.shares).all()


@pytest.mark.parametrize("kappas", [KAPPAS, CANARY_KAPPAS, np.array([0.99]), np.array([0.5, 0.999999])])
def test_no_gain_vanishes_within_a_piece(kappas: Array) -> None:
    length = piece_length(kappas)
    assert 1 <= length <= PIECE
    held = settled(np.full(len(kappas), -np.inf), Mode.RATE)
    found = grown(held, np.zeros(length), np.ones(length), kappas, Mode.RATE)
    assert found.gains.min() > 1e-300
    assert np.isfinite(found.shares).all()
    assert np.isfinite(found.gains * found.shares).all()


def test_usual_gamblers_settle_every_256_ratios() -> None:
    assert piece_length(KAPPAS) == piece_length(CANARY_KAPPAS) == PIECE == 256


@given(found=logs)
def test_the_mean_is_taken_of_wealth_not_of_logarithms(found: Array) -> None:
    top = float(found.max())
    assert log_mean(found) == pytest.approx(top + math.log(np.exp(found - top).mean()), rel=1e-12, abs=1e-12)
    assert log_mean(found[None])[0] == log_mean(found)
