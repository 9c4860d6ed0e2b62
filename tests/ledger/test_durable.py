"""Files that are there whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lossloop.core.errors import InUse, StateError, StorageFull
from lossloop.ledger.files import durable
from tests.house.repository import ROOT

HOLD = """
import sys
from pathlib import Path
from lossloop.ledger.files import durable
with durable.maintained(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_directories_are_made_for_their_owner_alone(tmp_path: Path) -> None:
    durable.make(tmp_path / "a" / "b")
    durable.make(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    durable.write(path, b"one")
    durable.write(path, b"two")
    assert path.read_bytes() == b"two"
    assert os.listdir(tmp_path) == ["x.json"]


def test_a_file_that_cannot_be_written_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.json"
    durable.write(path, b"one")

    def fails(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="Input/output"):
        durable.write(path, b"two")
    assert path.read_bytes() == b"one"


@pytest.mark.parametrize("size", [0, 1, 3 << 20])
def test_a_digest_is_that_of_the_bytes(tmp_path: Path, size: int) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"y" * size)
    assert durable.digest_of(path) == hashlib.blake2b(b"y" * size, digest_size=32).hexdigest()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_says_so(tmp_path: Path, number: int) -> None:
    with pytest.raises(StorageFull, match=r"no room in .*; free some space"), durable.explained(tmp_path):
        raise OSError(number, "full")


def test_other_refusals_name_the_file(tmp_path: Path) -> None:
    with (
        pytest.raises(StateError, match=r"cannot change .*nowhere.*: No such file"),
        durable.explained(tmp_path),
    ):
        (tmp_path / "nowhere" / "x").touch()
    with pytest.raises(ValueError, match="other"), durable.explained(tmp_path):
        raise ValueError("other")


def test_one_at_a_time_maintains_what_is_sealed(tmp_path: Path) -> None:
    with (
        durable.maintained(tmp_path),
        pytest.raises(InUse, match="try again later"),
        durable.maintained(tmp_path),
    ):
        raise AssertionError("two hold it at once")
    with durable.maintained(tmp_path):
        pass


def test_the_right_is_freed_when_its_holder_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with pytest.raises(InUse), durable.maintained(tmp_path):
            raise AssertionError("two hold it at once")
        child.kill()
    with durable.maintained(tmp_path):
        pass
