"""What a sealed segment consists of: one JSON file per segment, written last and checked by its own CRC.

    log/
      SEGMENT.seg                                  a segment as it was written
      sealed/
        predictions/model=NAME/SEGMENT.parquet     its rows, one file per schema: -1, -2, ... follow
        outcomes/model=NAME/SEGMENT.parquet
        expired_predictions/, expired_outcomes/    what is kept of rows that have expired, by model too
        commands/, decisions/, ticks/              rows of no model
        frames/SEGMENT.parquet                     frames that Parquet cannot hold, as they were
        index/SEGMENT.json                         the manifest
        index/SEGMENT.frames.arrow                 which rows were one frame
        index/SEGMENT.ids.arrow                    hashes of ids, and the rows that they are on
        index/SEGMENT.damage                       bytes that were no frame

A segment that was rewritten has a generation, which its files' names carry: SEGMENT.2.parquet.
"""

from __future__ import annotations

import base64
import zlib
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from lossloop.core.clock import Micros
from lossloop.core.errors import NewerFormat, StateError
from lossloop.core.records import Record
from lossloop.ledger.files import durable
from lossloop.ledger.files.opened import SUFFIX
from lossloop.ledger.frames import Kind

PLAIN, FORMAT = 1, 2
"""The format of a manifest that an older release reads, and of one with rows that have expired."""
MANIFEST = ".json"
NOTE = "told.json"
"""The file, beside the manifests' directory, of facts that are not in the log yet (`removing`)."""
RAW = "frames"
"""The folder of frames that Parquet cannot hold."""


class Blob(Record, frozen=True):
    """A file and what its bytes have to be; an empty path says that there is none."""

    path: str = ""
    """Relative to the directory `sealed`."""
    bytes: int = 0
    digest: str = ""


class Piece(Record, frozen=True):
    """A part of a file, up to a byte: row groups first, and last what says where they are."""

    end: int
    crc: int
    """CRC-32 of the bytes since the piece before."""


class Table(Record, frozen=True):
    """Rows of one kind, model and schema in one Parquet file."""

    file: Blob
    kind: str
    """Lower-case name of the frames' kind."""
    model: str
    """Empty where frames name no model."""
    rows: int
    schema: str
    """The frames' Arrow schema as an IPC message, base64; empty where frames are kept as they were."""
    first: Micros
    last: Micros
    """Receipt times of the first and the last row."""
    pieces: tuple[Piece, ...] = ()
    """The file's row groups, and its footer: what is damaged touches no other rows."""


class Range(Record, frozen=True):
    """Bytes of the segment that were no frame."""

    start: int
    end: int
    torn: bool = False
    """Whether a crash had cut them off before they were acknowledged; such bytes are not kept."""


class Removed(Record, frozen=True):
    """Rows of a model that are not there any more."""

    why: str
    """``expired`` or ``erased``."""
    kind: str
    model: str
    rows: int


class Manifest(Record, frozen=True):
    """A sealed segment."""

    format: int
    segment: str
    end: int
    """Where its last frame ended."""
    frames: int
    first: Micros
    last: Micros
    """Where its first and its last frame stand in the order of the log."""
    tables: tuple[Table, ...]
    index: Blob
    ids: Blob
    damage: Blob
    damaged: tuple[Range, ...] = ()
    """All that was no frame; what was damaged is kept in `damage`, until something is erased."""
    generation: int = 0
    removed: tuple[Removed, ...] = ()
    crc: int = 0
    """CRC-32 of this document with a `crc` of 0."""

    @property
    def blobs(self) -> tuple[Blob, ...]:
        """Every file that belongs to it."""
        found = (*(table.file for table in self.tables), self.index, self.ids, self.damage)
        return tuple(blob for blob in found if blob.path)


def sealed_directory(log: Path) -> Path:
    """Where sealed segments of a log lie."""
    return log / "sealed"


def index_directory(log: Path) -> Path:
    """Where the manifests of a log lie."""
    return sealed_directory(log) / "index"


def stem(segment: str) -> str:
    """A segment's name without its ending; the names of its files begin with it."""
    return segment.removesuffix(SUFFIX)


def manifest_path(log: Path, segment: str) -> Path:
    """The manifest of a segment."""
    return index_directory(log) / f"{stem(segment)}{MANIFEST}"


def segment_of(manifest: str) -> str:
    """The segment that a manifest's file name stands for."""
    return manifest.removesuffix(MANIFEST) + SUFFIX


def manifests(log: Path) -> list[Manifest]:
    """All manifests of a log, by segment.

    Raises:
        StateError: One is damaged.
    """
    directory = index_directory(log)
    names = sorted(path.name for path in directory.glob(f"*{MANIFEST}")) if directory.is_dir() else []
    return [read(log, segment_of(name)) for name in names]


def read(log: Path, segment: str) -> Manifest:
    """The manifest of a segment.

    Raises:
        FileNotFoundError: There is none; the segment is not sealed.
        StateError: It is damaged.
        NewerFormat: A newer release wrote it.
    """
    path = manifest_path(log, segment)
    raw = path.read_bytes()
    try:
        number = msgspec.json.decode(raw, type=dict[str, Any]).get("format", 0)
        if isinstance(number, int) and number > FORMAT:
            raise NewerFormat(
                f"{path} has format {number}, this release reads up to {FORMAT}; install a newer lossloop"
            )
        found = msgspec.json.decode(raw, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _damaged(path) from None
    # There is one way in which a manifest is written: any other byte is damage.
    if _text(summed(found)) != raw or found.segment != segment:
        raise _damaged(path)
    return found


def write(log: Path, manifest: Manifest) -> Manifest:
    """Put a manifest in force: from here on the segment is what it says. Return it with its CRC."""
    whole = summed(manifest)
    durable.write(manifest_path(log, manifest.segment), _text(whole))
    return whole


def summed(manifest: Manifest) -> Manifest:
    """A manifest with the CRC of what it says."""
    crc = zlib.crc32(_text(msgspec.structs.replace(manifest, crc=0)))
    return msgspec.structs.replace(manifest, crc=crc)


def schema_text(schema: pa.Schema) -> str:
    """A schema for a manifest."""
    return base64.b64encode(schema.serialize().to_pybytes()).decode()


def schema_of(table: Table) -> pa.Schema:
    """The schema of a table's frames."""
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(table.schema)))


def kind_of(table: Table) -> Kind:
    """What the rows of a table are."""
    return Kind[table.kind.upper()]


def _text(manifest: Manifest) -> bytes:
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def _damaged(path: Path) -> StateError:
    return StateError(f"the manifest {path} is damaged; restore it from a backup")
