"""Options of a manifest: those that say nothing change no digest."""

from __future__ import annotations

import msgspec
import pytest

from lossloop.core.errors import InputError
from lossloop.registry import Manifest, Options


def read(text: str) -> Manifest:
    return msgspec.json.decode(text, type=Manifest)


def test_options_that_say_nothing_are_none() -> None:
    plain = Manifest(runtime="onnx")
    assert msgspec.json.encode(plain) == b'{"runtime":"onnx"}'
    for other in (
        Manifest(runtime="onnx", options=Options()),
        read('{"runtime": "onnx", "options": {}}'),
        read('{"runtime": "onnx", "options": {"output": "", "column": null, "trusted": []}}'),
        msgspec.structs.replace(Manifest(runtime="onnx", options=Options(column=1)), options=Options()),
    ):
        assert other == plain
        assert other.digest == plain.digest


def test_each_option_makes_another_version() -> None:
    made = [
        Manifest(runtime="onnx", options=options)
        for options in (
            Options(),
            Options(output="y"),
            Options(column=0),
            Options(column=1),
            Options(trusted=("a",)),
        )
    ]
    assert len({each.digest for each in made}) == len(made)
    assert [read(msgspec.json.encode(each).decode()) for each in made] == made


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"column": -1}', "a column is counted from 0"),
        ('{"column": "first"}', "Expected `int | null`"),
        ('{"colunm": 1}', "unknown field `colunm`"),
        ('{"output": 3}', "Expected `str`"),
    ],
)
def test_what_is_no_option_is_told(text: str, words: str) -> None:
    with pytest.raises((msgspec.ValidationError, InputError), match=words):
        read(f'{{"runtime": "onnx", "options": {text}}}')
