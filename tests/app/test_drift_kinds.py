"""What predictions say to a watch of drift, read from whatever they were sent as. Without any disk."""

from __future__ import annotations

import decimal
import json
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossloop.act.policy import read_policy
from lossloop.act.watches import DriftWatch, PredictionShiftWatch
from lossloop.app.judging import Lens
from lossloop.app.watches import Arrived, by_rows, judge_of, kind_of
from lossloop.app.watches.drift import DriftKind, PredictionShiftKind
from lossloop.core.errors import InputError
from lossloop.core.profile import Profile
from lossloop.judges import BlockDrift, Drift, profile_of
from lossloop.registry import Manifest, Version
from tests.app.desk import policy_text

Array = npt.NDArray[np.float64]

PLANS = ["free", "pro"]
LENS = Lens(policy=read_policy(policy_text()))
ROWS = DriftWatch(promise="1 per 100,000 predictions")
BLOCKS = DriftWatch(promise="1 per 3650 blocks")
ANSWERS = PredictionShiftWatch(promise="1 per 100,000 predictions")
INPUTS, SHIFTS = DriftKind(), PredictionShiftKind()


def profile(width: int = 1) -> Profile:
    rng = np.random.default_rng(0)
    columns = {"age": rng.integers(20, 60, 2000), "plan": rng.choice(np.array(PLANS, dtype=object), 2000)}
    return profile_of(columns, predictions=rng.random((2000, width)), blocks=np.arange(2000) // 50)


def champion(made: Profile | None, digest: str = "d1") -> Version:
    manifest = Manifest(runtime="external", profile=made)
    return Version(model="m", number=1, digest=digest, manifest=manifest, registered_at=0)


CHAMPION = champion(profile())


def arrived(features: pa.Array | None, y_pred: Any = None) -> Arrived:
    count = len(y_pred) if features is None else len(features)
    answers = np.asarray([0.5] * count if y_pred is None else y_pred, dtype=np.float64)
    return Arrived(y_pred=answers, unit=np.zeros(count, np.int64), seq=np.arange(count), features=features)


def said(features: pa.Array | None, watch: DriftWatch = ROWS, **more: Any) -> Array:
    return INPUTS.evidence(LENS, watch, CHAMPION, arrived(features, **more))


def struct(age: Any, plan: Any) -> pa.Array:
    return pa.StructArray.from_arrays([pa.array(age), pa.array(plan)], ["age", "plan"])


MISSING = said(struct([None], pa.array([None], pa.string())))[0].tolist()
FREE_AT_30 = said(struct([30.0], ["free"]))[0].tolist()


def test_rows_say_their_bins_and_blocks_their_statistics() -> None:
    found = struct([30.0, 31.0, None], ["free", "pro", "other"])
    assert said(found).shape == (3, 2)
    assert said(found, BLOCKS).shape == (3, 5 + 5)
    assert (said(found, BLOCKS) <= 1.0).all()
    assert isinstance(judge_of(LENS, ROWS, CHAMPION), Drift)
    assert isinstance(judge_of(LENS, BLOCKS, CHAMPION), BlockDrift)
    assert by_rows(ROWS)
    assert not by_rows(BLOCKS)
    assert isinstance(kind_of(ROWS), DriftKind)


@pytest.mark.parametrize(
    "age",
    [
        pa.array([30], pa.int64()),
        pa.array([30], pa.uint8()),
        pa.array([30.0], pa.float32()),
        pa.array([30.0], pa.float64()),
        pa.array([30.0], pa.float64()).dictionary_encode(),
    ],
    ids=lambda column: str(column.type),
)
@pytest.mark.parametrize(
    "plan",
    [
        pa.array(["free"], pa.string()),
        pa.array(["free"], pa.large_string()),
        pa.array(["free"], pa.string()).dictionary_encode(),
    ],
    ids=lambda column: str(column.type),
)
def test_any_type_of_the_same_value_is_the_same_bin(age: pa.Array, plan: pa.Array) -> None:
    assert said(struct(age, plan))[0].tolist() == FREE_AT_30


@pytest.mark.parametrize(
    "age",
    [
        pa.nulls(1),
        pa.array(["30"]),
        pa.array([[30.0]]),
        pa.array([decimal.Decimal("30.5")]),
        pa.array([math.nan]),
        pa.array([b"30"]),
        pa.array([{"years": 30}]),
    ],
    ids=lambda column: str(column.type),
)
def test_what_is_no_number_is_missing(age: pa.Array) -> None:
    assert said(struct(age, ["free"]))[0].tolist() == [MISSING[0], FREE_AT_30[1]]


@pytest.mark.parametrize(
    "plan",
    [pa.nulls(1), pa.array([3]), pa.array([True]), pa.array([["free"]])],
    ids=lambda each: str(each.type),
)
def test_what_is_no_text_is_missing(plan: pa.Array) -> None:
    assert said(struct([30.0], plan))[0].tolist() == [FREE_AT_30[0], MISSING[1]]


def test_infinite_numbers_are_the_highest_and_the_lowest() -> None:
    found = said(struct([-math.inf, math.inf], ["free", "free"]))[:, 0]
    assert found.tolist() == [0.0, MISSING[0] - 1]


def test_a_feature_that_no_row_has_is_missing_and_others_are_not_looked_at() -> None:
    alone = pa.StructArray.from_arrays([pa.array(["free"]), pa.array([1])], ["plan", "shoe size"])
    assert said(alone)[0].tolist() == [MISSING[0], FREE_AT_30[1]]


def test_rows_without_features_say_nothing() -> None:
    assert np.isnan(said(None, y_pred=[0.1, 0.2])).all()
    assert np.isnan(said(None, BLOCKS, y_pred=[0.1, 0.2])).all()
    some = pa.StructArray.from_arrays(
        [pa.array([30.0, 30.0]), pa.array(["free", "free"])], ["age", "plan"], mask=pa.array([False, True])
    )
    found = said(some)
    assert found[0].tolist() == FREE_AT_30
    assert np.isnan(found[1]).all()
    assert (said(pa.array([1, 2])) == MISSING).all()


cells = st.fixed_dictionaries(
    {},
    optional={
        "age": st.one_of(st.none(), st.integers(-(10**6), 10**6), st.floats(-1e6, 1e6)),
        "plan": st.one_of(st.none(), st.sampled_from([*PLANS, "team", ""])),
    },
)


@settings(max_examples=60)
@given(rows=st.lists(cells, min_size=1, max_size=8))
def test_json_says_what_a_struct_says(rows: list[dict[str, Any]]) -> None:
    texts = said(pa.array([json.dumps(row) for row in rows]))
    ages = [None if row.get("age") is None else float(row["age"]) for row in rows]
    columns = struct(pa.array(ages, pa.float64()), pa.array([row.get("plan") for row in rows], pa.string()))
    np.testing.assert_array_equal(texts, said(columns))
    one_by_one = np.concatenate([said(pa.array([json.dumps(row)])) for row in rows])
    np.testing.assert_array_equal(texts, one_by_one)


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=80)
@given(values=st.lists(st.one_of(json_values.map(json.dumps), st.text(max_size=10)), min_size=1, max_size=5))
def test_no_text_stops_the_loop(values: list[str]) -> None:
    found = said(pa.array(values))
    assert found.shape == (len(values), 2)
    judge = judge_of(LENS, ROWS, CHAMPION)
    _, verdict = judge.update(judge.start(), found)
    assert verdict.kind.value == "no_data"


@settings(max_examples=60)
@given(age=json_values, plan=json_values)
def test_no_value_stops_the_loop(age: Any, plan: Any) -> None:
    found = said(pa.array([json.dumps({"age": age, "plan": plan}), json.dumps({"age": plan, "plan": age})]))
    assert ((found >= 0.0) & (found <= MISSING)).all()


def test_answers_are_read_by_column() -> None:
    three = champion(profile(3), "d3")
    wide = SHIFTS.evidence(LENS, ANSWERS, three, arrived(None, [[0.1, 0.2, 0.7], [0.3, np.nan, np.nan]]))
    assert wide.shape == (2, 3)
    missing = SHIFTS.judge(LENS, ANSWERS, three).features[1].bins - 1
    assert wide[1, 1:].tolist() == [missing, missing]
    narrow = SHIFTS.evidence(LENS, ANSWERS, three, arrived(None, [0.1, np.nan]))
    assert narrow[0, 1] == missing
    assert np.isnan(narrow[1]).all()
    one = SHIFTS.evidence(LENS, ANSWERS, CHAMPION, arrived(None, [[0.1, 0.9]]))
    assert one.shape == (1, 1)


def test_a_judge_is_made_once_for_each_version_and_watch() -> None:
    assert INPUTS.judge(LENS, ROWS, CHAMPION) is INPUTS.judge(LENS, ROWS, champion(profile()))
    assert INPUTS.judge(LENS, ROWS, CHAMPION) is not INPUTS.judge(LENS, ROWS, champion(profile(), "other"))
    assert INPUTS.judge(LENS, ROWS, CHAMPION) is not INPUTS.judge(LENS, BLOCKS, CHAMPION)


@pytest.mark.parametrize("watch", [ROWS, BLOCKS, ANSWERS], ids=lambda watch: watch.promise)
def test_without_a_profile_it_says_what_to_do(watch: DriftWatch | PredictionShiftWatch) -> None:
    with pytest.raises(InputError, match=r"m:1 has no profile .* lossloop.profile_of, .* key 'profile'"):
        judge_of(LENS, watch, champion(None))


def test_each_kind_says_what_it_cannot_see() -> None:
    assert "the model still be right" in INPUTS.cannot_see
    assert "whether the answers are right" in SHIFTS.cannot_see
    assert not INPUTS.shows_mean
    assert not SHIFTS.shows_mean
