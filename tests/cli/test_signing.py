"""`lossloop keys create` and `lossloop sign` over files that are in the way, damaged or not there."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from lossloop.access import signing
from lossloop.app.cli.signing import create, sign
from lossloop.core.errors import InputError, LossloopError
from lossloop.core.ids import digest
from lossloop.registry import Approval

CODE = b"def predict(columns):\n    return columns['x']\n"


@pytest.fixture
def folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    create(tmp_path / "mine")
    capsys.readouterr()
    (tmp_path / "model.py").write_bytes(CODE)
    (tmp_path / "v1.json").write_text('{"runtime": "python", "features": [{"name": "x"}]}')
    return tmp_path


def signed(folder: Path, **more: Path) -> None:
    sign(
        folder / "model.py",
        manifest=more.get("manifest", folder / "v1.json"),
        key=more.get("key", folder / "mine"),
        output=more.get("output"),
    )


def test_the_secret_half_is_the_owner_s_alone(folder: Path) -> None:
    assert (folder / "mine").stat().st_mode & 0o777 == 0o600
    public = (folder / "mine.pub").read_text()
    assert public.strip() == signing.public_of((folder / "mine").read_bytes())


def test_a_key_is_never_written_over(folder: Path) -> None:
    before = (folder / "mine").read_bytes()
    with pytest.raises(InputError, match=r"cannot write .*mine: File exists") as caught:
        create(folder / "mine")
    assert caught.value.field == "path"
    assert (folder / "mine").read_bytes() == before


def test_half_a_pair_does_not_stay_behind(tmp_path: Path) -> None:
    (tmp_path / "key.pub").write_text("somebody's")
    with pytest.raises(InputError, match=r"cannot write .*key\.pub: File exists"):
        create(tmp_path / "key")
    assert not (tmp_path / "key").exists()
    assert (tmp_path / "key.pub").read_text() == "somebody's"
    (tmp_path / "key.pub").unlink()
    create(tmp_path / "key")


def test_a_key_in_no_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file or directory"):
        create(tmp_path / "nowhere" / "key")


def test_json_names_all_that_was_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    create(tmp_path / "key", json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["id"] == signing.id_of(Path(told["public"]).read_text())
    assert Path(told["secret"]).read_bytes()
    assert told.keys() == {"id", "secret", "public"}


def test_a_signature_names_the_key_and_is_of_these_files(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sign(folder / "model.py", manifest=folder / "v1.json", key=folder / "mine", json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["artifact"] == digest(CODE)
    made = msgspec.json.decode(Path(told["signature_file"]).read_bytes(), type=Approval)
    assert made.key == told["key"]
    assert told["signature_file"] == str(folder / "model.py.sig")


def test_the_same_files_have_the_same_signature(folder: Path) -> None:
    signed(folder)
    signed(folder, output=folder / "other.sig")
    assert (folder / "model.py.sig").read_bytes() == (folder / "other.sig").read_bytes()
    (folder / "model.py").write_bytes(CODE + b"\n")
    signed(folder, output=folder / "third.sig")
    assert (folder / "third.sig").read_bytes() != (folder / "other.sig").read_bytes()


@pytest.mark.parametrize("name", ["manifest", "key"])
def test_a_file_that_is_not_there_is_named(folder: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"cannot read .*gone: No such file"):
        signed(folder, **{name: folder / "gone"})
    assert not (folder / "model.py.sig").exists()


@pytest.mark.parametrize("name", ["manifest", "key"])
def test_a_file_of_another_kind_signs_nothing(folder: Path, name: str) -> None:
    with pytest.raises(LossloopError):
        signed(folder, **{name: folder / "model.py"})
    assert not (folder / "model.py.sig").exists()


def test_a_signature_that_cannot_be_written_is_told(folder: Path) -> None:
    with pytest.raises(InputError, match=r"cannot write .*: Is a directory") as caught:
        signed(folder, output=folder)
    assert caught.value.field == "output"
