"""One feature code: what a transform makes of raw inputs is what the model is asked with, everywhere."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from lossloop.core.errors import InputError, StateError
from lossloop.core.tasks import Task
from lossloop.registry import By, Feature, FeatureKind, Manifest, Transform, Version
from lossloop.serve.lanes import Lane
from lossloop.serve.transforms import Applied, OnnxTransform, load_transform, load_version, model_of
from lossloop.serve.transforms.checks import check_transform, same
from lossloop.serve.warming import warm
from tests.serve.models import FEATURES, additive
from tests.serve.transforms.graphs import INPUTS, graph, kilometres, raw, transform

DIGEST = "0aa54c63036e77342d8a0e257f7339be11b109fa246b6b36c424f50bfbd07e33"
"""Of a manifest without a transform, as releases before had it."""
NUMBER, TEXT = TensorProto.FLOAT, TensorProto.STRING


def manifest_of(**said: Any) -> Manifest:
    return Manifest(runtime="onnx", artifact="m", transform=transform(artifact="t", **said))


def held(model: bytes | None = None, made: bytes | None = None) -> dict[str, bytes]:
    return {"m": model or additive(), "t": made or kilometres()}


# The contract.


def test_a_graph_makes_features_and_passes_on_what_it_does_not_make() -> None:
    found = load_transform(transform(), kilometres()).apply(raw())
    assert list(found) == ["x", "y", "colour"]
    assert found["x"].tolist() == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    assert found["colour"].tolist() == ["red", "blue", None, None, "red", "blue"]
    assert same(found["y"], raw()["y"])


def test_a_graph_keeps_the_contract() -> None:
    check_transform(load_transform(transform(), kilometres()), FEATURES, raw(7))


class Spoiling:
    """A transform that writes into what it was given."""

    native = True

    def apply(self, columns: Any) -> Any:
        columns["metres"] /= 1000.0
        return {"x": columns["metres"]}


class Leaning:
    """A transform whose rows depend on each other."""

    native = True

    def apply(self, columns: Any) -> Any:
        return {"x": columns["metres"] - columns["metres"].mean()}


class Wrong:
    """A transform that makes texts where numbers should be."""

    native = True

    def apply(self, columns: Any) -> Any:
        return {"x": columns["paint"]}


@pytest.mark.parametrize(
    ("broken", "words"),
    [(Spoiling(), "stay as they are"), (Leaning(), "do not depend on neighbours"), (Wrong(), "x is float64")],
)
def test_the_checks_find_what_breaks_the_contract(broken: Any, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        check_transform(broken, [Feature(name="x")], raw())


@given(
    st.lists(
        st.tuples(
            st.floats(-1e6, 1e6, width=32), st.none() | st.floats(-5, 5),
            st.none() | st.sampled_from(["crimson", "navy", "beige", "ü"]),
        ),
        min_size=1, max_size=20,
    )
)  # fmt: skip
def test_any_rows_are_what_arithmetic_says(table: list[tuple[float, float | None, str | None]]) -> None:
    paints = np.empty(len(table), object)
    paints[:] = [paint for _, _, paint in table]
    columns = {
        "metres": np.array([metres for metres, _, _ in table]),
        "y": np.array([np.nan if y is None else y for _, y, _ in table]),
        "paint": paints,
    }
    found = load_transform(transform(), kilometres()).apply(columns)
    assert np.array_equal(
        found["x"], (columns["metres"].astype(np.float32) / np.float32(1000.0)).astype(float)
    )
    assert found["colour"].tolist() == [{"crimson": "red", "navy": "blue"}.get(each) for each in paints]
    assert same(found["y"], columns["y"])


# A version with one.


def test_a_version_answers_raw_inputs_as_the_model_answers_features() -> None:
    manifest = manifest_of()
    version = load_version(manifest, held().__getitem__)
    made = load_transform(transform(), kilometres()).apply(raw())
    alone = load_version(model_of(manifest), held().__getitem__)
    assert isinstance(version, Applied)
    assert version.native
    assert version.predict(raw()).tolist() == alone.predict(made).tolist()
    assert version.predict(raw()).tolist() == [11.0, 1.5, 3.5, 3.0, 16.0, 7.5]


def test_callers_send_raw_inputs() -> None:
    manifest = manifest_of()
    assert manifest.features == INPUTS
    assert model_of(manifest).features == FEATURES
    assert manifest.artifacts == ("m", "t")
    assert warm(manifest, load_version(manifest, held().__getitem__)) > 0


def test_callers_who_make_features_themselves_send_those() -> None:
    manifest = manifest_of(by=By.CALLER)
    assert manifest.features == FEATURES
    version = load_version(manifest, held().__getitem__)
    assert not isinstance(version, Applied)


async def run(lane: Lane, columns: Any) -> list[Any]:
    return list((await lane.run(columns, 6, 10.0, 10.0)).values)


def test_both_run_in_one_lane() -> None:
    manifest = manifest_of()
    version = Version(model="m", number=1, digest="d", manifest=manifest, registered_at=0)
    lane = Lane(version, load_version(manifest, held().__getitem__), Task.REGRESSION, inline=64)
    assert asyncio.run(run(lane, raw())) == [11.0, 1.5, 3.5, 3.0, 16.0, 7.5]


def test_closing_closes_both() -> None:
    closed: list[str] = []

    class Part:
        native = True

        def __init__(self, name: str) -> None:
            self.name = name

        def apply(self, columns: Any) -> Any:
            return columns

        def predict(self, columns: Any) -> Any:
            return columns["metres"]

        def close(self) -> None:
            closed.append(self.name)

    both = Applied(Part("transform"), Part("model"))
    assert both.predict(raw()).tolist() == raw()["metres"].tolist()
    both.close()
    assert closed == ["transform", "model"]
    Applied(
        load_transform(transform(), kilometres()), load_version(model_of(manifest_of()), held().__getitem__)
    ).close()


def test_a_transform_that_is_gone_is_an_error() -> None:
    def get(name: str) -> bytes:
        if name == "t":
            raise StateError("it is gone")
        return additive()

    with pytest.raises(StateError, match="it is gone"):
        load_version(manifest_of(), get)


# What a manifest may say.


def test_a_manifest_without_a_transform_has_the_digest_that_it_had() -> None:
    plain = Manifest(runtime="onnx", artifact="a", features=FEATURES)
    assert plain.digest == DIGEST
    assert b"transform" not in msgspec.json.encode(plain)


def test_a_manifest_is_read_back_as_it_was() -> None:
    manifest = manifest_of()
    again = msgspec.json.decode(msgspec.json.encode(manifest), type=Manifest)
    assert again == manifest
    assert again.digest == manifest.digest
    assert manifest_of(by=By.CALLER).digest != manifest.digest
    other = msgspec.structs.replace(manifest, transform=transform(artifact="other"))
    assert other.digest != manifest.digest


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"runtime": "perl"}, "no transform runs on 'perl'"),
        ({"entry": "os.system"}, "'os.system' is no name of a function"),
        ({"inputs": ()}, "list one or more features"),
        ({"features": (Feature(name="x"), Feature(name="x"))}, "each with a name of its own"),
    ],
)
def test_what_a_transform_may_not_say(said: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        transform(**said)


def test_features_of_a_manifest_are_those_that_are_sent() -> None:
    with pytest.raises(InputError, match="leave features out: callers send what the transform says"):
        Manifest(runtime="onnx", features=FEATURES, transform=transform())
    assert Manifest(runtime="onnx", features=INPUTS, transform=transform()).features == INPUTS


def renamed(name: str, output: str = "x", kind: int = NUMBER) -> bytes:
    return graph([helper.make_node("Identity", [name], [output])], {name: kind}, {output: kind})


@pytest.mark.parametrize(
    ("made", "said", "words"),
    [
        (renamed("meters"), {}, "the transform takes 'meters'; did you mean 'metres'"),
        (renamed("metres", "z"), {}, "the transform makes no 'x', and no raw input has that name and kind"),
        (renamed("paint", kind=NUMBER), {}, "'paint' is a category, and the model takes numbers"),
        (renamed("metres", kind=TEXT), {}, "'metres' is a number, and the model takes texts"),
        (b"no graph", {}, "not an ONNX model"),
        (
            renamed("paint", "x", TEXT), {"features": (Feature(name="x"),)},
            r"the transform makes 'x' as tensor\(string\), which is no number",
        ),
        (
            renamed("metres", "colour"), {"features": (Feature(name="colour", kind=FeatureKind.CATEGORY),)},
            r"the transform makes 'colour' as tensor\(float\), which is no category",
        ),
    ],
)  # fmt: skip
def test_a_graph_that_does_not_fit_its_manifest_says_where(
    made: bytes, said: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        OnnxTransform(made, transform(**said))


def test_a_transform_of_nothing_passes_all_on() -> None:
    same_kind = Transform(runtime="onnx", inputs=INPUTS, features=(INPUTS[1], INPUTS[0]))
    found = OnnxTransform(renamed("metres", "unused"), same_kind).apply(raw())
    assert list(found) == ["y", "metres"]
    assert same(found["metres"], raw()["metres"])
