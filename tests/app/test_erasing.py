"""Erasing a person from a whole state directory: log, state and backups; the figures stay."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lossloop.access.audit import AuditLog
from lossloop.app.bundles import export
from lossloop.app.erasing import OLDER, Counts, Erasure, erase_unit, stopped, survey
from lossloop.app.home import Home
from lossloop.app.rebuilding import rebuild
from lossloop.core.errors import InUse, UnknownName
from lossloop.ledger.files.finding import find
from lossloop.ledger.files.sealing import seal
from lossloop.ledger.files.verify import verify
from tests.app.desk import MODEL, Desk, asked
from tests.app.keepsakes import UNIT, figures, places_of, storied
from tests.app.processes import started


def erased(home: Home, model: str | None = None, *more: Path) -> Erasure:
    with stopped(home):
        return erase_unit(home, UNIT, model, more=more)


@pytest.mark.parametrize("sealed", [False, True])
def test_nothing_of_a_unit_is_left_and_the_figures_are(tmp_path: Path, sealed: bool) -> None:
    desk = storied(tmp_path / "s")
    if sealed:
        seal(desk.home.segments.directory)
    before = figures(desk.home)
    assert places_of(desk.home, UNIT)
    with stopped(desk.home):
        expected = survey(desk.home, UNIT)
    done = erased(desk.home)
    assert expected.models == done.models == {MODEL: Counts(predictions=4, outcomes=4)}
    assert not places_of(desk.home, UNIT)
    assert not find(desk.home.segments.directory, "p000000", model=MODEL)
    assert figures(desk.home) == before
    desk.fold()
    assert figures(desk.home) == before
    assert verify(desk.home.segments.directory).sound


def test_the_same_predictions_may_not_come_back_as_new(tmp_path: Path) -> None:
    """What is erased was counted once; a state made anew counts it too."""
    desk = storied(tmp_path / "s")
    before = figures(desk.home)
    erased(desk.home)
    rebuild(desk.home, accept=True)
    after = figures(desk.home)
    assert after["counts"]["predictions"] == before["counts"]["predictions"]
    assert after["counts"]["outcomes"] == before["counts"]["outcomes"]


def test_the_audit_log_says_what_and_not_whom(tmp_path: Path) -> None:
    desk = storied(tmp_path / "s")
    erased(desk.home)
    audit = AuditLog(desk.home.path)
    (entry,) = audit.entries()
    assert entry.what == "erase"
    assert entry.details["models"] == {MODEL: {"predictions": 4, "outcomes": 4}}
    assert entry.details["unit"] == audit.keyed(UNIT)
    assert UNIT not in audit.path.read_text()


def test_doing_it_again_finds_nothing(tmp_path: Path) -> None:
    desk = storied(tmp_path / "s", days=1)
    assert erased(desk.home).models == {MODEL: Counts(predictions=2, outcomes=2)}
    assert erased(desk.home) == Erasure(models={})
    assert len(AuditLog(desk.home.path).entries()) == 2


def test_only_the_model_that_is_named_forgets(tmp_path: Path) -> None:
    desk = storied(tmp_path / "s", days=1)
    desk.send(asked(50, [0.5], ["x"], units=[UNIT], model="unknown"))
    assert erased(desk.home, MODEL).models == {MODEL: Counts(predictions=2, outcomes=2)}
    assert places_of(desk.home, UNIT)
    with pytest.raises(UnknownName, match="unknown model 'nobody'"), stopped(desk.home):
        survey(desk.home, UNIT, "nobody")


def test_backups_that_are_listed_forget_too(tmp_path: Path) -> None:
    desk = storied(tmp_path / "s", days=1)
    for name in ("a.tar.zst", "b", "gone"):
        export(desk.home, tmp_path / name)
    shutil.rmtree(tmp_path / "gone")
    shutil.copytree(tmp_path / "b", tmp_path / "elsewhere")
    done = erased(desk.home, None, tmp_path / "elsewhere")
    assert [Path(path).name for path in done.backups] == ["a.tar.zst", "b", "elsewhere"]
    assert [Path(path).name for path in done.not_found] == ["gone"]
    assert not places_of(Home(path=tmp_path / "b"), UNIT)
    assert erased(desk.home, None, tmp_path / "elsewhere").backups == []


def test_a_backup_in_an_older_format_goes_as_a_whole(tmp_path: Path) -> None:
    desk = storied(tmp_path / "s", days=1)
    older = desk.home.path / OLDER.replace("*", "1")
    shutil.copytree(desk.home.path / "log", older / "log")
    with stopped(desk.home):
        assert survey(desk.home, UNIT).removed == [older.name]
    assert erased(desk.home).removed == [older.name]
    assert not places_of(desk.home, UNIT)


def test_a_running_lossloop_is_not_erased_from(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s")
    with (
        started(desk.home.path),
        pytest.raises(InUse, match=r"needs .* for itself; stop lossloop up first, then erase"),
        stopped(desk.home),
    ):
        raise AssertionError("two write the state")
    with stopped(desk.home):
        assert survey(desk.home, UNIT).models == {}
