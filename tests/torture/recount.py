"""An independent recount: plain dictionaries over what was sent and what the log holds of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from lossloop.core.clock import Micros
from lossloop.ledger.base import LogReader
from lossloop.ledger.facts import micros, model_of
from lossloop.ledger.frames import Damage, Frame, Kind
from tests.torture.events import FIRST, OUTCOMES, PREDICTIONS, Batch, Outcome, Prediction, Row

MOST_TOLD = 10


@dataclass(slots=True)
class Model:
    """What is known of one model, by id."""

    predictions: dict[str, Prediction] = field(default_factory=dict)
    received: dict[str, Micros] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)

    def predict(self, id: str, row: Prediction, received: Micros) -> None:
        """A prediction came; the first one under an id stands."""
        first = self.predictions.get(id)
        if first is not None:
            self.counts["repeats" if row.says_as(first) else "conflicts"] += 1
            return
        self.predictions[id] = row
        self.received[id] = received
        self.counts["predictions"] += 1
        if id in self.outcomes:
            self.counts["waiting"] -= 1
            self.counts["outcomes"] += 1

    def tell(self, id: str, row: Outcome) -> None:
        """An outcome came; the last one under an id stands."""
        before = self.outcomes.get(id)
        if before is not None and before.y_true == row.y_true:
            self.counts["repeats"] += 1
            return
        if before is not None:
            self.counts["corrections"] += 1
        else:
            self.counts["outcomes" if id in self.predictions else "waiting"] += 1
        self.outcomes[id] = row
        if row.reason is not None:
            self.missing[row.reason] += 1


@dataclass
class Recount:
    """Goes along the log, and notes what should not be there.

    Args:
        batches: What was sent, by number.
    """

    batches: Mapping[int, Batch]
    models: dict[str, Model] = field(default_factory=dict)
    reached: dict[str, int] = field(default_factory=dict)
    rows: int = 0
    problems: list[str] = field(default_factory=list)

    def go_on(self, reader: LogReader) -> None:
        """Take what is new in the log."""
        while entries := list(reader.read(self.reached)):
            for entry in entries:
                self.reached[entry.position.segment] = entry.position.offset
                if isinstance(entry.frame, Damage):
                    self._wrong(f"damage in {entry.position.segment} before {entry.position.offset}")
                elif entry.frame.kind in (Kind.PREDICTION, Kind.OUTCOME):
                    self._take(entry.frame, entry.position.segment)

    def _take(self, frame: Frame, segment: str) -> None:
        name, kind = model_of(frame.batch), _KINDS[frame.kind]
        model = self.models.setdefault(name, Model())
        for number, id, row in _rows(frame.batch, kind):
            self.rows += 1
            batch = self.batches.get(number)
            if batch is None or (batch.model, batch.kind) != (name, kind) or batch.rows.get(id) != row:
                self._wrong(f"{segment} holds {kind} of {name} that nobody sent: {id}, batch {number}: {row}")
                continue
            batch.copies[id] = batch.copies.get(id, 0) + 1
            if isinstance(row, Prediction):
                model.predict(id, row, frame.time)
            else:
                model.tell(id, row)

    def _wrong(self, words: str) -> None:
        if len(self.problems) < MOST_TOLD:
            self.problems.append(words)

    def delivery(self) -> list[str]:
        """Where the log does not hold what was acknowledged as often as it was, or more than was sent."""
        found = []
        for batch in self.batches.values():
            least, most = batch.acknowledged, batch.acknowledged + batch.unanswered
            for id in batch.rows:
                copies = batch.copies.get(id, 0)
                if not least <= copies <= most:
                    found.append(
                        f"{id} of batch {batch.number} ({batch.kind} of {batch.model}) is in the log "
                        f"{copies} times; it was acknowledged {least} times and sent without an answer "
                        f"{batch.unanswered} times"
                    )
        return [*self.problems, *found[:MOST_TOLD]]

    def unsaid(self) -> int:
        """Rows that are in the log although nobody was told so."""
        return sum(
            max(copies - batch.acknowledged, 0)
            for batch in self.batches.values()
            if batch.unanswered
            for copies in batch.copies.values()
        )


def out_of_force(
    recount: Recount, in_force: Mapping[tuple[str, str], Outcome], *, doubtful: bool
) -> Iterator[str]:
    """Outcomes of which the log says another thing last than its sender did.

    Args:
        recount: What the log says.
        in_force: What was said last and acknowledged, by model and id.
        doubtful: Whether what was sent without an answer may have come later than what was sent after it: a
            database goes on with what a killed server asked of it.
    """
    late: dict[tuple[str, str], list[float | None]] = {}
    if doubtful:
        for batch in recount.batches.values():
            if batch.kind == OUTCOMES and batch.unanswered:
                for id, row in batch.rows.items():
                    late.setdefault((batch.model, id), []).append(row.y_true)
    for (model, id), said in in_force.items():
        found = recount.models[model].outcomes.get(id) if model in recount.models else None
        # The same label again, for another reason, changes nothing.
        if found is None or found.y_true not in (said.y_true, *late.get((model, id), ())):
            yield f"{id} of {model}: {said} was said last, the log says {found}"


_KINDS = {Kind.PREDICTION: PREDICTIONS, Kind.OUTCOME: OUTCOMES}


def _rows(batch: pa.RecordBatch, kind: str) -> Iterator[tuple[int, str, Row]]:
    """Number of the batch, id and row, of each row."""
    count = batch.num_rows
    numbers = (micros(batch.column("time")) - FIRST).tolist()
    ids = batch.column("id").to_pylist()
    if kind == OUTCOMES:
        values = zip(batch.column("y_true").to_pylist(), _column(batch, "reason", None, count), strict=True)
        yield from zip(numbers, ids, (Outcome(*row) for row in values), strict=True)
        return
    columns = zip(
        batch.column("version").to_pylist(), _column(batch, "role", "champion", count),
        _column(batch, "propensity", 1.0, count), _column(batch, "unit", None, count),
        batch.column("y_pred").to_pylist(), strict=True,
    )  # fmt: skip
    yield from zip(numbers, ids, (Prediction(*row) for row in columns), strict=True)


def _column(batch: pa.RecordBatch, name: str, default: Any, count: int) -> list[Any]:
    if name not in batch.schema.names:
        return [default] * count
    return [default if value is None else value for value in batch.column(name).to_pylist()]
