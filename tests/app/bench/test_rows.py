"""Made rows are what a real sender sends."""

from __future__ import annotations

import json
import uuid

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.app.bench import rows
from lossloop.core.clock import parse_time
from lossloop.ledger.facts import micros, model_of
from lossloop.ledger.frames import batch_of

NOW = 1_700_000_000_000_000


@given(st.lists(st.integers(0, 2**48 - 1), max_size=20))
def test_an_id_is_a_uuid_with_its_number(numbers: list[int]) -> None:
    ids = rows.ids(np.array(numbers, dtype=np.int64)).to_pylist()
    assert ids == [f"0192f0c1-7e3a-7000-8000-{number:012x}" for number in numbers]
    assert [str(uuid.UUID(id)) for id in ids] == ids


def test_predictions_are_probabilities_and_the_same_every_time() -> None:
    numbers = np.arange(5, 1_005)
    batch = rows.predicted(numbers, NOW)
    assert batch.equals(rows.predicted(numbers, NOW))
    assert model_of(batch) == rows.MODEL
    values = batch.column("y_pred").to_numpy()
    assert ((values >= 0.01) & (values <= 0.99)).all()
    assert (micros(batch.column("time")) == NOW).all()
    assert set(batch.column("version").to_pylist()) == {1}


def test_outcomes_are_of_the_predictions_with_the_same_numbers() -> None:
    numbers = np.array([7, 3, 9])
    assert rows.happened(numbers, NOW).column("id").equals(rows.predicted(numbers, NOW).column("id"))
    assert set(rows.happened(np.arange(100), NOW).column("y_true").to_pylist()) == {0.0, 1.0}


@pytest.mark.parametrize("what", ["predictions", "outcomes"])
def test_an_arrow_body_holds_the_batch(what: str) -> None:
    batch = rows.made(what, np.arange(10), NOW)
    assert batch_of(rows.as_arrow(batch)).equals(batch)


@pytest.mark.parametrize(("what", "keys"), [("predictions", {"version", "y_pred"}), ("outcomes", {"y_true"})])
def test_a_json_body_holds_the_same_rows(what: str, keys: set[str]) -> None:
    batch = rows.made(what, np.arange(10), NOW)
    body = json.loads(rows.as_json(what, batch))
    assert body["model"] == rows.MODEL
    assert [row["id"] for row in body[what]] == batch.column("id").to_pylist()
    assert all(row.keys() == {"id", "time", *keys} for row in body[what])
    assert {parse_time(row["time"]) for row in body[what]} == {NOW}


def test_no_rows_are_no_rows() -> None:
    assert rows.ids(np.empty(0, np.int64)).equals(pa.array([], pa.string()))
    assert rows.predicted(np.empty(0, np.int64), NOW).num_rows == 0
