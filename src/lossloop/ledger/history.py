"""History: what was predicted and what came of it, as one table, for training and for reports."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lossloop.core.clock import Micros
from lossloop.core.errors import InputError
from lossloop.core.records import Role
from lossloop.ledger.base import LogReader, Offsets, entries_of
from lossloop.ledger.facts import TIME, model_of
from lossloop.ledger.frames import Damage, Kind
from lossloop.ledger.joined.columns import Floats
from lossloop.ledger.joined.keys import Keys
from lossloop.ledger.joined.table import Table, history_of
from lossloop.ledger.store import Store

_KEPT = ("id", "time", "unit", "version", "role", "y_pred")
_OURS = {*_KEPT, "y_true", "features"}


def labelled(
    reader: LogReader, store: Store, keys: Keys, model: str, *, until: Micros, age: Micros
) -> pa.Table:
    """Predictions that had reached `age` by `until` and had their outcome by then, in the order of the log.

    Columns: id, time, unit, version, role, y_pred, y_true, and one per feature, which is called
    ``features.time`` where its name is one of these; what another system predicted has its features as JSON
    in `features`.

    Raises:
        InputError: There is no such prediction.
    """
    asked = predicted(reader, model)
    found = [
        _labels(asked, table, keys, until=until, age=age)
        for table in (Table(store, model), Table(store, history_of(model)))
    ]
    y_true = np.where(np.isnan(found[0]), found[1], found[0])
    answered = asked["y_pred"].is_valid().to_numpy(zero_copy_only=False)
    come = ~np.isnan(y_true) & answered  # of one that failed nothing was predicted
    if not come.any():
        raise InputError(f"{model} has no predictions with an outcome yet")
    return asked.filter(pa.array(come)).append_column("y_true", pa.array(y_true[come]))


def _labels(asked: pa.Table, table: Table, keys: Keys, *, until: Micros, age: Micros) -> Floats:
    """The outcome of each prediction as far as a table knows it by `until`; NaN else. Shape (n,)."""
    labels = np.full(len(asked), np.nan)
    if not len(table) or not len(asked):
        return labels
    rows = table.find(*keys.of(asked["id"].combine_chunks()))
    places = np.flatnonzero(rows >= 0)
    at, since, y_true = table.columns(("at", "labelled_at", "y_true"), rows[places])
    known = (at + age <= until) & (since <= until)
    labels[places[known]] = y_true[known]
    return labels


def predicted(reader: LogReader, model: str) -> pa.Table:
    """A model's predictions as the log holds them, each id once; the columns of `labelled` less `y_true`."""
    asked = _predictions(reader, model)
    if asked is None:
        return pa.table({name: pa.array([], pa.string()) for name in _KEPT})
    return _first_of_each(asked)


def in_parts(reader: LogReader, model: str, rows: int, behind: Offsets | None = None) -> Iterator[pa.Table]:
    """The same, some `rows` at a time, so that they need not lie in memory together.

    With offsets, what lies behind them. What was sent twice stands twice, and a feature may be of another
    type in each part.
    """
    tables: list[pa.Table] = []
    for table in _tables(reader, model, behind):
        tables.append(table)
        if sum(map(len, tables)) >= rows:
            yield _together(tables)
            tables = []
    if tables:
        yield _together(tables)


def _predictions(reader: LogReader, model: str) -> pa.Table | None:
    tables = list(_tables(reader, model))
    return _together(tables) if tables else None


def _tables(reader: LogReader, model: str, behind: Offsets | None = None) -> Iterator[pa.Table]:
    for entry in entries_of(reader, behind):
        frame = entry.frame
        if not isinstance(frame, Damage) and frame.kind is Kind.PREDICTION and model_of(frame.batch) == model:
            yield _flat(frame.batch)


def _together(tables: list[pa.Table]) -> pa.Table:
    return pa.concat_tables(_alike(tables), promote_options="default")


def _alike(tables: list[pa.Table]) -> list[pa.Table]:
    """Tables that can be one: a column that came in several types is of floats, or else of text."""
    kinds: dict[str, set[pa.DataType]] = {}
    for table in tables:
        for field in table.schema:
            kinds.setdefault(field.name, set()).add(_type(field.type))
    several = {name: _common(found - {pa.null()}) for name, found in kinds.items()}
    return [_recast(table, several) for table in tables]


def _type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _common(kinds: set[pa.DataType]) -> pa.DataType | None:
    """What holds values of all these types; None where they are of one."""
    if len(kinds) < 2:
        return None
    numbers = all(pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in kinds)
    return pa.float64() if numbers else pa.string()


def _recast(table: pa.Table, kinds: dict[str, pa.DataType | None]) -> pa.Table:
    for place, field in enumerate(table.schema):
        column, wanted = table.column(place), kinds[field.name]
        if pa.types.is_dictionary(field.type):
            column = column.cast(field.type.value_type)
        if wanted is not None and column.type != wanted:
            column = _cast(column, wanted)
        if column.type != field.type:
            table = table.set_column(place, field.name, column)
    return table


def _cast(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    try:
        return column.cast(wanted, safe=False)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        texts = [None if value is None else str(value) for value in column.to_pylist()]
        return pa.chunked_array([pa.array(texts, pa.string())])


def _flat(batch: pa.RecordBatch) -> pa.Table:
    names = set(batch.schema.names)
    columns = {name: batch.column(name) if name in names else _said_nothing(name, batch) for name in _KEPT}
    columns["time"] = columns["time"].cast(TIME)
    features = batch.column("features") if "features" in batch.schema.names else None
    if features is not None and pa.types.is_struct(features.type):
        for index, field in enumerate(features.type):
            columns[f"features.{field.name}" if field.name in _OURS else field.name] = features.field(index)
    elif features is not None:
        columns["features"] = features
    return pa.table(columns)


def _said_nothing(name: str, batch: pa.RecordBatch) -> pa.Array:
    """What a column means that another system did not send."""
    value = Role.CHAMPION if name == "role" else None
    return pa.array([value] * batch.num_rows, pa.string())


def _first_of_each(table: pa.Table) -> pa.Table:
    """The first row of each id: what was sent twice stands once, as in the derived state."""
    places = pa.table({"id": table["id"], "place": pa.array(range(len(table)), pa.int64())})
    firsts = places.group_by("id", use_threads=False).aggregate([("place", "min")])["place_min"]
    return table.filter(pc.is_in(places["place"], value_set=firsts.combine_chunks()))
