from __future__ import annotations

import pytest

from lossloop.core.errors import InputError
from lossloop.core.tasks import Task
from lossloop.core.thresholds import Thresholds
from lossloop.registry import Manifest, Version
from lossloop.serve.inference import Request, Tensor, Wanted
from lossloop.serve.inference.describing import describe
from lossloop.serve.inference.outputs import OUTPUTS, check_outputs, write_reply
from lossloop.serve.repeats import Answer
from tests.serve.models import version


def answers(*values: float | list[float], ids: str = "r") -> list[Answer]:
    return [
        Answer(id=f"{ids}/{row}", version=1, role="champion", y_pred=value)
        for row, value in enumerate(values)
    ]


def asked(*names: str, id: str = "r") -> Request:
    return Request(model="m", id=id, outputs=[Wanted(name=name) for name in names])


def plain(tensor: Tensor) -> tuple[str, str, tuple[int, ...], list[object]]:
    values = tensor.values if isinstance(tensor.values, list) else tensor.values.tolist()
    return tensor.name, tensor.datatype, tensor.shape, list(values)


def test_predictions_are_answered_unasked() -> None:
    reply = write_reply(asked(), answers(1.0, 2.0), {})
    assert [plain(each) for each in reply.outputs] == [("y_pred", "FP64", (2,), [1.0, 2.0])]
    assert (reply.model, reply.version, reply.id) == ("m", "1", "r")
    assert reply.parameters == {"prediction_id": "r", "version": "1", "role": "champion"}


def test_lists_are_a_table() -> None:
    (output,) = write_reply(asked(), answers([0.1, 0.9], [0.5, 0.5]), {}).outputs
    assert plain(output) == ("y_pred", "FP64", (2, 2), [0.1, 0.9, 0.5, 0.5])
    with pytest.raises(InputError, match="different lengths"):
        write_reply(asked(), answers([0.1, 0.9], [1.0]), {})


def test_other_outputs_are_asked_for_by_name() -> None:
    reply = write_reply(asked("action", "prediction_id", "role", "version"), answers(1.0, 2.0), {1: "block"})
    assert [plain(each) for each in reply.outputs] == [
        ("action", "BYTES", (2,), ["", "block"]),
        ("prediction_id", "BYTES", (2,), ["r/0", "r/1"]),
        ("role", "BYTES", (2,), ["champion", "champion"]),
        ("version", "INT64", (2,), [1, 1]),
    ]


def test_parameters_say_what_rows_have_in_common() -> None:
    first, second = answers(1.0, 2.0)
    other = Answer(id="r/1", version=2, role="challenger", y_pred=2.0)
    assert write_reply(asked(), [first, other], {}).parameters == {
        "prediction_id": "r", "version": "1,2", "role": "champion,challenger"
    }  # fmt: skip
    assert write_reply(asked(), [first], {}).parameters["prediction_id"] == "r/0"
    assert "prediction_id" not in write_reply(asked(), [second, first], {}).parameters


def test_an_output_is_known_and_asked_for_once() -> None:
    check_outputs(asked(*OUTPUTS).outputs)
    with pytest.raises(InputError, match="unknown output 'scores'"):
        check_outputs(asked("scores").outputs)
    with pytest.raises(InputError, match="asked for twice"):
        check_outputs(asked("y_pred", "y_pred").outputs)
    for name in ("classification", "shared_memory_region"):
        with pytest.raises(InputError, match=name):
            check_outputs([Wanted(name="y_pred", parameters={name: 1})])


def test_a_model_is_described() -> None:
    found = describe(version(3), Task.REGRESSION, [3, 1])
    assert (found.name, found.versions, found.platform) == ("m", ("1", "3"), "lossloop_onnx")
    assert [(each.name, each.datatype, each.shape) for each in found.inputs] == [
        ("x", "FP64", (-1,)), ("y", "FP64", (-1,)), ("colour", "BYTES", (-1,))
    ]  # fmt: skip
    assert [each.name for each in found.outputs] == ["y_pred", "version", "prediction_id", "role"]
    assert describe(version(3), Task.MULTICLASS, []).outputs[0].shape == (-1, -1)


def test_actions_are_described_where_a_version_has_thresholds() -> None:
    manifest = Manifest(runtime="onnx", thresholds=Thresholds(least=(0.5,), actions=("pass", "block")))
    with_thresholds = Version(model="m", number=1, digest="", manifest=manifest, registered_at=0)
    found = describe(with_thresholds, Task.BINARY, [1])
    assert found.outputs[-1].name == "action"
