"""The join against a dictionary: predictions and outcomes in any order, again, corrected, or too early."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lossloop.core.calendar import Calendar
from lossloop.core.clock import HOUR, MINUTE, Micros
from lossloop.ledger.join import Rows, Taken, block_rows, matured, take_outcomes, take_predictions
from lossloop.ledger.state import State
from tests.ledger.samples import outcome_frame, prediction_frame

MODEL, OTHER = "m", "other"
CALENDAR = Calendar(span=HOUR)
AGE = 20 * MINUTE

ids = st.sampled_from(["a", "b", "c", "d", "e"])
contents = st.sampled_from([b"one", b"two"])
labels = st.sampled_from([0.0, 1.0, None])
few = st.integers(1, 3)
Label = tuple[float | None, Micros]
"""An outcome, and when the first one came."""
COUNTED = ("predictions", "outcomes", "waiting", "repeats", "conflicts")


@dataclass
class Predicted:
    """A prediction as a dictionary keeps it."""

    content: bytes
    version: int
    at: Micros
    label: Label | None = None


@dataclass
class Books:
    """What the state must hold, and what was said on the way."""

    predictions: dict[str, Predicted] = field(default_factory=dict)
    waiting: dict[str, Label] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTED, 0))

    def predict(self, id: str, content: bytes, version: int, at: Micros) -> None:
        known = self.predictions.get(id)
        if known is not None:
            self.counts["repeats" if known.content == content else "conflicts"] += 1
            return
        self.predictions[id] = Predicted(content, version, at, self.waiting.pop(id, None))
        self.counts["predictions"] += 1
        self.counts["outcomes"] += self.predictions[id].label is not None

    def happen(self, id: str, y_true: float | None, at: Micros) -> None:
        known = self.predictions.get(id)
        before = self.waiting.get(id) if known is None else known.label
        if before is not None and before[0] == y_true:
            self.counts["repeats"] += 1
            return
        label = (y_true, at if before is None else before[1])
        if known is None:
            self.waiting[id] = label
        else:
            known.label = label
        self.counts["waiting" if known is None else "outcomes"] += 1


class Join(RuleBasedStateMachine):
    """Facts go to a real state and to the dictionary; both must say the same."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.state = State(Path(self.folder.name) / "state.db")
        self.books = Books()
        self.now: Micros = 0
        self.said = dict.fromkeys(COUNTED, 0)
        self.tally: dict[tuple[int, int, float], int] = {}

    def teardown(self) -> None:
        if hasattr(self, "state"):
            self.state.close()
            self.folder.cleanup()

    def note(self, taken: Taken) -> None:
        for name in COUNTED:
            said = getattr(taken, name)
            self.said[name] += len(said) if isinstance(said, list) else said
        for change in taken.changes:
            for label, step in ((change.before, -1), (change.after, 1)):
                if label is not None:
                    place = (change.version, change.block, label)
                    self.tally[place] = self.tally.get(place, 0) + step

    @rule(minutes=st.integers(0, 45))
    def wait(self, minutes: int) -> None:
        self.now += minutes * MINUTE

    @rule(rows=st.lists(st.tuples(ids, contents), min_size=1, max_size=4), version=st.integers(1, 2))
    def predict(self, rows: list[tuple[str, bytes]], version: int) -> None:
        at = np.arange(self.now, self.now + len(rows), dtype=np.int64)
        self.now = int(at[-1])
        frame = prediction_frame([id for id, _ in rows], content=b"", version=[version] * len(rows))
        batch = frame.batch.set_column(
            frame.batch.schema.get_field_index("content"), "content", [content for _, content in rows]
        )
        with self.state.transaction():
            self.note(take_predictions(self.state, batch, model=MODEL, at=at, calendar=CALENDAR))
        for (id, content), moment in zip(rows, at.tolist(), strict=True):
            self.books.predict(id, content, version, moment)

    @rule(found=st.dictionaries(ids, labels, min_size=1, max_size=4))
    def happen(self, found: dict[str, float | None]) -> None:
        at = np.full(len(found), self.now, dtype=np.int64)
        with self.state.transaction():
            self.note(take_outcomes(self.state, outcome_frame(found).batch, model=MODEL, at=at))
        for id, y_true in found.items():
            self.books.happen(id, y_true, self.now)

    @rule(id=ids, y_true=labels)
    def another_model_has_the_same_ids(self, id: str, y_true: float | None) -> None:
        take_outcomes(self.state, outcome_frame({id: y_true}).batch, model=OTHER, at=np.array([self.now]))

    @rule(id=ids, y_true=labels, content=contents)
    def crash_before_the_commit(self, id: str, y_true: float | None, content: bytes) -> None:
        at = np.array([self.now])
        try:
            with self.state.transaction():
                frame = prediction_frame([id], content=content)
                take_predictions(self.state, frame.batch, model=MODEL, at=at, calendar=CALENDAR)
                take_outcomes(self.state, outcome_frame({id: y_true}).batch, model=MODEL, at=at)
                raise ConnectionError
        except ConnectionError:
            pass

    @rule()
    def restart(self) -> None:
        self.state.close()
        self.state = State(Path(self.folder.name) / "state.db")

    @invariant()
    def the_counts_are_the_same(self) -> None:
        assert self.said == self.books.counts

    @invariant()
    def early_outcomes_wait(self) -> None:
        found = self.state.connection.execute("SELECT id, y_true, labelled_at FROM waiting WHERE model = 'm'")
        assert {id: (y_true, at) for id, y_true, at in found} == self.books.waiting
        assert self.state.row("count_waiting", MODEL) == (len(self.books.waiting),)

    @invariant()
    def rows_are_in_prediction_order_with_their_labels(self) -> None:
        rows = matured(self.state, model=MODEL, after=0, since=0, until=self.now)
        known = list(self.books.predictions.values())
        assert rows.version.tolist() == [each.version for each in known]
        assert rows.at.tolist() == [each.at for each in known]
        assert np.array_equal(rows.y_true, truths(known), equal_nan=True)
        assert np.array_equal(rows.labels_by(AGE), truths(known, AGE), equal_nan=True)

    @invariant()
    def each_block_holds_its_rows(self) -> None:
        known = list(self.books.predictions.values())
        for start in {each.at // HOUR * HOUR for each in known}:
            rows: Rows = block_rows(self.state, model=MODEL, block=start)
            assert rows.at.tolist() == [each.at for each in known if each.at // HOUR * HOUR == start]
            assert set(rows.block.tolist()) == {start}

    @invariant()
    def the_changes_add_up_to_the_labels(self) -> None:
        wanted: dict[tuple[int, int, float], int] = {}
        for each in self.books.predictions.values():
            if each.label is not None and each.label[0] is not None:
                place = (each.version, each.at // HOUR * HOUR, each.label[0])
                wanted[place] = wanted.get(place, 0) + 1
        assert {place: count for place, count in self.tally.items() if count} == wanted

    @precondition(lambda self: bool(self.books.predictions))
    @rule(data=st.data())
    def rows_are_read_in_parts(self, data: st.DataObject) -> None:
        everything = matured(self.state, model=MODEL, after=0, since=0, until=self.now)
        seq, at, seen = 0, 0, []
        while len(
            part := matured(self.state, model=MODEL, after=seq, since=at, until=self.now, most=data.draw(few))
        ):
            seq, at = int(part.seq[-1]), int(part.at[-1])
            seen += part.seq.tolist()
        assert seen == everything.seq.tolist()


def truths(known: list[Predicted], age: Micros | None = None) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The labels as they are known, or as they were at an age."""
    return np.array(
        [
            np.nan
            if each.label is None
            or each.label[0] is None
            or (age is not None and each.label[1] > each.at + age)
            else each.label[0]
            for each in known
        ],
        dtype=np.float64,
    )


TestJoin = Join.TestCase
TestJoin.settings = settings(max_examples=60, stateful_step_count=25)
