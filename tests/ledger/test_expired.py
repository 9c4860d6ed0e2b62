"""What is kept of a frame that expires is all that a join asks for; nobody could be shown it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.calendar import Calendar
from lossloop.core.clock import HOUR
from lossloop.core.cuts import read_cut
from lossloop.ledger import facts
from lossloop.ledger.belonging import Belonging, keys_from, texts_of
from lossloop.ledger.expired import EXPIRED_KINDS, Needs, expired, expired_all
from lossloop.ledger.frames import Frame, Kind
from lossloop.ledger.joined.join import Join, Taken
from lossloop.ledger.joined.slicing import Slicer, dictionary_of, features_of
from lossloop.ledger.memory import MemoryStore
from lossloop.ledger.postgres.frames import frame_of, row_of
from lossloop.ledger.removals import Held
from tests.ledger.samples import KEYS, NEEDS, features, outcome_frame, prediction_frame

IDS = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=4, unique=True)
UNITS = st.sampled_from(["Ada", "bob", "", None])


@st.composite
def some_predictions(draw: st.DrawFn) -> Frame:
    ids = draw(IDS)
    wide = draw(st.booleans())
    one = st.lists(st.floats(0, 1), min_size=2, max_size=2) if wide else st.floats(0, 1)
    time = draw(st.integers(0, 99))
    columns: dict[str, Any] = {
        "id": ids,
        "time": [time] * len(ids),
        "y_pred": [draw(one) for _ in ids],
        "unit": [draw(UNITS) for _ in ids],
        "content": [draw(st.sampled_from([b"", b"sent", b"something longer", None])) for _ in ids],
        "propensity": [draw(st.sampled_from([0.25, 1.0])) for _ in ids],
        "role": [draw(st.sampled_from(["champion", "challenger"])) for _ in ids],
        "version": [draw(st.integers(1, 3)) for _ in ids],
        "features": features([{"x": 1.0}] * len(ids)),
    }
    return Frame(kind=Kind.PREDICTION, time=time, batch=facts.predictions(columns, model="m"))


@st.composite
def some_outcomes(draw: st.DrawFn) -> Frame:
    labels = draw(st.dictionaries(st.sampled_from("abcdef"), st.sampled_from([0.0, 1.0, None]), min_size=1))
    return outcome_frame(labels, time=draw(st.integers(0, 99)))


FRAMES = st.lists(st.one_of(some_predictions(), some_outcomes()), max_size=8)


def joined(frames: list[Frame]) -> tuple[list[Taken], dict[str, list[Any]]]:
    """What a join says of each frame, and the table that it comes to."""
    join, said = Join(MemoryStore(), "m", KEYS), []
    for frame in frames:
        at = np.full(frame.batch.num_rows, frame.time, np.int64)
        if frame.kind in (Kind.PREDICTION, Kind.EXPIRED_PREDICTION):
            said.append(join.take_predictions(frame.batch, at=at, calendar=Calendar(span=HOUR)))
        else:
            said.append(join.take_outcomes(frame.batch, at=at, age=HOUR))
    rows = np.arange(len(join.table))
    names = ("key_high", "key_low", "version", "role", "unit", "y_pred", "content", "y_true", "judged")
    found = join.table.columns(names, rows)
    return said, {name: values.tolist() for name, values in zip(names, found, strict=True)}


@given(FRAMES, st.integers(0, 8))
def test_a_join_cannot_tell(frames: list[Frame], count: int) -> None:
    said, table = joined(frames)
    found, again = joined([*expired_all(frames[:count], NEEDS), *frames[count:]])
    np.testing.assert_equal(again, table)
    for one, other in zip(found, said, strict=True):
        assert counts(one) == counts(other)


def counts(taken: Taken) -> tuple[Any, ...]:
    names = ("predictions", "outcomes", "corrections", "waiting", "repeats", "conflicts", "missing")
    return tuple(getattr(taken, name) for name in names)


@given(FRAMES)
def test_together_they_become_what_each_becomes_and_that_once(frames: list[Frame]) -> None:
    found = expired_all(frames, NEEDS)
    assert [expired(frame, NEEDS) for frame in frames] == found
    assert expired_all(found, NEEDS) == found
    assert [frame.time for frame in found] == [frame.time for frame in frames]
    assert [frame.kind for frame in found] == [EXPIRED_KINDS[frame.kind] for frame in frames]


@given(some_predictions())
def test_nothing_that_names_a_row_is_left_and_a_database_gives_it_back(frame: Frame) -> None:
    thin = expired(frame, NEEDS)
    assert not {"id", "unit", "content", "features"} & set(thin.batch.schema.names)
    row = row_of(thin)
    assert b"Ada" not in row["payload"]
    payload = {name: row[name] for name in ("kind", "time", "rows", "crc", "payload")}
    assert frame_of(1, **payload) == thin
    assert row["model"] == "m"


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"id": pa.array([1]), "y_true": pa.array([1.0]), "time": pa.array([0])},
        {"id": pa.array(["a"]), "time": pa.array([0])},
    ],
)
def test_of_what_no_fold_can_take_nothing_is_kept(columns: dict[str, pa.Array]) -> None:
    schema = pa.schema({name: each.type for name, each in columns.items()}, metadata={"model": "m"})
    batch = pa.RecordBatch.from_arrays(list(columns.values()), schema=schema)
    (thin,) = expired_all([Frame(kind=Kind.OUTCOME, time=3, batch=batch)], NEEDS)
    assert (thin.kind, thin.time, thin.batch.num_rows) == (Kind.EXPIRED_OUTCOME, 3, 0)
    assert thin.batch.schema.metadata == {b"model": b"m"}


@pytest.mark.parametrize("text", [True, False])
def test_features_by_which_rows_are_told_apart_stay_and_no_others(text: bool) -> None:
    rows: list[dict[str, Any] | None] = [
        {"x": "a", "y": 1.5, "name": "Ada"},
        {"x": None, "y": 2.5, "name": "bob"},
        None,
    ]
    sent = [None if row is None else json.dumps(row) for row in rows] if text else pa.array(rows)
    whole = prediction_frame(["a", "b", "c"], features=sent)
    cuts = [
        read_cut("x"),
        read_cut({"feature": "y", "bins": [1, 2]}),
        read_cut("x x y"),
        read_cut("never sent"),
    ]
    store, again = MemoryStore(), MemoryStore()
    numbers = Slicer(store, "m").numbers(whole.batch, cuts)
    features = features_of(store, "m")
    assert {"x", "y", "never sent"} <= features
    thin = expired(whole, Needs(keys=KEYS, features=features)).batch
    assert "features" not in thin.schema.names, "they say nothing about drift: the others are missing"
    assert "Ada" not in str(thin.column("slice_features").to_pylist())
    np.testing.assert_array_equal(Slicer(again, "m").numbers(thin, cuts), numbers)
    assert dictionary_of(again, "m") == dictionary_of(store, "m")
    assert "slice_features" not in expired(whole, NEEDS).batch.schema.names


def test_whose_rows_are_whose_before_and_after() -> None:
    whole = prediction_frame(["a", "b", "c"], unit=["Ada", None, "bob"])
    whose, held = Belonging("Ada", KEYS), Held()
    for frame in (whole, expired(whole, NEEDS)):
        mine = whose.mine(frame.batch)
        assert mine.tolist() == [True, False, False]
        whose.note(frame.batch, mine, held)
    assert held.ids == {"a"}
    assert held.keys == set(texts_of(*KEYS.of(pa.array(["a"]))))
    for known in (held, Held(ids={"a"}), Held(keys=held.keys)):
        named = whose.named(known)
        for frame in (whole, expired(whole, NEEDS), outcome_frame({"b": 1.0, "a": 0.0})):
            ids = (
                frame.batch.column("id").to_pylist() if "id" in frame.batch.schema.names else ["a", "b", "c"]
            )
            assert named.those(frame.batch).tolist() == [id == "a" for id in ids]
    assert not whose.named(Held()).those(whole.batch).any()


@given(st.lists(st.text(), min_size=1))
def test_keys_as_texts_come_back(ids: list[str]) -> None:
    high, low = KEYS.of(pa.array(ids))
    again = keys_from(texts_of(high, low))
    np.testing.assert_array_equal(again[0], high)
    np.testing.assert_array_equal(again[1], low)
    assert [len(each) for each in keys_from([])] == [0, 0]


def test_of_an_explanation_and_of_what_was_cut_nothing_is_kept() -> None:
    columns = {
        "id": ["a"], "version": [1], "time": [3], "y_pred": [0.5], "limited": ["y_pred <= 0.5"],
        "raw_y_pred": [0.9], "explanation": ['{"contributions":{"age":1.0}}'],
    }  # fmt: skip
    whole = Frame(kind=Kind.PREDICTION, time=5, batch=facts.predictions(columns, model="m"))
    assert not {"limited", "raw_y_pred", "explanation"} & set(expired(whole, NEEDS).batch.schema.names)
