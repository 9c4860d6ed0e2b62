"""A directory is listed again only when it has changed, and never too late."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from lossloop.ledger.files import listing
from lossloop.ledger.files.listing import Listing


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every time that a directory was listed."""
    done: list[str] = []
    real = os.scandir

    def scanned(path: Path) -> object:
        done.append(str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scanned)
    return done


def test_names_are_sorted_and_only_of_files(tmp_path: Path) -> None:
    for name in ("b.seg", "a.seg", "c.txt"):
        (tmp_path / name).touch()
    (tmp_path / "d.seg").mkdir()
    (tmp_path / "e.seg").symlink_to(tmp_path / "nowhere")
    assert Listing(tmp_path, ".seg").names() == ("a.seg", "b.seg")


def test_no_directory_has_no_names_until_it_is_there(tmp_path: Path) -> None:
    found = Listing(tmp_path / "log", ".seg")
    assert found.names() == ()
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "a.seg").touch()
    assert found.names() == ("a.seg",)
    (tmp_path / "log" / "a.seg").unlink()
    (tmp_path / "log").rmdir()
    assert found.names() == ()


def test_what_was_just_made_is_always_seen(tmp_path: Path) -> None:
    """Two changes within one tick of the file system's clock leave the same time."""
    found = Listing(tmp_path, ".seg")
    for number in range(300):
        (tmp_path / f"{number:03d}.seg").touch()
        assert len(found.names()) == number + 1


def test_a_settled_directory_is_not_listed_again(tmp_path: Path, scans: list[str]) -> None:
    (tmp_path / "a.seg").touch()
    long_ago = time.time_ns() - 2 * listing.SETTLED
    os.utime(tmp_path, ns=(long_ago, long_ago))
    found = Listing(tmp_path, ".seg")
    for _ in range(5):
        assert found.names() == ("a.seg",)
    assert len(scans) == 1
    (tmp_path / "b.seg").touch()
    assert found.names() == ("a.seg", "b.seg")


def test_a_time_in_the_future_is_not_relied_on(tmp_path: Path, scans: list[str]) -> None:
    """A clock that was set back must not hide files for an hour."""
    ahead = time.time_ns() + 3_600_000_000_000
    os.utime(tmp_path, ns=(ahead, ahead))
    found = Listing(tmp_path, ".seg")
    assert found.names() == ()
    (tmp_path / "a.seg").touch()
    os.utime(tmp_path, ns=(ahead, ahead))
    assert found.names() == ("a.seg",)
    assert len(scans) == 2


def test_files_that_grow_change_no_names(tmp_path: Path, scans: list[str]) -> None:
    (tmp_path / "a.seg").touch()
    long_ago = time.time_ns() - 2 * listing.SETTLED
    os.utime(tmp_path, ns=(long_ago, long_ago))
    found = Listing(tmp_path, ".seg")
    found.names()
    (tmp_path / "a.seg").write_bytes(b"more")
    found.names()
    assert len(scans) == 1
