"""Whoever looks for news looks less often the longer none came, and at once again when some does."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from lossloop.app.fold import PACE
from lossloop.app.follower import PACE as FOLLOWING
from lossloop.app.pace import Pace
from lossloop.app.worker import PACE as WORKING


@dataclass
class Hand:
    """A clock's hand that is moved."""

    at: float = 100.0

    def __call__(self) -> float:
        return self.at


def test_pauses_grow_with_the_silence_and_are_short_again_after_news() -> None:
    hand = Hand()
    pace = Pace(steps=((1.0, 0.1), (10.0, 0.2), (20.0, 0.3)), now=hand)
    found = []
    for silence in (0.0, 0.9, 1.0, 9.9, 10.0, 1e9):
        hand.at = 100.0 + silence
        found.append(pace.pause())
    assert found == [0.1, 0.1, 0.2, 0.2, 0.3, 0.3]
    pace.news()
    assert pace.pause() == 0.1


@given(st.sampled_from([PACE, FOLLOWING, WORKING]), st.floats(0.0, 1e6), st.floats(0.0, 1e6))
def test_nobody_looks_more_often_after_a_longer_silence(
    steps: tuple[tuple[float, float], ...], one: float, other: float
) -> None:
    hand = Hand()
    pace = Pace(steps=steps, now=hand)
    pauses = []
    for silence in sorted((one, other)):
        hand.at = 100.0 + silence
        pauses.append(pace.pause())
    assert pauses == sorted(pauses)
    assert 0.0 < pauses[-1] <= 0.1
