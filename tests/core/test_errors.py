"""Every error has one root, and its message names the fix or the alternatives."""

from __future__ import annotations

import inspect
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core import errors
from lossloop.core.errors import (
    Conflict,
    InputError,
    LossloopError,
    MissingExtra,
    PolicyError,
    UnknownName,
    alternatives,
)

KINDS = [
    kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_the_same_root_and_stands_in_the_tree(kind: type) -> None:
    assert issubclass(kind, LossloopError)
    assert re.search(rf"\b{kind.__name__}\b", errors.__doc__ or "")


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    above: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"([│ ]*(?:[├└]── )?)([A-Z]\w+)(?:  |$)", line)
        if match:
            depth = len(match[1]) // 4
            above = [*above[:depth], match[2]]
            kind = getattr(errors, match[2])
            assert kind.__base__.__name__ == (above[-2] if depth else "Exception")
    assert above


@pytest.mark.parametrize(
    ("name", "known", "words"),
    [
        ("x", [], "there are none yet"),
        ("flights", ["flight-delay", "fraud"], "did you mean 'flight-delay'?"),
        ("zzz", ["b", "a"], "there are: a, b"),
        ("zzz", [f"m{i}" for i in range(9)], "there are: m0, m1, m2, m3, m4, m5, m6, m7, ..."),
        ("zzz", [f"m{i}" for i in range(8)], "there are: m0, m1, m2, m3, m4, m5, m6, m7"),
    ],
)
def test_alternatives_are_named(name: str, known: list[str], words: str) -> None:
    assert alternatives(name, known) == words


@given(st.text(max_size=20), st.lists(st.text(min_size=1, max_size=20), unique=True, max_size=30))
def test_alternatives_can_always_be_said_and_stay_short(name: str, known: list[str]) -> None:
    words = alternatives(name, known)
    assert words.startswith(("there are none yet", "did you mean ", "there are: "))
    assert alternatives(name, iter(known)) == words, "names may come from any iterable"


def test_an_unknown_name_says_what_there_is_and_where_it_stood() -> None:
    error = UnknownName("model", "flight", {"flight-delay": 1}, field="model", row=2)
    assert str(error) == "unknown model 'flight'; did you mean 'flight-delay'?"
    assert (error.name, error.field, error.row) == ("flight", "model", 2)
    assert isinstance(error, InputError)
    told = UnknownName("model", "churn", [], fix="a policy makes a model: lossloop policy FILE")
    assert str(told).endswith("there are none yet; a policy makes a model: lossloop policy FILE")


def test_an_input_error_concerns_the_whole_unless_it_says_otherwise() -> None:
    assert (Conflict("x").field, Conflict("x").row) == (None, None)


@pytest.mark.parametrize(("line", "text"), [(7, "flights.yaml, line 7: no"), (None, "flights.yaml: no")])
def test_a_policy_error_names_file_and_line(line: int | None, text: str) -> None:
    error = PolicyError("no", line=line, source="flights.yaml")
    assert str(error) == text
    assert error.line == line


def test_a_missing_library_is_told_how_to_install_it() -> None:
    assert str(MissingExtra("onnxruntime", "onnx")) == (
        "onnxruntime is not installed; run: pip install 'lossloop[onnx]'"
    )
