"""Thresholds: what is done at which score, and what is refused."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import InputError
from lossloop.core.thresholds import NEVER, Thresholds

THREE = Thresholds(actions=("pass", "review", "block"), least=(0.1, 0.6))


@pytest.mark.parametrize(
    ("score", "action"),
    [(0.0, "pass"), (0.0999, "pass"), (0.1, "review"), (0.59, "review"), (0.6, "block"), (1.0, "block")],
)
def test_an_action_is_taken_from_its_own_cut_off_on(score: float, action: str) -> None:
    assert THREE.action(score) == action


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=5).map(sorted),
    st.lists(st.floats(0, 1), min_size=1, max_size=20),
)
def test_one_score_and_many_are_told_the_same(least: list[float], scores: list[float]) -> None:
    cut = Thresholds(actions=tuple(f"a{place}" for place in range(len(least) + 1)), least=tuple(least))
    places = cut.places(np.array([*scores, np.nan]))
    assert [cut.actions[int(place)] for place in places[:-1]] == [cut.action(score) for score in scores]
    assert np.isnan(places[-1]), "no score, nothing done"


def test_an_action_between_equal_cut_offs_is_never_taken_nor_one_beyond_1() -> None:
    cut = Thresholds(actions=("pass", "review", "block"), least=(0.5, 0.5))
    assert {cut.action(score / 10) for score in range(11)} == {"pass", "block"}
    shut = Thresholds(actions=("pass", "block"), least=(NEVER,))
    assert shut.action(1.0) == "pass"
    assert shut.words == "pass, block never"
    assert THREE.words == "pass, review from 0.1, block from 0.6"


@pytest.mark.parametrize(
    ("actions", "least", "said"),
    [
        (("pass",), (), "2 to 20 actions"),
        (("pass", "block"), (0.1, 0.2), "one cut-off less"),
        (("pass", "pass"), (0.1,), "a name of its own"),
        (("pass", " "), (0.1,), "a name of its own"),
        (("a", "b", "c"), (0.6, 0.1), "do not fall"),
        (("a", "b"), (float("nan"),), "finite"),
        (("pass", "\x1b[31mstop"), (0.1,), "can be seen"),
        (("pass", "stop\x00"), (0.1,), "can be seen"),
        (("pass", "s" * 101), (0.1,), "at most 100 characters"),
        (tuple(map(str, range(21))), (0.5,) * 20, "2 to 20 actions"),
    ],
)
def test_what_is_none_is_refused(actions: tuple[str, ...], least: tuple[float, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Thresholds(actions=actions, least=least)


def test_a_file_with_bad_thresholds_is_refused_too() -> None:
    assert msgspec.json.decode(msgspec.json.encode(THREE), type=Thresholds) == THREE
    with pytest.raises((InputError, msgspec.ValidationError), match="do not fall"):
        msgspec.json.decode(b'{"actions": ["a", "b", "c"], "least": [0.6, 0.1]}', type=Thresholds)
