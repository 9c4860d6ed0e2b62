"""Full disks and kill -9: what was acknowledged is there, what was refused is not."""

from __future__ import annotations

import fcntl
import resource
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from lossloop.core.errors import LossloopError, StateError
from lossloop.ledger.applier import ApplierLock
from lossloop.ledger.files.segments import SegmentLog
from lossloop.ledger.sqlite.state import State
from tests.house.repository import ROOT
from tests.ledger.samples import numbers, tick_frame
from tests.ledger.writing import LIMIT, Report

IN_A_NAMESPACE = ["unshare", "--map-root-user", "--mount"]


def command(directory: Path, mode: str) -> list[str]:
    return [sys.executable, "-m", "tests.ledger.writing", str(directory), mode]


def report(arguments: list[str]) -> Report:
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return msgspec.json.decode(done.stdout, type=Report)


def read_numbers(directory: Path) -> list[int]:
    reader = SegmentLog(directory).reader()
    found = numbers([entry.frame for entry in reader.read({})])
    reader.close()
    return found


def can_mount(directory: Path) -> bool:
    """Whether this machine lets us have a small file system of our own."""
    mount = [*IN_A_NAMESPACE, "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(directory)]
    try:
        return subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def test_a_file_that_may_not_grow_refuses_and_the_next_takes_over(tmp_path: Path) -> None:
    said = report(command(tmp_path, "limited"))
    assert len(said.refused) >= 4, "the limit was never met"
    assert said.acknowledged[-16:] == list(range(24, 40)), "once there is room, all is taken"
    assert sorted(read_numbers(tmp_path)) == said.acknowledged
    assert len(list(tmp_path.iterdir())) == len(said.messages) + 1
    assert all(" bytes in " in message and message.endswith("free some space") for message in said.messages)


def test_no_part_of_a_refused_append_stays_in_the_file(tmp_path: Path) -> None:
    report(command(tmp_path, "limited"))
    reader = SegmentLog(tmp_path).reader()
    ends = {entry.position.segment: entry.position.offset for entry in reader.read({})}
    reader.close()
    assert {file.name: file.stat().st_size for file in tmp_path.iterdir()} == ends
    assert min(ends.values()) <= LIMIT


def test_a_full_disk_refuses_until_there_is_room(tmp_path: Path) -> None:
    if not can_mount(tmp_path):
        pytest.skip("this machine lets nobody mount")
    said = report([*IN_A_NAMESPACE, *command(tmp_path, "full")])
    assert len(said.acknowledged) > 100
    assert len(said.refused) == 10
    assert said.acknowledged[-1] > said.refused[-1], "once there is room, facts are taken again"
    assert sorted(said.found) == said.acknowledged
    assert said.files == 1, "refused appends left files behind"


@pytest.mark.parametrize("after", [1, 50, 400])
def test_what_was_acknowledged_survives_kill_9(tmp_path: Path, after: int) -> None:
    with subprocess.Popen(
        command(tmp_path, "for-ever"), cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        said = [int(child.stdout.readline()) for _ in range(after)]
        child.kill()
        said += [int(line) for line in child.stdout.read().split("\n")[:-1]]
    found = read_numbers(tmp_path)
    assert len(said) >= after
    assert found[: len(said)] == said
    assert found == list(range(len(found))), "frames came in another order"
    assert len(found) <= len(said) + 1, "only the last frame may be there without a word"


def test_a_segment_is_never_taken_for_finished_before_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that looks while the file is made finds all that is written to it later."""
    reader, lock = SegmentLog(tmp_path).reader(), fcntl.flock

    def looked_at_before(fd: int, operation: int) -> None:
        if operation == fcntl.LOCK_EX:
            assert not reader.behind({})
        lock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", looked_at_before)
    writer = SegmentLog(tmp_path).writer()
    writer.append([tick_frame(1)])
    assert numbers([entry.frame for entry in reader.read({})]) == [1]
    writer.append([tick_frame(2)])
    assert numbers([entry.frame for entry in reader.read({})]) == [1, 2]
    writer.close()
    reader.close()


def test_a_lock_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "applier.lock").mkdir()
    with pytest.raises(StateError, match=r"cannot change .*applier.lock: Is a directory"):
        ApplierLock(tmp_path / "applier.lock")


def test_a_state_that_may_not_grow_keeps_what_it_had(tmp_path: Path) -> None:
    state = State(tmp_path / "state.db")
    state.put("test", "before", "x")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, limits[1]))
    try:
        with pytest.raises(LossloopError, match=r"free some space|a limit on files is met"):
            fill(state)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert state.get("test", "after", str) is None
    assert state.get("test", "before", str) == "x"
    fill(state)
    state.close()
    again = State(tmp_path / "state.db", read_only=True)
    assert again.get("test", "after", str) == "y" * 1_000_000
    again.close()


def fill(state: State) -> None:
    with state.transaction():
        state.put("test", "after", "y" * 1_000_000)
