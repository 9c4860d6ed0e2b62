"""The slices of rows as numbers: the same rows give the same ones, and they are few."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.calendar import Calendar
from lossloop.core.clock import DAY
from lossloop.core.cuts import Cut, read_cut, resolved
from lossloop.ledger.facts import predictions
from lossloop.ledger.joined.join import Join
from lossloop.ledger.joined.keys import Keys
from lossloop.ledger.joined.slicing import MOST_VALUES, Sliced, Slicer, dictionary_of, said
from lossloop.ledger.memory import MemoryStore
from lossloop.ledger.sqlite.state import State

CUTS = resolved(
    [
        read_cut(value)
        for value in ("carrier", "carrier x distance", {"feature": "distance", "bins": [500, 1000]})
    ]
)


def batch(rows: Sequence[Any], *, as_text: bool = False) -> pa.RecordBatch:
    """Predictions with these features: a struct, or JSON as it was sent."""
    text = pa.array([None if row is None else msgspec.json.encode(row).decode() for row in rows], pa.string())
    columns = {
        "id": [f"p{place}" for place in range(len(rows))],
        "version": [1] * len(rows),
        "time": list(range(len(rows))),
        "y_pred": [0.5] * len(rows),
        "features": text if as_text else pa.array(rows),
    }
    return predictions(columns, model="m")


def labels(slicer: Slicer, store: MemoryStore, made: pa.RecordBatch, cut: Cut) -> list[str | None]:
    numbers = slicer.numbers(made, CUTS)
    return named(Sliced(numbers=numbers, dictionary=dictionary_of(store, "m")), cut)


def named(sliced: Sliced, cut: Cut) -> list[str | None]:
    names, places = sliced.dictionary.names(cut), sliced.by(cut)
    assert places is not None
    return [names[place] if place >= 0 else None for place in places.tolist()]


ROWS = [
    {"carrier": "UA", "distance": 100.0},
    {"carrier": "AA", "distance": 500.0},
    {"carrier": None, "distance": 1000.5},
    {"carrier": "UA", "distance": None},
]


@pytest.mark.parametrize("as_text", [False, True])
def test_rows_are_told_apart_by_value_by_range_and_by_both(as_text: bool) -> None:
    store = MemoryStore()
    slicer, made = Slicer(store, "m"), batch(ROWS, as_text=as_text)
    assert labels(slicer, store, made, CUTS[0]) == ["carrier=UA", "carrier=AA", "carrier=none", "carrier=UA"]
    ranges = ["distance<500", "500<=distance<1000", "distance>=1000", "distance=none"]
    assert labels(slicer, store, made, CUTS[2]) == ranges
    assert labels(slicer, store, made, CUTS[1])[:2] == [
        "carrier=UA, distance<500",
        "carrier=AA, 500<=distance<1000",
    ]


def test_a_row_that_says_nothing_of_a_feature_is_in_the_slice_of_none() -> None:
    store = MemoryStore()
    made = batch([{"other": 1}], as_text=True)
    assert labels(Slicer(store, "m"), store, made, CUTS[0]) == ["carrier=none"]
    without = made.drop_columns(["features"])
    assert labels(Slicer(store, "m"), store, without, CUTS[1]) == ["carrier=none, distance=none"]


@pytest.mark.parametrize("text", ["[1]", "{", "7", '{"carrier": [1]}', '{"carrier": {"a": 1}}', ""])
def test_hostile_features_stop_nothing(text: str) -> None:
    store = MemoryStore()
    made = batch([{"carrier": "UA"}] * 2, as_text=True)
    column = pa.array([text, '{"carrier": "UA"}'])
    made = made.set_column(made.schema.get_field_index("features"), "features", column)
    found = labels(Slicer(store, "m"), store, made, CUTS[0])
    assert found[1] == "carrier=UA"
    assert found[0] in ("carrier=none", "carrier=other")


@pytest.mark.parametrize(
    ("value", "label"),
    [
        ("UA, origin=EWR", 'carrier="UA, origin=EWR"'),
        ("none", 'carrier="none"'),
        ("other", 'carrier="other"'),
        ("", 'carrier=""'),
        (" a", 'carrier=" a"'),
        ("\x1b[31m", 'carrier="\\u001b[31m"'),
        ("x" * 101, "carrier=other"),
        (10**400, "carrier=other"),
        (2.0, "carrier=2"),
        (2, "carrier=2"),
        (2.5, "carrier=2.5"),
        (True, "carrier=True"),
        (float("nan"), "carrier=none"),
    ],
)
def test_a_value_is_named_so_that_it_is_taken_for_nothing_else(value: Any, label: str) -> None:
    store = MemoryStore()
    if isinstance(value, float) and math.isnan(value):
        made = batch([{"carrier": value}])
    else:
        made = batch([{"carrier": value}, {"carrier": [1]}], as_text=True)
    assert labels(Slicer(store, "m"), store, made, CUTS[0])[0] == label


def test_words_are_no_range() -> None:
    store = MemoryStore()
    made = batch([{"distance": "far"}, {"distance": 10**400}, {"distance": 700}], as_text=True)
    found = labels(Slicer(store, "m"), store, made, CUTS[2])
    assert found == ["distance=other", "distance=other", "500<=distance<1000"]


def test_what_comes_beyond_the_most_values_is_the_rest() -> None:
    store = MemoryStore()
    slicer = Slicer(store, "m")
    made = batch([{"carrier": f"c{place}"} for place in range(MOST_VALUES + 5)])
    found = labels(slicer, store, made, CUTS[0])
    assert found[MOST_VALUES - 1] == f"carrier=c{MOST_VALUES - 1}"
    assert set(found[MOST_VALUES:]) == {"carrier=other"}
    assert labels(slicer, store, batch([{"carrier": "c3"}, {"carrier": "new"}]), CUTS[0]) == [
        "carrier=c3",
        "carrier=other",
    ]


def test_a_cut_that_was_asked_for_later_knows_nothing_of_rows_before() -> None:
    store = MemoryStore()
    slicer = Slicer(store, "m")
    before = slicer.numbers(batch(ROWS), CUTS[:1])
    after = slicer.numbers(batch(ROWS), CUTS[2:])
    again = slicer.numbers(batch(ROWS), CUTS[:1])
    assert before is not None
    assert after is not None
    both = Sliced(numbers=np.concatenate([before, after]), dictionary=dictionary_of(store, "m"))
    assert named(both, CUTS[2])[:4] == [None] * 4
    assert named(both, CUTS[0])[4:] == [None] * 4
    assert again is not None
    assert again.tolist() == before.tolist(), "what comes back has its numbers again"
    assert Sliced(numbers=before, dictionary=dictionary_of(store, "m")).by(read_cut("else")) is None


def test_only_so_many_cuts_have_a_place() -> None:
    store = MemoryStore()
    cuts = [read_cut(f"f{place}") for place in range(8)]
    numbers = Slicer(store, "m").numbers(batch([{"f0": 1.0}]), cuts)
    assert numbers is not None
    assert numbers.min() > 0
    assert len(dictionary_of(store, "m").cuts) == 6


VALUES = st.one_of(st.none(), st.text(max_size=3), st.integers(-9, 9), st.floats(allow_infinity=False))


@given(
    rows=st.lists(st.fixed_dictionaries({"carrier": VALUES, "distance": VALUES}), min_size=1, max_size=30),
    cuts=st.lists(st.integers(0, 30), max_size=4),
)
def test_however_often_it_is_opened_anew_numbers_are_the_same(
    rows: list[dict[str, Any]], cuts: list[int]
) -> None:
    """The dictionary is all there is: one that is read again goes on as if it had not been away."""
    pieces = [batch(rows[low:high], as_text=True) for low, high in _stretches(cuts, len(rows))]
    one, other = MemoryStore(), MemoryStore()
    slicer = Slicer(one, "m")
    there = [slicer.numbers(piece, CUTS) for piece in pieces]
    back = [Slicer(other, "m").numbers(piece, CUTS) for piece in pieces]
    assert [each.tolist() for each in there if each is not None] == [
        each.tolist() for each in back if each is not None
    ]
    assert dictionary_of(one, "m") == dictionary_of(other, "m")


@given(rows=st.lists(st.fixed_dictionaries({"carrier": st.sampled_from("abc")}), min_size=1, max_size=30))
def test_columns_and_json_say_the_same(rows: list[dict[str, Any]]) -> None:
    one, other = MemoryStore(), MemoryStore()
    as_struct = Slicer(one, "m").numbers(batch(rows), CUTS)
    as_text = Slicer(other, "m").numbers(batch(rows, as_text=True), CUTS)
    assert as_struct is not None
    assert as_text is not None
    assert as_struct.tolist() == as_text.tolist()


def _stretches(cuts: Sequence[int], count: int) -> list[tuple[int, int]]:
    ends = sorted({min(cut, count) for cut in cuts} | {0, count})
    return list(pairwise(ends))


# In the table.


def test_rows_keep_their_slices_and_erased_ones_lose_them(tmp_path: Path) -> None:
    state = State(tmp_path / "state.db")
    join, slicer = Join(state, "m", Keys(b"secret")), Slicer(state, "m")
    made = batch(ROWS)
    with state.transaction():
        join.take_predictions(
            made, at=np.arange(4), calendar=Calendar(span=DAY), slices=slicer.numbers(made, CUTS)
        )
        join.flush()
    again = Join(state, "m", Keys(b"secret")).table.slice(1, 4)
    assert named(again.slices, CUTS[0]) == ["carrier=AA", "carrier=none", "carrier=UA"]
    assert named(again.pick(again.seq > 2).slices, CUTS[0]) == ["carrier=none", "carrier=UA"]
    with state.transaction():
        join.erase_ids(["p1"])
    assert named(join.table.slice(0, 4).slices, CUTS[0]) == ["carrier=UA", None, "carrier=none", "carrier=UA"]
    state.close()


def test_a_model_without_slices_keeps_no_column(tmp_path: Path) -> None:
    state = State(tmp_path / "state.db")
    join = Join(state, "m", Keys(b"secret"))
    with state.transaction():
        join.take_predictions(batch(ROWS), at=np.arange(4), calendar=Calendar(span=DAY))
        join.flush()
    (chunk,) = state.chunks("rows/m")
    assert "slices" not in chunk.batch.schema.names
    assert join.table.slice(0, 4).slices.numbers is None
    assert dictionary_of(state, "m").cuts == ()
    state.close()


def test_values_in_words() -> None:
    assert [said(value) for value in (None, float("nan"), 2.0, 2.5, "x")] == ["none", "none", "2", "2.5", "x"]
