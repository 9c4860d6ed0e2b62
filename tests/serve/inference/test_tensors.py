from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp

from lossloop.core.errors import InputError
from lossloop.serve.inference.tensors import flat, size_of


@given(hnp.arrays(np.int64, hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=4)))
def test_nested_and_flat_lists_are_the_same_values(array: np.ndarray[Any, Any]) -> None:
    wanted = array.ravel().tolist()
    assert flat(wanted, array.shape, "t") == wanted
    if array.size:
        assert flat(array.tolist(), array.shape, "t") == wanted


@pytest.mark.parametrize(
    ("data", "shape"),
    [
        ([1, 2], (3,)),
        ([[1, 2], [3]], (2, 2)),
        ([[1, 2], 3], (2, 2)),
        ([[1], [2]], (2,)),
        ([[[1]]], (1, 1)),
        ([[1, 2]], (2, 1)),
    ],
)
def test_data_of_another_shape_is_refused(data: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="does not have the shape"):
        flat(data, shape, "t")


def test_data_is_a_list() -> None:
    with pytest.raises(InputError, match="not NoneType"):
        flat(None, (1,), "t")


def test_a_shape_says_how_many_values_before_any_is_read() -> None:
    assert size_of("t", "FP64", (2, 3)) == 6
    assert size_of("t", "FP64", (0,)) == 0
    wrong: list[tuple[int, ...]] = [(), (-1,), (1,) * 9]
    for shape in wrong:
        with pytest.raises(InputError, match="1 to 8 lengths"):
            size_of("t", "FP64", shape)
    large: list[tuple[int, ...]] = [(100_001,), (2, 10**9), (1, 2**62, 2**62)]
    for shape in large:
        with pytest.raises(InputError, match="at most"):
            size_of("t", "FP64", shape)
    with pytest.raises(InputError, match="at most 100000 rows and 100000 values"):
        size_of("t", "BYTES", (100_000, 2))
    with pytest.raises(InputError, match="datatype 'FLOAT'; "):
        size_of("t", "FLOAT", (1,))
