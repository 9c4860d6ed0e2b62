"""A transform in Python: the same function in training and, in a process of its own, when it is served."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
import pytest

from lossloop.core.errors import Forbidden, InputError, LossloopError
from lossloop.registry import Feature, FeatureKind, Manifest, Transform
from lossloop.serve.runtimes import Permit
from lossloop.serve.transforms import Applied, PythonTransform, brings_code, load_transform, load_version
from lossloop.serve.transforms.checks import check_transform, same
from tests.serve.models import FEATURES, additive
from tests.serve.transforms.graphs import INPUTS, raw

SOURCE = '''
import numpy as np

PER = 1000.0

def transform(raw):
    """The features of rows: kilometres, and y as it is."""
    return {"x": raw["metres"] / PER, "y": np.where(np.isnan(raw["y"]), 5.0, raw["y"])}

def named(raw):
    return {"x": [1] * len(raw["metres"])}

def constant(raw):
    return {"x": 3.0}

def broken(raw):
    raise ValueError("no such inputs")

def short(raw):
    return {"x": raw["metres"][:1], "y": raw["metres"][:-2]}
'''
PERMIT = Permit(name="m:1")
COLOURED = (*FEATURES[:2], Feature(name="paint", kind=FeatureKind.CATEGORY, nullable=True))


def said(**more: Any) -> Transform:
    return Transform(**{"runtime": "python", "inputs": INPUTS, "features": COLOURED, "artifact": "t", **more})


@contextmanager
def opened(**more: Any) -> Iterator[PythonTransform]:
    """The transform, in its process."""
    made = load_transform(said(**more), SOURCE.encode(), None, PERMIT)
    assert isinstance(made, PythonTransform)
    with closing(made):
        yield made


def here() -> Callable[[Any], Any]:
    """The same function in this process, as training calls it."""
    space: dict[str, Any] = {}
    exec(SOURCE, space)
    found: Callable[[Any], Any] = space["transform"]
    return found


def test_what_is_served_is_what_was_trained_on() -> None:
    with opened() as made:
        found, trained = made.apply(raw(9)), here()(raw(9))
        check_transform(made, COLOURED, raw(4))
    assert list(found) == ["x", "y", "paint"]
    for name, values in trained.items():
        assert same(found[name], values)
    assert found["paint"].tolist() == raw(9)["paint"].tolist()


@pytest.mark.parametrize(("entry", "xs"), [("named", [1.0] * 3), ("constant", [3.0] * 3)])
def test_lists_and_single_numbers_are_columns_too(entry: str, xs: list[float]) -> None:
    with opened(entry=entry) as made:
        found = made.apply(raw(3))
    assert found["x"].tolist() == xs
    assert same(found["y"], raw(3)["y"])


@pytest.mark.parametrize(
    ("entry", "words"), [("broken", "no such inputs"), ("short", "shape|broadcast"), ("absent", "absent")]
)
def test_a_function_that_fails_says_what_it_raised(entry: str, words: str) -> None:
    with opened(entry=entry) as made, pytest.raises(LossloopError, match=words):
        made.apply(raw(5))


def test_nobody_runs_it_without_a_permit() -> None:
    with pytest.raises(Forbidden, match="runs code of its own"):
        load_transform(said(), SOURCE.encode())


@pytest.mark.parametrize(
    ("features", "words"),
    [
        (FEATURES, "the category 'colour' has to be a raw input"),
        ((INPUTS[2],), "makes one number or more"),
    ],
)
def test_it_makes_numbers(features: tuple[Feature, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        load_transform(said(features=features), SOURCE.encode(), None, PERMIT)


def test_a_model_behind_it_is_a_version_that_brings_code() -> None:
    """The model itself takes a colour of the same name as the raw input."""
    inputs = (*INPUTS[:2], FEATURES[2])
    manifest = Manifest(runtime="onnx", artifact="m", transform=said(inputs=inputs, features=FEATURES))
    assert brings_code(manifest)
    assert not brings_code(Manifest(runtime="onnx", features=FEATURES))
    parts = {"m": additive(), "t": SOURCE.encode()}
    with pytest.raises(Forbidden):
        load_version(manifest, parts.__getitem__)
    version = load_version(manifest, parts.__getitem__, PERMIT)
    assert isinstance(version, Applied)
    assert not version.native
    colours = np.empty(3, object)
    colours[:] = ["red", None, "blue"]
    columns = {"metres": np.array([0.0, 500.0, 1000.0]), "y": np.array([np.nan, 1.0, 2.0]), "colour": colours}
    assert version.predict(columns).tolist() == [15.0, 2.0, 3.0]
    version.close()
