"""A rebuild makes the derived state anew, repeats nothing, and says where the log decided otherwise."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from lossloop.act import outbox
from lossloop.app.cli import ledger
from lossloop.app.fold import Folding
from lossloop.app.home import Home
from lossloop.app.reading import status
from lossloop.app.rebuilding import rebuild
from lossloop.core.errors import InUse
from lossloop.ledger import facts
from lossloop.ledger.frames import Damage, Kind
from tests.app.desk import DAY, MODEL, Desk, ticked
from tests.app.test_rebuild import storied


def test_a_rebuild_gives_the_same_state_and_repeats_nothing(tmp_path: Path) -> None:
    desk = storied(tmp_path)
    with desk.books() as books:
        before, shown = desk.decisions(), status(books, MODEL)
    frames = logged(desk)
    steps: list[int] = []
    found = rebuild(desk.home, progress=steps.append)
    assert found.agrees
    assert (found.same, found.kept) == (len(before), False)
    assert sum(steps) == found.frames == frames
    assert logged(desk) == frames, "nothing was logged again"
    with desk.books() as books:
        assert (desk.decisions(), status(books, MODEL)) == (before, shown)
        assert outbox.pending(books.documents) == []


def logged(desk: Desk) -> int:
    """How many frames the log holds."""
    log = desk.home.log.reader()
    count = sum(not isinstance(entry.frame, Damage) for entry in log.read({}))
    log.close()
    return count


def tamper(desk: Desk) -> None:
    """Put a decision into the log that nobody made."""
    writer = desk.home.log.writer()
    writer.append([facts.decisions([(f"{MODEL}/999999", '{"action": "promote"}')], now=1)])
    writer.close()


def test_where_the_log_decided_otherwise_the_state_stays_until_that_is_accepted(tmp_path: Path) -> None:
    desk = storied(tmp_path)
    tamper(desk)
    before = desk.decisions()
    found = rebuild(desk.home)
    assert not found.agrees
    assert found.only_logged == (f"{MODEL}/999999",)
    assert found.kept
    assert desk.decisions() == before
    accepted = rebuild(desk.home, accept=True)
    assert (accepted.only_logged, accepted.kept) == (found.only_logged, False)
    assert desk.decisions() == before


def test_a_logged_decision_with_other_content_is_named(tmp_path: Path) -> None:
    desk = storied(tmp_path)
    log = desk.home.log.reader()
    entries = [entry for entry in log.read({}) if not isinstance(entry.frame, Damage)]
    log.close()
    decided = next(entry.frame for entry in entries if entry.frame.kind is Kind.DECISION)  # type: ignore[union-attr]
    (first, *_) = decided.batch.column("id").to_pylist()  # type: ignore[union-attr]
    for path in desk.home.segments.directory.iterdir():
        path.rename(path.with_suffix(".gone"))
    writer = desk.home.log.writer()
    for entry in entries:
        frame = entry.frame
        if frame.kind is Kind.DECISION:  # type: ignore[union-attr]
            ids = frame.batch.column("id").to_pylist()  # type: ignore[union-attr]
            bodies = frame.batch.column("body").to_pylist()  # type: ignore[union-attr]
            lied = [(id, "{}" if id == first else body) for id, body in zip(ids, bodies, strict=True)]
            frame = facts.decisions(lied, now=frame.time)  # type: ignore[union-attr]
        writer.append([frame])  # type: ignore[list-item]
    writer.close()
    assert rebuild(desk.home).differ == (first,)


def test_a_rebuild_waits_for_nobody(tmp_path: Path) -> None:
    desk = storied(tmp_path)
    folding = Folding(desk.home)
    with pytest.raises(InUse, match="another process writes"):
        rebuild(desk.home)
    folding.close()


def test_a_rebuild_that_was_cut_short_leaves_the_state_as_it_was(tmp_path: Path) -> None:
    desk = storied(tmp_path)
    before = desk.decisions()

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rebuild(desk.home, progress=stop)
    assert desk.decisions() == before
    assert rebuild(desk.home).agrees


def test_the_command_says_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    desk = storied(tmp_path)
    ledger.rebuild(state=desk.home.path, json=True)
    told = msgspec.json.decode(capsys.readouterr().out)
    assert told["agrees"] is True
    assert told["same"] == len(desk.decisions())
    tamper(desk)
    with pytest.raises(SystemExit) as ended:
        ledger.rebuild(state=desk.home.path)
    assert ended.value.code == 1
    said = capsys.readouterr().out
    assert f"1 in the log only: {MODEL}/999999" in said
    assert "--accept takes the new one" in said


@pytest.fixture(scope="module")
def in_use(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A directory whose applier runs: what it did last stands in SQLite's write-ahead log alone."""
    desk = storied(tmp_path_factory.mktemp("in use"))
    folding = Folding(desk.home)
    writer = desk.home.log.writer()
    writer.append([replace(ticked(14 * DAY), time=time.time_ns() // 1000)])
    writer.close()
    folding.drain()
    yield desk
    folding.close()


KILLED = """
import os, signal, sys
from pathlib import Path
from lossloop.app.home import Home
from lossloop.app.rebuilding import rebuild

left = int(sys.argv[2])

def counted(step):
    def call(*args, **given):
        global left
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1
        return step(*args, **given)
    return call

Path.unlink, Path.rename = counted(Path.unlink), counted(Path.rename)
rebuild(Home(path=Path(sys.argv[1])))
"""
"""A rebuild that is killed before so many files were removed or renamed."""


@pytest.mark.parametrize(
    ("steps", "has_state", "has_fresh"),
    [(3, True, True), (4, False, True), (6, False, True), (7, True, False)],
    ids=[
        "state still there",
        "its write-ahead log left behind",
        "before the new one",
        "before it is tidied up",
    ],
)
def test_wherever_it_is_killed_the_next_one_has_the_same_state(
    in_use: Desk, tmp_path: Path, steps: int, has_state: bool, has_fresh: bool
) -> None:
    place = tmp_path / "copy"
    shutil.copytree(in_use.home.path, place)
    right = in_use.everything()
    assert (place / "state.db-wal").stat().st_size > 0
    command = [sys.executable, "-c", KILLED, str(place), str(steps)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert ((place / "state.db").exists(), (place / "rebuilt.db").exists()) == (has_state, has_fresh)
    again = Desk(home=Home(path=place))
    again.fold()
    assert again.everything() == right
    assert rebuild(again.home).agrees
    assert again.everything() == right
    assert list(place.glob("rebuilt.*")) == []
