"""What drift promises, in simulation: blocks, many features and their names, a long run, few days."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from lossloop.core.errors import InputError
from lossloop.core.profile import Profile
from lossloop.core.records import VerdictKind
from lossloop.judges import Averages, BlockDrift, Drift, parse, profile_of
from tests.judges.references import averages, binned
from tests.judges.test_shifts import known

Array = npt.NDArray[np.float64]


def days(
    rng: np.random.Generator, count: int, *, rows: int = 50, shock: float = 0.5, shift: float = 0.0
) -> Array:
    """Days of rows that share their day's shock, in three features; shape (days, rows, 3)."""
    found = rng.normal(shift, shock, (count, 1, 3)) + rng.normal(size=(count, rows, 3))
    return np.asarray(found)


def profile(found: Array) -> Profile:
    count, rows, _ = found.shape
    return profile_of(named(found), blocks=np.repeat(np.arange(count), rows), joint=False)


def named(found: Array) -> dict[str, Array]:
    flat = found.reshape(-1, 3)
    return {"one": flat[:, 0], "two": flat[:, 1], "three": flat[:, 2]}


def means(judge: BlockDrift, known: Profile, found: Array) -> Averages:
    said = judge.statistics(binned(known, named(found)))
    return averages(said.reshape(len(found), -1, said.shape[1]).mean(axis=1), found.shape[1])


@pytest.mark.parametrize("reference_days", [12, 60])
@pytest.mark.parametrize("shock", [0.0, 0.5])
def test_healthy_days_keep_the_promise(reference_days: int, shock: float) -> None:
    """Few or many reference days, dependent rows or not, next to no tolerance: 100 days, 15 times."""
    rng, alarms = np.random.default_rng(0), 0
    for _ in range(15):
        made = profile(days(rng, reference_days, shock=shock))
        judge = BlockDrift(
            features=made.features, tolerance=0.001, promise=parse("1 per 1000 blocks"), usual=50
        )
        _, verdict = judge.update(judge.start(), means(judge, made, days(rng, 100, shock=shock)))
        alarms += verdict.kind is VerdictKind.ALARM
    assert alarms / 15 <= 0.2


def test_a_reference_of_very_few_days_is_refused() -> None:
    """Three days leave one in a half: nothing is known of how days vary."""
    made = profile(days(np.random.default_rng(1), 3))
    with pytest.raises(InputError, match="too few blocks to judge by block: make it of 4 blocks or more"):
        BlockDrift(features=made.features, tolerance=0.02, promise=parse("1 per 1000 blocks"), usual=50)


def test_more_reference_days_see_a_change_sooner() -> None:
    rng, waits = np.random.default_rng(2), []
    for reference_days in (20, 120):
        made = profile(days(rng, reference_days))
        judge = BlockDrift(
            features=made.features, tolerance=0.02, promise=parse("1 per 3650 blocks"), usual=50
        )
        _, verdict = judge.update(judge.start(), means(judge, made, days(rng, 200, shift=1.0)))
        waits.append(np.inf if verdict.crossed_at is None else verdict.crossed_at)
    assert waits[1] < waits[0]
    assert waits[1] < 25


def test_the_features_named_are_those_that_moved() -> None:
    """Of 12 features 3 move: they are named, and others next to never."""
    shares, moved = (0.5, 0.3, 0.2), (0.35, 0.45, 0.2)
    judge = Drift(
        features=tuple(known(shares, f"x{place:02d}") for place in range(12)), tolerance=0.02,
        promise=parse("5% ever"),
    )  # fmt: skip
    rng, right, wrong = np.random.default_rng(3), 0, 0
    for _ in range(20):
        rows = rng.choice(3, (3000, 12), p=shares)
        rows[:, :3] = rng.choice(3, (3000, 3), p=moved)
        state, verdict = judge.update(judge.start(), rows)
        assert verdict.kind is VerdictKind.ALARM
        names = {part.split(":")[0] for part in state.moved.split("; ")}
        right += len(names & {"x00", "x01", "x02"})
        wrong += len(names - {"x00", "x01", "x02"})
        evidence = judge.by_feature(state)
        assert {name for name, log in evidence.items() if log > np.log(20.0)} == {"x00", "x01", "x02"}
    assert right >= 20
    assert wrong / (right + wrong) <= 0.05


def test_a_rate_is_kept_over_a_long_run() -> None:
    """Known shares, no tolerance: the mean rows to a false alarm are at least what the promise says."""
    judge = Drift(features=(known((0.6, 0.4)),), tolerance=0.0, promise=parse("1 per 1000 outcomes"))
    rng, waits = np.random.default_rng(4), []
    for _ in range(60):
        _, verdict = judge.update(judge.start(), rng.choice(2, (8000, 1), p=(0.6, 0.4)))
        waits.append(8000 if verdict.crossed_at is None else verdict.crossed_at + 1)
    assert np.mean(waits) > 1000
