"""History for training: what had matured by a moment, with its features, in the order of the log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from lossloop.core.calendar import Calendar
from lossloop.core.clock import DAY
from lossloop.core.errors import InputError
from lossloop.ledger.files.segments import SegmentLog
from lossloop.ledger.frames import Frame, Kind
from lossloop.ledger.history import labelled
from lossloop.ledger.joined.join import Join
from lossloop.ledger.joined.keys import Keys
from lossloop.ledger.sqlite.state import State
from tests.ledger.samples import features, outcome_frame, prediction_frame, tick_frame

CALENDAR = Calendar(span=DAY)
AGE = 10
KEYS = Keys(b"secret")


class Ledger:
    """A log, and a state into which everything appended is folded at once."""

    def __init__(self, path: Path) -> None:
        self.log = SegmentLog(path / "log")
        self.state = State(path / "state.db")
        self._writer = self.log.writer()

    def put(self, frame: Frame, *, model: str = "m") -> None:
        self._writer.append([frame])
        at = np.full(frame.batch.num_rows, frame.time, dtype=np.int64)
        join = Join(self.state, model, KEYS)
        if frame.kind is Kind.PREDICTION:
            join.take_predictions(frame.batch, at=at, calendar=CALENDAR)
        if frame.kind is Kind.OUTCOME:
            join.take_outcomes(frame.batch, at=at, age=AGE)
        with self.state.transaction():
            join.flush()

    def labelled(self, *, until: int = 1 << 60, model: str = "m") -> pa.Table:
        reader = self.log.reader()
        try:
            return labelled(reader, self.state, KEYS, model, until=until, age=AGE)
        finally:
            reader.close()

    def close(self) -> None:
        self._writer.close()
        self.state.close()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path)
    yield made
    made.close()


def ids(table: pa.Table) -> list[str]:
    found: list[str] = table["id"].to_pylist()
    return found


def test_predictions_with_their_outcome_and_features_in_the_order_of_the_log(ledger: Ledger) -> None:
    seen = features([{"hour": 7.0, "carrier": "UA"}, {"hour": None, "carrier": "AA"}])
    ledger.put(prediction_frame(["b", "a"], [0.25, 0.75], time=3, unit=["ann", None], features=seen))
    ledger.put(tick_frame(4))
    ledger.put(outcome_frame({"a": 1.0, "b": 0.0}, time=5))
    table = ledger.labelled()
    assert table.column_names == [
        "id",
        "time",
        "unit",
        "version",
        "role",
        "y_pred",
        "hour",
        "carrier",
        "y_true",
    ]
    assert table.drop_columns(["time"]).to_pylist() == [
        {"id": "b", "unit": "ann", "version": 1, "role": "champion", "y_pred": 0.25, "hour": 7.0,
         "carrier": "UA", "y_true": 0.0},
        {"id": "a", "unit": None, "version": 1, "role": "champion", "y_pred": 0.75, "hour": None,
         "carrier": "AA", "y_true": 1.0},
    ]  # fmt: skip
    assert table["time"].cast(pa.int64()).to_pylist() == [3, 3]


@pytest.mark.parametrize(("until", "wanted"), [(19, ["old"]), (20, ["old"]), (30, ["old", "young"])])
def test_only_what_had_matured_by_then(ledger: Ledger, until: int, wanted: list[str]) -> None:
    ledger.put(prediction_frame(["old"], time=0))
    ledger.put(prediction_frame(["young"], time=20))
    ledger.put(outcome_frame({"old": 1.0}, time=5))
    ledger.put(outcome_frame({"young": 1.0}, time=22))
    assert ids(ledger.labelled(until=until)) == wanted


def test_an_outcome_that_came_later_is_not_known(ledger: Ledger) -> None:
    ledger.put(prediction_frame(["a", "late", "never", "unknown"], time=0))
    ledger.put(outcome_frame({"a": 1.0}, time=5))
    ledger.put(outcome_frame({"unknown": None}, time=6))
    ledger.put(outcome_frame({"late": 1.0}, time=50))
    assert ids(ledger.labelled(until=40)) == ["a"]
    assert ids(ledger.labelled(until=50)) == ["a", "late"]


def test_what_was_sent_twice_stands_once(ledger: Ledger) -> None:
    ledger.put(prediction_frame(["a", "b"], [0.1, 0.2]))
    ledger.put(prediction_frame(["b", "c"], [0.9, 0.3]))
    ledger.put(outcome_frame({"a": 0.0, "b": 0.0, "c": 0.0}))
    table = ledger.labelled()
    assert (ids(table), table["y_pred"].to_pylist()) == (["a", "b", "c"], [0.1, 0.2, 0.3])


def test_vectors_can_be_trained_on(ledger: Ledger) -> None:
    ledger.put(prediction_frame(["a", "b"], [[0.1, 0.9], [0.5, 0.5]]))
    ledger.put(outcome_frame({"b": 1.0}))
    assert ledger.labelled()["y_pred"].to_pylist() == [[0.5, 0.5]]


def test_a_feature_with_a_name_of_ours_stands_beside_it(ledger: Ledger) -> None:
    ledger.put(prediction_frame(["a"], time=3, features=features([{"time": 9.5, "unit": "kg", "hour": 1.0}])))
    ledger.put(outcome_frame({"a": 1.0}, time=3))
    (row,) = ledger.labelled().to_pylist()
    assert (row["features.time"], row["features.unit"], row["hour"], row["unit"]) == (9.5, "kg", 1.0, None)


def test_what_another_system_predicted_keeps_its_features_as_json(ledger: Ledger) -> None:
    ledger.put(prediction_frame(["a"], features=pa.array(['{"hour":7}'])))
    ledger.put(outcome_frame({"a": 1.0}))
    assert ledger.labelled()["features"].to_pylist() == ['{"hour":7}']


def test_a_feature_that_came_later_is_null_before(ledger: Ledger) -> None:
    ledger.put(prediction_frame(["a"], features=features([{"hour": 1.0}])))
    ledger.put(prediction_frame(["b"], features=features([{"hour": 2.0, "wind": 3.0}])))
    ledger.put(outcome_frame({"a": 1.0, "b": 1.0}))
    assert ledger.labelled()["wind"].to_pylist() == [None, 3.0]


def test_other_models_are_left_out(ledger: Ledger) -> None:
    ledger.put(prediction_frame(["a"], model="m"))
    ledger.put(prediction_frame(["b"], model="other"), model="other")
    ledger.put(outcome_frame({"a": 1.0, "b": 1.0}))
    assert ids(ledger.labelled()) == ["a"]


@pytest.mark.parametrize("with_prediction", [True, False])
def test_nothing_to_train_on_is_said(ledger: Ledger, with_prediction: bool) -> None:
    if with_prediction:
        ledger.put(prediction_frame(["a"]))
    with pytest.raises(InputError, match="m has no predictions with an outcome yet"):
        ledger.labelled()
