"""A rebuild of a ledger in a database: every partition by itself, taken together."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from lossloop.app.books import Books
from lossloop.app.home import Home
from lossloop.app.rebuilding.base import Part
from lossloop.ledger.applier import ApplierLock
from lossloop.ledger.postgres.database import Database
from lossloop.ledger.postgres.leases import alone
from lossloop.ledger.postgres.log import PostgresLog
from lossloop.ledger.postgres.replacing import Made, replace_all
from lossloop.ledger.postgres.turns import maintained
from lossloop.ledger.postgres.view import PostgresView
from lossloop.ledger.sqlite.state import State
from lossloop.ledger.sqlite.texts import texts_of


class DatabaseBench:
    """Folds each partition into a file in the state directory, under leases of all of them.

    An applier that starts meanwhile waits until its turn comes.

    Raises:
        InUse: An applier folds partitions, another rebuild works in the directory, or facts are removed.
    """

    def __init__(self, home: Home, database: Database) -> None:
        self._database = database
        self._folder = home.path / "rebuilt"
        with contextlib.ExitStack() as stack:
            stack.callback(ApplierLock(home.lock).release)
            leases = stack.enter_context(alone(database, name="rebuild"))
            stack.enter_context(maintained(database))  # no fact is removed while they are read
            stack.callback(shutil.rmtree, self._folder, ignore_errors=True)
            shutil.rmtree(self._folder, ignore_errors=True)  # of one that was killed
            self._folder.mkdir(mode=0o700)
            self._held = stack.pop_all()
        self._leases = {self._file(partition): lease for partition, lease in sorted(leases.held().items())}

    def _file(self, partition: int) -> Path:
        return self._folder / f"{partition}.db"

    @property
    def parts(self) -> Sequence[Part]:
        return [
            Part(log=PostgresLog(self._database, partitions=[lease.partition]), fresh=file)
            for file, lease in self._leases.items()
        ]

    def has_state(self) -> bool:
        with closing(PostgresView(self._database)) as view:
            return bool(view.offsets())

    def take(self) -> None:
        # Of a document that several partitions have, such as the clock, the one written last is told.
        clocks = {file: _clock(file) for file in self._leases}
        files = sorted(clocks, key=lambda file: clocks[file])
        replace_all(self._database, lambda: self._made(files))

    def _made(self, files: Sequence[Path]) -> Iterator[Made]:
        for file in files:
            with closing(State(file)) as state:
                yield Made(lease=self._leases[file], documents=texts_of(state), store=state)

    def close(self) -> None:
        self._held.close()


def _clock(file: Path) -> int:
    with closing(State(file)) as state:
        return Books(state).now()
