"""Sending in the background, against a real server: nothing lost, nothing twice, nobody held up."""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.client import Backlog, Client, Refusal, Spool, SpoolFull
from lossloop.client.sender import FIRST_PAUSE, LONGEST_PAUSE, pause
from lossloop.core.errors import InputError, LossloopError
from tests.client.answering import Asked, Said, answering, nobody
from tests.client.taking import PATIENCE, Taking, client_of, problem, refused_in, rows, spool_files, taking


def test_what_is_handed_over_arrives(server: Taking, client: Client, tmp_path: Path) -> None:
    id = client.send_prediction("fraud", version=3, y_pred=0.02, unit="card-1", features={"amount": 12.5})
    client.send_outcome("fraud", id=id, y_true=True)
    assert client.flush(PATIENCE) == 0
    (kind, model, prediction), (other, _, outcome) = server.taken
    assert (kind, model, other) == ("predictions", "fraud", "outcomes")
    assert {**prediction, "time": 0} == {
        "id": id, "version": 3, "y_pred": 0.02, "unit": "card-1", "features": {"amount": 12.5}, "time": 0,
    }  # fmt: skip
    assert {**outcome, "time": 0} == {"id": id, "y_true": True, "time": 0}
    assert client.backlog() == Backlog(
        rows=0, bytes=client.backlog().bytes, sent=2, refused=0, lost=0, damaged_bytes=0, problem=""
    )
    assert client.close() == 0
    assert list((tmp_path / "spool").iterdir()) == []


def test_many_are_handed_over_at_once_or_none(server: Taking, client: Client) -> None:
    assert client.send_predictions("m", rows(3)) == ["a0", "a1", "a2"]
    client.send_outcomes("m", [{"id": "a0", "y_true": 1}, {"id": "a1", "y_true": None}])
    assert client.send_predictions("m", []) == []
    with pytest.raises(InputError, match="prediction without 'version'"):
        client.send_predictions("m", [*rows(2, 3), {"y_pred": 1}])
    client.flush(PATIENCE)
    assert server.ids == ["a0", "a1", "a2", "a0", "a1"]


def test_a_full_batch_is_sent_at_once_and_fewer_rows_wait_for_more(server: Taking, tmp_path: Path) -> None:
    with client_of(server.url, tmp_path, linger=3600, batch=10) as client:
        for row in rows(10):
            client.send_prediction("m", **row)
        server.await_requests(1)
        client.send_prediction("m", version=1, y_pred=1)
        assert client.flush(PATIENCE) == 0
    assert [len(sent) for _, sent in server.requests()] == [10, 1]


def test_rows_that_linger_are_sent_without_anybody_asking(server: Taking, tmp_path: Path) -> None:
    with client_of(server.url, tmp_path, linger=0.05) as client:
        client.send_prediction("m", version=1, y_pred=1)
        server.await_requests(1)
        assert client.flush(PATIENCE) == 0


def test_rows_wait_for_a_server_that_is_not_there_yet(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with answering() as server:
        url = server.url
        port = int(url.rpartition(":")[2])
    client = client_of(url, tmp_path)
    client.send_predictions("m", rows(5))
    assert client.flush(0.3) == 5
    assert client.backlog().problem.startswith(f"no answer from {url}")
    assert [record.levelname for record in caplog.records] == ["WARNING"]  # once, however often it tries
    with taking(port) as late:
        client.send_predictions("m", rows(5, 5))
        assert client.flush(PATIENCE) == 0
        assert late.ids == [f"a{n}" for n in range(10)]
        assert client.backlog().problem == ""
        client.close()


def test_closing_tells_how_many_rows_are_left_and_the_next_client_sends_them(
    server: Taking, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = client_of(nobody(), tmp_path)
    first.send_predictions("m", rows(7))
    assert first.close(timeout=0.1) == 7
    assert (
        caplog.messages[-1]
        == f"7 rows are left in the spool {tmp_path}; the next process that uses it sends them"
    )
    with client_of(server.url, tmp_path) as second:
        second.send_predictions("m", rows(1, start=7))
        second.flush(PATIENCE)
        assert server.ids == [f"a{n}" for n in range(8)]
    assert spool_files(tmp_path) == []


def test_a_new_client_needs_no_hand_over_to_send_what_was_left(server: Taking, tmp_path: Path) -> None:
    first = client_of(nobody(), tmp_path)
    first.send_predictions("m", rows(3))
    first.close(timeout=0)
    with client_of(server.url, tmp_path) as second:
        server.await_requests(1)
        assert second.flush(PATIENCE) == 0
    assert server.ids == ["a0", "a1", "a2"]


@pytest.mark.parametrize("status", [401, 403, 429, 500, 502, 503, 507])
def test_what_the_server_cannot_take_now_it_takes_later(server: Taking, client: Client, status: int) -> None:
    server.plan = [problem(status, "not now"), problem(status, "not now")]
    client.send_predictions("m", rows(3))
    assert client.flush(PATIENCE) == 0
    assert server.ids == ["a0", "a1", "a2"]
    sent = [body for _, body in server.requests()]
    assert sent[0] == sent[1] == sent[2]  # the same ids, the same times: it can never count twice


def test_a_server_that_says_when_is_not_asked_before(server: Taking, tmp_path: Path) -> None:
    asked: list[float] = []

    def decide(request: Asked) -> Said:
        asked.append(time.monotonic())
        return problem(429, "slow down", after="0.5") if len(asked) == 1 else server._take(request)

    server.server.decide = decide
    with client_of(server.url, tmp_path) as client:
        client.send_predictions("m", rows(3))
        assert client.flush(PATIENCE) == 0  # asking for more haste does not help
    assert asked[1] - asked[0] >= 0.5


def test_a_slow_server_holds_up_nobody(tmp_path: Path) -> None:
    answer = threading.Event()

    def decide(request: Asked) -> Said:
        assert answer.wait(PATIENCE)
        return Said(body=b'{"accepted":1}')

    with answering() as server:
        server.decide = decide
        with client_of(server.url, tmp_path) as client:
            client.send_predictions("m", rows(1))
            while not server.asked:
                time.sleep(0.01)
            for start in range(1, 500):
                client.send_predictions("m", rows(1, start))  # returns, though no answer has come
            assert client.backlog().rows == 500
            answer.set()
            assert client.flush(PATIENCE) == 0


def test_an_answer_that_never_comes_is_asked_for_again(tmp_path: Path) -> None:
    """The server had taken the rows, and its answer was lost: they are sent again under the same ids."""
    calls: list[bytes] = []
    over = threading.Event()

    def decide(request: Asked) -> Said:
        calls.append(request.body)
        if len(calls) == 1:
            over.wait(PATIENCE)
        return Said(body=b'{"accepted":1}')

    with answering() as server:
        server.decide = decide
        with Client(server.url, token="t", timeout=0.3, spool=tmp_path, linger=0) as client:
            client.send_predictions("m", rows(2))
            assert client.flush(PATIENCE) == 0
        over.set()
    assert calls[0] == calls[1]


def test_a_poison_row_is_told_and_kept_and_the_others_get_through(server: Taking, tmp_path: Path) -> None:
    server.refuses = lambda row: row["id"] == "a5"
    told: list[Refusal] = []
    with client_of(server.url, tmp_path, on_refused=told.append) as client:
        client.send_predictions("m", rows(10))
        assert client.flush(PATIENCE) == 0
        assert (client.backlog().sent, client.backlog().refused) == (9, 1)
    assert [each.row["id"] for each in told] == ["a5"]
    (kept,) = refused_in(tmp_path)
    assert kept == {
        "at": kept["at"], "kind": "prediction", "model": "m", "row": told[0].row, "status": 422,
        "detail": "bad", "field": "y_pred",
    }  # fmt: skip
    assert (tmp_path / "refused.jsonl").stat().st_mode & 0o077 == 0


def test_what_was_refused_can_be_mended_and_sent_again(server: Taking, tmp_path: Path) -> None:
    server.plan = [problem(404, "unknown model 'm'")]
    with client_of(server.url, tmp_path) as client:
        client.send_predictions("m", rows(3))
        client.flush(PATIENCE)
        for line in refused_in(tmp_path):
            client.send_predictions(line["model"], [line["row"]])
        client.flush(PATIENCE)
    assert server.ids == ["a0", "a1", "a2"]


def test_a_fault_in_on_refused_is_logged_and_stops_nothing(
    server: Taking, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.refuses = lambda row: row["id"] in ("a1", "a2")
    told = []

    def on_refused(refusal: Refusal) -> None:
        told.append(refusal.row["id"])
        raise RuntimeError("a fault of the service's")

    with client_of(server.url, tmp_path, on_refused=on_refused) as client:
        client.send_predictions("m", rows(4))
        assert client.flush(PATIENCE) == 0
    assert told == ["a1", "a2"]
    assert caplog.messages.count("on_refused failed") == 2
    assert any("2 rows were refused and are in" in words for words in caplog.messages)


def test_what_cannot_be_kept_as_refused_is_sent_again(server: Taking, tmp_path: Path) -> None:
    server.refuses = lambda row: row["id"] == "a1"
    (tmp_path / "refused.jsonl").mkdir()
    with client_of(server.url, tmp_path) as client:
        client.send_predictions("m", rows(3))
        assert client.flush(0.3) == 3
        assert "IsADirectoryError" in client.backlog().problem
        (tmp_path / "refused.jsonl").rmdir()
        assert client.flush(PATIENCE) == 0
        assert client.backlog().refused == 1
    assert [line["row"]["id"] for line in refused_in(tmp_path)] == ["a1"]


def test_rows_settled_before_a_failure_are_not_sent_again(server: Taking, tmp_path: Path) -> None:
    failed: list[int] = []

    def decide(request: Asked) -> Said:
        if json.loads(request.body)["model"] == "second" and not failed:
            failed.append(1)
            return problem(503, "too much at once")
        return server._take(request)

    server.server.decide = decide
    with client_of(server.url, tmp_path, linger=3600) as client:
        client.send_predictions("first", rows(3))
        client.send_predictions("second", rows(3))
        assert client.flush(PATIENCE) == 0
        assert client.backlog().sent == 6
    assert [model for _, model, _ in server.taken] == ["first"] * 3 + ["second"] * 3


def test_a_row_at_which_the_server_fails_is_set_aside_once_others_get_through(
    server: Taking, tmp_path: Path
) -> None:
    server.breaks = lambda row: row["id"] == "a0"
    with client_of(server.url, tmp_path) as client:
        client.send_predictions("m", rows(1))
        server.await_requests(5)
        assert client.backlog().rows == 1  # it may be the server
        client.send_predictions("m", rows(3, start=1))
        assert client.flush(PATIENCE) == 0
        assert client.backlog().refused == 1
    assert server.ids == ["a1", "a2", "a3"]


def test_corrections_follow_each_other(server: Taking, tmp_path: Path) -> None:
    with client_of(server.url, tmp_path, linger=3600) as client:
        for y_true in (0, 1, 0):
            client.send_outcome("m", id="a", y_true=y_true)
        client.flush(PATIENCE)
    assert [row["y_true"] for _, _, row in server.taken] == [0, 1, 0]
    assert [len(sent) for _, sent in server.requests()] == [1, 1, 1]


def test_many_threads_hand_over_and_each_row_arrives_once(server: Taking, tmp_path: Path) -> None:
    with client_of(server.url, tmp_path, batch=50) as client:

        def work(number: int) -> None:
            for n in range(200):
                client.send_prediction("m", id=f"{number}-{n}", version=1, y_pred=0.5)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert client.flush(PATIENCE) == 0
    assert sorted(server.ids) == sorted(f"{number}-{n}" for number in range(8) for n in range(200))
    for number in range(8):
        own = [id for id in server.ids if id.startswith(f"{number}-")]
        assert own == [f"{number}-{n}" for n in range(200)]


def test_a_full_spool_is_told_to_who_hands_over_and_ends(server: Taking, tmp_path: Path) -> None:
    client = client_of(nobody(), Spool(tmp_path, most_bytes=20_000))

    def hand_over() -> None:
        for start in range(1000):
            client.send_predictions("m", rows(1, start))

    with pytest.raises(SpoolFull, match="is the server up"):
        hand_over()
    kept = client.close(0)
    assert 50 < kept < 1000
    with client_of(server.url, Spool(tmp_path, most_bytes=20_000)) as again:
        assert again.flush(PATIENCE) == 0
    assert server.ids == [f"a{n}" for n in range(kept)]


def test_without_a_spool_rows_cannot_be_sent_in_the_background(server: Taking) -> None:
    with Client(server.url, token="t") as client:
        for call in (
            lambda: client.send_predictions("m", rows(1)),
            lambda: client.send_outcome("m", id="a", y_true=1),
            client.flush,
            client.backlog,
            lambda: client.sender.lose(1, ""),
        ):
            with pytest.raises(InputError, match=r"name it: ll\.Client\(\.\.\., spool='lossloop-spool'\)"):
                call()
        assert client.close() == 0


def test_a_closed_client_takes_nothing_more(server: Taking, tmp_path: Path) -> None:
    client = client_of(server.url, tmp_path)
    client.send_predictions("m", rows(1))
    assert (client.close(), client.close()) == (0, 0)
    with pytest.raises(LossloopError, match="this client was closed"):
        client.send_predictions("m", rows(1))
    assert server.ids == ["a0"]


@pytest.mark.parametrize("batch", [0, -1, 10_001])
def test_a_batch_has_its_limits(batch: int, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="batch is a number of rows from 1 to 10000"):
        Client("http://x", token="t", spool=tmp_path, batch=batch)


def test_a_fault_of_a_disk_is_counted_and_told(
    server: Taking, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = client_of(nobody(), tmp_path)
    first.send_predictions("m", rows(3))
    first.close(0)
    (path,) = spool_files(tmp_path)
    raw = bytearray(path.read_bytes())
    raw[raw.index(b'"a1"')] ^= 1
    path.write_bytes(raw)
    with client_of(server.url, tmp_path) as client:
        assert client.flush(PATIENCE) == 0
        assert client.backlog().damaged_bytes > 0
    assert server.ids == ["a0", "a2"]
    assert any(
        record.levelno == logging.ERROR and "are no rows any more" in record.message
        for record in caplog.records
    )


@given(failures=st.integers(0, 10_000), chance=st.floats(0, 1))
def test_pauses_grow_up_to_a_bound_and_differ_by_chance(failures: int, chance: float) -> None:
    longest = min(FIRST_PAUSE * 2.0 ** min(failures, 30), LONGEST_PAUSE)
    assert longest / 2 <= pause(failures, chance) <= longest
    assert math.isclose(pause(failures, 0.0), longest)
    assert pause(failures + 1, chance) >= pause(failures, chance)
    assert longest / 2 <= pause(failures) <= longest
