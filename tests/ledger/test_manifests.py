"""Manifests: written in one way, so that any other byte is damage."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import NewerFormat, StateError
from lossloop.ledger.files import manifests
from lossloop.ledger.files.manifests import Blob, Manifest, Piece, Range, Removed, Table
from lossloop.ledger.frames import Kind
from tests.ledger.anyframes import HARD

TABLE = Table(
    file=Blob(path="predictions/model=m/s.parquet", bytes=9, digest="d" * 64),
    kind="prediction",
    model="m",
    rows=3,
    schema=manifests.schema_text(pa.schema([("id", pa.string())], metadata={"model": "m"})),
    first=1,
    last=2,
    pieces=(Piece(end=5, crc=7), Piece(end=9, crc=8)),
)
MANIFEST = Manifest(
    format=1,
    segment="s.seg",
    end=100,
    frames=2,
    first=1,
    last=2,
    tables=(TABLE,),
    index=Blob(path="index/s.frames.arrow", bytes=1, digest="e" * 64),
    ids=Blob(),
    damage=Blob(),
    damaged=(Range(start=3, end=4),),
    generation=2,
    removed=(Removed(why="erased", kind="prediction", model="m", rows=4),),
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    written = manifests.write(tmp_path, MANIFEST)
    assert manifests.read(tmp_path, "s.seg") == written
    assert manifests.manifests(tmp_path) == [written]
    assert written.blobs == (TABLE.file, MANIFEST.index)
    assert manifests.manifest_path(tmp_path, "s.seg") == tmp_path / "sealed" / "index" / "s.json"


@pytest.fixture(autouse=True)
def index(tmp_path: Path) -> None:
    manifests.index_directory(tmp_path).mkdir(parents=True)


def test_no_manifest_is_no_sealed_segment(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        manifests.read(tmp_path, "s.seg")
    assert manifests.manifests(tmp_path) == []
    assert manifests.manifests(tmp_path / "nothing") == []


RAW = manifests._text(manifests.summed(MANIFEST))


@given(st.integers(0, len(RAW) - 1), st.integers(0, 7))
def test_a_flipped_bit_is_damage(tmp_path_factory: pytest.TempPathFactory, at: int, bit: int) -> None:
    log = tmp_path_factory.mktemp("log")
    path = manifests.manifest_path(log, "s.seg")
    path.parent.mkdir(parents=True)
    changed = bytearray(RAW)
    changed[at] ^= 1 << bit
    path.write_bytes(changed)
    with pytest.raises(StateError, match=r"is damaged; restore it from a backup|install a newer lossloop"):
        manifests.read(log, "s.seg")


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{}", b'{"format": "1"}', RAW + b"\n", RAW.replace(b" ", b"\t", 1)]
)
def test_anything_else_is_damage(tmp_path: Path, raw: bytes) -> None:
    manifests.manifest_path(tmp_path, "s.seg").write_bytes(raw)
    with pytest.raises(StateError, match="is damaged"):
        manifests.read(tmp_path, "s.seg")


def test_a_manifest_under_another_name_is_damage(tmp_path: Path) -> None:
    manifests.manifest_path(tmp_path, "other.seg").write_bytes(RAW)
    with pytest.raises(StateError, match="is damaged"):
        manifests.read(tmp_path, "other.seg")


def test_a_newer_format_is_said_to_be_one(tmp_path: Path) -> None:
    manifests.manifest_path(tmp_path, "s.seg").write_bytes(b'{"format": 7, "what": "we do not know"}')
    with pytest.raises(NewerFormat, match="has format 7, this release reads up to 2"):
        manifests.read(tmp_path, "s.seg")


@pytest.mark.parametrize("name", sorted(HARD))
def test_a_schema_survives(name: str) -> None:
    field = pa.field(name, HARD[name].type, metadata={"a": "b"})
    schema = pa.schema([field], metadata={"model": "ü"})
    table = Table(
        file=Blob(), kind="outcome", model="m", rows=0, schema=manifests.schema_text(schema), first=0, last=0
    )
    assert manifests.schema_of(table).equals(schema, check_metadata=True)
    assert manifests.kind_of(table) is Kind.OUTCOME


def test_a_segment_and_its_manifest_name_each_other() -> None:
    assert manifests.segment_of("018f.json") == "018f.seg"
    assert manifests.stem("018f.seg") == "018f"
