"""Derived state may be deleted: folded again, the log gives the same decisions, and no effect twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lossloop.act import outbox
from lossloop.app.commands import Promote, Settle
from lossloop.app.reading import status
from lossloop.app.worker import Worker
from tests.app.desk import DAY, MODEL, ROLLOUT, WATCH, Desk


def storied(path: Path, **settings: Any) -> Desk:
    """A directory with orders, a rollback, an alarm and what it led to, in segments of many writers."""
    desk = Desk.ready(
        path / "s", versions=3, settings=settings, rollout=ROLLOUT, watches={"worse": WATCH},
        on={"worse": [{"notify": "log"}]},
    )  # fmt: skip
    desk.rollout(2)
    desk.arms(1, 0.1, 0.9, share=0.2, rows=200)
    desk.obey(Promote(model=MODEL, version=3, reason="by hand"))
    for day in range(1, 12):
        desk.day(day, 0.9, version=3)
    with desk.books() as books:
        (effect,) = outbox.pending(books.documents)
    desk.obey(Settle(key=effect.key, ok=True, detail="told"))
    desk.tick(13 * DAY)
    return desk


def forget(desk: Desk) -> None:
    for path in desk.home.path.glob("state.db*"):
        path.unlink()


def test_a_deleted_state_is_folded_again_to_the_same_decisions(tmp_path: Path) -> None:
    desk = storied(tmp_path)
    with desk.books() as books:
        before, shown = desk.decisions(), status(books, MODEL)
    assert {decision.action for decision in before} >= {"roll_back", "promote", "notify"}
    forget(desk)
    assert desk.fold() > 10
    with desk.books() as books:
        assert (desk.decisions(), status(books, MODEL)) == (before, shown)
        assert outbox.pending(books.documents) == [], "the log says that it was done"


def test_a_worker_waits_until_the_log_has_told_what_was_done(tmp_path: Path) -> None:
    desk = storied(tmp_path)
    forget(desk)
    desk.home.writable_state().close()
    worker = Worker(desk.home)
    assert not worker.step()
    desk.fold()
    assert not worker.step()
    assert not worker.step(), "nothing is left to do"
    worker.close()
