"""Frames as rows of a Parquet file, and its pieces."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lossloop.ledger.files import frametable
from lossloop.ledger.files.frametable import FRAME_END, FRAME_TIME, TableWriter, rows_of, schema_for
from lossloop.ledger.frames import Frame, Kind
from tests.ledger.anyframes import HARD, hard_frame
from tests.ledger.samples import features, prediction_frame

LOST = {"empty struct", "dictionary", "half", "union", "view"}
"""What Parquet, or this release of Arrow, does not bring back as it was; it may learn to."""


@pytest.mark.parametrize("name", sorted(HARD))
def test_it_is_known_what_survives(name: str) -> None:
    frame = hard_frame([name], Kind.PREDICTION, 1, {"model": "m"})
    if not frametable.survives(frame):
        assert name in LOST


@pytest.mark.parametrize(
    ("names", "fits"),
    [(["id"], True), ([], False), (["id", "id"], False), (["id", FRAME_END], False), ([FRAME_TIME], False)],
)
def test_columns_need_names_of_their_own(names: list[str], fits: bool) -> None:
    assert frametable.fits(pa.schema([(name, pa.string()) for name in names])) is fits


def write(path: Path, frames: list[Frame], per_group: int) -> pa.Schema:
    schema = frames[0].batch.schema
    writer = TableWriter(path, schema_for(schema))
    for first in range(0, len(frames), per_group):
        placed = [(100 * (first + i), frame) for i, frame in enumerate(frames[first : first + per_group])]
        writer.write(rows_of(placed, schema))
    assert writer.close()
    return schema


def frames(count: int) -> list[Frame]:
    return [
        prediction_frame([f"{n}a", f"{n}b"], time=n, features=features([{"x": 1.0, "c": "u"}] * 2))
        for n in range(count)
    ]


def test_rows_know_their_frame(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    schema = write(path, frames(3), 2)
    first, second = frametable.groups(path)
    assert first.column(FRAME_END).to_pylist() == [0, 0, 100, 100]
    assert second.column(FRAME_TIME).cast(pa.int64()).to_pylist() == [2, 2]
    batch = frametable.batch_from(first, schema)
    assert batch.slice(2, 2).equals(frames(3)[1].batch, check_metadata=True)


def test_no_rows_make_no_file(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    writer = TableWriter(path, schema_for(frames(1)[0].batch.schema))
    writer.write(rows_of([(1, prediction_frame([]))], prediction_frame([]).batch.schema))
    assert not writer.close()
    assert not path.exists()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        frametable.opened(tmp_path / "gone.parquet")
    assert caught.value.filename == str(tmp_path / "gone.parquet")


def test_pieces_cover_every_byte(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    write(path, frames(10), 3)
    pieces, raw = frametable.pieces_of(path), path.read_bytes()
    assert len(pieces) == 4 + 1
    assert pieces[-1].end == len(raw)
    assert all(frametable.holds(path, pieces, number) for number in range(5))
    ends = [piece.end for piece in pieces]
    for at in range(0, len(raw), 37):
        changed = bytearray(raw)
        changed[at] ^= 1
        path.write_bytes(changed)
        bad = [number for number in range(5) if not frametable.holds(path, pieces, number)]
        assert bad == [sum(at >= end for end in ends)]
    path.write_bytes(raw[:-1])
    assert not frametable.holds(path, pieces, 4)


def test_a_piece_is_a_row_group(tmp_path: Path) -> None:
    """What is damaged outside of a group's own bytes does not change what it says."""
    path = tmp_path / "x.parquet"
    write(path, frames(6), 2)
    pieces, raw, groups = frametable.pieces_of(path), path.read_bytes(), list(frametable.groups(path))
    path.write_bytes(b"\0" * pieces[0].end + raw[pieces[0].end :])
    with pq.ParquetFile(path) as file:
        assert file.read_row_group(1).equals(groups[1])
        assert file.read_row_group(2).equals(groups[2])


def test_frames_kept_as_they_were_come_back(tmp_path: Path) -> None:
    path, kept = tmp_path / "x.parquet", hard_frame(["union", "nan"], Kind.OUTCOME, 3, {"model": "m"})
    writer = TableWriter(path, schema_for(None))
    writer.write(rows_of([(7, kept), (9, kept)], None))
    writer.close()
    (rows,) = frametable.groups(path)
    assert rows.column(FRAME_END).to_pylist() == [7, 9]
    assert frametable.payload_batch(rows, 1).schema.equals(kept.batch.schema, check_metadata=True)
