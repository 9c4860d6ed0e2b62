"""Limits and constraints: whatever a version says, nothing leaves that a policy does not let out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.serving import Constraint, Limit, Serving, Then
from lossloop.serve.limits import Columns, Floats, guard

NOTHING: Columns = {}
numbers = st.floats(-1e6, 1e6, allow_nan=False)
thens = st.sampled_from(list(Then))
bounds = st.tuples(numbers, numbers).map(sorted)
limits = st.builds(
    lambda ends, then, value: Limit(
        low=ends[0], high=ends[1], then=then, where={"c": (value,)} if value else {}
    ),
    bounds,
    thens,
    st.sampled_from(["", "a", "b"]),
)


def of(*limits: Limit) -> Serving:
    return Serving(limits=limits)


def array(*values: Any) -> Floats:
    return np.array(values, np.float64)


def test_without_limits_nothing_is_looked_at() -> None:
    values = array(1, 2)
    assert guard(Serving(), {}, values, NOTHING).values is values


def test_an_answer_beyond_a_bound_is_cut_to_it_and_what_was_said_stays_as_it_was() -> None:
    said = array(-1, 0, 0.5, 2)
    found = guard(of(Limit(low=0, high=1)), {}, said, NOTHING)
    assert found.values.tolist() == [0, 0, 0.5, 1]
    assert dict(found.clamped) == {0: "0 <= y_pred <= 1", 3: "0 <= y_pred <= 1"}
    assert not found.stopped
    assert said.tolist() == [-1, 0, 0.5, 2]


def test_a_limit_for_some_rows_leaves_the_others_alone() -> None:
    columns = {"country": np.array(["DE", None, "FR", "AT"], object), "age": array(17, math.nan, 17, 40)}
    german = Limit(high=1, where={"country": ("DE", "AT")})
    young = Limit(high=1, where={"age": ("17.0",)})
    both = Limit(high=1, where={"country": ("DE", "AT"), "age": ("17",)})
    none = Limit(high=1, where={"carrier": ("UA",)})
    words = Limit(high=1, where={"age": ("young",)})
    cut = [
        sorted(guard(of(each), {}, array(5, 5, 5, 5), columns).clamped)
        for each in (german, young, both, none, words)
    ]
    assert cut == [[0, 3], [0, 2], [0], [], []]


def test_each_limit_sees_what_those_before_it_left() -> None:
    found = guard(of(Limit(high=5), Limit(high=6, then=Then.REFUSE)), {}, array(9), NOTHING)
    assert (found.values.tolist(), dict(found.stopped)) == ([5], {})
    found = guard(of(Limit(high=6, then=Then.REFUSE), Limit(high=5)), {}, array(9), NOTHING)
    assert found.refused == {0}
    assert dict(found.clamped) == {}, "it does not leave, so nothing was cut"


def test_of_several_that_are_broken_the_strictest_decides_and_is_named() -> None:
    both = of(Limit(high=1, then=Then.FALL_BACK), Limit(high=2, then=Then.REFUSE))
    found = guard(both, {}, array(1.5, 3), NOTHING)
    assert dict(found.stopped) == {0: "beyond the limit y_pred <= 1", 1: "beyond the limit y_pred <= 2"}
    assert found.refused == {1}


def test_a_vector_is_beyond_a_limit_where_one_of_its_components_is() -> None:
    said = np.array([[0.5, 2.0], [0.5, 0.5]])
    assert guard(of(Limit(high=1)), {}, said, NOTHING).values.tolist() == [[0.5, 1.0], [0.5, 0.5]]
    assert list(guard(of(Limit(high=1, then=Then.REFUSE)), {}, said, NOTHING).stopped) == [0]


def double(values: Floats, columns: Columns) -> Floats:
    return values * 2.0 if "unknown" not in columns else np.full(len(values), math.nan)


def test_a_constraint_stops_what_costs_too_much_or_cannot_be_costed() -> None:
    serving = Serving(constraints=(Constraint(loss="d", at_most=1, then=Then.REFUSE),))
    found = guard(serving, {"d": double}, array(0.5, 0.6), NOTHING)
    assert dict(found.stopped) == {1: "against the constraint d at most 1"}
    assert found.refused == {1}
    assert sorted(guard(serving, {"d": double}, array(0.1, 0.2), {"unknown": array(1, 1)}).stopped) == [0, 1]


def test_constraints_see_what_the_limits_left() -> None:
    serving = Serving(limits=(Limit(high=0.5),), constraints=(Constraint(loss="d", at_most=1),))
    found = guard(serving, {"d": double}, array(7), NOTHING)
    assert (found.values.tolist(), dict(found.stopped)) == ([0.5], {})


def test_rows_that_nobody_asks_about_are_passed_over() -> None:
    serving = Serving(limits=(Limit(high=1),), constraints=(Constraint(loss="d", at_most=0),))
    found = guard(serving, {"d": double}, array(math.nan, 5, 5), NOTHING, rows=[1])
    assert (list(found.clamped), list(found.stopped)) == ([], [1])
    assert found.values[2] == 5


@given(
    st.lists(limits, max_size=5), st.lists(st.tuples(numbers, st.sampled_from("abc")), min_size=1, max_size=9)
)
def test_what_leaves_keeps_the_last_word_of_every_limit(
    found: list[Limit], rows: list[tuple[float, str]]
) -> None:
    """Row by row, the slow way."""
    said, kinds = array(*(number for number, _ in rows)), np.array([kind for _, kind in rows], object)
    out = guard(of(*found), {}, said, {"c": kinds})
    for row, (number, kind) in enumerate(rows):
        value, stopped, refused = number, False, False
        for limit in found:
            assert limit.low is not None
            assert limit.high is not None
            if limit.where and kind not in limit.where["c"]:
                continue
            if not limit.low <= value <= limit.high:
                stopped |= limit.then is not Then.CLAMP
                refused |= limit.then is Then.REFUSE
                if limit.then is Then.CLAMP:
                    value = min(max(value, limit.low), limit.high)
        assert (row in out.stopped, row in out.refused) == (stopped, refused)
        assert out.values[row] == value
        assert (row in out.clamped) <= (not stopped)
        assert stopped or (out.values[row] == said[row]) or row in out.clamped
    assert out.refused <= set(out.stopped)
    assert set(out.stopped).isdisjoint(out.clamped)
