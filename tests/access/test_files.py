"""Small files of the directory `access`: whole or not at all, the owner's alone, one writer at a time."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.access import files
from lossloop.core.errors import StateError


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "access" / "keys.json"
    assert files.read(path, dict[str, int]) is None
    files.write(path, b'{"a": 1}')
    assert files.read(path, dict[str, int]) == {"a": 1}
    files.write(path, b'{"b": 2}')
    assert files.read(path, dict[str, int]) == {"b": 2}
    assert [each.name for each in path.parent.iterdir()] == ["keys.json"], "no draft stays behind"


def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "access" / "keys.json"
    files.write(path, b"[]")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    path.chmod(0o644)
    files.write(path, b"[]")
    assert path.stat().st_mode & 0o777 == 0o600, "a file that was opened to others is closed again"


@pytest.mark.parametrize("text", [b"", b"{", b"[1, 2", b"\xff\xfe", b'{"a": "one"}', b"[]", b"null"])
def test_a_damaged_file_is_an_error_and_not_an_empty_one(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(text)
    with pytest.raises(StateError, match=r"keys\.json cannot be read .*; restore it from a backup"):
        files.read(path, dict[str, int])


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "keys.json").mkdir()
    with pytest.raises(StateError, match=r"cannot read .*keys\.json: Is a directory"):
        files.read(tmp_path / "keys.json", dict[str, int])


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "keys.json").mkdir()
    with pytest.raises(StateError, match=r"cannot write .*keys\.json"):
        files.write(tmp_path / "keys.json", b"[]")
    assert [each.name for each in tmp_path.iterdir()] == ["keys.json"]
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StateError, match="cannot write"):
        files.write(tmp_path / "file" / "keys.json", b"[]")
    with pytest.raises(StateError, match="cannot write to"), files.locked(tmp_path / "file"):
        pass


def test_a_stamp_tells_one_state_from_another(tmp_path: Path) -> None:
    path = tmp_path / "access" / "tokens.json"
    assert files.stamp(path) is None
    files.write(path, b"[]")
    before = files.stamp(path)
    assert before == files.stamp(path)
    files.write(path, b"[]")
    assert files.stamp(path) != before, "the same text written anew is another state"
    path.unlink()
    assert files.stamp(path) is None


def test_a_stamp_that_cannot_be_had_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StateError, match="cannot read"):
        files.stamp(tmp_path / "file" / "tokens.json")


@given(numbers=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20))
def test_whatever_was_written_is_there(tmp_path_factory: pytest.TempPathFactory, numbers: list[int]) -> None:
    path = tmp_path_factory.mktemp("a") / "x.json"
    files.write(path, repr(numbers).encode())
    assert files.read(path, list[int]) == numbers


def test_writers_take_turns(tmp_path: Path) -> None:
    path, rounds = tmp_path / "access" / "count.json", 25

    def add() -> None:
        for _ in range(rounds):
            with files.locked(path.parent):
                files.write(path, str((files.read(path, int) or 0) + 1).encode())

    threads = [threading.Thread(target=add) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert files.read(path, int) == 4 * rounds


def test_a_writer_that_fails_lets_the_next_one_in(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no"), files.locked(tmp_path / "access"):
        raise ValueError("no")
    with files.locked(tmp_path / "access"):
        files.write(tmp_path / "access" / "x.json", b"1")
    assert files.read(tmp_path / "access" / "x.json", int) == 1
