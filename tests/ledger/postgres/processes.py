"""Processes that write and fold until they are disturbed, and what became of what they did.

python -m tests.ledger.postgres.processes write | fold URL SCHEMA NAME
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import timedelta
from itertools import count
from pathlib import Path

from lossloop.core.clock import SystemClock
from lossloop.ledger.applier import Applier
from lossloop.ledger.facts import model_of
from lossloop.ledger.frames import Damage, Frame, Kind
from lossloop.ledger.postgres.crew import Crew, Share
from lossloop.ledger.postgres.database import Database
from lossloop.ledger.postgres.leases import holders
from lossloop.ledger.postgres.log import PostgresLog
from lossloop.ledger.postgres.view import PostgresView
from lossloop.ledger.store import Store
from tests.house.repository import ROOT
from tests.ledger.samples import outcome_frame

SPAN = timedelta(seconds=1.5)
PATIENCE = 60.0
MODELS = [f"m{number}" for number in range(8)]


class Counting:
    """Counts the rows of each model and adds up their values; every third frame is worth a decision."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._held: dict[str, tuple[int, int, float]] = {}

    def fold(self, frame: Frame, *, segment: str, start: int) -> list[tuple[str, str]]:
        if frame.kind is not Kind.OUTCOME:
            return []
        model = model_of(frame.batch)
        frames, rows, total = self._known(model)
        frames, rows = frames + 1, rows + frame.batch.num_rows
        total += sum(frame.batch.column("y_true").to_pylist())
        self._held[model] = (frames, rows, total)
        return [(f"{model}/{frames:06d}", f'{{"rows": {rows}}}')] if frames % 3 == 0 else []

    def flush(self) -> None:
        for model, held in self._held.items():
            self._store.put("sum", model, held)

    def _known(self, model: str) -> tuple[int, int, float]:
        """Kept in memory, as the columns of the join are: only a lost lease makes it wrong."""
        return self._held.get(model) or self._store.get("sum", model, tuple[int, int, float]) or (0, 0, 0.0)


def begin(share: Share) -> Applier:
    """An applier of one partition."""
    return Applier(share.log, share.store, Counting(share.store), SystemClock())


def fold(database: Database, name: str) -> None:
    """Fold what is leased, for ever."""
    crew = Crew(database, begin, span=SPAN, name=name)
    while True:
        if not crew.step():
            time.sleep(0.01)


def write(database: Database, name: str) -> None:
    """Append two frames at a time, for ever; each append's number is printed once it is acknowledged."""
    writer, clock = PostgresLog(database).writer(), SystemClock()
    for number in count():
        models = (MODELS[number % len(MODELS)], MODELS[(3 * number + 1) % len(MODELS)])
        writer.append(
            [
                outcome_frame({f"{name}/{number}/{place}": float(number)}, model=model, time=clock.now())
                for place, model in enumerate(models)
            ]
        )
        print(number, flush=True)


class Writer:
    """A process that writes, and the numbers that it said were acknowledged."""

    def __init__(self, database: Database, name: str) -> None:
        self.name = name
        self.process = spawn("write", database, name, stdout=subprocess.PIPE)
        self.said = 0

    def wait_for(self, more: int) -> None:
        """Until so many more appends are acknowledged."""
        assert self.process.stdout is not None
        for _ in range(more):
            line = self.process.stdout.readline()
            assert line, "the writer ended"
            assert int(line) == self.said
            self.said += 1

    def kill(self) -> None:
        """SIGKILL, and read what it still said."""
        self.process.kill()
        assert self.process.stdout is not None
        self.said += len(self.process.stdout.read().splitlines())
        self.process.stdout.close()
        self.process.wait()

    def acknowledged(self) -> set[str]:
        """The ids of the rows that must be in the log."""
        return {f"{self.name}/{number}/{place}" for number in range(self.said) for place in (0, 1)}


def spawn(what: str, database: Database, name: str, *, stdout: int | None = None) -> subprocess.Popen[str]:
    """A process that writes or folds."""
    command = [sys.executable, "-m", "tests.ledger.postgres.processes", what, database.url, database.schema]
    return subprocess.Popen([*command, name], cwd=Path(ROOT), stdout=stdout, text=True)


def wait_until(holds: Callable[[], bool]) -> None:
    """Until something holds."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.02)


def shares(database: Database) -> Mapping[str, int]:
    """How many partitions each name folds."""
    return Counter(holder.partition(":")[0] for holder in holders(database).values())


def check(database: Database, *writers: Writer) -> None:
    """Wait until all is folded; what was acknowledged must be there once, and counted once."""
    reader, view = PostgresLog(database).reader(), PostgresView(database)
    wait_until(lambda: not reader.behind(view.offsets()))
    offsets: dict[str, int] = {}
    ids: Counter[str] = Counter()
    decided: Counter[str] = Counter()
    sums: dict[str, tuple[int, int, float]] = {}
    while entries := list(reader.read(offsets)):
        for entry in entries:
            offsets[entry.position.segment] = entry.position.offset
            assert not isinstance(entry.frame, Damage)
            batch = entry.frame.batch
            if entry.frame.kind is Kind.DECISION:
                decided.update(batch.column("id").to_pylist())
                continue
            frames, rows, total = sums.get(model_of(batch), (0, 0, 0.0))
            total += sum(batch.column("y_true").to_pylist())
            sums[model_of(batch)] = (frames + 1, rows + batch.num_rows, total)
            ids.update(batch.column("id").to_pylist())
    found = view.all("sum", tuple[int, int, float])
    reader.close()
    view.close()
    acknowledged = set().union(*(writer.acknowledged() for writer in writers))
    assert acknowledged <= set(ids), "what was acknowledged is lost"
    assert set(ids.values()) <= {1}, "a row is there twice"
    assert len(ids) - len(acknowledged) <= 2 * len(writers), (
        "only the last append may be there without a word"
    )
    assert found == sums, "what was folded is not what is in the log"
    wanted = {f"{model}/{n:06d}" for model, (frames, _, _) in sums.items() for n in range(3, frames + 1, 3)}
    assert decided == Counter(wanted), "decisions are lost, or taken twice"


if __name__ == "__main__":
    part, url, schema, who = sys.argv[1:]
    {"write": write, "fold": fold}[part](Database(url=url, schema=schema, patience=PATIENCE), who)
