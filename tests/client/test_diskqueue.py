"""The rows of one process on disk: order, room, windows, and what another process leaves behind."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lossloop.client.diskqueue import Queue
from lossloop.client.errors import SpoolFull
from lossloop.client.refusals import DeadLetters
from lossloop.client.rows import Kind, pack
from lossloop.client.spool import Spool
from lossloop.core.errors import InputError, LossloopError, StateError
from tests.client.taking import PATIENCE, rows, spool_files


def packed(count: int, start: int = 0, model: str = "m", size: int = 0) -> list[bytes]:
    features = {"features": {"x": "y" * size}} if size else {}
    return pack(Kind.PREDICTION, model, [{**row, **features} for row in rows(count, start)])[1]


def queue_in(spool: Spool) -> Queue:
    return Queue(spool, DeadLetters(spool.directory))


def ids(queue: Queue, most: int = 1000) -> list[str]:
    """The ids of the next window."""
    window = queue.window(most)
    return [] if window is None else [each.entry.id.decode() for each in window.waiting]


def fill(queue: Queue) -> None:
    for start in range(0, 1000, 10):
        queue.append(packed(10, start))


def drain(queue: Queue, most: int = 1000) -> list[str]:
    found: list[str] = []
    while window := queue.window(most):
        found += [each.entry.id.decode() for each in window.waiting]
        queue.take(window)
    return found


def named(count: int, start: int = 0) -> list[str]:
    return [f"a{n}" for n in range(start, start + count)]


def test_rows_come_out_as_they_went_in(tmp_path: Path) -> None:
    queue = queue_in(Spool(tmp_path / "new" / "spool"))
    queue.append(packed(3))
    queue.append(packed(4, start=3))
    assert queue.rows == 7
    assert ids(queue, most=5) == named(5)
    assert ids(queue, most=5) == named(5)  # until they are taken
    assert drain(queue, most=5) == named(7)
    assert (queue.rows, queue.window(5)) == (0, None)
    queue.release()
    assert list(queue._spool.directory.iterdir()) == []


def test_an_id_stands_once_in_a_window(tmp_path: Path) -> None:
    """The server refuses a batch's second row with an id: a correction comes in a request of its own."""
    queue = queue_in(Spool(tmp_path))
    queue.append(pack(Kind.OUTCOME, "m", [{"id": "a", "y_true": 0}, {"id": "b", "y_true": 1}])[1])
    queue.append(pack(Kind.OUTCOME, "m", [{"id": "a", "y_true": 1}])[1])
    queue.append(pack(Kind.OUTCOME, "other", [{"id": "a", "y_true": 1}])[1])
    queue.append(pack(Kind.PREDICTION, "m", [{"id": "a", "version": 1, "y_pred": 1}])[1])
    assert ids(queue) == ["a", "b"]
    assert drain(queue) == ["a", "b", "a", "a", "a"]
    queue.release()


def test_long_files_are_left_and_deleted_once_they_are_taken(tmp_path: Path) -> None:
    queue = queue_in(Spool(tmp_path, most_bytes=80_000))
    for start in range(0, 100, 5):
        queue.append(packed(5, start, size=400))
    assert len(spool_files(tmp_path)) >= 4
    assert queue.size == sum(path.stat().st_size for path in spool_files(tmp_path))
    assert drain(queue) == named(100)
    assert (len(spool_files(tmp_path)) <= 1, queue.size < 20_000) == (True, True)
    queue.release()
    assert spool_files(tmp_path) == []


def test_a_full_spool_says_so_and_takes_again_once_there_is_room(tmp_path: Path) -> None:
    queue = queue_in(Spool(tmp_path, most_bytes=50_000))
    with pytest.raises(
        SpoolFull, match=r"holds \d+ bytes, and may hold 50000; is the server up\? Or raise most_bytes"
    ):
        fill(queue)
    kept = queue.rows
    assert 100 < kept < 1000
    with pytest.raises(SpoolFull):
        queue.append(packed(10, kept))
    assert drain(queue) == named(kept)
    queue.append(packed(10, kept))
    assert drain(queue) == named(10, kept)
    queue.release()


def test_what_was_refused_counts_against_the_room(tmp_path: Path) -> None:
    (tmp_path / "refused.jsonl").write_bytes(b"x" * 49_990)
    queue = queue_in(Spool(tmp_path, most_bytes=50_000))
    with pytest.raises(SpoolFull, match=r"49990 of them refused\.jsonl"):
        queue.append(packed(1))
    (tmp_path / "refused.jsonl").unlink()  # somebody has looked at it
    queue.append(packed(1))
    queue.release()


def test_a_hand_over_may_wait_for_room(tmp_path: Path) -> None:
    queue = queue_in(Spool(tmp_path, most_bytes=20_000, wait=PATIENCE))
    count = 0
    while queue.size < 18_000:
        queue.append(packed(1, count))
        count += 1
    waiting = threading.Thread(target=lambda: queue.append(packed(30, count)))
    waiting.start()
    found: list[str] = []
    while len(found) < count + 30:
        found += drain(queue)
    waiting.join()
    assert found == named(count + 30)
    queue.release()


def test_who_waits_for_room_in_a_spool_that_closes_is_told(tmp_path: Path) -> None:
    queue = queue_in(Spool(tmp_path, most_bytes=1000, wait=PATIENCE))
    told: list[str] = []

    def hand_over() -> None:
        with pytest.raises(LossloopError) as caught:
            queue.append(packed(100))
        told.append(str(caught.value))

    waiting = threading.Thread(target=hand_over)
    waiting.start()
    queue.refuse()
    waiting.join()
    assert told == ["this client was closed; make another to send more"]
    queue.release()


def test_what_a_process_left_is_sent_first(tmp_path: Path) -> None:
    old = queue_in(Spool(tmp_path))
    old.append(packed(5))
    window = old.window(2)
    assert window is not None
    old.take(window)
    new = queue_in(Spool(tmp_path))
    new.append(packed(2, start=10))
    assert new.adopt() == 0  # its process is alive
    old.release()
    assert new.adopt() == 3
    assert new.rows == 5
    assert drain(new) == ["a2", "a3", "a4", "a10", "a11"]
    new.release()
    assert spool_files(tmp_path) == []


def test_two_that_look_round_never_share_a_file(tmp_path: Path) -> None:
    for start in range(0, 40, 2):
        left = queue_in(Spool(tmp_path))
        left.append(packed(2, start))
        left.release()
    first, second = queue_in(Spool(tmp_path)), queue_in(Spool(tmp_path))
    looks = [threading.Thread(target=each.adopt) for each in (first, second, first, second)]
    for look in looks[:2]:
        look.start()
    for look in looks[:2]:
        look.join()
    assert sorted(drain(first) + drain(second)) == sorted(named(40))
    first.release()
    second.release()


def test_a_file_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "strange.spool").mkdir()
    (tmp_path / "noise.spool").write_bytes(b"noise")
    queue = queue_in(Spool(tmp_path))
    assert queue.adopt() == 0
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert not (tmp_path / "noise.spool").exists()
    queue.release()


def test_bytes_that_are_no_rows_any_more_are_counted_and_passed_over(tmp_path: Path) -> None:
    queue = queue_in(Spool(tmp_path))
    queue.append(packed(3))
    (path,) = spool_files(tmp_path)
    raw = bytearray(path.read_bytes())
    raw[raw.index(b'"a1"')] ^= 1
    path.write_bytes(raw)
    window = queue.window(10)
    assert window is not None
    assert [each.entry.id for each in window.waiting] == [b"a0", b"a2"]
    assert window.damaged > 0
    queue.take(window)
    assert (queue.rows, queue.window(10)) == (0, None)
    queue.release()


def test_a_file_of_which_nothing_is_whole_holds_up_nobody(tmp_path: Path) -> None:
    queue = queue_in(Spool(tmp_path))
    queue.append(packed(1))
    (path,) = spool_files(tmp_path)
    with path.open("r+b") as file:
        file.seek(32)
        file.write(bytes(path.stat().st_size - 32))
    window = queue.window(10)
    assert window is not None
    assert (window.waiting, window.damaged) == ([], path.stat().st_size - 32)
    queue.take(window)
    assert (queue.rows, queue.window(10)) == (0, None)
    queue.release()


def test_a_directory_that_cannot_be_used_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match=r"cannot make the spool .*/file/spool: Not a directory"):
        queue_in(Spool(tmp_path / "file" / "spool"))
    with pytest.raises(StateError, match="cannot make the spool"):
        queue_in(Spool(tmp_path / "file"))


def test_a_directory_that_is_gone_is_told_at_the_hand_over(tmp_path: Path) -> None:
    queue = queue_in(Spool(tmp_path / "spool"))
    (tmp_path / "spool").rmdir()
    with pytest.raises(StateError, match=r"cannot write to the spool .*: No such file or directory"):
        queue.append(packed(1))
    (tmp_path / "spool").mkdir()
    queue.append(packed(1))
    queue.release()


def test_only_the_owner_can_read_a_spool(tmp_path: Path) -> None:
    queue = queue_in(Spool(tmp_path / "spool"))
    queue.append(packed(1))
    (path,) = spool_files(tmp_path / "spool")
    assert (tmp_path / "spool").stat().st_mode & 0o077 == 0
    assert path.stat().st_mode & 0o077 == 0
    queue.release()


@pytest.mark.parametrize("wrong", [{"most_bytes": 0}, {"wait": -1.0}])
def test_a_spool_of_nothing_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError):
        Spool("spool", **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sync", "wait", "blocks"), [(False, 0.0, False), (True, 0.0, True), (False, 1.0, True)]
)
def test_a_spool_knows_whether_it_may_take_long(sync: bool, wait: float, blocks: bool) -> None:
    assert Spool("spool", sync=sync, wait=wait).blocks is blocks


def test_with_sync_rows_are_on_disk_and_so_is_the_name_of_their_file(tmp_path: Path) -> None:
    queue = queue_in(Spool(tmp_path, sync=True))
    queue.append(packed(3))
    assert drain(queue) == named(3)
    queue.release()


steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 30)),
        st.tuples(st.just("take"), st.integers(1, 40)),
        st.tuples(st.just("die"), st.just(0)),
        st.tuples(st.just("tear"), st.integers(1, 20)),
    ),
    max_size=20,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_no_row_is_lost_however_often_a_process_dies(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    """A tail that was torn was never handed over: the process died before it returned."""
    spool = Spool(tmp_path_factory.mktemp("spool"), most_bytes=20_000_000)
    queue, made, found = queue_in(spool), 0, []
    for step, number in steps:
        if step == "append":
            queue.append(packed(number, made))
            made += number
        elif step == "take":
            if (window := queue.window(number)) is not None:
                found += [each.entry.id.decode() for each in window.waiting]
                queue.take(window)
        else:
            queue.release()
            if step == "tear" and (left := spool_files(spool.directory)):
                with left[-1].open("ab") as file:
                    file.write(packed(1, 10**6)[0][:number])
            queue = queue_in(spool)
            queue.adopt()
    assert found + drain(queue) == named(made)
    queue.release()
    assert os.listdir(spool.directory) == []
