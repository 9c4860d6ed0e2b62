"""Every summary passes every check."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from lossloop import summaries
from lossloop.core.errors import InputError
from lossloop.core.records import Record
from lossloop.summaries import Confusion, Digest, Latencies, Lifetimes, Residuals, Scale, Scores, Summary
from lossloop.summaries.checks import CHECKS, Values, check_bad_values_are_refused

Array = npt.NDArray[np.float64]
Check = Callable[[Summary, Values], None]


def values(count: int) -> Array:
    return np.random.default_rng(count).lognormal(0.0, 1.5, count)


def labelled(count: int) -> Array:
    draw = np.random.default_rng(count)
    chance = draw.random(count)
    return np.stack([draw.random(count) < chance, chance], axis=1).astype(np.float64)


def classes(count: int) -> Array:
    return np.random.default_rng(count).integers(0, 5, (count, 2)).astype(np.float64)


def lives(count: int) -> Array:
    draw = np.random.default_rng(count)
    columns = [draw.exponential(3.0, count), draw.integers(0, 2, count), draw.random(count)]
    return np.stack(columns, axis=1)


def forecasts(count: int) -> Array:
    return 1e6 + np.random.default_rng(count).normal(0.0, 3.0, (count, 2))


EMPTY: dict[str, tuple[Summary, Values]] = {
    "without a bound": (Digest(), values),
    "in another unit": (Digest(scale=Scale(unit=0.05, floor=-0.2)), values),
    "with a bound": (Digest(scale=Scale(bound=200.0)), values),
    "scores": (Scores(), labelled),
    "scores at a threshold": (Scores(threshold=0.037), labelled),
    "confusion": (Confusion(), classes),
    "residuals": (Residuals(), forecasts),
    "lifetimes": (Lifetimes(), lives),
    "latencies": (Latencies(), values),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", EMPTY)
def test_summary_keeps_the_law(name: str, check: Check) -> None:
    check(*EMPTY[name])


def test_public_names_are_sorted() -> None:
    assert summaries.__all__ == sorted(summaries.__all__)


class _Forgetful(Record, frozen=True):
    """A summary that breaks every law: it counts calls, remembers the latest mean, and takes anything."""

    count: int = 0
    mean: float = float("nan")

    def add(self, values: Array) -> _Forgetful:
        return _Forgetful(count=self.count + 1, mean=float("inf"))

    def merge(self, other: _Forgetful) -> _Forgetful:
        return _Forgetful(count=self.count + 1, mean=other.mean)

    def minus(self, other: _Forgetful) -> _Forgetful:
        return self


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_checks_can_fail(check: Callable[[_Forgetful, Values], None]) -> None:
    with pytest.raises((AssertionError, msgspec.ValidationError)):
        check(_Forgetful(), values)


def test_a_check_wants_the_row_named() -> None:
    class Vague(Digest, frozen=True):
        def add(self, values: Array) -> Self:
            raise InputError("something is wrong")

    with pytest.raises(AssertionError, match="names row None"):
        check_bad_values_are_refused(Vague(), values)
