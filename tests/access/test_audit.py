"""The audit log: a chain in which nothing can be changed, left out or put in without being seen."""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.access.audit import AuditLog, Entry
from lossloop.core.clock import ManualClock
from lossloop.core.errors import StateError


@pytest.fixture
def audit(tmp_path: Path) -> AuditLog:
    return AuditLog(tmp_path, ManualClock(1_000_000))


def test_what_is_appended_is_there(audit: AuditLog) -> None:
    assert audit.entries() == []
    first = audit.append("erase", {"rows": 3})
    second = audit.append("erase", {"rows": 0})
    assert audit.entries() == [first, second]
    assert (first.number, second.number) == (1, 2)
    assert first.at == "1970-01-01T00:00:01Z"
    assert first.who
    assert second.before == first.hash
    assert audit.path.stat().st_mode & 0o777 == 0o600


def test_a_user_without_a_name_is_a_number(audit: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert audit.append("erase", {}).who.isdigit()


@given(st.integers(0, 1 << 20), st.integers(0, 7))
def test_a_flipped_bit_is_found(tmp_path_factory: pytest.TempPathFactory, at: int, bit: int) -> None:
    audit = AuditLog(tmp_path_factory.mktemp("audit"), ManualClock(0))
    for number in range(3):
        audit.append("erase", {"number": number})
    raw = bytearray(audit.path.read_bytes())
    raw[at % (len(raw) - 1)] ^= 1 << bit  # all but the last newline
    audit.path.write_bytes(raw)
    with pytest.raises(StateError, match=r"line \d (was changed|is no entry|does not follow)"):
        audit.entries()


@pytest.mark.parametrize("order", [[0, 2], [1, 2], [1, 0, 2], [0, 1, 1, 2], [0, 0, 1, 2]])
def test_lines_cannot_be_left_out_or_moved(audit: AuditLog, order: list[int]) -> None:
    for number in range(3):
        audit.append("erase", {"number": number})
    lines = audit.path.read_bytes().splitlines(keepends=True)
    audit.path.write_bytes(b"".join(lines[number] for number in order))
    with pytest.raises(StateError, match=r"line \d does not follow the line before"):
        audit.entries()


def test_an_entry_made_by_hand_is_found(audit: AuditLog) -> None:
    first = audit.append("erase", {"rows": 3})
    forged = msgspec.structs.replace(first, details={"rows": 0})
    audit.path.write_bytes(msgspec.json.encode(forged) + b"\n")
    with pytest.raises(StateError, match="line 1 was changed; restore the file from a backup"):
        audit.entries()
    with pytest.raises(StateError, match="line 1 was changed"):
        audit.append("erase", {})


def test_a_torn_line_is_no_entry(audit: AuditLog) -> None:
    audit.append("erase", {})
    with audit.path.open("ab") as file:
        file.write(b'{"number": 2')
    with pytest.raises(StateError, match="line 2 is no entry"):
        audit.entries()


def test_several_may_append_at_once(tmp_path: Path) -> None:
    def work() -> None:
        for _ in range(10):
            AuditLog(tmp_path).append("erase", {})

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [entry.number for entry in AuditLog(tmp_path).entries()] == list(range(1, 41))


def test_a_name_is_a_hash_that_only_the_key_gives(tmp_path: Path) -> None:
    one, other = AuditLog(tmp_path / "a"), AuditLog(tmp_path / "b")
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
    hashed = one.keyed("ada")
    assert hashed == one.keyed("ada") == AuditLog(tmp_path / "a").keyed("ada")
    assert hashed != one.keyed("bob")
    assert hashed != other.keyed("ada")
    assert (tmp_path / "a" / "audit.key").stat().st_mode & 0o777 == 0o600


def test_an_entry_says_all_there_is(audit: AuditLog) -> None:
    entry = audit.append("erase", {"unit": audit.keyed("ada")})
    assert set(msgspec.to_builtins(entry)) == {"number", "at", "who", "what", "details", "before", "hash"}
    assert isinstance(entry, Entry)
