"""The join against a dictionary: facts in any order, again, corrected, too early; crashes and erasures."""

from __future__ import annotations

import contextlib
import copy
import math
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lossloop.core.calendar import Calendar
from lossloop.core.clock import HOUR, MINUTE, Micros
from lossloop.ledger.facts import outcomes
from lossloop.ledger.joined import columns, stream, table
from lossloop.ledger.joined.join import Join, Taken
from lossloop.ledger.joined.keys import Keys
from lossloop.ledger.joined.table import Rows
from lossloop.ledger.sqlite import state
from lossloop.ledger.sqlite.state import State
from tests.ledger.samples import prediction_frame

MODEL, OTHER = "m", "other"
CALENDAR = Calendar(span=HOUR)
AGE = 20 * MINUTE
KEYS = Keys(b"secret")
COUNTED = ("predictions", "outcomes", "corrections", "waiting", "repeats", "conflicts")
OUTCOMES = ("outcomes", "corrections", "waiting", "repeats")
"""Where an outcome that was received is counted; repeats of predictions are counted apart here."""

Label = tuple[float, ...] | None
"""Numbers; None for an outcome that is known to be missing."""
Sent = tuple[str, bytes, tuple[float, ...]]
"""A prediction's id, what tells it from another one, and the prediction."""

ids = st.sampled_from([f"id {letter}" for letter in "abcdefgh"])
vectors = st.sampled_from([(0.25,), (0.5, 0.5), (0.1, 0.2, 0.7)])
asked = st.lists(st.tuples(ids, st.sampled_from([b"one", b"two"]), vectors), min_size=1, max_size=6)
some_numbers = st.lists(st.tuples(ids, st.sampled_from([(0.0,), (1.0,), None])), min_size=1, max_size=6)
some_lists = st.lists(st.tuples(ids, st.sampled_from([(1.0, 2.0), (1.0,), None])), min_size=1, max_size=6)
few = st.integers(1, 3)


@dataclass
class Predicted:
    """A prediction as a dictionary keeps it."""

    content: bytes
    version: int
    at: Micros
    y_pred: Label
    label: Label = None
    judged: Label = None
    since: Micros | None = None

    @property
    def block(self) -> int:
        return self.at // HOUR * HOUR

    def judged_by(self, age: Micros) -> Label:
        return self.judged if self.since is not None and self.since <= self.at + age else None


@dataclass
class Books:
    """What must be known, and what was said on the way."""

    rows: dict[bool, list[Predicted]] = field(default_factory=lambda: {False: [], True: []})
    """By whether they were brought in later."""
    known: dict[str, tuple[bool, int]] = field(default_factory=dict)
    """Where the row of an id is."""
    waiting: dict[str, tuple[Label, Micros]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    said: Counter[str] = field(default_factory=Counter)
    received: int = 0
    absent: int = 0
    """How many rows were looked at for outcomes that did not come."""
    made_up: int = 0
    """Outcomes that this gave, the last time."""
    tally: Counter[tuple[int, int, Label]] = field(default_factory=Counter)
    """Labels by version and block, as the changes have it."""

    def predict(self, sent: Sent, version: int, at: Micros, *, history: bool) -> None:
        id, content, y_pred = sent
        if id in self.known:
            later, place = self.known[id]
            same = self.rows[later][place].content == content
            self.counts["again" if same else "conflicts"] += 1
            return
        rows = self.rows[history]
        if rows and not history:
            at = max(at, rows[-1].at)
        self.known[id] = history, len(rows)
        rows.append(Predicted(content, version, at, y_pred))
        self.counts["predictions"] += 1
        if id in self.waiting:
            label, since = self.waiting.pop(id)
            self.counts["waiting"] -= 1
            self.counts["outcomes"] += 1
            rows[-1].label = rows[-1].judged = label
            rows[-1].since = since

    def happen(self, id: str, label: Label, at: Micros) -> None:
        self.received += 1
        if id not in self.known:
            self._wait(id, label, at)
            return
        later, place = self.known[id]
        row = self.rows[later][place]
        if row.since is None:
            self.counts["outcomes"] += 1
            row.label = row.judged = label
            row.since = at
        elif row.label == label:
            self.counts["repeats"] += 1
        else:
            self.counts["corrections"] += 1
            row.label = label
            if at <= row.at + AGE:
                row.judged = label

    def _wait(self, id: str, label: Label, at: Micros) -> None:
        before = self.waiting.get(id)
        if before is not None and before[0] == label:
            self.counts["repeats"] += 1
            return
        self.counts["waiting" if before is None else "corrections"] += 1
        self.waiting[id] = label, at if before is None else before[1]

    def absence(self, until: Micros) -> None:
        ripe = [each for each in self.rows[False][self.absent :] if each.at <= until]
        self.absent += len(ripe)
        # Of a row that was erased nothing is known, not even that no outcome came.
        nothing_came = [each for each in ripe if each.since is None and each.y_pred is not None]
        self.made_up = len(nothing_came)
        for row in nothing_came:
            row.label = row.judged = (0.0,)
            row.since = row.at + AGE

    def erase(self, id: str) -> None:
        later, place = self.known.pop(id)
        self.rows[later][place].y_pred = None

    def note(self, taken: Taken, *, predicted: bool) -> None:
        """Keep what the join said."""
        for name in COUNTED:
            self.said["again" if predicted and name == "repeats" else name] += getattr(taken, name)
        for changes in taken.changes:
            for labels, step in ((changes.before, -1), (changes.after, 1)):
                for version, block, label in zip(
                    changes.version.tolist(), changes.block.tolist(), map(plain, labels), strict=True
                ):
                    self.tally[version, block, label] += step


def plain(values: Any) -> Label:
    """A number, or a list filled up, as a label; missing ones are None."""
    found = tuple(each for each in np.atleast_1d(values).tolist() if not math.isnan(each))
    return found or None


class Machine(RuleBasedStateMachine):
    """Facts go to a real join and to the dictionary; both must say the same, whatever happens to the process.

    Parts of few rows, and chunks that are files and are merged early: all of it is met within a few facts.
    """

    @initialize(part=st.sampled_from([2, 5, 1000]), large=st.sampled_from([0, 1 << 20]))
    def begin(self, part: int, large: int) -> None:
        self.patched = pytest.MonkeyPatch()
        for module, name, value in (
            (columns, "PART_ROWS", part), (table, "PART_ROWS", part), (state, "LARGE", large),
            (stream, "_GATHERED", 3),
        ):  # fmt: skip
            self.patched.setattr(module, name, value)
        self.folder = tempfile.TemporaryDirectory()
        self.state = State(Path(self.folder.name) / "state.db")
        self.join = Join(self.state, MODEL, KEYS)
        self.books = Books()
        self.committed = Books()
        self.now: Micros = 100 * HOUR

    def teardown(self) -> None:
        if hasattr(self, "state"):
            self.state.close()
            self.folder.cleanup()
            self.patched.undo()

    @rule(minutes=st.integers(0, 45))
    def wait(self, minutes: int) -> None:
        self.now += minutes * MINUTE

    @rule(rows=asked, version=few, back=st.integers(0, 90), history=st.sampled_from([False, False, True]))
    def predict(self, rows: list[Sent], version: int, back: int, history: bool) -> None:
        at = self.now - back * MINUTE * np.arange(len(rows), dtype=np.int64)
        batch = prediction_frame(
            [id for id, _, _ in rows], [list(y_pred) for _, _, y_pred in rows],
            version=[version] * len(rows), content=None,
        ).batch  # fmt: skip
        batch = batch.append_column("content", pa.array([content for _, content, _ in rows]))
        taken = self.join.take_predictions(batch, at=at, calendar=CALENDAR, history=history)
        self.books.note(taken, predicted=True)
        for sent, moment in zip(rows, at.tolist(), strict=True):
            self.books.predict(sent, version, moment, history=history)

    @rule(rows=some_numbers)
    def happen(self, rows: list[tuple[str, Label]]) -> None:
        self.take(rows, pa.array([None if label is None else label[0] for _, label in rows], pa.float64()))

    @rule(rows=some_lists)
    def happen_as_lists(self, rows: list[tuple[str, Label]]) -> None:
        self.take(rows, pa.array([label for _, label in rows], pa.list_(pa.float64())))

    def take(self, rows: list[tuple[str, Label]], labels: pa.Array) -> None:
        batch = outcomes([id for id, _ in rows], labels, [0] * len(rows), model=MODEL)
        at = np.full(len(rows), self.now, dtype=np.int64)
        self.books.note(self.join.take_outcomes(batch, at=at, age=AGE), predicted=False)
        for id, label in rows:
            self.books.happen(id, label, self.now)

    @rule()
    def nothing_came_and_that_is_the_outcome(self) -> None:
        after, until = self.books.absent, self.now - AGE
        taken, reached = self.join.take_absence(after=after, until=until, age=AGE, value=0.0)
        self.books.absence(until)
        assert (taken.outcomes, reached) == (self.books.made_up, self.books.absent)
        taken.outcomes = 0
        self.books.note(taken, predicted=False)

    @rule(id=ids)
    def another_model_has_the_same_ids(self, id: str) -> None:
        other = Join(self.state, OTHER, KEYS)
        batch = outcomes([id], [1.0], [0], model=OTHER)
        other.take_outcomes(batch, at=np.array([self.now]), age=AGE)
        with self.state.transaction():
            other.flush()

    @precondition(lambda self: self.books.known)
    @rule(data=st.data())
    def erase(self, data: st.DataObject) -> None:
        with self.state.transaction():
            self.join.flush()
            for id in data.draw(st.lists(st.sampled_from(sorted(self.books.known)), max_size=3, unique=True)):
                history, row = self.books.known[id]
                self.join.erase(np.array([row]), history=history)
                self.books.erase(id)
        self.committed = copy.deepcopy(self.books)

    # What happens to a process.

    @rule(most=st.integers(0, 12))
    def commit(self, most: int) -> None:
        """What is full may leave memory then."""
        with self.state.transaction():
            self.join.flush()
            table.keep_within([self.join.table, self.join.history], most)
        self.committed = copy.deepcopy(self.books)

    @rule(midway=st.booleans())
    def crash_before_the_commit(self, midway: bool) -> None:
        with contextlib.suppress(ConnectionError), self.state.transaction():
            if midway:
                self.join.flush()
            raise ConnectionError
        self.books = copy.deepcopy(self.committed)
        self.join = Join(self.state, MODEL, KEYS)

    @rule()
    def restart(self) -> None:
        self.state.close()
        self.state = State(Path(self.folder.name) / "state.db")
        self.books = copy.deepcopy(self.committed)
        self.join = Join(self.state, MODEL, KEYS)

    # What must hold.

    @invariant()
    def the_counts_are_the_same(self) -> None:
        assert +self.books.said == +self.books.counts
        assert self.books.received == sum(self.books.said[name] for name in OUTCOMES), "an outcome was lost"
        assert self.books.said["waiting"] == len(self.books.waiting) == len(self.join._waiting)

    @invariant()
    def rows_are_in_prediction_order_with_their_labels(self) -> None:
        for history, rows in ((False, self.matured()), (True, self.join.history.slice(0, 1 << 30))):
            known = self.books.rows[history]
            assert rows.seq.tolist() == list(range(1, len(known) + 1))
            assert rows.version.tolist() == [each.version for each in known]
            assert rows.at.tolist() == [each.at for each in known]
            assert list(map(plain, rows.y_pred)) == [each.y_pred for each in known]
            assert list(map(plain, rows.y_true)) == [each.label for each in known]
            assert list(map(plain, rows.labels_by(AGE))) == [each.judged_by(AGE) for each in known]

    @invariant()
    def each_block_holds_its_rows(self) -> None:
        known = self.books.rows[False]
        for block in {each.block for each in known}:
            rows = self.join.table.block(block)
            assert rows.at.tolist() == [each.at for each in known if each.block == block]
            assert set(rows.block.tolist()) == {block}

    @invariant()
    def the_changes_add_up_to_the_labels(self) -> None:
        wanted = Counter(
            (each.version, each.block, each.label)
            for rows in self.books.rows.values() for each in rows if each.label is not None
        )  # fmt: skip
        assert (
            Counter({place: count for place, count in self.books.tally.items() if count and place[2]})
            == wanted
        )

    @invariant()
    def each_id_is_found_where_it_is(self) -> None:
        names = [f"id {letter}" for letter in "abcdefgh"]
        high, low = KEYS.of(pa.array(names))
        for history, rows in ((False, self.join.table), (True, self.join.history)):
            wanted = [
                place if later is history else -1
                for later, place in (self.books.known.get(name, (None, -1)) for name in names)
            ]
            assert rows.find(high, low).tolist() == wanted

    @rule(data=st.data())
    def rows_are_read_in_parts(self, data: st.DataObject) -> None:
        seen: list[int] = []
        while len(part := self.matured(after=len(seen), most=data.draw(few))):
            seen += part.seq.tolist()
        assert seen == self.matured().seq.tolist()

    def matured(self, *, after: int = 0, most: int = 1 << 30) -> Rows:
        return self.join.table.matured(after=after, until=self.now, most=most)


TestJoin = Machine.TestCase
TestJoin.settings = settings(max_examples=40, stateful_step_count=25)
