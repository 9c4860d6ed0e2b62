"""A folder of one piece of work: one process at a time, and its document whole or not at all."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from lossloop.app.locked import LockedFolder, read_document
from lossloop.core.errors import InUse, StateError
from lossloop.core.records import Record

HOLD = """
import sys
from pathlib import Path
from tests.app.test_locked import folder
held = folder(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


class Said(Record, frozen=True):
    """A document."""

    count: int
    words: str = ""


def folder(path: Path) -> LockedFolder[Said]:
    return LockedFolder(path, "said.json", Said, busy="somebody else does the same")


def test_a_document_is_read_back(tmp_path: Path) -> None:
    with closing(folder(tmp_path / "f")) as held:
        assert held.read() is None
        held.write(Said(count=1, words="ü"))
        held.write(Said(count=2))
        assert held.read() == Said(count=2)
        assert held.rejects == tmp_path / "f" / "rejects.csv"
    assert [path.name for path in (tmp_path / "f").iterdir()] == ["said.json"]
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o700


def test_a_damaged_document_is_none(tmp_path: Path) -> None:
    for text in ("", "{", '{"count": "two"}', '{"count": 1, "other": 2}'):
        (tmp_path / "said.json").write_text(text)
        assert read_document(tmp_path / "said.json", Said) is None


def test_what_is_no_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "said.json").mkdir()
    with pytest.raises(StateError, match="cannot read"):
        read_document(tmp_path / "said.json", Said)


def test_one_at_a_time_also_in_one_process(tmp_path: Path) -> None:
    first = folder(tmp_path)
    with pytest.raises(InUse, match=r"somebody else does the same \(.*\); let it end"):
        folder(tmp_path)
    first.close()
    first.close()
    folder(tmp_path).close()


def test_a_process_that_is_killed_holds_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(InUse):
            folder(tmp_path)
        process.kill()
        process.wait()
        folder(tmp_path).close()
