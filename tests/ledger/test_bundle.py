"""Bundles: what goes in comes out, and what was changed, cut off or made up is refused."""

from __future__ import annotations

import io
import os
import random
import tarfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossloop.core.errors import InputError, StateError, StorageFull
from lossloop.ledger.files import bundle, durable
from lossloop.ledger.files.bundle import LIST, Contents, Source, pack, size_of, unpack
from tests.ledger.test_sealing import flip

Packed = Callable[[str], tuple[Path, dict[str, bytes]]]
NAMES = ["b.tar.zst", "b"]
"""One file, and a directory."""


def sources(place: Path, files: dict[str, bytes]) -> list[Source]:
    place.mkdir(exist_ok=True)
    found = []
    for number, (name, data) in enumerate(files.items()):
        path = place / f"{number}"
        path.write_bytes(data + b"more than is wanted")
        found.append(Source(name=name, path=path, bytes=len(data)))
    return found


def below(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and path.name != LIST
    }


FILES = {
    "log/a.seg": b"x" * 3_000_000,
    "log/sealed/index/a.json": b"{}",
    "settings.yaml": b"",
    "format": b"2\n",
}


@pytest.fixture
def packed(tmp_path: Path) -> Packed:
    def make(name: str) -> tuple[Path, dict[str, bytes]]:
        target = tmp_path / "backups" / name
        pack(target, sources(tmp_path / "from", FILES), {"lossloop": "0"})
        return target, FILES

    return make


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15)
@given(
    st.dictionaries(
        st.from_regex(r"[a-zü=%][a-z ]{0,3}(/[a-z]{1,3})?", fullmatch=True),
        st.binary(max_size=50),
        max_size=5,
    )
)
def test_what_goes_in_comes_out(
    tmp_path_factory: pytest.TempPathFactory, name: str, files: dict[str, bytes]
) -> None:
    tops = {each.partition("/")[0] for each in files if "/" in each}
    files = {each: data for each, data in files.items() if each not in tops and each != LIST}
    place = tmp_path_factory.mktemp("bundle")
    contents = pack(place / name, sources(place / "from", files), {"until": "now"})
    assert unpack(place / name, place / "to") == contents
    assert (below(place / "to") if files else {}) == files
    assert contents.about == {"until": "now"}


@pytest.mark.parametrize("name", NAMES)
def test_progress_is_told_in_bytes(tmp_path: Path, name: str) -> None:
    told: list[int] = []
    pack(tmp_path / name, sources(tmp_path / "from", FILES), {}, told.append)
    assert sum(told) == sum(map(len, FILES.values()))
    told.clear()
    unpack(tmp_path / name, tmp_path / "to", told.append)
    assert sum(told) == sum(map(len, FILES.values()))
    assert size_of(tmp_path / name) > 0
    assert size_of(tmp_path / "nothing") == 0


@pytest.mark.parametrize("name", NAMES)
def test_files_are_for_their_owner_alone(packed: Packed, tmp_path: Path, name: str) -> None:
    target, _ = packed(name)
    unpack(target, tmp_path / "to")
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "to").rglob("*")} == {0}


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_overwritten(packed: Packed, tmp_path: Path, name: str) -> None:
    target, _ = packed(name)
    with pytest.raises(InputError, match="is there already; give another name"):
        packed(name)
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "mine").touch()
    with pytest.raises(InputError, match="holds other things; choose an empty place"):
        unpack(target, tmp_path / "to")
    with pytest.raises(InputError, match="holds other things"):
        unpack(target, tmp_path / "to" / "mine")


def test_an_empty_directory_may_be_used(packed: Packed, tmp_path: Path) -> None:
    for name in ("backups/b", "to"):
        (tmp_path / name).mkdir(parents=True)
    target, files = packed("b")
    unpack(target, tmp_path / "to")
    assert below(tmp_path / "to") == files


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("name", NAMES)
def test_a_flipped_bit_is_found(packed: Packed, tmp_path: Path, name: str, seed: int) -> None:
    target, _ = packed(name)
    chance = random.Random(seed)
    path = (
        chance.choice(sorted(path for path in target.rglob("*") if path.is_file()))
        if target.is_dir()
        else target
    )
    if path.stat().st_size:
        flip(path, chance.randrange(path.stat().st_size), chance.randrange(8))
        with pytest.raises(StateError, match=r"damaged|cut off|missing|do not trust|does not name|newer"):
            unpack(target, tmp_path / "to")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_a_bundle_that_was_cut_off_is_refused(packed: Packed, tmp_path: Path, share: float) -> None:
    target, _ = packed("b.tar.zst")
    raw = target.read_bytes()
    target.write_bytes(raw[: int(len(raw) * share)])
    with pytest.raises(StateError, match=r"cut off|damaged"):
        unpack(target, tmp_path / "to")


def test_a_directory_that_lacks_something_is_refused(packed: Packed, tmp_path: Path) -> None:
    target, _ = packed("b")
    (target / "log" / "a.seg").unlink()
    with pytest.raises(StateError, match=r"log/a\.seg in .* is damaged or missing; take another backup"):
        unpack(target, tmp_path / "to")
    (target / LIST).unlink()
    with pytest.raises(StateError, match=r"has no bundle\.json: it was cut off, or is no bundle"):
        unpack(target, tmp_path / "to2")


def test_a_directory_that_holds_something_else_is_refused(packed: Packed, tmp_path: Path) -> None:
    target, _ = packed("b")
    (target / "log" / "extra.seg").write_bytes(b"from elsewhere")
    with pytest.raises(StateError, match=r"holds log/extra\.seg, which its list does not name"):
        unpack(target, tmp_path / "to")


def test_no_bundle_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no bundle"):
        unpack(tmp_path / "nothing.tar.zst", tmp_path / "to")
    (tmp_path / "text.tar.zst").write_text("no archive")
    with pytest.raises(StateError, match="is damaged or was cut off"):
        unpack(tmp_path / "text.tar.zst", tmp_path / "to")


def archive(path: Path, *entries: tuple[tarfile.TarInfo, bytes]) -> Path:
    with (
        pa.CompressedOutputStream(pa.OSFile(str(path), "w"), "zstd") as stream,
        tarfile.open(fileobj=stream, mode="w|") as tar,
    ):
        for entry, data in entries:
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


@pytest.mark.parametrize("name", ["../outside", "/etc/outside", "log/../../outside", ""])
def test_a_name_cannot_lead_outside(tmp_path: Path, name: str) -> None:
    path = archive(tmp_path / "evil.tar.zst", (tarfile.TarInfo(name), b"evil"))
    with pytest.raises(StateError, match=r"do not trust it|has no bundle"):
        unpack(path, tmp_path / "a" / "b" / "to")
    assert not list(tmp_path.rglob("outside"))
    assert not Path("/etc/outside").exists()


def test_a_link_is_refused(tmp_path: Path) -> None:
    link = tarfile.TarInfo("log")
    link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
    path = archive(tmp_path / "evil.tar.zst", (link, b""))
    with pytest.raises(StateError, match="which is no file; do not trust it"):
        unpack(path, tmp_path / "to")


@pytest.mark.parametrize(
    ("listed", "words"),
    [
        (b"no json", "is damaged"),
        (b"{}", "is damaged"),
        (
            msgspec.json.encode(Contents(format=9, about={}, files={})),
            "has format 9; install a newer lossloop",
        ),
    ],
)
def test_a_list_that_cannot_be_used_is_refused(tmp_path: Path, listed: bytes, words: str) -> None:
    path = archive(tmp_path / "x.tar.zst", (tarfile.TarInfo(LIST), listed))
    with pytest.raises(StateError, match=words):
        unpack(path, tmp_path / "to")


@pytest.mark.parametrize("name", NAMES)
def test_a_full_disk_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def full(path: Path, other: Path) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(durable, "publish", full)
    with pytest.raises(StorageFull, match="no room in"):
        pack(tmp_path / "backups" / name, sources(tmp_path / "from", FILES), {})
    assert os.listdir(tmp_path / "backups") == []


def test_a_file_that_became_shorter_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"short")
    with pytest.raises((OSError, StateError)):
        pack(tmp_path / "b.tar.zst", [Source(name="x", path=tmp_path / "x", bytes=99)], {})
    assert sorted(os.listdir(tmp_path)) == ["x"]


def test_whether_a_name_is_that_of_one_file() -> None:
    assert bundle.is_archive(Path("a/b.tar.zst"))
    assert not bundle.is_archive(Path("a/b.tar"))
