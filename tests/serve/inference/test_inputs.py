from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lossloop.core.errors import InputError
from lossloop.registry import Feature, FeatureKind
from lossloop.serve.given import Given
from lossloop.serve.inference import Request, Tensor
from lossloop.serve.inference.inputs import read_rows

A, B = Feature(name="a"), Feature(name="b", nullable=True)
COLOUR = Feature(name="colour", kind=FeatureKind.CATEGORY, nullable=True)
WHO = Feature(name="who", kind=FeatureKind.CATEGORY)


def number(
    name: str, *values: float, shape: tuple[int, ...] | None = None, dtype: Any = np.float64
) -> Tensor:
    return Tensor(name=name, datatype="FP64", shape=shape or (len(values),), values=np.array(values, dtype))


def texts(name: str, *values: str | None) -> Tensor:
    return Tensor(name=name, datatype="BYTES", shape=(len(values),), values=list(values))


def read(features: tuple[Feature, ...], *inputs: Tensor, **more: Any) -> Given:
    return read_rows(features, Request(model="m", inputs=inputs, **more))


def plain(given: Given) -> dict[str, Any]:
    return {name: list(values) for name, values in given.features.items()}


def test_an_input_for_each_feature() -> None:
    found = read((A, COLOUR), number("a", 1, 2), texts("colour", "red", None))
    assert (found.count, plain(found)) == (2, {"a": [1, 2], "colour": ["red", None]})
    assert plain(read((A,), number("a", 1, 2, shape=(2, 1)))) == {"a": [1, 2]}


def test_one_tensor_of_all_features_in_their_order() -> None:
    for name in ("anything", "a"):
        found = read((A, B), number(name, 1, 2, 3, 4, 5, 6, shape=(3, 2)))
        assert plain(found) == {"a": [1, 3, 5], "b": [2, 4, 6]}
    assert plain(read((A,), number("anything", 1, 2))) == {"a": [1, 2]}
    assert plain(read((A,), number("anything", 1, 2, shape=(2, 1)))) == {"a": [1, 2]}


def test_what_is_absent_may_be_where_a_feature_is_nullable() -> None:
    assert plain(read((A, B), number("a", 1))) == {"a": [1]}
    assert read((A, B), number("a", 1), number("b", np.nan)).count == 1
    assert read((B,)).count == 1


@pytest.mark.parametrize(
    ("features", "inputs", "words"),
    [
        ((A, B), [number("b", 1)], "'a' is missing"),
        ((A,), [], "'a' is missing"),
        ((A, B), [number("a", 1), number("z", 1)], "unknown input 'z'"),
        ((A, B), [number("a", 1), number("b", 1, 2)], "different numbers of rows"),
        ((A, B), [number("a", 1), number("a", 1)], "stands twice"),
        ((A, B), [number("a", 1, 2, shape=(1, 2)), number("b", 1)], r"the shape \[1, 2\]"),
        ((A, B), [number("a", 1, 2, 3, shape=(1, 3))], "3 columns; there are 2 features"),
        ((A, B), [number("z", 1, 2, 3, shape=(1, 3))], "unknown input 'z'"),
        ((A, COLOUR), [number("z", 1, 2, shape=(1, 2))], "'colour' is a category"),
        ((A,), [texts("a", "1")], "send FP64, not BYTES"),
        ((WHO,), [number("who", 1)], "send BYTES, not FP64"),
        ((A,), [number("a", 1, np.nan)], "no value in row 1"),
        ((A,), [number("a", 1, np.inf)], "must be finite"),
        ((B,), [number("b", np.nan, -np.inf)], "must be finite"),
        ((WHO,), [texts("who", "x", None)], "no value in row 1"),
        ((A,), [number("a", 2**53 + 1, dtype=np.int64)], "exactly"),
        ((A,), [number("a", shape=(0,))], "one row or more"),
    ],
)
def test_what_does_not_fit_is_said(features: tuple[Feature, ...], inputs: list[Tensor], words: str) -> None:
    with pytest.raises(InputError, match=words):
        read(features, *inputs)


def test_ids_derive_from_the_request() -> None:
    one, two = number("a", 1), number("a", 1, 2)
    assert read((A,), one, id="r").ids == ["r"]
    assert read((A,), two, id="r").ids == ["r/0", "r/1"]
    assert read((A,), two, id="r", parameters={"prediction_id": "p"}).ids == ["p/0", "p/1"]
    assert read((A,), two, texts("prediction_id", "x", "y"), id="r").ids == ["x", "y"]


def test_ids_are_made_where_the_request_has_none() -> None:
    two = number("a", 1, 2)
    found = read((A,), two)
    assert found.ids is None
    base, other = (each.rsplit("/", 1) for each in found.made or ())
    assert (base[0], base[1], other[1]) == (other[0], "0", "1")
    assert read((A,), two).made != found.made
    assert len(read((A,), number("a", 1)).made or ()) == 1
    assert read((A,), two, id="r").made is None


def test_units_and_times_come_as_parameters_for_all_rows_or_as_tensors_for_each() -> None:
    two = number("a", 1, 2)
    found = read((A,), two, parameters={"unit": "ada", "time": "2024-01-01T00:00:00Z"})
    assert (found.units, found.times) == (["ada"] * 2, ["2024-01-01T00:00:00Z"] * 2)
    found = read((A,), two, texts("unit", "ada", None), parameters={"unit": "bob"})
    assert found.units == ["ada", None]
    assert read((A,), two).units is None


@pytest.mark.parametrize(
    ("inputs", "parameters", "words"),
    [
        ([number("a", 1)], {"unit": 7}, "unit must be text, not 7"),
        ([number("a", 1)], {"prediction_id": True}, "prediction_id must be text"),
        ([number("a", 1), texts("unit", "x", "y")], {}, "unit must be BYTES of 1 texts"),
        ([number("a", 1), number("time", 1)], {}, "time must be BYTES"),
    ],
)
def test_what_is_about_rows_is_text(inputs: list[Tensor], parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        read((A,), *inputs, parameters=parameters)


def test_a_feature_called_unit_is_a_feature() -> None:
    found = read((A, Feature(name="unit")), number("a", 1), number("unit", 5), parameters={"unit": "ada"})
    assert plain(found) == {"a": [1], "unit": [5]}
    assert found.units == ["ada"]
