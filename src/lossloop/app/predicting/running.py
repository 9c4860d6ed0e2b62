"""A batch, piece by piece: rows in, answers out, each of them in the ledger.

    for every piece of the inputs that is not done with:
        1. rows that fit the version's features are answered, wherever the executor does that
        2. answers and rejected rows are durable in the batch's folder
        3. the predictions are durable in the log
        4. the progress that counts them is durable
    then all answers are delivered together, and what was kept of them here is removed

A process that is killed anywhere does at most one piece again. Its answers take the place of those before,
and the log knows their ids: every row is once in the output, and counts once in the ledger.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa

from lossloop.app.home import Home
from lossloop.app.importing.checking import Bad
from lossloop.app.importing.rejects import Rejects
from lossloop.app.importing.sources import Piece as Rows
from lossloop.app.predicting.asking import Asked
from lossloop.app.predicting.outputs import Output
from lossloop.app.predicting.outputs.base import Delivery
from lossloop.app.predicting.places import Input
from lossloop.app.predicting.progress import Batch, Folder
from lossloop.app.predicting.reading import Held, Plan, cells, check_columns, hold, wanted
from lossloop.app.predicting.scoring import Scored, arrow_of, release, score
from lossloop.core.clock import Clock
from lossloop.core.errors import InputError, StateError
from lossloop.ledger.base import LogWriter, Position
from lossloop.ledger.facts import predictions
from lossloop.ledger.files import durable
from lossloop.ledger.frames import Frame, Kind
from lossloop.pipelines.executors import Executor, Piece
from lossloop.serve.runtimes import Columns
from lossloop.serve.schema import of_arrow

MOST_SHOWN = 10
"""Rejected rows that an answer names; the others are in the rejects."""


@dataclass(kw_only=True)
class Report:
    """What became of a batch."""

    batch: Batch
    before: int = 0
    """Rows that were done with before."""
    read: int = 0
    """Rows that were done with now."""
    bad: list[tuple[str, Bad]] = field(default_factory=list)
    """The first rejected rows of now, each with its input."""
    position: Position | None = None
    rejects: Path | None = None


Tell = Callable[[int, int, float], None]
"""Hears of every piece: rows done with now, the number of the input, and how much of that was read."""


@dataclass(frozen=True, kw_only=True)
class _Pending:
    """Rows that are being answered."""

    rows: Rows
    held: Held


class Running:
    """Works at a batch whose folder is locked.

    Args:
        home: The state directory.
        folder: The batch's.
        asked: What is asked.
        batch: How far it had come.
        writer: Where predictions go.
        clock: Tells the receipt time.
        tell: Hears of every piece.
    """

    def __init__(
        self, home: Home, folder: Folder, asked: Asked, batch: Batch, writer: LogWriter, *, clock: Clock,
        tell: Tell,
    ) -> None:  # fmt: skip
        self._folder, self._asked, self._writer = folder, asked, writer
        self._clock, self._tell = clock, tell
        self._replays = home.settings().clock == "event"
        self._batch = batch
        self._schema = self._schema_before()
        self.report = Report(batch=batch, before=batch.rows)

    def run(self, inputs: Sequence[Input], output: Output, executor: Executor) -> Report:
        """Answer what is not answered yet, and deliver.

        Raises:
            InputError: An input cannot be read, or not one of its first rows fits.
            StateError: An input was changed meanwhile.
            PieceFailed: The version failed.
        """
        for place in range(self._batch.place, len(inputs)):
            self._answer(place, inputs[place], executor)
            self._note(place=place + 1, read=0)
        self._deliver(output)
        self.report.batch = self._batch
        self.report.rejects = self._folder.rejects if self._batch.rejected else None
        return self.report

    def _answer(self, place: int, each: Input, executor: Executor) -> None:
        with contextlib.closing(each.open()) as source:
            if source.digest() != self._batch.inputs[place].digest:
                raise StateError(f"{each.name} was changed since the batch was begun; give the command again")
            naming, features = self._asked.naming, self._asked.features
            names = source.columns()
            check_columns(naming, features, names, source.name)
            plan = Plan(
                naming=naming, features=features, wanted=wanted(naming, features, names),
                ids=self._asked.ids(place, self._batch.inputs), began=self._batch.began,
                now=self._clock.now(), replays=self._replays,
            )  # fmt: skip
            rejects = Rejects(self._folder.rejects, self._fields, size=self._batch.rejects_size)
            waiting: deque[_Pending] = deque()
            pieces = self._pieces(source.pieces(plan.wanted, after=self._batch.read), plan, waiting)
            for scored in executor.map(partial(score, packed=self._asked.packed), pieces):
                pending = waiting.popleft()
                self._take(pending, scored, rejects, each.name)
                self._tell(self.report.read, place, pending.rows.share or 0.0)

    @property
    def _fields(self) -> Sequence[str]:
        return wanted(self._asked.naming, self._asked.features, self._asked.names)

    def _pieces(
        self, source: Iterator[Rows], plan: Plan, waiting: deque[_Pending]
    ) -> Iterator[Piece[Columns]]:
        for rows in source:
            held = hold(rows, plan)
            waiting.append(_Pending(rows=rows, held=held))
            columns = {name: of_arrow(values) for name, values in held.features.items()}
            yield Piece(name=f"the rows up to {rows.read}", work=columns)

    def _take(self, pending: _Pending, scored: Scored, rejects: Rejects, name: str) -> None:
        held, rows = pending.held, pending.rows
        fit = np.ones(len(held), np.bool_)
        fit[list(scored.bad)] = False
        bad = sorted([*held.bad, *_unanswered(held, rows, scored)], key=_row_of)
        if not self._batch.rows and bad and not fit.any():
            raise _none_fits(name, bad)
        taken = _fitting(held, fit)
        y_pred = arrow_of(scored.y_pred[fit])
        if len(taken):
            self._keep(taken, y_pred)
        rejects.add(bad)
        self.report.bad.extend((name, each) for each in bad[: MOST_SHOWN - len(self.report.bad)])
        if len(taken):
            self._log(taken, y_pred)
        count = len(rows) + len(rows.malformed)
        self.report.read += count
        self._note(
            read=rows.read, rows=self._batch.rows + count, taken=self._batch.taken + len(taken),
            rejected=self._batch.rejected + len(bad), rejects_size=rejects.size,
            parts=self._batch.parts + bool(len(taken)),
        )  # fmt: skip

    def _keep(self, taken: Held, y_pred: pa.Array) -> None:
        """The answers of a piece, until all can be delivered."""
        part = self._asked.answers(taken, y_pred)
        if self._schema is None:
            self._schema = part.schema
        part = _as_before(part, self._schema)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, part.schema) as file:
            file.write_batch(part)
        durable.write(self._folder.part(self._batch.parts), sink.getvalue())

    def _log(self, taken: Held, y_pred: pa.Array) -> None:
        count = len(taken)
        facts = predictions(
            {
                "id": taken.ids,
                "version": pa.array(np.full(count, self._batch.version, np.int32)),
                "time": taken.times,
                "y_pred": y_pred,
                "unit": taken.units,
                "role": pa.array([self._batch.role] * count),
                "features": pa.StructArray.from_arrays(list(taken.features.values()), list(taken.features)),
            },
            model=self._batch.model,
        )
        said = {**facts.schema.metadata, b"batch": self._batch.id.encode()}
        facts = facts.replace_schema_metadata(said)
        self.report.position = self._writer.append(
            [Frame(kind=Kind.PREDICTION, time=self._clock.now(), batch=facts)]
        )

    def _deliver(self, output: Output) -> None:
        if self._schema is not None:
            again = self._batch.delivering
            self._note(delivering=True)
            output.deliver(
                Delivery(
                    batch=self._batch.id, schema=self._schema, parts=self._parts,
                    scratch=self._folder.path, again=again,
                )
            )  # fmt: skip
        self._note(finished=True)
        self._folder.clear()

    def _parts(self) -> Iterator[pa.RecordBatch]:
        for number in range(self._batch.parts):
            with pa.memory_map(str(self._folder.part(number))) as file:
                yield from _batches(file)

    def _schema_before(self) -> pa.Schema | None:
        if not self._batch.parts:
            return None
        try:
            return next(self._parts()).schema
        except (OSError, pa.ArrowException, StopIteration):
            words = (
                f"answers of this batch are gone from {self._folder.path}; remove that folder to begin anew"
            )
            raise StateError(words) from None

    def _note(self, **more: object) -> None:
        self._batch = msgspec.structs.replace(self._batch, at=self._clock.now(), **more)
        self._folder.write(self._batch)


def _batches(file: pa.NativeFile) -> Iterator[pa.RecordBatch]:
    reader = pa.ipc.open_file(file)
    for place in range(reader.num_record_batches):
        yield reader.get_batch(place)


def _as_before(part: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    if part.schema.equals(schema):
        return part
    columns = []
    for field_, column in zip(schema, part.columns, strict=True):
        try:
            columns.append(column.cast(field_.type))
        except pa.ArrowException:
            raise InputError(
                f"the column {field_.name!r} is {field_.type} in the first input and {column.type} in a "
                "later one; make them alike, or leave it out of --keep",
                field="keep",
            ) from None
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _unanswered(held: Held, rows: Rows, scored: Scored) -> Iterator[Bad]:
    for place, words in scored.bad.items():
        row = int(held.rows[place])
        where = int(np.searchsorted(rows.rows, row))
        yield Bad(row=row, column="", reason=words, cells=cells(rows, where))


def _fitting(held: Held, fit: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Held:
    if fit.all():
        return held
    mask = pa.array(fit)
    return Held(
        ids=held.ids.filter(mask),
        rows=held.rows[fit],
        times=held.times.filter(mask),
        units=None if held.units is None else held.units.filter(mask),
        features={name: each.filter(mask) for name, each in held.features.items()},
        kept={name: each.filter(mask) for name, each in held.kept.items()},
        bad=held.bad,
    )


def _row_of(bad: Bad) -> int:
    return bad.row


def _none_fits(name: str, bad: Sequence[Bad]) -> InputError:
    first = bad[0]
    column = f", column {first.column}" if first.column else ""
    return InputError(
        f"not one of the first {len(bad):,} rows of {name} can be answered, so nothing was done. "
        f"Row {first.row}{column}: {first.reason}",
        field=first.column or None,
        row=first.row,
    )


__all__ = ["Report", "Running", "Tell", "release"]
