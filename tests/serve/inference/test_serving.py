"""The protocol's object over a state directory: what is predicted, logged, refused, loaded and let go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from lossloop.core.errors import Conflict, InputError, StateError, UnknownName, VersionFailed
from lossloop.serve.inference import Inference, Reply, Request, Tensor, Wanted, words_of
from lossloop.serve.inference.serving import READY, UNAVAILABLE
from tests.serve.models import Scripted
from tests.serve.test_service import NOW, Place


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    found = Place(tmp_path_factory.mktemp("inference"))
    yield found
    found.close()


def inference(place: Place) -> Inference:
    place.follow()
    return place.running.inference


def x(*values: float) -> Tensor:
    return Tensor(name="x", datatype="FP64", shape=(len(values),), values=np.array(values))


def texts(name: str, *values: str) -> Tensor:
    return Tensor(name=name, datatype="BYTES", shape=(len(values),), values=list(values))


def infer(place: Place, model: str, *inputs: Tensor, **more: Any) -> Reply:
    return asyncio.run(inference(place).infer(Request(model=model, inputs=inputs, **more)))


def predicted(reply: Reply) -> list[float]:
    return [float(value) for value in np.asarray(reply.outputs[0].values)]


def states(place: Place, model: str) -> dict[str, tuple[str, str]]:
    return {
        each.version: (each.state, each.reason) for each in inference(place).index() if each.name == model
    }


def test_what_is_answered_is_in_the_ledger(place: Place) -> None:
    model = place.model(0.0)
    colour = texts("colour", "red", "blue")
    reply = infer(place, model, x(1, 2), colour, id="r", parameters={"unit": "ada"})
    assert predicted(reply) == [12.0, 3.0]
    assert (reply.id, reply.version) == ("r", "1")
    assert reply.parameters == {"prediction_id": "r", "version": "1", "role": "champion"}
    rows = place.rows(model)
    assert rows.y_pred.tolist() == [12.0, 3.0]
    assert len(set(rows.unit.tolist())) == 1


def test_a_request_is_answered_once(place: Place) -> None:
    model = place.model(0.0)
    first = infer(place, model, x(1, 2), id="r")
    assert predicted(infer(place, model, x(1, 2), id="r")) == predicted(first)
    assert len(place.rows(model).y_pred) == 2
    with pytest.raises(Conflict, match="r/1"):
        infer(place, model, x(1, 3), id="r")
    assert len(place.rows(model).y_pred) == 2


def test_a_request_without_an_id_gets_one_to_send_outcomes_under(place: Place) -> None:
    model = place.model(0.0)
    reply = infer(place, model, x(1, 2))
    assert reply.id == ""
    base = reply.parameters["prediction_id"]
    receipt = place.happened(model, {"id": f"{base}/0", "y_true": 1}, {"id": f"{base}/1", "y_true": 2})
    assert receipt.accepted == 2
    assert place.counts(model).outcomes == 2


@pytest.mark.parametrize(
    ("inputs", "more", "words"),
    [
        ([x(1, np.inf)], {}, "finite"),
        ([x(1), texts("colour", "red", "blue")], {}, "different numbers of rows"),
        ([texts("x", "1")], {}, "FP64, not BYTES"),
        ([x(1)], {"outputs": [Wanted(name="scores")]}, "unknown output"),
        ([x(1)], {"parameters": {"unit": 3}}, "unit must be text"),
        ([x(1)], {"parameters": {"time": "yesterday"}}, "yesterday"),
        ([x(1)], {"parameters": {"timeout": "1s"}}, "microseconds"),
        ([x(1)], {"parameters": {"timeout": True}}, "microseconds"),
        ([x(1)], {"id": "r" * 300}, "at most 256"),
        ([x(1, 2), texts("prediction_id", "a", "a")], {}, "stands twice"),
    ],
)
def test_what_does_not_fit_is_refused_as_a_whole(
    place: Place, inputs: list[Tensor], more: dict[str, Any], words: str
) -> None:
    model = place.model(0.0)
    with pytest.raises(InputError, match=words):
        infer(place, model, *inputs, **more)


def test_a_row_without_a_valid_answer_is_named(place: Place) -> None:
    model = place.model(0.0)
    place.lane(model)._runtime = Scripted(lambda xs: [np.nan if each == 2 else each for each in xs])
    with pytest.raises(InputError, match="no valid answer") as caught:
        infer(place, model, x(1, 2, 3), id="r")
    assert words_of(caught.value).startswith("row 1: ")
    assert predicted(infer(place, model, x(3), parameters={"prediction_id": "r/2"})) == [3.0]


def test_a_version_that_raises_is_a_failure_of_the_version(place: Place) -> None:
    def fail(xs: list[float]) -> list[float]:
        raise ValueError(xs)

    model = place.model(0.0)
    place.lane(model)._runtime = Scripted(fail)
    with pytest.raises(VersionFailed, match="ValueError"):
        infer(place, model, x(1))


def test_a_version_that_is_asked_for_answers_if_it_is_the_champion(place: Place) -> None:
    model = place.model(0.0, 100.0)
    assert predicted(infer(place, model, x(1), version="1")) == [2.5]
    for version in ("3", "0", "-1", "one", "1.0", "\uff19", "1" * 30):
        with pytest.raises(UnknownName, match="unknown version"):
            infer(place, model, x(1), version=version)
    with pytest.raises(UnknownName, match="unknown model"):
        infer(place, "nobody", x(1))


def test_a_model_without_a_version_that_could_answer(place: Place) -> None:
    none, elsewhere = place.model(), place.model(0.0, runtime="external")
    found = inference(place)
    assert found.why_not(none) == "it has no champion yet"
    assert found.why_not(elsewhere) == "it is served by another system"
    for model in (none, elsewhere):
        with pytest.raises(Conflict):
            infer(place, model, x(1))
        with pytest.raises(Conflict):
            found.metadata(model)
    assert found.ready(), "nothing that is to be served here is missing"
    assert states(place, elsewhere) == {"1": (UNAVAILABLE, "it is served by another system")}


def test_metadata_is_of_a_model_or_of_a_version(place: Place) -> None:
    model = place.model(0.0, 1.0)
    found = inference(place)
    assert found.metadata(model).versions == ("1",)
    assert found.metadata(model, "1") == found.metadata(model)
    with pytest.raises(UnknownName):
        found.metadata(model, "9")


def test_a_version_is_loaded_aside_and_let_go(place: Place) -> None:
    model = place.model(0.0, 1.0)
    found = inference(place)
    assert states(place, model) == {"1": (READY, ""), "2": (UNAVAILABLE, "it is not loaded")}
    asyncio.run(found.load(model, {"version": "2"}))
    assert states(place, model)["2"] == (READY, ""), "also after the traffic was followed again"
    assert found.metadata(model).versions == ("1", "2")
    assert [each.version for each in found.index(only_ready=True) if each.name == model] == ["1", "2"]
    with pytest.raises(Conflict, match="has traffic"):
        found.unload(model, {"version": 1})
    with pytest.raises(Conflict, match="has traffic"):
        found.unload(model, {})
    found.unload(model, {"version": 2, "unload_dependents": False})
    assert states(place, model)["2"] == (UNAVAILABLE, "it is not loaded")
    found.unload(model, {"version": 2})


def test_what_could_not_be_loaded_is_tried_again(place: Place) -> None:
    model = place.model(5.0)
    digest = inference(place)._fleet.known(model)[0].manifest.artifact
    path = next(place.home.path.rglob(f"*{digest}*"))
    fleet = place.running.inference._fleet
    whole = path.read_bytes()
    fleet._held.pop((model, 1))
    path.write_bytes(b"x" + whole)
    place.running.inference._fleet.swap(
        {name: each for name, each in fleet._traffic.items() if name != model}
    )
    found = inference(place)
    assert not found.ready()
    assert "changed on disk" in (found.why_not(model) or "")
    with pytest.raises(Conflict, match="cannot be loaded"):
        infer(place, model, x(1))
    with pytest.raises(StateError):
        asyncio.run(found.load(model, {}))
    path.write_bytes(whole)
    asyncio.run(found.load(model, {}))
    assert found.ready()
    assert predicted(infer(place, model, x(1))) == [7.5]


@pytest.mark.parametrize("parameters", [{"config": "{}"}, {"file:1/model.onnx": "x"}, {"version": True}])
def test_versions_are_not_registered_here(place: Place, parameters: dict[str, Any]) -> None:
    model = place.model(0.0)
    with pytest.raises(InputError):
        asyncio.run(inference(place).load(model, parameters))


def test_a_repository_call_names_what_there_is(place: Place) -> None:
    model = place.model(0.0)
    found = inference(place)
    calls: tuple[Callable[[], None], ...] = (
        lambda: found.unload("nobody", {}),
        lambda: found.unload(model, {"version": "9"}),
        lambda: asyncio.run(found.load("nobody", {})),
        lambda: asyncio.run(found.load(model, {"version": "9"})),
    )
    for call in calls:
        with pytest.raises(UnknownName):
            call()


def test_who_waits_is_told_in_time(place: Place) -> None:
    model = place.model(0.0)
    for more in (
        {"patience": 60.0},
        {"parameters": {"timeout": 60_000_000}},
        {"patience": 60.0, "parameters": {"timeout": 10**8}},
    ):
        assert predicted(infer(place, model, x(1), **more)) == [2.5]
    assert place.clock.now() == NOW
