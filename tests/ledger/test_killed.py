"""kill -9 of the process that joins, at random moments, with chunks that are files: all is there, once."""

from __future__ import annotations

import math
import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from lossloop.ledger.facts import outcomes, predictions
from lossloop.ledger.files.segments import SegmentLog
from lossloop.ledger.frames import Frame, Kind
from lossloop.ledger.joined.lookup import find
from lossloop.ledger.joined.table import Table
from lossloop.ledger.sqlite.state import QUERIES, State
from tests.house.repository import ROOT
from tests.ledger.joining import AGE, KEYS, MODEL, OUTCOMES, counted

PATIENCE = 60
ROWS = 5000
"""Of a frame: enough for a file."""


@dataclass
class Recount:
    """What must come of the frames, counted by hand."""

    counts: Counter[str] = field(default_factory=Counter)
    rows: dict[str, int] = field(default_factory=dict)
    """By id in prediction order: when it came."""
    labels: dict[str, tuple[float, float, int]] = field(default_factory=dict)
    """By id: the outcome now, as it is judged, and when the first came."""

    def predict(self, ids: list[str], at: int) -> None:
        for id in ids:
            if id in self.rows:
                self.counts["again"] += 1
                continue
            self.rows[id] = at
            self.counts["predictions"] += 1
            if id in self.labels:
                y_true, _, since = self.labels[id]
                self.labels[id] = (y_true, y_true, since)
                self.counts.update(outcomes=1, waiting=-1)

    def happen(self, labels: list[tuple[str, float]], at: int) -> None:
        for id, y_true in labels:
            known = self.labels.get(id)
            if known is None:
                self.labels[id] = (y_true, y_true, at)
                self.counts["outcomes" if id in self.rows else "waiting"] += 1
            elif known[0] == y_true:
                self.counts["repeats"] += 1
            else:
                judged = known[1] if id in self.rows and at > self.rows[id] + AGE else y_true
                self.labels[id] = (y_true, judged, known[2])
                self.counts["corrections"] += 1


class Torture:
    """A log that grows, a process that folds it and is killed, and what must come of it."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path = path
        self.random = random.Random(seed)
        self.recount = Recount()
        self.received = 0
        self._writer = SegmentLog(path / "log").writer()
        self._made = 0
        self._time = 1000

    def send(self) -> int:
        """Append predictions and outcomes, some of which were sent before; return where they end."""
        self._time += self.random.randint(1, 30)
        start = max(0, self._made - self.random.randint(0, 800))
        self._made = start + ROWS
        ids = [f"prediction {number}" for number in range(start, self._made)]
        ready = self._made + 500  # some outcomes come first
        about = [self.random.randrange(max(0, ready - 3 * ROWS), ready) for _ in range(ROWS)]
        labels = [(f"prediction {number}", float(self.random.random() < 0.3)) for number in about]
        times = [self._time] * ROWS
        asked = predictions(
            {"id": ids, "version": [1] * ROWS, "time": times, "y_pred": [0.5] * ROWS}, model=MODEL
        )
        told = outcomes([id for id, _ in labels], [label for _, label in labels], times, model=MODEL)
        self.recount.predict(ids, self._time)
        self.recount.happen(labels, self._time)
        self.received += len(labels)
        return self._writer.append([
            Frame(kind=Kind.PREDICTION, time=self._time, batch=asked),
            Frame(kind=Kind.OUTCOME, time=self._time, batch=told),
        ]).offset  # fmt: skip

    def apply(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.ledger.joining", str(self.path)]
        child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        assert child.stdout.readline() == "applying\n"
        return child

    def reached(self) -> int:
        state = State(self.path / "state.db", read_only=True)
        try:
            return max(state.offsets().values(), default=0)
        finally:
            state.close()


def kill(child: subprocess.Popen[str]) -> None:
    with child:
        child.kill()


def test_a_join_that_is_killed_at_random_comes_to_what_was_counted_by_hand(tmp_path: Path) -> None:
    torture = Torture(tmp_path, seed=1)
    for _ in range(4):
        child = torture.apply()
        for _ in range(3):
            torture.send()
        time.sleep(torture.random.uniform(0, 0.2))
        kill(child)
    end, child = torture.send(), torture.apply()
    deadline = time.monotonic() + PATIENCE
    while torture.reached() < end:
        assert time.monotonic() < deadline, "what was sent is not folded"
        assert child.poll() is None, "the process ended by itself"
        time.sleep(0.02)
    kill(child)
    check(torture, State(tmp_path / "state.db"))


def check(torture: Torture, state: State) -> None:
    recount, counts = torture.recount, counted(state)
    assert +counts == +recount.counts
    assert sum(counts[name] for name in OUTCOMES) == torture.received, "an outcome was lost"
    table = Table(state, MODEL)
    rows = table.slice(0, len(table))
    assert len(rows) == len(recount.rows)
    ids = list(recount.rows)
    assert np.array_equal(table.find(*KEYS.of(pa.array(ids))), np.arange(len(ids)))
    assert rows.at.tolist() == list(recount.rows.values())
    labels = [recount.labels.get(id, (math.nan, math.nan, 0)) for id in ids]
    for place, values in enumerate((rows.y_true, rows.judged)):
        assert np.array_equal(values, [label[place] for label in labels], equal_nan=True)
    known = ~np.isnan(rows.y_true)
    assert rows.labelled_at[known].tolist() == [since for _, _, since in labels if since]
    one = torture.random.choice(ids)
    found = find(state, SegmentLog(torture.path / "log").reader(), KEYS, MODEL, one)
    assert found is not None
    assert (found.row, found.sent["id"]) == (ids.index(one), one)
    files = {each.name for each in (torture.path / "state.parts").iterdir()}
    assert files, "the chunks are too small for files"
    assert files == {name for (name,) in state.connection.execute(QUERIES["list_files"])}, "orphans"
    state.close()
