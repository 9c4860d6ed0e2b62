"""A version is asked for rows that it knows before anyone else asks it."""

from __future__ import annotations

import threading
import time

import msgspec
import numpy as np
import pytest

from lossloop import profile_of
from lossloop.core.errors import StateError
from lossloop.serve.runtimes import Columns, load
from lossloop.serve.runtimes.base import Floats
from lossloop.serve.warming import Pace, samples, warm
from tests.serve.models import FEATURES, Scripted, additive, manifest


def test_a_small_model_may_be_asked_for_a_few_rows_at_once() -> None:
    assert warm(manifest(), load(manifest(), additive())) >= 1


def test_a_slow_one_may_not() -> None:
    def slow(xs: list[float]) -> list[float]:
        time.sleep(0.02)
        return xs

    assert warm(manifest(), Scripted(slow)) == 0


@pytest.mark.parametrize(
    ("pace", "rows"), [((3e-3, 1e-3), 0), ((1e-3, 1e-4), 11), ((1e-3, 1.0), 1), ((2e-3, 1e-4), 1)]
)
def test_how_many_rows_fit_into_a_time(pace: tuple[float, float], rows: int) -> None:
    assert Pace(first=pace[0], more=pace[1]).rows_within(2e-3) == rows


@pytest.mark.parametrize(
    ("say", "words"),
    [
        (lambda xs: [1 / 0], r"it failed at its first rows \(ZeroDivisionError: .*\); a profile says which"),
        (lambda xs: [0.0, 0.0, 0.0], "3 answers to 1 rows"),
    ],
)
def test_a_version_that_fails_is_told(say: object, words: str) -> None:
    with pytest.raises(StateError, match=words):
        warm(manifest(), Scripted(say))  # type: ignore[arg-type]


def test_a_version_that_hangs_is_left_behind() -> None:
    gate = threading.Event()

    def hang(xs: list[float]) -> list[float]:
        gate.wait(60)
        return xs

    with pytest.raises(StateError, match=r"it did not answer its first rows within 0.05 s"):
        warm(manifest(), Scripted(hang), within=0.05)
    gate.set()


def test_without_a_profile_rows_are_of_zeros_and_empty_texts() -> None:
    made = samples(FEATURES, None, 2)
    assert {name: column.tolist() for name, column in made.items()} == {
        "x": [0.0, 0.0], "y": [0.0, 0.0], "colour": ["", ""]
    }  # fmt: skip


def test_a_profile_says_which_values_a_version_knows() -> None:
    draw = np.random.default_rng(7)
    rows = {"x": draw.normal(50.0, 1.0, 400), "colour": draw.choice(["red", "blue"], 400)}
    seen: list[Columns] = []

    class Noting(Scripted):
        def predict(self, columns: Columns) -> Floats:
            seen.append(columns)
            return np.zeros(len(columns["x"]))

    profile = profile_of(rows, blocks=np.arange(400) // 24)
    warm(msgspec.structs.replace(manifest(), profile=profile), Noting(lambda xs: xs))
    many = seen[-1]
    assert 45 < many["x"].min() < many["x"].max() < 55
    assert set(many["colour"].tolist()) == {"red", "blue"}
    assert many["y"].tolist() == [0.0] * len(many["y"]), "of this one the profile knows nothing"
