"""A log that is written, rolled, sealed, pruned, erased from, cut and read in any order, against a list."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from lossloop.core.clock import ManualClock
from lossloop.ledger.base import Entry, Position
from lossloop.ledger.expired import EXPIRED_KINDS
from lossloop.ledger.files.cutting import cut
from lossloop.ledger.files.erasing import erase, held
from lossloop.ledger.files.finding import find
from lossloop.ledger.files.retention import prune
from lossloop.ledger.files.sealing import seal
from lossloop.ledger.files.segments import SegmentLog, SegmentWriter
from lossloop.ledger.files.verify import verify
from lossloop.ledger.frames import Frame, Kind
from tests.ledger.anyframes import everything
from tests.ledger.samples import KEYS, outcome_frame, prediction_frame, tick_frame
from tests.ledger.test_cutting import carried_out

IDS, UNITS, MODELS = st.sampled_from("abcdef"), st.sampled_from(["ada", "bob", None]), st.sampled_from("mn")
WRITERS = st.integers(0, 1)


@dataclass
class Known:
    """A frame as it should be."""

    position: Position
    kind: Kind
    time: int
    model: str
    rows: list[tuple[str, str | None]]
    """Ids and units."""
    old: bool = False
    """Whether they have expired: then nobody can read them here."""

    @property
    def told(self) -> tuple[Position, Kind, int, int, list[str]]:
        """What a reader is told: where, what, when, how many rows, and the ids as far as they are there."""
        kind = EXPIRED_KINDS[self.kind] if self.old else self.kind
        ids = [] if self.old else [id for id, _ in self.rows]
        return self.position, kind, self.time, len(self.rows), ids


class LogMachine(RuleBasedStateMachine):
    """Facts come in the order of their times; the facts about removals are left out of the comparison."""

    @initialize()
    def begin(self) -> None:
        self.place = Path(tempfile.mkdtemp())
        self.log = SegmentLog(self.place / "log", roll_at=1500)
        self.log.directory.mkdir()
        self.writers: dict[int, SegmentWriter] = {}
        self.known: list[Known] = []
        self.time = 0
        self.reader = self.log.reader()
        self.offsets: dict[str, int] = {}
        self.seen: list[Position] = []
        self.torn: set[Path] = set()

    def teardown(self) -> None:
        if hasattr(self, "place"):
            self.reader.close()
            self.close_all()
            shutil.rmtree(self.place)

    # What writers do.

    def append(self, writer: int, model: str, rows: list[tuple[str, str | None]], frame: Frame) -> None:
        if writer not in self.writers:
            self.writers[writer] = self.log.writer()
        position = self.writers[writer].append([frame])
        self.known.append(Known(position=position, kind=frame.kind, time=frame.time, model=model, rows=rows))

    @rule(writer=WRITERS, model=MODELS, rows=st.lists(st.tuples(IDS, UNITS), max_size=4))
    def predict(self, writer: int, model: str, rows: list[tuple[str, str | None]]) -> None:
        self.time += 1
        ids, units = [id for id, _ in rows], [unit for _, unit in rows]
        frame = prediction_frame(ids, unit=units, model=model, time=self.time)
        self.append(writer, model, rows, frame)

    @rule(writer=WRITERS, model=MODELS, ids=st.lists(IDS, max_size=3, unique=True))
    def happen(self, writer: int, model: str, ids: list[str]) -> None:
        self.time += 1
        frame = outcome_frame(dict.fromkeys(ids, 1.0), model=model, time=self.time)
        self.append(writer, model, [(id, None) for id in ids], frame)

    @rule(writer=WRITERS)
    def tick(self, writer: int) -> None:
        self.time += 1
        self.append(writer, "", [], tick_frame(self.time))

    @rule(writer=WRITERS)
    def close(self, writer: int) -> None:
        if writer in self.writers:
            self.writers.pop(writer).close()

    def close_all(self) -> None:
        for writer in list(self.writers):
            self.close(writer)

    @rule()
    def tear(self) -> None:
        """A crash leaves the beginning of a frame at the end of a segment that nobody writes any more."""
        self.close_all()
        for path in set(self.log.directory.glob("*.seg")) - self.torn:
            self.torn.add(path)
            with path.open("ab") as file:
                file.write(b"LLF1\x01\0\0\0")

    # What is done to the log.

    @rule()
    def seal(self) -> None:
        seal(self.log.directory)

    @rule(unit=st.sampled_from(["ada", "bob", "nobody"]), models=st.sampled_from([None, ["m"]]))
    def erase(self, unit: str, models: list[str] | None) -> None:
        self.close_all()
        gone = erase(self.log.directory, unit, models, clock=ManualClock(self.time), keys=KEYS)
        ids = {
            (each.model, id)
            for each in self.known
            if each.kind is Kind.PREDICTION and (models is None or each.model in models)
            for id, whose in each.rows
            if whose == unit
        }
        known = {(each.model, id) for each in self.known if not each.old for id, _ in each.rows}
        assert {(model, id) for model, rows in gone.items() for id in rows.ids} == ids & known
        for each in self.known:
            each.rows = [row for row in each.rows if (each.model, row[0]) not in ids]
        assert held(self.log.directory, unit, models, keys=KEYS) == {}

    @rule(model=MODELS, age=st.integers(0, 20))
    def prune(self, model: str, age: int) -> None:
        self.close_all()
        seal(self.log.directory)
        cutoff = self.time - age
        gone = prune(self.log.directory, model, keys=KEYS, cutoff=cutoff, clock=ManualClock(self.time))
        old = [each for each in self.known if each.model == model and each.time < cutoff and not each.old]
        counts = {kind: sum(len(each.rows) for each in old if each.kind is kind) for kind in Kind}
        assert (gone.predictions, gone.outcomes) == (counts[Kind.PREDICTION], counts[Kind.OUTCOME])
        for each in old:
            each.old = bool(each.rows)

    # What readers find.

    @rule(most=st.sampled_from([1, 600, 1 << 20]))
    def read_on(self, most: int) -> None:
        """A reader that goes on reads every frame once, in order, whatever happens to segments meanwhile."""
        entries = list(self.reader.read(self.offsets, most=most))
        self.offsets |= {entry.position.segment: entry.position.offset for entry in entries}
        self.seen += [entry.position for entry in entries if not _is_command(entry)]
        assert self.seen == [each.position for each in self.known[: len(self.seen)]]
        behind = self.reader.behind(self.offsets)
        assert behind or len(self.seen) == len(self.known)

    @rule(most=st.sampled_from([1, 600, 1 << 20]))
    def read_all(self, most: int) -> None:
        assert _told(self.log, most) == self.expected()

    @rule()
    def copy(self) -> None:
        pieces = cut(self.log.directory, self.time)
        copy = carried_out(self.log, pieces, self.place / "copy")
        assert _told(copy, 1 << 20) == self.expected()
        assert verify(copy.directory).sound
        shutil.rmtree(self.place / "copy")

    @rule(id=IDS, model=MODELS)
    def look_up(self, id: str, model: str) -> None:
        found = find(self.log.directory, id, model=model)
        wanted = [
            (each.position.segment, each.position.offset, row)
            for each in self.known
            if each.kind is Kind.PREDICTION and each.model == model and not each.old
            for row, (known, _) in enumerate(each.rows)
            if known == id
        ]
        assert [(each.segment, each.offset, each.row) for each in found] == sorted(wanted)

    @invariant()
    def is_sound(self) -> None:
        if hasattr(self, "log"):
            assert verify(self.log.directory).sound

    def expected(self) -> list[tuple[Any, ...]]:
        return [each.told for each in self.known]


def _is_command(entry: Entry) -> bool:
    return isinstance(entry.frame, Frame) and entry.frame.kind is Kind.COMMAND


def _told(log: SegmentLog, most: int) -> list[tuple[Any, ...]]:
    found = []
    for entry in everything(log, most):
        assert isinstance(entry.frame, Frame)
        batch = entry.frame.batch
        ids = batch.column("id").to_pylist() if "id" in batch.schema.names else []
        if not _is_command(entry):
            rows = batch.num_rows if entry.frame.kind is not Kind.TICK else 0
            found.append((entry.position, entry.frame.kind, entry.frame.time, rows, ids))
    return found


TestLogMachine = LogMachine.TestCase
TestLogMachine.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
