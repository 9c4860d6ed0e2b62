"""The state directory of a bench knows what is open in it, and its fold agrees."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lossloop.app.bench import rows
from lossloop.app.bench.house import House
from lossloop.app.bench.lag import Lag
from lossloop.app.bench.screen import Quiet
from lossloop.app.books import Books, Counts
from lossloop.core.errors import StateError


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    found = House(tmp_path / "s")
    yield found
    found.close()


def counts(house: House) -> Counts:
    state = house.home.state()
    try:
        return Books(state).counts(rows.MODEL)
    finally:
        state.close()


def test_it_grows_until_so_many_are_open(house: House) -> None:
    house.grow(1_000, Quiet())
    assert (house.open, house.count, counts(house).predictions) == (1_000, 1_000, 1_000)
    house.grow(500, Quiet())
    assert house.count == 1_000
    house.take(300)
    house.grow(1_000, Quiet())
    assert (house.open, house.count, counts(house).predictions) == (1_000, 1_300, 1_300)


def test_what_is_taken_is_not_open_any_more(house: House) -> None:
    made = house.fresh(100)
    taken = np.concatenate([house.take(60), house.take(40)])
    assert sorted(taken.tolist()) == made.tolist()
    assert house.open == 0
    with pytest.raises(StateError, match="only 0 open predictions"):
        house.take(1)


def test_outcomes_meet_their_predictions(house: House) -> None:
    house.grow(1_000, Quiet())
    house.append("outcomes", house.take(400))
    with house.folding():
        pass
    found = counts(house)
    assert (found.predictions, found.outcomes, found.waiting, found.repeats) == (1_000, 400, 0, 0)


def test_numbers_for_a_peer_have_no_part_in_it(house: House) -> None:
    assert sorted(house.any(10).tolist()) == list(range(10))
    assert (house.count, house.open) == (0, 0)


def test_what_another_process_folds_is_waited_for(house: House) -> None:
    with house.up():
        house.append("predictions", house.fresh(5_000))
        house.folded()
        assert counts(house).predictions == 5_000
        with Lag(house.home) as lag:
            for _ in range(5):
                house.append("outcomes", house.take(1_000))
            house.folded()
    assert counts(house).outcomes == 5_000
    assert lag.seconds()
    assert min(lag.seconds()) >= 0
