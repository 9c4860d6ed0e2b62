"""A state directory of an older release is brought up to date after a backup, and loses nothing."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec
import pytest

from lossloop.app.cli import ledger
from lossloop.app.fold import Folding
from lossloop.app.home import Home
from lossloop.app.migrating import migrate
from lossloop.core.errors import InUse, StateError
from lossloop.ledger.sqlite.state import FORMAT
from tests.app.desk import Desk
from tests.app.test_rebuild import forget, storied


def aged(path: Path) -> Desk:
    """A directory as release 0.1 left it: format 1, and a state that this release does not read."""
    desk = storied(path)
    forget(desk)
    database = sqlite3.connect(desk.home.state_file)
    database.executescript("PRAGMA user_version = 1; CREATE TABLE predictions (id TEXT);")
    database.close()
    (desk.home.path / "format").write_text("1\n")
    return desk


def test_an_older_directory_is_refused_with_the_command_that_mends_it(tmp_path: Path) -> None:
    desk = aged(tmp_path)
    with pytest.raises(StateError, match="has format 1 of an older release; run: lossloop ledger migrate"):
        desk.home.check()
    with pytest.raises(StateError, match="has format 1; run `lossloop ledger migrate` first"):
        desk.home.state()


def test_a_migrated_directory_decides_as_before_and_keeps_a_backup(tmp_path: Path) -> None:
    before = storied(tmp_path / "other").decisions()
    desk = aged(tmp_path)
    backup = migrate(desk.home)
    assert backup == desk.home.path / "backup-format-1"
    assert desk.home.check().format() == FORMAT
    assert desk.fold() > 10
    assert [decision.action for decision in desk.decisions()] == [decision.action for decision in before]
    assert (backup / "format").read_text() == "1\n"
    kept = {path.name: path.read_bytes() for path in (backup / "log").iterdir()}
    there = {path.name: path.read_bytes() for path in (desk.home.path / "log").glob("*.seg")}
    assert {name: there[name] for name in kept} == kept


def test_what_is_up_to_date_is_left_alone(tmp_path: Path) -> None:
    desk = storied(tmp_path)
    assert migrate(desk.home) is None
    assert not list(desk.home.path.glob("backup*"))


def test_a_migration_that_was_cut_short_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    desk = aged(tmp_path)

    def cut(home: Home) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Home, "set_format", cut)
        with pytest.raises(KeyboardInterrupt):
            migrate(desk.home)
    assert desk.home.format() == 1
    assert migrate(desk.home) is not None
    assert desk.fold() > 10


def test_a_directory_in_use_is_not_migrated(tmp_path: Path) -> None:
    desk = storied(tmp_path)
    folding = Folding(desk.home)
    (desk.home.path / "format").write_text("1\n")
    with pytest.raises(InUse):
        migrate(desk.home)
    folding.close()


def test_the_command_leaves_a_directory_that_is_folded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    desk = aged(tmp_path)
    ledger.migrate(state=desk.home.path, json=True)
    assert msgspec.json.decode(capsys.readouterr().out) == {"backup": str(desk.home.path / "backup-format-1")}
    assert desk.decisions()
    ledger.migrate(state=desk.home.path)
    assert "is up to date." in capsys.readouterr().out
