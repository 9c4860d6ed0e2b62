"""The contract of `base.py` as code: any executor must pass it, a plugin's too.

Each check takes an open executor and leaves it open; it raises AssertionError. `check_closing` comes last.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial

import numpy as np
import numpy.typing as npt

from lossloop.core.errors import InputError
from lossloop.pipelines.executors.base import Executor, ExecutorError, Piece, PieceFailed

Array = npt.NDArray[np.float64]

_LARGE = 1 << 20


def check_results_come_in_order(executor: Executor) -> None:
    """Also where the first pieces take longest."""
    count = 3 * executor.ahead
    found = list(executor.map(_slowly, _pieces(count)))
    assert found == [number * number for number in range(count)], f"results came as {found}"


def check_nothing_to_do(executor: Executor) -> None:
    """No pieces give no results."""
    assert list(executor.map(_square, _pieces(0))) == [], "nothing to do gave something"


def check_partials_are_functions(executor: Executor) -> None:
    """What belongs to every piece can be bound to the function."""
    assert list(executor.map(partial(_plus, more=10), _pieces(3))) == [10, 11, 12], "a partial was lost"


def check_large_arrays_stay_as_they_are(executor: Executor) -> None:
    """Megabytes go there and come back bit for bit, NaN included."""
    values = np.random.default_rng(7).normal(size=_LARGE)
    values[::1000] = np.nan
    pieces = [Piece(name=f"array {number}", work=values[number:]) for number in range(3)]
    for piece, found in zip(pieces, executor.map(_reversed, pieces), strict=True):
        assert found.tobytes() == piece.work[::-1].tobytes(), f"{piece.name} was changed on its way"


def check_a_failure_names_its_piece(executor: Executor) -> None:
    """Results before it are given; the cause is what was raised, and the executor goes on."""
    results = executor.map(_refuse_three, _pieces(3 * executor.ahead))
    assert [next(results) for _ in range(3)] == [0, 1, 2], "results before the failure were lost"
    try:
        next(results)
    except PieceFailed as error:
        assert error.piece == "piece 3", f"the error names {error.piece}"
        assert "three is refused" in str(error), f"the error says {error}"
        assert isinstance(error.__cause__, InputError), f"the cause is {error.__cause__!r}"
    else:
        raise AssertionError("the failure was passed over")
    assert list(executor.map(_square, _pieces(2))) == [0, 1], "the executor is lost after a failure"


def check_pieces_are_drawn_as_they_are_needed(executor: Executor) -> None:
    """At most `ahead` pieces are out; closing the iterator leaves the rest undrawn."""
    drawn: list[int] = []
    results = executor.map(_square, _noting(drawn, 1000))
    for taken in range(5):
        next(results)
        assert len(drawn) <= taken + executor.ahead, f"{len(drawn)} pieces were drawn for {taken + 1} results"
    before = len(drawn)
    _close(results)
    assert len(drawn) == before, "pieces were drawn after the end"
    assert list(executor.map(_square, _pieces(3))) == [0, 1, 4], "the executor is lost after an early end"


def check_a_source_that_fails_is_heard(executor: Executor) -> None:
    """What the pieces' source raises is raised as it is."""
    try:
        list(executor.map(_square, _breaking()))
    except InputError as error:
        assert "no more" in str(error), f"the error says {error}"
    else:
        raise AssertionError("the source's failure was passed over")


def check_progress_is_told_in_order(executor: Executor) -> None:
    """Each piece once, before its result is given."""
    told: list[str] = []
    for number, _ in enumerate(executor.map(_slowly, _pieces(6), done=told.append)):
        assert told == [f"piece {each}" for each in range(number + 1)], f"told of {told}"


CHECKS = (
    check_results_come_in_order,
    check_nothing_to_do,
    check_partials_are_functions,
    check_large_arrays_stay_as_they_are,
    check_a_failure_names_its_piece,
    check_pieces_are_drawn_as_they_are_needed,
    check_a_source_that_fails_is_heard,
    check_progress_is_told_in_order,
)


def check_closing(executor: Executor) -> None:
    """A closed executor takes no work, and can be closed again. It is closed by this."""
    executor.close()
    executor.close()
    try:
        executor.map(_square, _pieces(1))
    except ExecutorError as error:
        assert "closed" in str(error), f"the error says {error}"
    else:
        raise AssertionError("a closed executor took work")


def _pieces(count: int) -> list[Piece[int]]:
    return [Piece(name=f"piece {number}", work=number) for number in range(count)]


def _noting(drawn: list[int], count: int) -> Iterator[Piece[int]]:
    for piece in _pieces(count):
        drawn.append(piece.work)
        yield piece


def _breaking() -> Iterator[Piece[int]]:
    yield from _pieces(2)
    raise InputError("there are no more")


def _close(results: Iterator[int]) -> None:
    close = getattr(results, "close", None)
    assert close is not None, "the iterator of results cannot be closed"
    close()


def _square(number: int) -> int:
    return number * number


def _slowly(number: int) -> int:
    time.sleep(0.05 if number == 0 else 0.0)
    return number * number


def _plus(number: int, *, more: int) -> int:
    return number + more


def _reversed(values: Array) -> Array:
    return values[::-1].copy()


def _refuse_three(number: int) -> int:
    if number == 3:
        raise InputError("three is refused")
    return number
