"""The worker: outside effects are carried out, at least once, each under a key of its own."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from lossloop.act import outbox
from lossloop.app.commands import Promote, Settle
from lossloop.app.system import free_port
from lossloop.app.worker import Worker
from lossloop.core.clock import MINUTE, SECOND, ManualClock
from lossloop.registry import versions
from tests.app.desk import MODEL, ROLLOUT, WATCH, Desk

ROOT = Path(__file__).parents[2]


@dataclass
class Hook:
    """A webhook that answers as it is told, and keeps what it was sent."""

    statuses: list[int] = field(default_factory=list)
    received: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def hook() -> Iterator[Hook]:
    found = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found.received.append((self.path, self.headers["Idempotency-Key"], body))
            self.send_response(found.statuses.pop(0) if found.statuses else 204)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}/hook"
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def _targets_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("SECRET", "of this process")


def alarmed(path: Path, *then: dict[str, str], **settings: Any) -> Desk:
    """A champion whose watch has just asked for something."""
    desk = Desk.ready(
        path / "s", settings=settings, watches={"worse": WATCH}, on={"worse": list(then)}, rollout=ROLLOUT
    )
    for day in range(4):
        desk.day(day, 0.9)
    assert len(effects(desk)) == len(then)
    return desk


def effects(desk: Desk) -> list[outbox.Effect]:
    with desk.books() as books:
        return outbox.pending(books.documents)


def settled(desk: Desk) -> list[outbox.Effect]:
    with desk.books() as books:
        return list(books.documents.all(outbox.SETTLED, outbox.Effect).values())


def work(desk: Desk, clock: ManualClock | None = None) -> int:
    """Let a worker do all that is due; fold what came of it; say how many attempts that were."""
    worker = Worker(desk.home, clock)
    try:
        worker.step()  # it looks first whether the fold has come to its end
        attempts = 0
        while worker.step():
            attempts += 1
            desk.fold()
        return attempts
    finally:
        worker.close()


# Webhooks.


def test_a_webhook_is_told_once_with_a_key(tmp_path: Path, hook: Hook) -> None:
    desk = alarmed(tmp_path, {"notify": "oncall"}, notify={"oncall": hook.url})
    (effect,) = effects(desk)
    assert work(desk) == 1
    assert work(desk) == 0
    ((path, key, body),) = hook.received
    assert (path, key) == ("/hook", effect.key)
    assert {name: body[name] for name in ("model", "action", "watch", "status")} == {
        "model": MODEL, "action": "notify", "watch": "worse", "status": "done"
    }  # fmt: skip
    assert body["at"].startswith("2024-01-0")
    assert body["verdict"]["kind"] == "alarm"
    assert [(each.status, each.detail) for each in settled(desk)] == [("done", "webhook answered 204")]


def test_a_webhook_that_fails_is_asked_again_later_under_the_same_key(tmp_path: Path, hook: Hook) -> None:
    desk = alarmed(tmp_path, {"notify": "oncall"}, notify={"oncall": hook.url})
    hook.statuses = [500, 302]
    clock = ManualClock(SECOND)
    worker = Worker(desk.home, clock)
    worker.step()
    tries = []
    for second in range(12):
        clock.advance_to((second + 1) * SECOND)
        if worker.step():
            tries.append(second)
            desk.fold()
    worker.close()
    assert tries == [0, 1, 3], "a second after the first attempt, two after the next"
    assert len({key for _, key, _ in hook.received}) == 1
    assert [path for path, _, _ in hook.received] == ["/hook"] * 3, "no redirect is followed"
    assert [each.attempts for each in settled(desk)] == [3]


def test_a_webhook_that_is_never_reached_is_given_up_and_the_loop_goes_on(tmp_path: Path) -> None:
    port = free_port("127.0.0.1")
    desk = alarmed(tmp_path, {"notify": "oncall"}, notify={"oncall": f"http://127.0.0.1:{port}/"})
    clock = ManualClock(SECOND)
    worker = Worker(desk.home, clock)
    worker.step()
    attempts = 0
    for _ in range(40):
        clock.advance_to(clock.now() + MINUTE)
        attempts += worker.step()
        desk.fold()
    worker.close()
    assert attempts == outbox.MOST_ATTEMPTS
    assert [each.status for each in settled(desk)] == ["failed"]
    assert "webhook not reached" in settled(desk)[0].detail
    assert desk.day(5, 0.1)


def test_the_target_named_log_is_always_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    desk = alarmed(tmp_path, {"notify": "log"})
    assert work(desk) == 1
    told = capsys.readouterr().out
    assert "m: worse: done: alarm of 'worse'" in told
    assert told.count("\n") == 1


def test_a_target_that_an_admin_took_away_is_not_used(tmp_path: Path, hook: Hook) -> None:
    desk = alarmed(tmp_path, {"notify": "oncall"}, notify={"oncall": hook.url})
    (desk.home.path / "settings.yaml").write_text("clock: event\n")
    work(desk)
    assert hook.received == []
    assert effects(desk)[0].detail == "settings.yaml has no notify target 'oncall'"


def test_what_the_log_says_was_done_is_not_done_again(tmp_path: Path, hook: Hook) -> None:
    desk = alarmed(tmp_path, {"notify": "oncall"}, notify={"oncall": hook.url})
    first, second = Worker(desk.home), Worker(desk.home)
    assert [first.step(), first.step()] == [False, True]
    assert [second.step() for _ in range(3)] == [False] * 3, "the fold has not come to the end of the log"
    desk.fold()
    assert [second.step() for _ in range(3)] == [False] * 3
    assert len(hook.received) == 1
    first.close()
    second.close()


def test_people_are_told_before_a_long_retraining_begins(tmp_path: Path, hook: Hook) -> None:
    desk = alarmed(
        tmp_path, {"retrain": "again"}, {"notify": "oncall"},
        retrain={"again": "tests.app.targets:fail"}, notify={"oncall": hook.url},
    )  # fmt: skip
    worker = Worker(desk.home)
    assert [worker.step(), worker.step()] == [False, True]
    worker.close()
    assert len(hook.received) == 1


# Retraining.


def test_a_retraining_makes_a_version_that_goes_on_its_way(tmp_path: Path) -> None:
    desk = alarmed(tmp_path, {"retrain": "again"}, retrain={"again": "tests.app.targets:train"})
    late = desk.predict(5 * 24, [0.1] * 9)  # after the decision: nothing of it is trained on
    desk.know(5 * 24 + 1, late)
    assert work(desk) == 1
    with desk.books() as books:
        made = versions.versions(books.documents, MODEL)[-1]
    assert made.number == 2
    assert made.manifest.lineage["rows_seen"] == 12, "the decision fell after the third day"
    assert made.manifest.lineage["target"] == "tests.app.targets:train"
    assert made.manifest.lineage["secret"] is False, "no secret of this process reaches the target"
    assert {"id", "y_true", "y_pred", "unit", "version"} <= set(made.manifest.lineage["columns"])
    assert (desk.told()[-1], desk.share()) == (("start_rollout", "done"), 0.2)
    assert settled(desk)[0].detail == "made m:2"


def test_a_retraining_may_go_on_from_the_champions_artifact(tmp_path: Path) -> None:
    """Once a retrained version is champion, the next one is given what it is."""
    desk = alarmed(tmp_path, {"retrain": "again"}, retrain={"again": "tests.app.targets:rate_of_late"})
    assert work(desk) == 1
    with desk.books() as books:
        first = versions.versions(books.documents, MODEL)[-1]
    assert first.manifest.lineage["warm"] is False, "the first champion is served elsewhere"
    assert first.manifest.artifact
    desk.obey(Promote(model=MODEL, version=2))
    for day in range(5, 20):
        desk.day(day, 0.9, version=2)
    assert work(desk) >= 1
    with desk.books() as books:
        second = versions.versions(books.documents, MODEL)[-1]
    assert second.number == 3
    assert second.manifest.lineage["warm"] is True


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("tests.app.targets:fail", "RuntimeError: the trainer found no disk"),
        ("tests.app.targets:answer_something_else", "must return lossloop.Trained, not int"),
        ("tests.app.targets:leave", "tests.app.targets:leave failed"),
        ("tests.app.targets:nothing", "cannot import tests.app.targets:nothing"),
        ("tests.nowhere:train", "cannot import tests.nowhere:train: No module named"),
    ],
)
def test_a_retraining_that_fails_says_why_and_is_tried_again(
    tmp_path: Path, target: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    desk = alarmed(tmp_path, {"retrain": "again"}, retrain={"again": target})
    assert work(desk, ManualClock(1)) == 1
    (effect,) = effects(desk)
    assert (effect.attempts, effect.status) == (1, "pending")
    assert words in effect.detail
    assert words in capsys.readouterr().err


def test_a_retraining_that_fails_for_good_is_given_up_and_the_loop_goes_on(tmp_path: Path) -> None:
    desk = alarmed(tmp_path, {"retrain": "again"}, retrain={"again": "tests.app.targets:fail"})
    (effect,) = effects(desk)
    for _ in range(outbox.MOST_ATTEMPTS - 1):
        desk.obey(Settle(key=effect.key, ok=False, detail="tried before"))
    assert work(desk) == 1
    assert [each.status for each in settled(desk)] == ["failed"]
    assert work(desk) == 0
    assert len(desk.points("worse")) == 4
    desk.day(4, 0.1)
    assert len(desk.points("worse")) == 5


def test_while_frozen_no_retraining_begins(tmp_path: Path) -> None:
    desk = alarmed(tmp_path, {"retrain": "again"}, retrain={"again": "tests.app.targets:train"})
    desk.freeze(on=True)
    assert work(desk) == 0
    desk.freeze(on=False)
    assert work(desk) == 1
