"""What a Loss is: its declaration, parameters, version, equality, pickling, and its errors."""

from __future__ import annotations

import importlib.util
import math
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import Conflict, InputError, UnknownName
from lossloop.losses import (
    Array,
    Features,
    Loss,
    Requirement,
    brier,
    classification,
    constraint_violation,
    get,
    log_loss,
    loss,
    names,
    register,
    squared,
)


@loss(bounds=(0, 20), unit="USD")
def delay_cost(y_true: Array, y_pred: Array, *, missed: float = 20.0, false_alarm: float = 10.0) -> Array:
    """Cost per flight of a wrong late-arrival warning."""
    warned = y_pred >= false_alarm / (missed + false_alarm)
    return missed * (y_true & ~warned) + false_alarm * (~y_true & warned)


@loss(bounds=(0, math.inf), kind="value", unit="USD")
def weighted(y_true: Array, y_pred: Array, features: Features, *, rate: float = 2.0) -> Array:
    """Needs a column of prices."""
    return rate * features["price"] * abs(y_true - y_pred)


def test_a_plain_function_becomes_a_loss() -> None:
    assert delay_cost([1, 1, 0, 0], [0.9, 0.1, 0.9, 0.1]).tolist() == [0.0, 20.0, 10.0, 0.0]
    assert (delay_cost.name, delay_cost.kind, delay_cost.unit) == ("delay_cost", "probability", "USD")
    assert (delay_cost.bounds, delay_cost.direction) == ((0.0, 20.0), "lower")
    assert delay_cost.parameters == {"missed": 20.0, "false_alarm": 10.0}
    assert (delay_cost.needs_outcome, delay_cost.needs_features, delay_cost.link) == (True, False, None)
    assert delay_cost.__doc__ == "Cost per flight of a wrong late-arrival warning."


@pytest.mark.parametrize("labels", [[1, 0], [True, False], np.asarray([1.0, 0.0]), np.asarray([1, 0], "u1")])
def test_labels_come_as_booleans_whatever_they_were(labels: Any) -> None:
    assert delay_cost(labels, [0.1, 0.9]).tolist() == [20.0, 10.0]


def test_features_come_by_name() -> None:
    columns = {"price": np.asarray([1.0, 10.0])}
    assert weighted.needs_features
    assert weighted([1.0, 2.0], [2.0, 4.0], columns).tolist() == [2.0, 40.0]


def test_features_must_be_there_and_as_long_as_the_batch() -> None:
    with pytest.raises(InputError, match=r"weighted\(rate=2\) needs features: columns by name"):
        weighted([1.0], [2.0])
    with pytest.raises(InputError, match="feature price must have 1 rows, as y_pred has") as caught:
        weighted([1.0], [2.0], {"price": [1.0, 2.0]})
    assert caught.value.field == "features.price"


def test_good_rows_keep_their_own_features() -> None:
    columns = {"price": [1.0, 2.0, 3.0]}
    costs, problems = weighted.rows([0.0, math.nan, 0.0], [1.0, 1.0, 1.0], columns)
    assert np.array_equal(costs, [2.0, math.nan, 6.0], equal_nan=True)
    assert [problem.row for problem in problems] == [1]


def test_a_loss_is_frozen_and_a_value() -> None:
    with pytest.raises(FrozenInstanceError):
        log_loss.body = squared.body  # type: ignore[misc] # what the test is about
    assert get("log_loss", cap=5) == get("log_loss", cap=5.0)
    assert len({get("log_loss", cap=5), get("log_loss", cap=5.0), get("log_loss", cap=6)}) == 2
    assert log_loss != "log_loss"


def test_it_prints_as_a_policy_writes_it() -> None:
    assert str(get("log_loss", cap=5)) == "log_loss(cap=5)"
    assert repr(get("log_loss", cap=5)) == "<Loss log_loss(cap=5): probability, [0, 5]>"
    assert repr(delay_cost) == "<Loss delay_cost(missed=20, false_alarm=10): probability, [0, 20] USD>"


def test_a_version_names_the_loss_and_its_content() -> None:
    assert re.fullmatch(r"log_loss@[0-9a-f]{6}", log_loss.version)
    assert log_loss.version != get("log_loss", cap=5).version
    assert log_loss.version == get("log_loss", cap=log_loss.parameters["cap"]).version


@given(st.floats(0.1, 100), st.floats(0.1, 100))
def test_versions_differ_exactly_where_parameters_do(one: float, other: float) -> None:
    same = get("log_loss", cap=one).version == get("log_loss", cap=other).version
    assert same == (one == other)


SOURCE = """
from lossloop.losses import loss
RATE = 2.0
def scale(x):
    return RATE * x
@loss(bounds=(0, 2), unit="USD")
def cost(y_true, y_pred, *, base=1.0):
    return scale(abs(y_true - y_pred)) * base
"""


def make(folder: Path, source: str) -> Loss:
    path = folder / f"m{len(list(folder.iterdir()))}.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = module.cost
    assert isinstance(made, Loss)
    return made


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("RATE = 2.0", "RATE = 2.0  # dollars", True),
        ("    return scale", '    """What it costs."""\n    return scale', True),
        ("RATE = 2.0", "RATE = 3.0", False),
        ("RATE * x", "RATE + x", False),
        ("base=1.0", "base=2.0", False),
        ("bounds=(0, 2)", "bounds=(0, 3)", False),
        ('unit="USD"', 'unit="EUR"', False),
        ("def cost", "def cost_", False),
    ],
)
def test_a_version_changes_with_the_code_and_not_with_the_words(
    tmp_path: Path, old: str, new: str, same: bool
) -> None:
    edited = SOURCE.replace(old, new)
    edited += "cost = cost_\n" if "cost_" in edited else ""
    assert (make(tmp_path, SOURCE).version == make(tmp_path, edited).version) == same


def test_a_version_says_where_it_does_not_know(tmp_path: Path) -> None:
    made = make(tmp_path, SOURCE.replace("RATE * x", "eval('RATE * x')"))
    assert made.version.endswith("+unknown")
    assert made.identity.unknown[0].endswith("scale calls eval")


def test_a_loss_within_a_loss_counts_by_its_own_version(tmp_path: Path) -> None:
    source = SOURCE.replace("abs(y_true - y_pred)", "brier(y_true, y_pred)").replace(
        "RATE = 2.0", "from lossloop.losses import get\nbrier = get('brier')\nRATE = 2.0"
    )
    made = make(tmp_path, source)
    assert not made.identity.unknown
    assert made.version != make(tmp_path, source.replace("'brier'", "'warning_cost'")).version


def test_versions_are_the_same_in_another_process() -> None:
    program = "import lossloop.losses as ll; print(*[ll.get(name).version for name in ll.names()])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    theirs = done.stdout.split()
    assert set(theirs) <= {get(name).version for name in names()}


@pytest.mark.parametrize(
    "made", [log_loss, get("log_loss", cap=5), 0.5 * brier, (brier + brier).clip(1)], ids=str
)
def test_a_loss_can_be_pickled(made: Loss) -> None:
    again = pickle.loads(pickle.dumps(made))
    assert again == made
    assert again([1], [0.3]) == made([1], [0.3])


def test_a_loss_that_is_gone_is_not_unpickled(monkeypatch: pytest.MonkeyPatch) -> None:
    pickled = pickle.dumps(log_loss)
    monkeypatch.setattr(classification, "log_loss", None)
    with pytest.raises(InputError, match=r"classification\.log_loss is no longer a loss"):
        pickle.loads(pickled)


def test_a_pickled_loss_does_not_carry_its_version_along() -> None:
    made = get("log_loss", cap=5)
    assert made.version
    assert made.digest.encode() not in pickle.dumps(made)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"kap": 5}, "unknown parameter of log_loss 'kap'; did you mean 'cap'?"),
        ({"cap": "5"}, "cap of log_loss must be a number, not '5'"),
        ({"cap": True}, "cap of log_loss must be a number, not True"),
        ({"cap": None}, "cap of log_loss must be a number, not None"),
        ({"cap": math.nan}, "cap of log_loss must be a number, not nan"),
        ({"cap": 0}, "cap of log_loss must be a finite number above 0, not 0"),
    ],
)
def test_parameters_that_do_not_fit_are_named(parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=re.escape(words)) as caught:
        get("log_loss", **parameters)
    assert caught.value.field == next(iter(parameters))


def test_every_sort_of_parameter_is_kept_in_its_type() -> None:
    @loss(bounds=(0, 1), requires={"steps": Requirement(words="above 0", test=lambda steps: steps > 0)})
    def sorts(
        y_true: Array,
        y_pred: Array,
        *,
        flag: bool = True,
        steps: int = 3,
        word: str = "a",
        shares: tuple[float, ...] = (1.0,),
        free: Any = None,
    ) -> Array:
        return 0.0 * y_pred

    made = sorts.with_parameters(flag=False, steps=4, word="b", shares=[1, 2], free=(1, "x"))
    assert str(made) == "sorts(flag=False, steps=4, word='b', shares=(1, 2), free=(1, 'x'))"
    for name, value in (("flag", 1), ("steps", 2.5), ("word", 3), ("shares", 1), ("steps", -1)):
        with pytest.raises(InputError, match=f"{name} of sorts must be"):
            sorts.with_parameters(**{name: value})


def test_a_composition_has_no_parameters_of_its_own() -> None:
    assert (log_loss.clip(1).parameters, log_loss.clip(1).golden) == ({}, ())
    with pytest.raises(InputError, match="is composed and has no parameters of its own"):
        log_loss.clip(1).with_parameters(cap=5)


def two(y_true: Array, y_pred: Array) -> Array:
    return abs(y_true - y_pred)


def positional(y_true: Array, y_pred: Array, cap: float = 1.0) -> Array:
    return y_pred


def no_default(y_true: Array, y_pred: Array, *, cap: float) -> Array:
    return y_pred


@pytest.mark.parametrize(
    ("declare", "function", "words"),
    [
        ({"bounds": (1, 1)}, two, "bounds must be (low, high) with low < high"),
        ({"bounds": (0, math.nan)}, two, "bounds must be (low, high) with low < high"),
        ({"bounds": (0, 1), "kind": "probabilty"}, two, "kind 'probabilty' is not one of value, probability"),
        ({"bounds": (0, 1), "outcome": "bool"}, two, "outcome 'bool' is not one of binary, class"),
        ({"bounds": (0, 1), "link": "log", "gradient": two}, two, "link 'log' is not one of identity"),
        ({"bounds": (0, 1), "gradient": two}, two, "two has a gradient: say by which link"),
        ({"bounds": (0, 1), "unit": 5}, two, "a unit is a word such as USD, not 5"),
        ({"bounds": (0, 1)}, positional, "positional takes (y_true, y_pred, cap); a loss takes"),
        ({"bounds": (0, 1)}, no_default, "parameter 'cap' of no_default needs a default"),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused(
    declare: dict[str, Any], function: Callable[..., Array], words: str
) -> None:
    with pytest.raises(InputError, match=re.escape(words)):
        loss(**declare)(function)


def test_a_cost_per_batch_is_not_a_cost_per_row() -> None:
    @loss(bounds=(0, 1))
    def mean(y_true: Array, y_pred: Array) -> Array:
        return abs(y_true - y_pred).mean()

    with pytest.raises(
        InputError, match=re.escape("mean returned shape (); it must return one cost per row: (2,)")
    ):
        mean([0, 1], [0.1, 0.2])


def test_a_cost_beyond_its_bounds_names_the_row() -> None:
    half = loss(bounds=(0, 0.5), name="half")(two)
    with pytest.raises(
        InputError, match=re.escape("row 1: cost 0.9 is outside the declared bounds [0, 0.5]")
    ):
        half([0, 0], [0.1, 0.9])
    costs, problems = half.rows([0, 0], [0.1, 0.9])
    assert np.array_equal(costs, [0.1, math.nan], equal_nan=True)
    assert [(problem.row, problem.field) for problem in problems] == [(1, "loss")]


def test_a_nan_cost_is_beyond_any_bounds() -> None:
    @loss(bounds=(-math.inf, math.inf), name="broken")
    def broken(y_true: Array, y_pred: Array) -> Array:
        return y_pred * math.nan

    assert broken.rows([1], [0.5])[1][0].message == "cost nan is outside the declared bounds [-inf, inf]"


def test_names_are_sorted_and_an_unknown_one_gets_an_alternative() -> None:
    assert list(names()) == sorted(names())
    with pytest.raises(UnknownName, match=r"unknown loss 'logloss'; did you mean 'log_loss'\?"):
        get("logloss")


def test_registering_twice_is_harmless_and_another_of_that_name_is_refused() -> None:
    mine = loss(bounds=(0, 1), name="test_registered")(two)
    assert register(mine) == register(loss(bounds=(0, 1), name="test_registered")(two))
    assert get("test_registered") == mine
    with pytest.raises(Conflict, match="test_registered is already test_registered@"):
        register(loss(bounds=(0, 2), name="test_registered")(two))
    with pytest.raises(Conflict, match="brier is already brier@"):
        register(loss(bounds=(0, 1), name="brier")(two))
    with pytest.raises(InputError, match="has no name of its own"):
        register(brier.clip(0.5))


def test_a_loss_without_gradient_says_so() -> None:
    for ask in (delay_cost.gradient, delay_cost.hessian):
        with pytest.raises(InputError, match="has no gradient, so it can be watched but not trained on"):
            ask([1], [0.0])
    with pytest.raises(InputError, match="has no gradient"):
        delay_cost.predict([0.0])
    with pytest.raises(InputError, match="absolute has no hessian"):
        get("absolute").hessian([1.0], [0.0])
    assert not delay_cost.has_hessian
    assert not get("absolute").has_hessian


@pytest.mark.parametrize("margin", [-800.0, 0.0, 800.0])
def test_margins_of_any_size_become_probabilities(margin: float) -> None:
    assert 0 <= log_loss.predict([margin])[0] <= 1
    assert get("log_loss_multiclass").predict([[margin, 0.0]]).sum() == pytest.approx(1)


def test_an_outcome_is_asked_for_only_where_it_is_needed() -> None:
    assert constraint_violation(None, [0.5]).tolist() == [0.0]
    for ask in (brier, brier.rows, brier.check_rows):
        with pytest.raises(InputError, match="this loss needs an outcome for every row"):
            ask(None, [0.5])
