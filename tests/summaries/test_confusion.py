"""Classes against classes: as scikit-learn counts them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from lossloop.core.errors import InputError
from lossloop.summaries import Confusion

CLASS = st.integers(0, 3) | st.sampled_from([7, 999])
ROWS = st.lists(st.tuples(CLASS, CLASS), min_size=1, max_size=40)


def summed(rows: list[tuple[int, int]]) -> Confusion:
    return Confusion().add(np.asarray(rows, dtype=np.float64))


@given(ROWS)
def test_metrics_are_those_of_scikit_learn(rows: list[tuple[int, int]]) -> None:
    true, pred = zip(*rows, strict=True)
    found = summed(rows).metrics()
    happened = sorted(set(true))
    recall = metrics.recall_score(true, pred, labels=happened, average="macro", zero_division=0)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(true, pred))
    assert found["balanced_accuracy"] == pytest.approx(recall)
    assert found["macro_precision"] == pytest.approx(
        metrics.precision_score(true, pred, average="macro", zero_division=0)
    )
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(true, pred, average="macro", zero_division=0))


@given(ROWS)
def test_the_matrix_counts_rows(rows: list[tuple[int, int]]) -> None:
    matrix = summed(rows).matrix()
    assert len(matrix) == max(max(row) for row in rows) + 1
    assert matrix.sum() == len(rows)
    assert all(matrix[row] == rows.count(row) for row in rows)


def test_each_class_has_its_own() -> None:
    late, early = summed([(0, 0), (0, 2), (2, 2), (2, 2)]).by_class()
    assert (late.label, late.happened, late.predicted) == (0, 2, 1)
    assert late[3:] == pytest.approx((1.0, 0.5, 2 / 3))
    assert early[3:] == pytest.approx((2 / 3, 1.0, 0.8))
    (never, always) = summed([(0, 5), (5, 5)]).by_class()
    assert (never.precision, never.recall, always.recall) == (None, 0.0, 1.0)


def test_nothing_has_no_metrics_and_what_is_taken_away_leaves_no_cells() -> None:
    some = summed([(1, 2), (1, 1)])
    assert some.minus(some) == Confusion()
    assert set(Confusion().metrics().values()) == {None}
    assert Confusion().matrix().shape == (0, 0)
    assert Confusion().by_class() == []


@pytest.mark.parametrize("row", [(-1, 0), (0, 0.5), (1000, 0), (0, 1e300)])
def test_what_is_no_class_is_named(row: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="a class is a whole number from 0 to 999") as caught:
        Confusion().add(np.asarray([(0, 0), row], dtype=np.float64))
    assert caught.value.row == 1
