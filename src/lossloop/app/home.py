"""The state directory: what lies where, and who opens it how.

STATE/
  format          the number of the directory's format
  settings.yaml   what an admin allows a policy to name
  token           the token's text, for the owner's tools; token.sha256 for the server
  log/            the facts: one segment file per writer
  artifacts/      files named by their digest
  imports/        how far each source was imported, and its rejected rows
  state.db        derived from the log; delete it and it is folded again
  applier.lock    held by the one process that writes state.db

Where the settings name a database as the store, log and derived state lie there, and the directory holds the
rest.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec

from lossloop.access import TokenBook
from lossloop.act.settings import Settings, read_settings
from lossloop.core.clock import Micros
from lossloop.core.errors import NewerFormat, StateError
from lossloop.ledger.base import Log
from lossloop.ledger.files import durable
from lossloop.ledger.files.segments import SegmentLog
from lossloop.ledger.frames import Frame
from lossloop.ledger.postgres.database import Database
from lossloop.ledger.postgres.log import PostgresLog
from lossloop.ledger.postgres.session import Session
from lossloop.ledger.postgres.setup import init_store
from lossloop.ledger.postgres.view import PostgresView
from lossloop.ledger.sqlite.state import FORMAT, State
from lossloop.ledger.store import Store
from lossloop.registry import Artifacts

STATE = "LOSSLOOP_STATE"
"""The variable that names the state directory."""
STORE = "LOSSLOOP_STORE"
"""The variable that names a database, in place of the settings."""


@dataclass(frozen=True, kw_only=True)
class Home:
    """A state directory.

    Args:
        path: Where it is.
        hurried: Whether a database that is away is an error at once to who reads.
    """

    path: Path
    hurried: bool = False

    @cached_property
    def database(self) -> Database | None:
        """The database that holds log and derived state; None where they are files here."""
        return database_at(os.environ.get(STORE) or self.written().store)

    @property
    def log(self) -> Log:
        if self.database is not None:
            return PostgresLog(self.database, lifts=True, hurried=self.hurried)
        return self.segments

    @property
    def segments(self) -> SegmentLog:
        """The log as files; StateError where it lies in a database."""
        if self.database is not None:
            raise StateError(
                f"the log of {self.path} lies in {self.database}; this works on a log of files only"
            )
        return SegmentLog(self.path / "log", newest=self._newest)

    def _newest(self) -> Micros:
        """The latest receipt time: the clock that everything was folded by, or of what was not folded yet."""
        newest, after = 0, dict[str, int]()
        with contextlib.suppress(StateError):  # a damaged state, or none: all of the log is looked at
            state = State(self.state_file, read_only=True)
            after = dict(state.offsets())
            if self.written().clock == "receipt":
                newest = state.get("clock", "now", int) or 0
            state.close()
        reader = SegmentLog(self.path / "log").reader()
        while entries := list(reader.read(after)):
            after |= {entry.position.segment: entry.position.offset for entry in entries}
            newest = max(newest, *(each.frame.time for each in entries if isinstance(each.frame, Frame)), 0)
        reader.close()
        return newest

    @property
    def artifacts(self) -> Artifacts:
        return Artifacts(self.path / "artifacts")

    @property
    def tokens(self) -> TokenBook:
        return TokenBook(self.path)

    @property
    def lock(self) -> Path:
        return self.path / "applier.lock"

    @property
    def state_file(self) -> Path:
        return self.path / "state.db"

    def is_folded(self) -> bool:
        """Whether there is derived state to read."""
        return self.database is not None or self.state_file.exists()

    def settings(self) -> Settings:
        """What the admin allows; the salt is the database's where there is one, so that machines agree."""
        written = self.written()
        return written if self.database is None else msgspec.structs.replace(written, salt=self._salt)

    def written(self) -> Settings:
        """The settings as they stand in the directory."""
        return read_settings(self.path / "settings.yaml")

    def set_store(self, store: str) -> None:
        """Let the settings name another store; a file that says so already stays as it is."""
        written = self.written()
        if written.store != store:
            text = settings_text(msgspec.structs.replace(written, store=store))
            durable.write(self.path / "settings.yaml", text.encode())
            self.__dict__.pop("database", None)

    @cached_property
    def _salt(self) -> str:
        assert self.database is not None
        session = Session(self.database)
        try:
            return str(session.rows("salt")[0][0])
        finally:
            session.close()

    def state(self) -> Store:
        """The derived state, to be read."""
        if self.database is not None:
            return PostgresView(self.database, hurried=self.hurried)
        return State(self.state_file, read_only=True)

    def writable_state(self) -> State:
        """The derived state of a directory without a database; for the holder of the lock."""
        if self.database is not None:
            raise StateError(f"the state of {self.path} lies in {self.database}; its appliers write it")
        return State(self.state_file)

    def check(self) -> Home:
        """This directory, if it can be used by this release.

        Raises:
            StateError: There is none, or an older release made it.
            NewerFormat: A newer release made it.
        """
        found = self.format()
        if found > FORMAT:
            raise NewerFormat(
                f"{self.path} has format {found}, this release reads up to {FORMAT}; install a newer lossloop"
            )
        if found < FORMAT:
            raise StateError(
                f"{self.path} has format {found} of an older release; run: "
                f"lossloop ledger migrate --state {self.path}"
            )
        return self

    def format(self) -> int:
        """The number of the directory's format; StateError where it is no state directory."""
        try:
            return int((self.path / "format").read_text())
        except (OSError, ValueError):
            raise StateError(
                f"{self.path} is no state directory; run: lossloop init --state {self.path}"
            ) from None

    def set_format(self) -> None:
        """Say that the directory has this release's format."""
        fresh = self.path / "format.new"
        fresh.write_text(f"{FORMAT}\n")
        fresh.replace(self.path / "format")


def database_at(address: str) -> Database | None:
    """The database that an address means: ``postgresql://...``, or ``env:NAME``; None for none.

    Raises:
        InputError: It cannot be read.
        StateError: The variable is not set.
    """
    if address.startswith("env:"):
        name = address.removeprefix("env:")
        address = os.environ.get(name, "")
        if not address:
            raise StateError(f"the store's address is taken from a variable that is not set: {name}")
    return Database(url=address) if address else None


def here() -> Home:
    """The state directory that this process was started over."""
    return Home(path=Path(os.environ[STATE]))


def init(path: Path, settings: Settings | None = None) -> Home:
    """Make a state directory with a token of its own.

    Raises:
        StateError: There is one already, or the place is taken.
    """
    if (path / "format").exists():
        raise StateError(f"{path} is a state directory already; use it, or choose another with --state")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise StateError(f"{path} holds other things; choose an empty place with --state")
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        words = f"cannot make {path} ({error.strerror}); choose another place with --state"
        raise StateError(words) from None
    home = Home(path=path)
    settings = settings or Settings()
    salt = settings.salt or secrets.token_hex(8)
    (path / "settings.yaml").write_text(settings_text(msgspec.structs.replace(settings, salt=salt)))
    home.tokens.make()
    if home.database is None:
        State(home.state_file).close()
    else:
        init_store(home.database)
    # The format comes last: a directory whose making was cut short is not taken for a whole one.
    home.set_format()
    return home


def settings_text(settings: Settings) -> str:
    """Settings as a file that says all of them."""
    lines = [
        "# What a policy may name. Only an admin edits this file; restart `lossloop up` after a change.",
        f"clock: {settings.clock}",
        f"store: {_quoted(settings.store)}  # postgresql://..., or env:NAME; empty: files in this directory",
        f"salt: {_quoted(settings.salt)}",
        "retrain:"
        if settings.retrain
        else "retrain: {}  # such as  {flights:train: mypackage.module:function}",
        *_lines(settings.retrain),
        "notify:" if settings.notify else "notify: {}",
        *_lines(settings.notify),
        "label_folders:" if settings.label_folders else "label_folders: {}  # such as  {churn: /data/labels}",
        *_lines(settings.label_folders),
        "interpreters:"
        if settings.interpreters
        else "interpreters: {}  # such as  {mlflow: /usr/bin/python3}",
        *_lines(settings.interpreters),
    ]
    return "\n".join(lines) + "\n"


def _lines(named: Mapping[str, str]) -> list[str]:
    return [f"  {_quoted(name)}: {_quoted(value)}" for name, value in named.items()]


def _quoted(text: str) -> str:
    """A text as JSON, which YAML reads."""
    return msgspec.json.encode(text).decode()
