"""History: what was predicted and what came of it, as one table, for training and for reports."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from lossloop.core.clock import Micros
from lossloop.core.errors import InputError
from lossloop.ledger.base import LogReader, Offsets
from lossloop.ledger.facts import TIME, model_of
from lossloop.ledger.frames import Damage, Kind
from lossloop.ledger.state import State

_KEPT = ("id", "time", "unit", "version", "role", "y_pred")
_OURS = {*_KEPT, "y_true", "features"}


def labelled(reader: LogReader, state: State, model: str, *, until: Micros, age: Micros) -> pa.Table:
    """Predictions that had reached `age` by `until` and had their outcome by then, in the order of the log.

    Columns: id, time, unit, version, role, y_pred, y_true, and one per feature, which is called
    ``features.time`` where its name is one of these; what another system predicted has its features as JSON
    in `features`.

    Raises:
        InputError: There is no such prediction.
    """
    known = {
        id: y_true
        for id, y_true, at, labelled_at in state.rows("labels_of", model)
        if at + age <= until and labelled_at <= until
    }
    asked = _predictions(reader, model)
    if asked is None or not known:
        raise InputError(f"{model} has no predictions with an outcome yet")
    firsts = _first_of_each(asked)
    found = pc.index_in(firsts["id"], value_set=pa.array(known, pa.string()))
    labels = pa.array(known.values(), pa.float64()).take(found.combine_chunks())
    return firsts.append_column("y_true", labels).filter(pc.is_valid(found))


def _predictions(reader: LogReader, model: str) -> pa.Table | None:
    tables: list[pa.Table] = []
    after: Offsets = {}
    while entries := list(reader.read(after)):
        after = {**after, **{entry.position.segment: entry.position.offset for entry in entries}}
        for entry in entries:
            frame = entry.frame
            if (
                not isinstance(frame, Damage)
                and frame.kind is Kind.PREDICTION
                and model_of(frame.batch) == model
            ):
                tables.append(_flat(frame.batch))
    return pa.concat_tables(tables, promote_options="default") if tables else None


def _flat(batch: pa.RecordBatch) -> pa.Table:
    columns = {name: batch.column(name) for name in _KEPT}
    columns["time"] = columns["time"].cast(TIME)
    features = batch.column("features") if "features" in batch.schema.names else None
    if features is not None and pa.types.is_struct(features.type):
        for index, field in enumerate(features.type):
            columns[f"features.{field.name}" if field.name in _OURS else field.name] = features.field(index)
    elif features is not None:
        columns["features"] = features
    return pa.table(columns)


def _first_of_each(table: pa.Table) -> pa.Table:
    """The first row of each id: what was sent twice stands once, as in the derived state."""
    places = pa.table({"id": table["id"], "place": pa.array(range(len(table)), pa.int64())})
    firsts = places.group_by("id", use_threads=False).aggregate([("place", "min")])["place_min"]
    return table.filter(pc.is_in(places["place"], value_set=firsts.combine_chunks()))
