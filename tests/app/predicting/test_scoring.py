"""A version that raises, or says what is no answer: the rows that it can answer are answered."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.app.predicting.scoring import (
    MOST_ALONE,
    Asking,
    Packed,
    arrow_of,
    checked,
    release,
    score,
)
from lossloop.core.errors import Forbidden, InputError
from lossloop.core.tasks import Task
from lossloop.registry import Feature, Manifest
from lossloop.serve.runtimes import Permit
from tests.serve.models import FEATURES, Scripted, additive

Floats = np.ndarray[Any, np.dtype[np.float64]]


def asked(
    answer: Callable[[list[float]], Sequence[Any]], xs: Sequence[float]
) -> tuple[Floats, dict[int, str], int]:
    """The answers, why there are none, and of how many rows it was asked altogether."""
    runtime = Scripted(answer)
    asking = Asking(runtime, "m:1")
    asking.ask({"x": np.array(xs, np.float64)}, 0, len(xs))
    return asking.answers(len(xs)), asking.bad, runtime.asked


def refuses(*bad: float) -> Callable[[list[float]], list[float]]:
    """A model that raises where one of its rows is among these."""

    def answer(xs: list[float]) -> list[float]:
        for x in xs:
            if x in bad:
                raise ValueError(f"no {x:g} please\nand more")
        return [2 * x for x in xs]

    return answer


def test_all_rows_are_asked_at_once_where_that_goes_well() -> None:
    found, bad, times = asked(refuses(), range(1000))
    assert found.tolist() == [2.0 * x for x in range(1000)]
    assert (bad, times) == ({}, 1000)


@given(st.sets(st.integers(0, 199), max_size=20))
def test_only_the_rows_that_make_it_raise_have_no_answer(wrong: set[int]) -> None:
    found, bad, _ = asked(refuses(*map(float, wrong)), range(200))
    assert set(bad) == wrong
    assert np.isnan(found[sorted(wrong)]).all()
    good = [place for place in range(200) if place not in wrong]
    assert found[good].tolist() == [2.0 * place for place in good]
    assert all(words == f"the model raised ValueError: no {place:g} please" for place, words in bad.items())


def test_one_row_costs_few_more() -> None:
    _, bad, times = asked(refuses(700.0), range(1024))
    assert set(bad) == {700}
    assert times < 4 * 1024


def test_a_model_that_always_raises_is_not_asked_for_every_row() -> None:
    def broken(xs: list[float]) -> list[float]:
        raise RuntimeError("out of order")

    runtime = Scripted(broken)
    with pytest.raises(InputError, match="m:1 fails: out of order"):
        Asking(runtime, "m:1").ask({"x": np.zeros(100_000)}, 0, 100_000)
    assert runtime.asked < 5 * 100_000  # 17 halves, and MOST_ALONE rows alone


def test_few_rows_that_all_fail_are_all_named() -> None:
    _, bad, _ = asked(refuses(1.0, 2.0), [1.0, 2.0])
    assert set(bad) == {0, 1}
    assert MOST_ALONE > 2


def test_another_number_of_answers_is_an_error() -> None:
    with pytest.raises(InputError, match="m:1 gave 2 answers to 3 rows"):
        asked(lambda _: [1.0, 2.0], [1.0, 2.0, 3.0])


def test_lists_stay_lists_also_where_some_rows_fail() -> None:
    def chances(xs: list[float]) -> list[list[float]]:
        if 3.0 in xs:
            raise ValueError("three")
        return [[0.25, 0.75] for _ in xs]

    found, bad, _ = asked(chances, range(5))
    assert found.shape == (5, 2)
    assert set(bad) == {3}
    assert arrow_of(found).to_pylist()[0] == [0.25, 0.75]


@pytest.mark.parametrize(
    ("task", "values", "wrong"),
    [
        (Task.BINARY, [0.1, 1.5, float("nan"), 0.0], {1, 2}),
        (Task.REGRESSION, [1.0, float("inf"), float("nan"), -3.0], {1, 2}),
        (Task.MULTICLASS, [[0.5, 0.5], [0.9, 0.9], [float("nan"), 1.0]], {1, 2}),
    ],
)
def test_what_is_no_answer_of_the_task_says_why(task: Task, values: list[Any], wrong: set[int]) -> None:
    found = checked(np.array(values), {}, task)
    assert set(found.bad) == wrong
    assert all(words.startswith("the model gave no valid answer: ") for words in found.bad.values())


def test_a_version_is_loaded_once_in_each_thread_and_given_back() -> None:
    data = additive()
    packed = Packed(
        name="m:1", digest="d", task=Task.REGRESSION, artifacts={"a": data},
        manifest=Manifest(runtime="onnx", artifact="a", features=FEATURES),
    )  # fmt: skip
    columns = {
        "x": np.arange(4.0),
        "y": np.array([1.0, 2.0, np.nan, 4.0]),
        "colour": np.array(["red", None, "blue", None], object),
    }
    found: list[list[float]] = []

    def work() -> None:
        found.append(score(columns, packed=packed).y_pred.tolist())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[11.0, 3.5, 3.0, 7.5]] * 4
    release()
    work()
    assert found[-1] == found[0]
    release()


def test_a_version_with_code_answers_files_too_where_somebody_answers_for_it() -> None:
    source = b"def predict(columns): return columns['x'] * 2"
    packed = Packed(
        name="m:1", digest="d", task=Task.REGRESSION, artifacts={"a": source}, permit=Permit(name="m:1"),
        manifest=Manifest(runtime="python", artifact="a", features=(Feature(name="x"),)),
    )  # fmt: skip
    sent = pickle.loads(pickle.dumps(packed))  # as Dask and Ray send it
    assert score({"x": np.arange(3.0)}, packed=sent).y_pred.tolist() == [0.0, 2.0, 4.0]
    release()
    with pytest.raises(Forbidden, match="runs code of its own"):
        score({"x": np.arange(3.0)}, packed=replace(packed, permit=None))
    release()
