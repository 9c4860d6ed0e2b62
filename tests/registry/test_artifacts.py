"""Artifacts are named by their bytes: they cannot change unseen, and can be mended."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import LossloopError, StateError, StorageFull
from lossloop.core.ids import digest
from lossloop.registry import Artifacts


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path / "artifacts")


def names(artifacts: Artifacts) -> list[str]:
    return sorted(os.listdir(artifacts.directory)) if artifacts.directory.exists() else []


@given(st.lists(st.binary(max_size=100), max_size=5))
def test_bytes_come_back_under_their_digest(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes]
) -> None:
    artifacts = Artifacts(tmp_path_factory.mktemp("place"))
    stored = {artifacts.put(data): data for data in parts}
    assert {name: artifacts.get(name) for name in stored} == stored
    assert names(artifacts) == sorted({digest(data) for data in parts})


def test_the_same_bytes_again_change_nothing(artifacts: Artifacts) -> None:
    name = artifacts.put(b"model")
    before = (artifacts.directory / name).stat().st_mtime_ns
    assert artifacts.put(b"model") == name
    assert (artifacts.directory / name).stat().st_mtime_ns == before


def test_a_missing_artifact_is_told_what_to_do(artifacts: Artifacts) -> None:
    with pytest.raises(
        StateError, match=r"artifact 0123456789ab is not in .*artifacts; register the version again"
    ):
        artifacts.get("0123456789abcdef")


@pytest.mark.parametrize("changed", [b"modem", b"", b"model and more"])
def test_a_changed_artifact_is_refused_until_it_is_registered_again(
    artifacts: Artifacts, changed: bytes
) -> None:
    name = artifacts.put(b"model")
    (artifacts.directory / name).write_bytes(changed)
    with pytest.raises(
        StateError, match=f"artifact {name[:12]} was changed on disk; register the version again"
    ):
        artifacts.get(name)
    assert artifacts.put(b"model") == name
    assert artifacts.get(name) == b"model"


@pytest.mark.parametrize("name", ["", ".", "../settings.yaml", "x" * 300])
def test_a_name_that_is_no_digest_gives_nothing_away(artifacts: Artifacts, name: str) -> None:
    artifacts.put(b"model")
    (artifacts.directory.parent / "settings.yaml").write_text("secret")
    with pytest.raises(StateError) as caught:
        artifacts.get(name)
    assert "secret" not in str(caught.value)


def test_a_full_disk_leaves_nothing_behind(artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch) -> None:
    artifacts.put(b"first")
    before = names(artifacts)

    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(StorageFull, match=r"no room for 5 bytes in .*artifacts; free some space"):
            artifacts.put(b"model")
    assert names(artifacts) == before
    assert artifacts.get(artifacts.put(b"model")) == b"model"


def test_a_place_that_is_no_directory_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match=r"cannot write to .*file"):
        Artifacts(tmp_path / "file").put(b"model")
    with pytest.raises(LossloopError):
        Artifacts(tmp_path / "file").get("ab")
