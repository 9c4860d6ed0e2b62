"""What is tortured: the parts of real Lossloops, over a directory or over a database, and who is killed."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import urllib3

from lossloop.act.settings import Settings
from lossloop.app.home import Home, init
from lossloop.app.keeping import keep
from lossloop.app.system import free_port
from lossloop.app.up import Up
from lossloop.core.clock import SystemClock
from lossloop.core.errors import LossloopError
from tests.app.processes import alive, children
from tests.ledger.postgres import server as postgres
from tests.torture.begin import begin
from tests.torture.sender import Door

PATIENCE = 120.0


class Hasty(Up):
    """Starts again at once whatever dies: here it dies all the time."""

    def mend(self) -> list[str]:
        self._restarts = 0
        return super().mend()


@contextmanager
def hasty(home: Home) -> Iterator[Up]:
    """All parts of a Lossloop, for as long as the block lasts."""
    up = Hasty(home.check(), host="127.0.0.1", port=free_port("127.0.0.1"))
    try:
        up.start()
        with up.mended():
            yield up
    finally:
        up.stop()


@dataclass
class Place:
    """One or two machines over one ledger.

    Args:
        homes: Their directories.
        ups: Their parts.
        database: What they share, if they do.
    """

    homes: list[Home]
    ups: list[Up] = field(default_factory=list)
    database: postgres.Server | None = None

    @property
    def home(self) -> Home:
        """The first machine's directory."""
        return self.homes[0]

    def doors(self) -> list[Door]:
        """Where senders may send to."""
        return [(up.url, home.tokens.read()) for home, up in zip(self.homes, self.ups, strict=True)]

    def answers(self) -> bool:
        """Whether every server answers."""
        for up in self.ups:
            try:
                answer = urllib3.request("GET", f"{up.url}/v1/health", retries=False, timeout=5.0)
            except urllib3.exceptions.HTTPError:
                return False
            if answer.status != 200:
                return False
        return True

    # Who is killed, and how.

    def victims(self) -> Mapping[str, Callable[[random.Random], None]]:
        """Whom a round may kill, by name."""
        found: dict[str, Callable[[random.Random], None]] = {
            "server": lambda chance: self._kill(chance, "server"),
            "server's child": self._kill_child,
            "applier": lambda chance: self._kill(chance, "applier"),
            "server and applier": lambda chance: self._kill(chance, "server", "applier"),
            "all parts": lambda chance: self._kill(chance, "server", "applier", "worker"),
        }
        if self.database is not None:
            found["database"] = self._kill_database
        return found

    def _kill(self, chance: random.Random, *parts: str) -> None:
        pids = chance.choice(self.ups).pids()
        for part in parts:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pids[part], signal.SIGKILL)

    def _kill_child(self, chance: random.Random) -> None:
        """The process that answers; the one above it only looks after it."""
        with contextlib.suppress(OSError):
            for pid in children(chance.choice(self.ups).pids()["server"]):
                os.kill(pid, signal.SIGKILL)

    def _kill_database(self, chance: random.Random) -> None:
        assert self.database is not None
        self.database.kill()
        time.sleep(chance.random())
        self.database.start()

    # What else happens.

    def keep(self) -> None:
        """Seal what can be sealed, as a running Lossloop does now and then."""
        if self.database is None:
            with contextlib.suppress(LossloopError):
                keep(self.home, SystemClock())

    def settle(self) -> None:
        """Wait until all parts run, every server answers and all that is in the log is folded."""
        deadline = time.monotonic() + PATIENCE
        while not (self._all_run() and self.answers() and self._is_folded()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"it was not all folded within {PATIENCE:g} s")
            time.sleep(0.05)

    def _all_run(self) -> bool:
        return all(alive(pid) for up in self.ups for pid in up.pids().values())

    def _is_folded(self) -> bool:
        reader, state = self.home.log.reader(), self.home.state()
        try:
            return not reader.behind(state.offsets())
        finally:
            reader.close()
            state.close()


@contextmanager
def embedded(path: Path) -> Iterator[Place]:
    """One machine over a directory."""
    place = Place([begin(init(path / "state"))])
    with hasty(place.home) as up:
        place.ups.append(up)
        yield place


@contextmanager
def on_postgres(path: Path) -> Iterator[Place]:
    """Two machines over one database."""
    with ExitStack() as stack:
        database = stack.enter_context(postgres.running())
        homes = [init(path / f"machine{number}", Settings(store=database.url())) for number in (1, 2)]
        place = Place(homes, database=database)
        begin(place.home)
        for home in homes:
            place.ups.append(stack.enter_context(hasty(home)))
        yield place
