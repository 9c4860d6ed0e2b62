"""Which predictions are audited: fixed for good, even, nested, and told apart from everything else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.app.labels.draws import drawn
from lossloop.ledger.joined.keys import Keys

keys = st.lists(st.integers(0, 2**64 - 1), max_size=50).map(lambda found: np.array(found, np.uint64))
rates = st.floats(0.001, 1.0)


def mixed(key: int) -> int:
    """splitmix64 in whole numbers, as its authors wrote it."""
    z = (key + 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def test_the_mixing_is_splitmix64() -> None:
    """The first numbers that its authors' program gives for the seed 1234567."""
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    state = 1234567
    for number in expected:
        assert mixed(state) == number
        state = (state + 0x9E3779B97F4A7C15) % 2**64


@given(keys, rates)
def test_a_draw_is_the_mixed_key_against_the_rate(found: np.ndarray, rate: float) -> None:
    wanted = [(mixed(int(key)) >> 11) / 2**53 < rate for key in found]
    assert drawn(found, rate).tolist() == wanted


@given(keys, rates, rates)
def test_a_lower_rate_draws_a_part_of_what_a_higher_one_does(
    found: np.ndarray, one: float, other: float
) -> None:
    low, high = sorted((one, other))
    assert not (drawn(found, low) & ~drawn(found, high)).any()


@given(keys, rates, st.integers(0, 50))
def test_a_draw_does_not_depend_on_its_neighbours(found: np.ndarray, rate: float, cut: int) -> None:
    parts = np.concatenate((drawn(found[:cut], rate), drawn(found[cut:], rate)))
    assert parts.tolist() == drawn(found, rate).tolist()


def test_the_draw_of_an_id_never_changes() -> None:
    """Evidence was counted by it: another draw would find other audits when the ledger is folded again."""
    secret = Keys(b"a secret of the installation")
    low = np.array([secret.one(f"order-{number}")[1] for number in range(12)], np.uint64)
    assert np.flatnonzero(drawn(low, 0.3)).tolist() == [1, 5, 11]


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.5])
def test_ids_that_people_choose_are_drawn_as_often_as_any(rate: float) -> None:
    secret = Keys(b"another")
    for prefix in ("", "a", "user/2024/", "0" * 40):
        low = np.array([secret.one(f"{prefix}{number}")[1] for number in range(4_000)], np.uint64)
        assert drawn(low, rate).mean() == pytest.approx(rate, abs=4.0 * (rate / 4_000) ** 0.5)


def test_another_secret_draws_others() -> None:
    ids = [f"p{number}" for number in range(4_000)]
    one, other = (
        drawn(np.array([Keys(secret).one(id)[1] for id in ids], np.uint64), 0.2) for secret in (b"a", b"b")
    )
    assert (one & other).mean() == pytest.approx(0.04, abs=0.015), "as independent draws have in common"
