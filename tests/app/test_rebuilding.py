"""A rebuild makes the derived state anew, repeats nothing, and says where the log decided otherwise."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from lossloop.act import outbox
from lossloop.app.cli import ledger
from lossloop.app.fold import Folding
from lossloop.app.reading import status
from lossloop.app.rebuilding import rebuild
from lossloop.core.errors import InUse
from lossloop.ledger import facts
from lossloop.ledger.frames import Damage, Kind
from tests.app.desk import MODEL, Desk
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
