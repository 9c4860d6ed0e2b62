"""Losses as a policy file writes them."""

from __future__ import annotations

import contextlib
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import InputError, LossloopError
from lossloop.losses import Loss, brier, cost_matrix, get, log_loss, parse, squared, warning_cost

COST = "cost_matrix(costs=((0, 1), (5, 0)), unit='EUR')"


@pytest.mark.parametrize(
    ("text", "loss"),
    [
        ("log_loss", log_loss),
        ("log_loss()", log_loss),
        (" log_loss( cap = 5 ) ", get("log_loss", cap=5)),
        ("0.7*log_loss(cap=5) + 0.3*brier", 0.7 * get("log_loss", cap=5) + 0.3 * brier),
        ("brier*2", 2 * brier),
        ("2*(brier + log_loss)", 2 * (brier + log_loss)),
        ("squared.clip(5)", squared.clip(5)),
        (
            "constraint_violation(low=-1e999, high=1e999)",
            get("constraint_violation", low=-math.inf, high=math.inf),
        ),
        ("squared.clip(5, low=1)", squared.clip(5, low=1)),
        ("(2*squared).clip(5)", (2 * squared).clip(5)),
        ("brier.where(carrier='UA', hour=5)", brier.where(carrier="UA", hour=5)),
        ("cost_matrix(costs=[[0, 1], [5, 0]], unit='EUR')", parse(COST)),
        ("warning_cost(missed=20, false_alarm=10)", warning_cost.with_parameters(missed=20, false_alarm=10)),
        (f"log_loss@{log_loss.digest[:6]}", log_loss),
        (f"log_loss @ {log_loss.digest}", log_loss),
    ],
)
def test_a_loss_is_read(text: str, loss: Loss) -> None:
    assert parse(text) == loss
    assert parse(str(parse(text))) == loss


LEAVES = st.sampled_from(["brier", "log_loss", "log_loss(cap=5)", "warning_cost(unit='')"])


def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]} + {pair[1]})"),
        inner.map(lambda text: f"2.5*({text})"),
        inner.map(lambda text: f"({text}).clip(0.125)"),
        inner.map(lambda text: f"({text}).where(carrier='UA')"),
    )


@given(st.recursive(LEAVES, grown, max_leaves=5))
def test_what_a_loss_prints_is_read_back_as_the_same(text: str) -> None:
    loss = parse(text)
    assert parse(str(loss)).digest == loss.digest


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "'' is not a loss; write a loss such as log_loss(cap=5)"),
        ("log_loss(cap=5", "'log_loss(cap=5' is not a loss"),
        ("logloss", "unknown loss 'logloss'; did you mean 'log_loss'?"),
        ("log_loss(kap=5)", "unknown parameter of log_loss 'kap'; did you mean 'cap'?"),
        ("log_loss(5)", "parameters of log_loss are given by name: log_loss(parameter=value)"),
        ("log_loss(**{'cap': 5})", "parameters of log_loss are given by name, without **"),
        ("log_loss(cap=open('x'))", "\"open('x')\" is not a number, a word in quotes or a list of them"),
        ("log_loss(cap={1: 2})", "'{1: 2}' is not a number"),
        ("log_loss - brier", "'log_loss - brier' is not a loss"),
        ("[x for x in ()]", "is not a loss"),
        ("lambda: 1", "is not a loss"),
        ("log_loss.__class__", "'log_loss.__class__' is not a loss"),
        ("log_loss.__class__()", "a loss has no .__class__(); there are: .clip(5) and .where"),
        ("__import__('os').system('x')", "parameters of __import__ are given by name"),
        ("2*3", "'3' is not a loss"),
        ("brier*brier", "a weight must be a number, not 'brier'"),
        ("True*brier", "a weight must be a number, not 'brier'"),
        ("-1*brier", "a weight must be a positive number, not -1.0"),
        ("brier + squared", "their kinds differ"),
        ("brier.clip()", "clip takes one number, such as .clip(5)"),
        ("brier.clip('5')", "clip takes one number, such as .clip(5)"),
        ("brier.clip(5, high=3)", "clip takes one number and low=number, nothing else"),
        ("brier.where(lambda y_true: y_true)", "where takes features by name"),
        ("brier.where()", "where() takes a function"),
        ("brier@000000", "brier@000000 is wanted, but this is brier@"),
        ("brier@xyz", "is not a loss"),
        ("(" * 500, "is not a loss"),
        ("-" * 900 + "1", "is not a loss"),
        ("brier + " * 200 + "brier", "a loss has at most 1000 characters; this one has 1605"),
        ("brier\0", "is not a loss"),
    ],
)
def test_what_is_no_loss_is_explained(text: str, words: str) -> None:
    with pytest.raises(InputError, match=re.escape(words)):
        parse(text)


@given(st.text(alphabet="brie()*+.,'=@0123 \nclipwh_", max_size=40))
def test_any_text_is_a_loss_or_an_error_of_ours(text: str) -> None:
    with contextlib.suppress(LossloopError):
        assert isinstance(parse(text), Loss)


def test_a_matrix_is_read_as_numbers() -> None:
    assert parse(COST).parameters["costs"] == ((0.0, 1.0), (5.0, 0.0))
    assert parse(COST) == cost_matrix.with_parameters(costs=((0, 1), (5, 0)), unit="EUR")
