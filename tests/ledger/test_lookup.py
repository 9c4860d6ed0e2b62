"""One prediction by its id: found without a table, and the same as in it, with what was sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossloop.core.calendar import Calendar
from lossloop.core.clock import DAY
from lossloop.ledger.files.segments import SegmentLog
from lossloop.ledger.frames import Frame, Kind
from lossloop.ledger.joined import places, stream
from lossloop.ledger.joined.columns import NEVER
from lossloop.ledger.joined.join import Join
from lossloop.ledger.joined.keys import Keys
from lossloop.ledger.joined.lookup import Known, find
from lossloop.ledger.joined.places import Places
from lossloop.ledger.joined.table import ROLES, Table, history_of
from lossloop.ledger.sqlite.state import State
from tests.ledger.samples import features, outcome_frame, prediction_frame

CALENDAR = Calendar(span=DAY)
KEYS = Keys(b"secret")


class Ledger:
    """A log of some writers, and a state into which all but what is held back is folded."""

    def __init__(self, path: Path) -> None:
        self.log = SegmentLog(path / "log")
        self.state = State(path / "state.db")
        self.writers = [self.log.writer() for _ in range(3)]
        self._joins: dict[str, Join] = {}
        self._ends: dict[str, int] = {}

    def put(self, frame: Frame, *, writer: int = 0, model: str = "m", history: bool = False) -> None:
        """Append a frame and fold it, as an applier does."""
        where = self.append(frame, writer=writer)
        start, self._ends[where.segment] = self._ends.get(where.segment, 0), where.offset
        join = self._joins.setdefault(model, Join(self.state, model, KEYS))
        at = np.full(frame.batch.num_rows, frame.time, dtype=np.int64)
        with self.state.transaction():
            if frame.kind is Kind.PREDICTION:
                name, table = (history_of(model), join.history) if history else (model, join.table)
                notes = Places(self.state, name)
                notes.note(len(table), where.segment, start)
                notes.flush()
                join.take_predictions(frame.batch, at=at, calendar=CALENDAR, history=history)
            elif frame.kind is Kind.OUTCOME:
                join.take_outcomes(frame.batch, at=at, age=DAY)
            join.flush()
            self.state.put_offset(where.segment, where.offset)

    def append(self, frame: Frame, *, writer: int = 0) -> Any:
        return self.writers[writer].append([frame])

    def find(self, id: str, *, model: str = "m") -> Known | None:
        reader = self.log.reader()
        try:
            return find(self.state, reader, KEYS, model, id)
        finally:
            reader.close()

    def sent(self, id: str) -> dict[str, Any]:
        found = self.find(id)
        assert found is not None
        return dict(found.sent)

    def close(self) -> None:
        for writer in self.writers:
            writer.close()
        self.state.close()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path)
    yield made
    made.close()


def test_all_that_is_known_of_a_prediction(ledger: Ledger) -> None:
    seen = features([{"hour": 7.0}, {"hour": 8.0}])
    ledger.put(prediction_frame(
        ["a", "b"], [0.25, 0.75], time=3, version=[1, 2], role=["champion", "challenger"],
        propensity=[0.9, 0.1], unit=["ann", None], features=seen,
    ))  # fmt: skip
    ledger.put(outcome_frame({"b": 1.0}, time=9))
    a, b = ledger.find("a"), ledger.find("b")
    assert a is not None
    assert b is not None
    assert (a.row, a.version, a.role, a.propensity, a.time) == (0, 1, "champion", 0.9, 3)
    assert (a.y_pred, a.y_true, a.labelled_at) == (0.25, None, None)
    assert (a.sent["id"], a.sent["unit"], a.sent["features"]) == ("a", "ann", {"hour": 7.0})
    assert (b.row, b.version, b.role, b.propensity) == (1, 2, "challenger", 0.1)
    assert (b.y_pred, b.y_true, b.labelled_at) == (0.75, 1.0, 9)
    assert b.sent["features"] == {"hour": 8.0}


def test_what_is_not_there_is_not_found(ledger: Ledger) -> None:
    assert ledger.find("a") is None
    ledger.put(prediction_frame(["a"]))
    ledger.put(outcome_frame({"early": 1.0}))
    assert ledger.find("early") is None, "an outcome alone is no prediction"
    assert ledger.find("a", model="other") is None


def test_lists_come_as_long_as_they_were(ledger: Ledger) -> None:
    ledger.put(prediction_frame(["a", "b"], [[0.5, 0.5], [0.1, 0.2, 0.7]]))
    a, b = ledger.find("a"), ledger.find("b")
    assert a is not None
    assert b is not None
    assert (a.y_pred, b.y_pred) == ([0.5, 0.5], [0.1, 0.2, 0.7])


def test_an_outcome_that_says_missing_has_come_and_is_none(ledger: Ledger) -> None:
    ledger.put(prediction_frame(["a"]))
    ledger.put(outcome_frame({"a": None}, time=5))
    found = ledger.find("a")
    assert found is not None
    assert (found.y_true, found.labelled_at) == (None, 5)


def test_of_what_was_sent_twice_the_first_is_shown(ledger: Ledger) -> None:
    ledger.put(prediction_frame(["a", "a"], [0.1, 0.2], unit=["first", "second"]))
    ledger.put(prediction_frame(["a", "b"], [0.3, 0.4], unit=["third", "bob"]))
    assert (ledger.sent("a")["unit"], ledger.sent("b")["unit"]) == ("first", "bob")


def test_history_is_found_too(ledger: Ledger) -> None:
    ledger.put(prediction_frame(["now"], unit=["ann"]))
    ledger.put(prediction_frame(["now", "old"], unit=["nobody", "bob"]), history=True)
    assert (ledger.sent("now")["unit"], ledger.sent("old")["unit"]) == ("ann", "bob")
    found = ledger.find("old")
    assert found is not None
    assert found.row == 0, "by its place among the history"


def test_what_is_erased_is_not_found(ledger: Ledger) -> None:
    ledger.put(prediction_frame(["a", "b"]))
    with ledger.state.transaction():
        ledger._joins["m"].erase(np.array([0]))
    assert ledger.find("a") is None
    assert ledger.find("b") is not None


def test_frames_that_were_not_folded_are_in_nobodys_way(ledger: Ledger) -> None:
    """Another server's clock is behind: what it sends sorts before all that was folded."""
    ledger.put(prediction_frame(["a"], unit=["ann"], time=50))
    for number in range(3):
        ledger.append(prediction_frame([f"x{number}"], time=number), writer=1)
    assert ledger.sent("a")["unit"] == "ann"
    assert ledger.find("x0") is None


def test_what_has_expired_is_known_but_for_what_was_sent(ledger: Ledger) -> None:
    ledger.put(prediction_frame(["a"], [0.25], unit=["ann"]))
    for file in ledger.log.directory.glob("*.seg"):
        file.unlink()
    found = ledger.find("a")
    assert found is not None
    assert (found.y_pred, found.sent) == (0.25, {})


def test_damage_in_the_log_hides_only_what_was_sent(ledger: Ledger) -> None:
    ledger.put(prediction_frame(["a"], unit=["ann"]))
    ledger.put(prediction_frame(["b"], unit=["bob"]))
    (file,) = ledger.log.directory.glob("*.seg")
    raw = bytearray(file.read_bytes())
    raw[60] ^= 1
    file.write_bytes(raw)
    found = ledger.find("a")
    assert found is not None
    assert (found.y_pred, found.sent.get("unit")) == (0.5, None)
    assert ledger.sent("b")["unit"] == "bob"


batches = st.lists(
    st.tuples(
        st.lists(st.integers(0, 30), min_size=1, max_size=6), st.integers(0, 2), st.integers(1, 3),
        st.lists(st.integers(0, 30), max_size=4, unique=True),
    ),
    min_size=1, max_size=12,
)  # fmt: skip


@settings(max_examples=12)
@given(batches=batches)
def test_each_prediction_is_as_the_table_has_it(
    tmp_path_factory: pytest.TempPathFactory, batches: list[tuple[list[int], int, int, list[int]]]
) -> None:
    ledger = Ledger(tmp_path_factory.mktemp("ledger"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(stream, "_GATHERED", 3)
        patched.setattr(places, "_AT_ONCE", 4)
        for time, (numbers, writer, width, labelled) in enumerate(batches):
            ids, y_pred = [f"id {number}" for number in numbers], [[number / 8] * width for number in numbers]
            units = [f"unit {number} {time}" for number in numbers]
            ledger.put(prediction_frame(ids, y_pred, unit=units, time=time), writer=writer)
            ledger.put(
                outcome_frame({f"id {number}": time / 2 for number in labelled}, time=time), writer=writer
            )
    table = Table(ledger.state, "m")
    for number in range(31):
        found, (row,) = ledger.find(f"id {number}"), table.find(*KEYS.of(pa.array([f"id {number}"]))).tolist()
        assert (found is None) == (row < 0)
        if found is None:
            continue
        rows = table.slice(row, row + 1)
        since = int(rows.labelled_at[0])
        assert (found.row, found.version, found.role) == (row, rows.version[0], ROLES[rows.role[0]])
        assert found.y_pred == [number / 8] * np.count_nonzero(~np.isnan(rows.y_pred[0]))
        assert found.labelled_at == (None if since == NEVER else since)
        assert found.y_true == (None if since == NEVER else rows.y_true[0])
        assert found.sent["id"] == f"id {number}"
        assert found.sent["unit"] == f"unit {number} {found.time}", "as it was sent the first time"
    ledger.close()
