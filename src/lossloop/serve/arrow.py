"""Arrow streams as they are sent: untrusted bytes become columns of the few types that the checks know.

What is small on the wire stays small here: compressed buffers are refused (the body as a whole may be
compressed, where its size is bounded), and texts that rows share are counted before they are written out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lossloop.core.errors import InputError, TooLarge
from lossloop.ledger.facts import TIME, VECTORS
from lossloop.serve.batch import Columns, check_features, check_names, check_size, of_checked

MOST_TEXT = 64 * 1024 * 1024
"""Bytes of text in one column."""
MOST_MESSAGES = 5_000
"""Record batches and dictionaries of a stream, with its schema: each costs some microseconds."""


def read_stream(data: bytes) -> pa.RecordBatch:
    """All rows of an Arrow IPC stream as one batch.

    Raises:
        InputError: It is no such stream, it has no row or too many, it is cut into too many batches, or its
            buffers are compressed.
    """
    buffer = pa.py_buffer(data)
    try:
        if any(_is_compressed(message) for message in _messages(buffer)):
            raise InputError("send the stream with plain buffers; the body may have Content-Encoding: zstd")
        with pa.ipc.open_stream(buffer) as reader:
            batches = list(reader)
        for batch in batches:
            batch.validate(full=True)
            batch.schema.names  # noqa: B018 - raises where one of them is no text
        check_size(sum(batch.num_rows for batch in batches))
        return batches[0] if len(batches) == 1 else pa.concat_batches(batches)
    except (pa.ArrowException, struct.error, OSError, UnicodeDecodeError) as error:
        raise InputError(f"the body is no Arrow stream: {error}") from None


def model_in(batch: pa.RecordBatch) -> str | None:
    """The model that the schema's metadata names."""
    raw = (batch.schema.metadata or {}).get(b"model")
    return None if raw is None else str(raw.decode(errors="replace"))


def of_arrow(batch: pa.RecordBatch, keys: Sequence[str], needed: Sequence[str]) -> Columns:
    """A batch of Arrow columns.

    Raises:
        InputError: A column is unknown, missing, there twice, or of a type that cannot be taken.
    """
    names = batch.schema.names
    check_names(names, keys, needed)
    if len(set(names)) < len(names):
        raise InputError("a column's name stands twice in the schema")
    columns = {name: _column(name, batch.column(name)) for name in names}
    return of_checked(
        {name: column for name, column in columns.items() if column is not None}, batch.num_rows
    )


def _column(name: str, array: pa.Array) -> pa.Array | None:
    try:
        if name == "time":
            return _time(array)
        if name == "features":
            return _features(array)
        if name in ("id", "unit", "role", "reason", "error"):
            return _text(name, array)
        return array if name == "version" and pa.types.is_integer(array.type) else _number(name, array)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise InputError(f"the column {name!r} cannot be taken: {error}", field=name) from None


def _time(array: pa.Array) -> pa.Array:
    if not pa.types.is_timestamp(array.type):
        return _text("time", array)
    if array.type.tz is None:
        raise _wrong("time", array, "a timestamp with a time zone, or ISO 8601 text")
    return pc.cast(array, options=pc.CastOptions(TIME, allow_time_truncate=True))


def _number(name: str, array: pa.Array) -> pa.Array:
    kind = array.type
    if pa.types.is_boolean(kind):
        return array
    if _is_number(kind) or pa.types.is_null(kind):
        return array.cast(pa.float64(), safe=False)
    if name in ("y_pred", "y_true") and _is_list(kind) and _is_number(kind.value_type):
        return array.cast(VECTORS, safe=False)
    raise _wrong(name, array, "numbers")


def _text(name: str, array: pa.Array) -> pa.Array:
    if pa.types.is_string(array.type):
        return array
    if not _is_text(array.type):
        raise _wrong(name, array, "text")
    if _text_bytes(array) > MOST_TEXT:
        raise TooLarge(f"the column {name!r} has more than {MOST_TEXT} bytes of text", field=name)
    return array.cast(pa.string())


def _text_bytes(array: pa.Array) -> int:
    """How many bytes a column of text has once each row has its own."""
    if pa.types.is_null(array.type):
        return 0
    if pa.types.is_dictionary(array.type):
        return int(
            pc.sum(pc.binary_length(array.dictionary).cast(pa.int64()).take(array.indices)).as_py() or 0
        )
    if pa.types.is_string_view(array.type):
        views = np.frombuffer(array.buffers()[1], np.int32)[4 * array.offset :][: 4 * len(array) : 4]
        return int(views.astype(np.int64).clip(0).sum())
    return int(array.nbytes)


def _features(array: pa.Array) -> pa.Array | None:
    """Features as a struct of numbers, texts and truths, or as the JSON texts that were sent."""
    if not pa.types.is_struct(array.type):
        return _text("features", array)
    check_features(array.type.num_fields)
    names = [field.name for field in array.type]
    if len(set(names)) < len(names):
        raise InputError("a feature's name stands twice in the schema", field="features")
    if not names:
        return None
    columns = [_feature(name, column) for name, column in zip(names, array.flatten(), strict=True)]
    return pa.StructArray.from_arrays(columns, names)


def _feature(name: str, array: pa.Array) -> pa.Array:
    if pa.types.is_boolean(array.type):
        return array
    if _is_text(array.type) and not pa.types.is_null(array.type):
        return _text(f"features.{name}", array)
    return _number(f"features.{name}", array)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_text(kind: pa.DataType) -> bool:
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    return any(test(plain) for test in tests)


def _wrong(name: str, array: pa.Array, wanted: str) -> InputError:
    return InputError(f"the column {name!r} has type {array.type}; send {wanted}", field=name)


# Whether a message's buffers are compressed, which no API says: the tables of FlatBuffers that lead there.

_MESSAGE_HEADER, _DICTIONARY_DATA, _RECORD_COMPRESSION = 2, 1, 3


def _messages(buffer: pa.Buffer) -> Iterator[pa.ipc.Message]:
    reader = pa.ipc.MessageReader.open_stream(buffer)
    for _ in range(MOST_MESSAGES):
        try:
            yield reader.read_next_message()
        except StopIteration:
            return
    raise InputError(
        f"the stream has more than {MOST_MESSAGES} record batches and dictionaries; send fewer, larger ones"
    )


def _is_compressed(message: pa.ipc.Message) -> bool:
    if message.type not in ("record batch", "dictionary"):
        return False
    data = memoryview(message.metadata)
    table = _table(data, _field(data, _uint32(data, 0), _MESSAGE_HEADER))
    if message.type == "dictionary":
        table = _table(data, _field(data, table, _DICTIONARY_DATA))
    return bool(_field(data, table, _RECORD_COMPRESSION))


def _uint32(data: memoryview, at: int) -> int:
    return int(struct.unpack_from("<I", data, at)[0])


def _table(data: memoryview, at: int) -> int:
    return at + _uint32(data, at)


def _field(data: memoryview, table: int, index: int) -> int:
    """Where a table's field lies; 0 where it is left out."""
    vtable = table - int(struct.unpack_from("<i", data, table)[0])
    size, slot = struct.unpack_from("<H", data, vtable)[0], 4 + 2 * index
    offset = struct.unpack_from("<H", data, vtable + slot)[0] if slot < size else 0
    return table + offset if offset else 0
