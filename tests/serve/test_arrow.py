"""Arrow streams: any type that says what is meant, and nothing that a hostile sender may hide in them."""

from __future__ import annotations

import datetime as dt
import decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import InputError, TooLarge
from lossloop.core.tasks import Task
from lossloop.serve import arrow as arrows
from lossloop.serve.arrow import model_in, of_arrow, read_stream
from lossloop.serve.batch import MOST_FEATURES
from lossloop.serve.recording import take_outcomes, take_predictions
from lossloop.serve.rowwise import OUTCOME_KEYS, OUTCOME_NEEDS, PREDICTION_KEYS, PREDICTION_NEEDS
from tests.serve.sending import stream, terms

ISO, MICROS = "2024-01-01T00:00:00Z", 1_704_067_200_000_000
PLAIN = pa.RecordBatch.from_pydict({"id": ["a", "b"], "y_true": [1.0, None]})


def outcomes(**columns: Any) -> dict[str, list[Any]]:
    """What is kept of outcomes with these columns."""
    table = {"id": pa.array(["a"]), "y_true": pa.array([1.0]), **columns}
    batch = read_stream(stream(pa.RecordBatch.from_pydict(table)))
    taken = take_outcomes(of_arrow(batch, OUTCOME_KEYS, OUTCOME_NEEDS), terms(Task.REGRESSION, replays=True))
    assert not taken.problems
    return {
        name: list(column.to_pylist()) for name, column in taken.facts.items() if isinstance(column, pa.Array)
    }


def predictions(task: Task = Task.REGRESSION, **columns: Any) -> dict[str, list[Any]]:
    table = {"id": pa.array(["a"]), "version": pa.array([1]), "y_pred": pa.array([1.0]), **columns}
    batch = read_stream(stream(pa.RecordBatch.from_pydict(table)))
    taken = take_predictions(of_arrow(batch, PREDICTION_KEYS, PREDICTION_NEEDS), terms(task))
    assert not taken.problems
    return {
        name: list(column.to_pylist()) for name, column in taken.facts.items() if isinstance(column, pa.Array)
    }


# Types.


@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string()),
     pa.dictionary(pa.int32(), pa.large_string())],
    ids=str,
)  # fmt: skip
def test_text_of_any_type_is_text(kind: pa.DataType) -> None:
    names = pa.array(["a", "a" * 20, "é"]).cast(kind)
    table = pa.RecordBatch.from_pydict({"id": names, "y_true": [1.0, 2.0, 3.0]})
    taken = take_outcomes(of_arrow(table.slice(1), OUTCOME_KEYS, OUTCOME_NEEDS), terms(Task.REGRESSION))
    assert taken.facts["id"].to_pylist() == ["a" * 20, "é"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "values",
    [pa.array([2], pa.int8()), pa.array([2], pa.uint64()), pa.array([2], pa.float32()),
     pa.array([2.0], pa.float16()), pa.array([decimal.Decimal(2)], pa.decimal128(20, 4))],
    ids=lambda each: str(each.type),
)  # fmt: skip
def test_numbers_of_any_type_are_numbers(values: pa.Array) -> None:
    assert outcomes(y_true=values)["y_true"] == [2.0]
    assert predictions(y_pred=values)["y_pred"] == [2.0]


def test_large_whole_numbers_become_the_nearest_float() -> None:
    assert outcomes(y_true=pa.array([2**60 + 1]))["y_true"] == [float(2**60)]


@pytest.mark.parametrize(
    "values",
    [
        pa.array([MICROS], pa.timestamp("us", tz="UTC")),
        pa.array([MICROS // 10**6], pa.timestamp("s", tz="UTC")),
        pa.array([MICROS * 1000 + 7], pa.timestamp("ns", tz="America/New_York")),
        pa.array([ISO]),
        pa.array([ISO]).dictionary_encode(),
    ],
    ids=lambda each: str(each.type),
)
def test_times_are_timestamps_with_a_zone_or_text(values: pa.Array) -> None:
    assert outcomes(time=values)["time"] == [dt.datetime(2024, 1, 1, tzinfo=dt.UTC)]


def test_nulls_of_no_type_are_nulls() -> None:
    assert outcomes(y_true=pa.nulls(1), reason=pa.nulls(1), time=pa.nulls(1))["y_true"] == [None]
    assert predictions(unit=pa.nulls(1), role=pa.nulls(1), propensity=pa.nulls(1))["propensity"] == [1.0]


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float32()), pa.large_list(pa.float64()), pa.list_(pa.float64(), 2)], ids=str
)
def test_lists_of_any_type_are_vectors(kind: pa.DataType) -> None:
    values = pa.array([[0.25, 0.75]], kind)
    assert predictions(Task.MULTICLASS, y_pred=values)["y_pred"] == [[0.25, 0.75]]


def test_features_are_a_struct_of_plain_values() -> None:
    features = pa.array([{"n": 1, "s": "x", "t": True, "u": None}])
    found = predictions(features=features)["features"]
    assert found == [{"n": 1.0, "s": "x", "t": True, "u": None}]
    assert "features" not in predictions(features=pa.array([{}], pa.struct([])))


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("id", pa.array([1]), "the column 'id' has type int64; send text"),
        ("id", pa.array([b"a"]), "the column 'id' has type binary; send text"),
        ("y_true", pa.array(["1"]), "the column 'y_true' has type string; send numbers"),
        ("y_true", pa.array([[[1.0]]]), "the column 'y_true' has type list<item: list<item: double>>"),
        ("time", pa.array([MICROS], pa.timestamp("us")),
         "send a timestamp with a time zone, or ISO 8601 text"),
        ("time", pa.array([MICROS]), "the column 'time' has type int64; send text"),
        ("time", pa.array([2**62], pa.timestamp("s", tz="UTC")), "the column 'time' cannot be taken"),
        ("label", pa.array([1]), "unknown column 'label'; there are: id, reason, time, y_true"),
    ],
)  # fmt: skip
def test_a_column_that_cannot_be_what_it_is_called_is_refused(
    name: str, values: pa.Array, words: str
) -> None:
    with pytest.raises(InputError) as caught:
        outcomes(**{name: values})
    assert words in str(caught.value)
    assert (caught.value.field, caught.value.row) == (name, None)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (pa.array([{"x": [1]}]), "the column 'features.x' has type list<item: int64>; send numbers"),
        (pa.array([{"x": b"a"}]), "the column 'features.x' has type binary; send numbers"),
        (pa.array([1]), "the column 'features' has type int64; send text"),
    ],
)
def test_features_that_are_nothing_plain_are_refused(values: pa.Array, words: str) -> None:
    with pytest.raises(InputError, match=words):
        predictions(features=values)


def test_a_name_stands_once() -> None:
    table = pa.RecordBatch.from_arrays(
        [pa.array(["a"]), pa.array([1.0]), pa.array([2.0])], ["id", "y_true", "y_true"]
    )
    with pytest.raises(InputError, match="stands twice in the schema"):
        of_arrow(table, OUTCOME_KEYS, OUTCOME_NEEDS)
    twins = pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"])
    with pytest.raises(InputError, match="a feature's name stands twice"):
        predictions(features=twins)


# Streams.


def test_several_batches_are_one() -> None:
    found = read_stream(stream([PLAIN, PLAIN.slice(0, 0), PLAIN.slice(1)]))
    assert found.column("id").to_pylist() == ["a", "b", "b"]
    coded = [
        pa.RecordBatch.from_pydict({"id": pa.array([id]).dictionary_encode(), "y_true": [1.0]}) for id in "ab"
    ]
    assert read_stream(stream(coded)).column("id").to_pylist() == ["a", "b"]


def test_the_model_may_stand_in_the_schema() -> None:
    assert model_in(read_stream(stream(PLAIN.replace_schema_metadata({"model": "m"})))) == "m"
    assert model_in(read_stream(stream(PLAIN))) is None


def test_a_stream_without_rows_is_refused() -> None:
    with pytest.raises(InputError, match="send a list of one row or more"):
        read_stream(stream(PLAIN.slice(0, 0)))


@pytest.mark.parametrize(
    "raw", [b"", b"junk" * 10, b"[]", stream(PLAIN)[:-40][:100], b"ARROW1\0\0" + stream(PLAIN)]
)
def test_what_is_no_stream_is_refused(raw: bytes) -> None:
    with pytest.raises(InputError):
        read_stream(raw)


WHOLE = stream(pa.RecordBatch.from_pydict({
    "id": pa.array(["a", "bc"]).dictionary_encode(), "y_true": [1.0, None], "time": pa.array([ISO, None]),
    "reason": [None, "lost"],
}))  # fmt: skip


@given(st.data())
def test_a_stream_with_flipped_bytes_is_read_or_refused(data: st.DataObject) -> None:
    raw = bytearray(WHOLE)
    for place in data.draw(st.lists(st.integers(0, len(raw) - 1), min_size=1, max_size=6)):
        raw[place] = data.draw(st.integers(0, 255))
    try:
        batch = of_arrow(read_stream(bytes(raw)), OUTCOME_KEYS, OUTCOME_NEEDS)
    except InputError:
        return
    taken = take_outcomes(batch, terms())
    assert taken.count + len(taken.problems) == batch.count


# What is small on the wire, and large here.


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_compressed_buffers_are_refused_before_they_are_unpacked(codec: str) -> None:
    bomb = pa.RecordBatch.from_pydict({"id": ["a" * 10_000_000], "y_true": [1.0]})
    raw = stream(bomb, compression=codec)
    assert len(raw) < 100_000
    with pytest.raises(InputError, match="send the stream with plain buffers"):
        read_stream(raw)
    coded = pa.RecordBatch.from_pydict({"id": pa.array(["a" * 100_000]).dictionary_encode(), "y_true": [1.0]})
    with pytest.raises(InputError, match="send the stream with plain buffers"):
        read_stream(stream(coded, compression=codec))


def test_a_text_that_many_rows_share_is_not_written_out_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrows, "MOST_TEXT", 1_000_000)
    shared = pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int32()), pa.array(["x" * 2000]))
    with pytest.raises(TooLarge, match="the column 'id' has more than 1000000 bytes of text"):
        outcomes(id=shared, y_true=pa.array([1.0] * 1000))
    view = pa.array(["x" * 2000] * 1000).cast(pa.string_view())
    with pytest.raises(TooLarge, match="the column 'id' has more than 1000000 bytes of text"):
        outcomes(id=view, y_true=pa.array([1.0] * 1000))
    features = pa.StructArray.from_arrays([shared], names=["x"])
    with pytest.raises(TooLarge, match=r"the column 'features\.x' has more than"):
        predictions(
            id=pa.array(["a"] * 1000),
            version=pa.array([1] * 1000),
            y_pred=pa.array([1.0] * 1000),
            features=features,
        )


def test_a_struct_of_more_features_than_are_taken_is_refused() -> None:
    def many(count: int) -> pa.Array:
        return pa.StructArray.from_arrays([pa.array([1.0])] * count, [f"f{place}" for place in range(count)])

    with pytest.raises(InputError, match=r"^50000 features by column; at most 2000 .*: send rows") as caught:
        predictions(features=many(50_000))
    assert caught.value.field == "features"
    assert len(predictions(features=many(MOST_FEATURES))["features"][0]) == MOST_FEATURES


def test_a_stream_cut_into_ever_so_many_batches_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrows, "MOST_MESSAGES", 20)

    def cut(batches: int) -> bytes:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, PLAIN.schema) as writer:
            for _ in range(batches):
                writer.write_batch(PLAIN)
        return bytes(sink.getvalue().to_pybytes())

    assert read_stream(cut(18)).num_rows == 36
    with pytest.raises(InputError, match="more than 20 record batches and dictionaries; send fewer, larger"):
        read_stream(cut(20))
