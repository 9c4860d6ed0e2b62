"""Recent predictions as they are read from the end of the log, against what was sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lossloop.app.home import Home
from lossloop.app.versions.recent import Recent, missing, read_recent
from lossloop.ledger.facts import predictions
from lossloop.ledger.frames import Frame, Kind
from tests.app.desk import MODEL, Desk, asked, happened, moment


@contextmanager
def opened(home: Home) -> Iterator[Any]:
    state = home.state()
    try:
        yield state
    finally:
        state.close()


def read(desk: Desk, most: int = 1_000) -> Recent:
    with opened(desk.home) as state:
        return read_recent(desk.home, state, MODEL, most=most)


def sent(desk: Desk, hour: float, rows: Sequence[dict[str, Any] | None], **given: Any) -> list[str]:
    """Predictions with features; one without is sent without."""
    ids = desk.ids(len(rows))
    there = [row for row in rows if row is not None]
    if len(there) == len(rows):
        desk.send(asked(hour, [0.25] * len(rows), ids, features=there, **given))
    else:
        desk.send(asked(hour, [0.25] * len(rows), ids, **given))
    return ids


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    found = Desk.ready(tmp_path / "s", versions=2)
    found.fold()
    return found


def test_the_last_rows_oldest_first(desk: Desk) -> None:
    for hour in range(1, 6):
        sent(desk, hour, [{"x": hour * 10 + row} for row in range(4)])
    assert read(desk, 6).features["x"].tolist() == [42, 43, 50, 51, 52, 53]
    assert len(read(desk)) == 20
    assert read(desk).bare == 0


@pytest.mark.parametrize("most", [1, 3, 4, 5, 8, 100])
def test_no_more_than_was_asked_for_wherever_frames_are_cut(desk: Desk, most: int) -> None:
    for hour in (1, 2):
        sent(desk, hour, [{"x": hour * 10 + row} for row in range(4)])
    every = [10, 11, 12, 13, 20, 21, 22, 23]
    assert read(desk, most).features["x"].tolist() == every[-most:]


def test_rows_that_brought_no_features_are_counted_and_left_out(desk: Desk) -> None:
    sent(desk, 1, [{"x": 1}, {"x": 2}])
    sent(desk, 2, [None, None, None])
    found = read(desk)
    assert found.features["x"].tolist() == [1, 2]
    assert found.bare == 3


def test_a_feature_that_some_rows_lack_is_missing_there(desk: Desk) -> None:
    sent(desk, 1, [{"x": 1, "c": "a"}, {"x": 2}])
    sent(desk, 2, [{"c": "b"}])
    found = read(desk)
    assert np.array_equal(found.features["x"], [1, 2, np.nan], equal_nan=True)
    assert found.features["c"].tolist() == ["a", None, "b"]
    assert missing(found.features["x"]).tolist() == [False, False, True]
    assert missing(found.features["c"]).tolist() == [False, True, False]


def test_outcomes_in_force_after_corrections_and_none_where_none_came(desk: Desk) -> None:
    ids = sent(desk, 1, [{"x": row} for row in range(4)])
    desk.know(2, ids[:2], 1.0)
    desk.know(3, ids[:1], 0.0)
    assert np.array_equal(read(desk).y_true, [0.0, 1.0, np.nan, np.nan], equal_nan=True)
    assert np.array_equal(read(desk, 3).y_true, [1.0, np.nan, np.nan], equal_nan=True)


def test_outcomes_of_rows_before_the_last_ones_are_not_taken_for_theirs(desk: Desk) -> None:
    old = sent(desk, 1, [{"x": row} for row in range(5)])
    desk.know(2, old, 1.0)
    sent(desk, 3, [{"x": 9}])
    assert np.isnan(read(desk, 1).y_true).all()


def test_who_answered_and_what_the_shadow_said(desk: Desk) -> None:
    ids = desk.ids(2)
    desk.send(asked(1, [0.25, 0.25], ids, version=2, features=[{"x": 1}, {"x": 2}]))
    more = desk.ids(2)
    desk.send(asked(2, [0.04, 0.04], more, features=[{"x": 3}, {"x": 4}], shadow=(2, [0.09, 0.16])))
    found = read(desk)
    assert found.version.tolist() == [2, 2, 1, 1]
    assert found.y_pred.tolist() == [0.5, 0.5, 0.2, 0.2]
    assert found.shadow_version.tolist() == [0, 0, 2, 2]
    assert found.shadow_y_pred[2:].tolist() == [0.3, 0.4]
    assert len(np.unique(found.block)) == 1


def test_a_prediction_that_was_sent_twice_stands_once(desk: Desk) -> None:
    frame = asked(1, [0.25], desk.ids(1), features=[{"x": 1}])
    desk.send(frame, frame)
    assert read(desk).features["x"].tolist() == [1]


def test_predictions_of_another_model_are_not_among_them(desk: Desk) -> None:
    desk.register("another", model=MODEL)
    sent(desk, 1, [{"x": 1}])
    other = asked(1, [0.25], ["other"], features=[{"x": 99}], model="stranger")
    desk.send(other)
    assert read(desk).features["x"].tolist() == [1]


def test_features_that_a_server_wrote_as_columns(desk: Desk) -> None:
    """What Lossloop serves itself lies in the log as a struct, not as JSON."""
    rows: list[dict[str, Any]] = [{"x": 1.0, "c": "a"}, {"x": None, "c": None}, {"x": 3.0, "c": "b"}]
    batch = predictions(
        {
            "id": desk.ids(3), "version": [1] * 3, "time": [moment(1)] * 3, "unit": [None] * 3,
            "role": ["champion"] * 3, "propensity": [1.0] * 3, "y_pred": [0.1, 0.2, 0.3],
            "shadow_version": [None] * 3, "shadow_y_pred": [None] * 3, "content": [b"a", b"b", b"c"],
            "features": _struct(rows),
        },
        model=MODEL,
    )  # fmt: skip
    desk.send(Frame(kind=Kind.PREDICTION, time=0, batch=batch))
    found = read(desk)
    assert found.features["x"].tolist() == [1.0, 3.0]
    assert found.features["c"].tolist() == ["a", "b"]
    assert found.y_pred.tolist() == [0.1, 0.3]


def _struct(rows: list[dict[str, Any]]) -> Any:
    return pa.array(rows, pa.struct([("x", pa.float64()), ("c", pa.string())]))


def test_numbers_and_texts_of_one_feature_are_texts(desk: Desk) -> None:
    sent(desk, 1, [{"x": 1}, {"x": 2}])
    sent(desk, 2, [{"x": "many"}])
    assert read(desk).features["x"].tolist() == ["1", "2", "many"]


def test_lists_are_as_wide_as_the_widest(tmp_path: Path) -> None:
    desk = Desk.at(tmp_path / "s")
    desk.policy(task="multiclass", loss="brier_multiclass")
    desk.register("one", reference=None)
    ids = desk.ids(2)
    batch = predictions(
        {
            "id": ids, "version": [1] * 2, "time": [moment(1)] * 2, "unit": [None] * 2,
            "role": ["champion"] * 2, "propensity": [1.0] * 2, "y_pred": [[0.5, 0.5], [0.2, 0.3, 0.5]],
            "shadow_version": [None] * 2, "shadow_y_pred": [None] * 2, "content": [b"a", b"b"],
            "features": ['{"x": 1}', '{"x": 2}'],
        },
        model=MODEL,
    )  # fmt: skip
    desk.send(Frame(kind=Kind.PREDICTION, time=0, batch=batch), happened(2, ids, 1.0))
    found = read(desk)
    assert found.y_pred.shape == (2, 3)
    assert np.isnan(found.y_pred[0, 2])
    assert found.y_true.tolist() == [1.0, 1.0]


def test_some_of_the_rows_keep_their_order(desk: Desk) -> None:
    sent(desk, 1, [{"x": row, "c": str(row)} for row in range(5)])
    found = read(desk).pick(np.array([3, 1]))
    assert found.features["x"].tolist() == [3, 1]
    assert found.features["c"].tolist() == ["3", "1"]
    assert len(found) == 2
