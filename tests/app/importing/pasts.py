"""Files of the past, and what a log says of them: counted from its frames, by nobody else's code."""

from __future__ import annotations

import csv
import gzip
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from lossloop.app.books import Books
from lossloop.app.home import Home
from lossloop.app.importing import Importer, Job, Naming, Report, Source, open_file, read_flags, settle
from lossloop.app.importing.importer import Stop
from lossloop.core.clock import DAY, SECOND, Micros
from lossloop.ledger.base import Offsets
from lossloop.ledger.facts import TIME, is_history, model_of
from lossloop.ledger.frames import Damage, Frame, Kind
from tests.app.desk import MODEL, Desk

LONG_AGO: Micros = 1_609_459_200_000_000  # 2021-01-01T00:00:00Z


def live(path: Path, *, folders: Mapping[str, str] | None = None, **policy: Any) -> Desk:
    """A state directory in live use, with a champion."""
    return Desk.ready(path, settings={"clock": "receipt", "label_folders": dict(folders or {})}, **policy)


def predicted(count: int, *, first: int = 0, every: Micros = SECOND) -> pa.Table:
    """Predictions of the past under our own names: that of row n says n / 1,000,000."""
    places = np.arange(first, first + count)
    return pa.table(
        {
            "id": names(places),
            "time": pa.array(LONG_AGO + places * every).cast(TIME),
            "version": pa.array(np.ones(count), pa.int32()),
            "y_pred": places / 1_000_000,
        }
    )


def happened(count: int, *, first: int = 0) -> pa.Table:
    """Their outcomes, a day later: that of row n is whether n is odd."""
    places = np.arange(first, first + count)
    return pa.table(
        {
            "id": names(places),
            "y_true": pa.array(places % 2, pa.float64()),
            "time": pa.array(LONG_AGO + places * SECOND + DAY).cast(TIME),
        }
    )


def names(places: Any) -> pa.Array:
    """The ids of rows."""
    numbers = pc.utf8_lpad(pa.array(places).cast(pa.string()), 7, "0")
    return pc.binary_join_element_wise("p", numbers, "")


def parquet(path: Path, table: pa.Table, *, group: int = 10_000) -> Path:
    pq.write_table(table, path, row_group_size=group)
    return path


def text(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def csv_of(path: Path, table: pa.Table) -> Path:
    """A table as CSV, zipped where its name says so."""
    made = io.BytesIO()
    pa_csv.write_csv(table, made)
    raw = made.getvalue()
    path.write_bytes(gzip.compress(raw, 1) if path.suffix == ".gz" else raw)
    return path


@dataclass
class Log:
    """What a log holds of a model's predictions or outcomes."""

    rows: Counter[str] = field(default_factory=Counter)
    """How often each id is there."""
    values: dict[str, Any] = field(default_factory=dict)
    """What was said of it last."""
    frames: list[pa.RecordBatch] = field(default_factory=list)

    @property
    def ids(self) -> set[str]:
        return set(self.rows)

    @property
    def history(self) -> set[bool]:
        return {is_history(batch) for batch in self.frames}


def frames(home: Home) -> Iterator[Frame]:
    """Every frame of the log."""
    after: Offsets = {}
    with closing(home.log.reader()) as reader:
        while entries := list(reader.read(after)):
            for entry in entries:
                assert not isinstance(entry.frame, Damage)
                yield entry.frame
            after = {**after, **{entry.position.segment: entry.position.offset for entry in entries}}


def logged(home: Home, kind: Kind, *, model: str = MODEL) -> Log:
    """What the log says."""
    found, column = Log(), "y_pred" if kind is Kind.PREDICTION else "y_true"
    for frame in frames(home):
        if frame.kind is kind and model_of(frame.batch) == model:
            found.frames.append(frame.batch)
            ids = frame.batch.column("id").to_pylist()
            found.rows.update(ids)
            found.values.update(zip(ids, frame.batch.column(column).to_pylist(), strict=True))
    return found


def bring(
    home: Home,
    kind: Kind,
    *sources: Path | Source,
    naming: Naming | None = None,
    history: bool = True,
    dry_run: bool = False,
    model: str = MODEL,
    stop: Stop = lambda: False,
    maps: Sequence[str] = (),
    **said: Any,
) -> list[Report]:
    """Import, and fold what came of it."""
    naming = naming or read_flags(maps, **said)
    writer = home.log.writer()
    reports = []
    try:
        importer = Importer(
            home, Job(model=model, kind=kind, naming=naming, history=history), writer, stop=stop
        )
        for each in sources:
            with closing(open_file(each) if isinstance(each, Path) else each) as source:
                reports.append(importer.check(source) if dry_run else importer.run(source))
    finally:
        writer.close()
    for report in reports:
        if report.position is not None:
            assert settle(home, report.position)
    return reports


def counts(home: Home, *, model: str = MODEL) -> dict[str, int]:
    """What the loop counted, without what is none."""
    state = home.state()
    try:
        found = Books(state).counts(model)
    finally:
        state.close()
    return {name: number for name in found.__struct_fields__ if (number := getattr(found, name))}


def reasons(report: Report) -> dict[int, tuple[str, str]]:
    """The rejected rows that a report names: column and reason by row."""
    return {bad.row: (bad.column, bad.reason) for bad in report.bad}


def rejected(report: Report) -> list[Mapping[str, str]]:
    """The rows of the rejects."""
    assert report.rejects is not None
    with report.rejects.open(newline="") as file:
        return list(csv.DictReader(file))
