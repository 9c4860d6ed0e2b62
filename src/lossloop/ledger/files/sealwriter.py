"""Writes the files of a sealed segment, frame by frame; its manifest is the caller's to put in force."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pyarrow as pa

from lossloop.core.clock import Micros
from lossloop.core.errors import StateError
from lossloop.ledger.expired import EXPIRED_KINDS
from lossloop.ledger.facts import OF_A_MODEL, model_in
from lossloop.ledger.files import durable, frameindex, frametable, manifests, sidecar
from lossloop.ledger.files.frameindex import DAMAGED, NOWHERE
from lossloop.ledger.files.frametable import BYTES, ROWS, Placed, TableWriter
from lossloop.ledger.files.manifests import Blob, Manifest, Piece, Range, Table
from lossloop.ledger.frames import Frame, Kind

MOST_TABLES = 256
"""A segment with more schemas than this keeps the frames of the others as they were."""
NO_MODEL = "__HIVE_DEFAULT_PARTITION__"
"""What a directory is called whose rows name no model; DuckDB and Polars read null."""


class Unfit(StateError):
    """Frames of a schema cannot be rows of a Parquet file; they are kept as they were then."""

    def __init__(self, schema: pa.Schema) -> None:
        super().__init__(f"Parquet cannot hold {schema}")
        self.schema = key_of(schema)


def key_of(schema: pa.Schema) -> bytes:
    """A schema, metadata included, as bytes that can be compared."""
    raw: bytes = schema.serialize().to_pybytes()
    return raw


class SealWriter:
    """Writes the frames of a segment: its tables, its index and the hashes of its ids.

    Args:
        log: The directory of segments.
        segment: Its name.
        unfit: Schemas whose frames are kept as they were.
    """

    def __init__(self, log: Path, segment: str, unfit: set[bytes]) -> None:
        self._root = manifests.sealed_directory(log)
        self._segment = segment
        self._tables = Tables(self._root, segment, unfit)
        self._index: list[tuple[int, int, int, int, int]] = []
        self._ids = sidecar.Collector()
        self._rows = 0
        self._expired = False
        self.end = 0
        """Where the last frame ends."""

    def add(self, end: int, frame: Frame) -> None:
        """Add a frame.

        Raises:
            Unfit: Parquet cannot hold it.
        """
        number = self._tables.add(end, frame)
        self._ids.add(frame, self._rows)
        rows = frame.batch.num_rows
        self._index.append((end, int(frame.kind), frame.time, number, rows))
        self._rows += rows
        self._expired |= frame.kind in EXPIRED_KINDS.values()
        self.end = end

    def damage(self, end: int) -> None:
        """Add bytes that were no frame."""
        self._index.append((end, DAMAGED, 0, NOWHERE, 0))
        self.end = end

    def finish(self, damaged: tuple[Range, ...], damage: Blob) -> Manifest:
        """Make all files durable under their names; return the manifest that names them.

        Raises:
            Unfit: Parquet cannot hold the frames that came last.
        """
        index = frameindex.made(self._index)
        latest = index.latest()
        return Manifest(
            format=manifests.FORMAT if self._expired else manifests.PLAIN,
            segment=self._segment,
            end=self.end,
            frames=len(index),
            first=int(latest[0]),
            last=int(latest[-1]),
            tables=self._tables.finish(),
            index=write_index(self._root, self._segment, 0, index),
            ids=write_ids(self._root, self._segment, 0, self._ids.flush()),
            damage=damage,
            damaged=damaged,
        )


class Tables:
    """Collects frames in tables, one for each kind, model and schema.

    Args:
        root: The directory `sealed`.
        segment: Whose frames.
        unfit: Schemas whose frames are kept as they were.
        generation: Of the manifest that will name the files.
        others: How many tables the segment has beside these; files are numbered behind them.
    """

    def __init__(
        self, root: Path, segment: str, unfit: set[bytes], *, generation: int = 0, others: int = 0
    ) -> None:
        self._root = root
        self._segment = segment
        self._unfit = unfit
        self._generation = generation
        self._others = others
        self._tables: dict[tuple[Kind, str, bytes], _Table] = {}

    def add(self, end: int, frame: Frame) -> int:
        """Add a frame; return the number of its table, from 0.

        Raises:
            Unfit: Parquet cannot hold it.
        """
        table = self._table(frame)
        table.add(end, frame)
        return table.number

    def finish(self) -> tuple[Table, ...]:
        """Make all files durable under their names.

        Raises:
            Unfit: Parquet cannot hold the frames that came last.
        """
        return tuple(table.finish(self._root) for table in self._tables.values())

    def _table(self, frame: Frame) -> _Table:
        schema, model = frame.batch.schema, model_in(frame)
        key = key_of(schema)
        whole = key in self._unfit or not frametable.fits(schema)
        if (frame.kind, model, key) not in self._tables and len(self._tables) >= MOST_TABLES:
            whole = True
        place = (frame.kind, model, b"" if whole else key)
        if place not in self._tables:
            alike = [table for table in self._tables.values() if table.alike(frame.kind, model, whole)]
            path = table_path(
                self._segment, frame.kind, model, self._others + len(alike), whole=whole,
                generation=self._generation,
            )  # fmt: skip
            full = self._root / (path + durable.DRAFT)
            durable.make(full.parent)
            number = len(self._tables)
            self._tables[place] = _Table(number, frame.kind, model, None if whole else schema, full)
        return self._tables[place]


class _Table:
    """Frames of one kind, model and schema, on their way into one file."""

    def __init__(self, number: int, kind: Kind, model: str, schema: pa.Schema | None, draft: Path) -> None:
        self.number = number
        self._kind = kind
        self._model = model
        self._schema = schema
        self._draft = draft
        self._writer = TableWriter(draft, frametable.schema_for(schema))
        self._waiting: list[Placed] = []
        self._rows_waiting = self._bytes_waiting = self._rows = 0
        self._times: list[Micros] = []

    def alike(self, kind: Kind, model: str, whole: bool) -> bool:
        """Whether its file lies in the directory of such frames."""
        if whole or self._schema is None:
            return whole and self._schema is None
        return (self._kind, self._model) == (kind, model)

    def add(self, end: int, frame: Frame) -> None:
        rows = frame.batch.num_rows
        if self._schema is not None and rows and not self._rows and not frametable.survives(frame):
            raise Unfit(self._schema)
        self._waiting.append((end, frame))
        self._rows += rows
        self._rows_waiting += rows
        self._bytes_waiting += frame.batch.nbytes
        if rows:
            self._times = [min([frame.time, *self._times]), max([frame.time, *self._times])]
        if self._rows_waiting >= ROWS or self._bytes_waiting >= BYTES:
            self._flush()

    def finish(self, root: Path) -> Table:
        self._flush()
        first, last = self._times or (0, 0)
        pieces, file = placed(root, self._draft, self._writer)
        return Table(
            file=file,
            kind=self._kind.name.lower(),
            model=self._model,
            rows=self._rows,
            schema="" if self._schema is None else manifests.schema_text(self._schema),
            first=first,
            last=last,
            pieces=pieces,
        )

    def _flush(self) -> None:
        if not self._waiting:
            return
        try:
            self._writer.write(frametable.rows_of(self._waiting, self._schema))
        except pa.ArrowException:
            raise Unfit(self._waiting[0][1].batch.schema) from None
        self._waiting.clear()
        self._rows_waiting = self._bytes_waiting = 0


def table_path(
    segment: str, kind: Kind, model: str, number: int, *, whole: bool = False, generation: int = 0
) -> str:
    """Where a table's file lies, relative to the directory `sealed`."""
    folder = manifests.RAW if whole else f"{kind.name.lower()}s"
    if kind in OF_A_MODEL and not whole:
        folder += f"/model={quote(model, safe='') if model else NO_MODEL}"
    return f"{folder}/{stem_of(segment, generation, number)}.parquet"


def stem_of(segment: str, generation: int, number: int = 0) -> str:
    """How the names of a segment's files begin."""
    stem = manifests.stem(segment) + (f"-{number}" if number else "")
    return f"{stem}.{generation}" if generation else stem


def write_index(root: Path, segment: str, generation: int, index: frameindex.FrameIndex) -> Blob:
    """Make an index durable."""
    draft = _draft(root, segment, generation, "frames")
    frameindex.write(draft, index)
    return settled(root, draft)


def write_ids(root: Path, segment: str, generation: int, parts: list[sidecar.Part]) -> Blob:
    """Make a sidecar durable; none where there are no ids."""
    if not sum(len(hashes) for hashes, _ in parts):
        return Blob()
    draft = _draft(root, segment, generation, "ids")
    sidecar.write(draft, parts)
    return settled(root, draft)


def settled(root: Path, draft: Path) -> Blob:
    """Make a whole draft durable and give it its name."""
    path = draft.with_name(draft.name.removesuffix(durable.DRAFT))
    durable.sync_file(draft)
    blob = Blob(path=str(path.relative_to(root)), bytes=draft.stat().st_size, digest=durable.digest_of(draft))
    durable.publish(draft, path)
    return blob


def placed(root: Path, draft: Path, writer: TableWriter) -> tuple[tuple[Piece, ...], Blob]:
    """Finish a table's file: its pieces and the file, none of either where there are no rows."""
    if not writer.close():
        return (), Blob()
    return frametable.pieces_of(draft), settled(root, draft)


def draft_of(path: Path, generation: int) -> Path:
    """Where the next generation of a file is drafted."""
    return path.with_name(f"{path.name.split('.')[0]}.{generation}{path.suffix}{durable.DRAFT}")


def _draft(root: Path, segment: str, generation: int, what: str) -> Path:
    durable.make(root / "index")
    return root / "index" / f"{stem_of(segment, generation)}.{what}.arrow{durable.DRAFT}"
