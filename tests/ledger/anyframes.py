"""Any frames: kinds, models and schemas mixed, what Parquet cannot hold among them. For Hypothesis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from lossloop.ledger.base import Entry
from lossloop.ledger.files.sameness import same_batches
from lossloop.ledger.files.segments import SegmentLog
from lossloop.ledger.frames import Damage, Frame, Kind
from tests.ledger.samples import outcome_frame, prediction_frame, tick_frame

IDS = st.lists(st.text(max_size=6), max_size=5)
TIMES = st.integers(-5, 60)
MODELS = st.sampled_from(["m", "late.2", "a model/with=signs %"])

# Columns that are hard to keep: what a file format tends to lose.
HARD: dict[str, pa.Array] = {
    "nan": pa.array([math.nan, -0.0, None]),
    "half": pa.array([1.5, math.nan, None], pa.float16()),
    "empty struct": pa.array([{}, {}, None], pa.struct([])),
    "dictionary": pa.DictionaryArray.from_arrays(pa.array([0, None, 0]), pa.array(["used", "never"])),
    "null": pa.nulls(3),
    "lists": pa.array([[1.0, math.nan], [], None]),
    "vectors": pa.array([[1.0, 2.0], None, [3.0, math.nan]], pa.list_(pa.float64(), 2)),
    "large": pa.array(["x", "", None], pa.large_string()),
    "view": pa.array(["x" * 20, "", None], pa.string_view()),
    "decimal": pa.array([Decimal("1.50"), None, Decimal("-3.25")], pa.decimal128(9, 2)),
    "map": pa.array([[("a", 1)], [], None], pa.map_(pa.string(), pa.int64())),
    "nanoseconds": pa.array([1, None, -1], pa.timestamp("ns", "Europe/Berlin")),
    "duration": pa.array([1, None, 2], pa.duration("us")),
    "union": pa.UnionArray.from_sparse(
        pa.array([0, 1, 0], pa.int8()), [pa.array([1, 2, 3]), pa.array(["a", "b", "c"])]
    ),
    "deep": pa.array([{"a": [{"b": math.nan}]}, {"a": None}, None]),
    "strict": pa.array([1, 2, 3]),
}


def hard_frame(names: Sequence[str], kind: Kind, time: int, metadata: dict[str, str]) -> Frame:
    """Rows with hard columns; `strict` may not be null, and a field has metadata."""
    arrays = [HARD[name] for name in names]
    fields = [
        pa.field(name, array.type, nullable=name != "strict", metadata={"note": name})
        for name, array in zip(names, arrays, strict=True)
    ]
    batch = pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields, metadata=metadata))
    return Frame(kind=kind, time=time, batch=batch)


def _predictions(ids: list[str], time: int, model: str, kind: str) -> Frame:
    struct = pa.array([{"x": 0.5, "c": "ü"}] * len(ids), pa.struct({"x": pa.float64(), "c": pa.string()}))
    rows: dict[str, Any] = {
        "none": {},
        "struct": {"features": struct},
        "json": {"features": pa.array(['{"x": 1}'] * len(ids), pa.string())},
        "vector": {"y_pred": [[0.25, 0.75]] * len(ids)},
    }  # fmt: skip
    return prediction_frame(ids, model=model, time=time, **rows[kind])


def _outcomes(ids: list[str], time: int, model: str) -> Frame:
    return outcome_frame({id: (math.nan if len(id) > 4 else None) for id in ids}, model=model, time=time)


FRAMES: st.SearchStrategy[Frame] = st.one_of(
    st.builds(_predictions, IDS, TIMES, MODELS, st.sampled_from(["none", "struct", "json", "vector"])),
    st.builds(_outcomes, IDS, TIMES, MODELS),
    st.builds(tick_frame, TIMES),
    st.builds(
        hard_frame,
        st.lists(st.sampled_from(sorted(HARD)), max_size=3),
        st.sampled_from(Kind),
        TIMES,
        st.sampled_from([{}, {"model": "m"}, {"model": "m", "more": "x"}]),
    ),
    st.builds(
        lambda: Frame(
            kind=Kind.TICK, time=1, batch=pa.RecordBatch.from_pydict({"frame_end": [1], "frame_time": [2]})
        )
    ),
)
SEGMENTS = st.lists(st.lists(FRAMES, min_size=1, max_size=6), min_size=1, max_size=3)


def write(log: SegmentLog, parts: Sequence[Sequence[Frame]]) -> list[Path]:
    """A finished segment for each part."""
    made = []
    for frames in parts:
        writer = log.writer()
        for frame in frames:
            writer.append([frame])
        writer.close()
        made.append(log.directory / writer.segment)
    return made


def everything(log: SegmentLog, most: int = 1 << 24) -> list[Entry]:
    """All entries, by as many reads as it takes."""
    reader, found, after = log.reader(), list[Entry](), dict[str, int]()
    while entries := list(reader.read(after, most=most)):
        after |= {entry.position.segment: entry.position.offset for entry in entries}
        found += entries
    reader.close()
    return found


def assert_same(found: Sequence[Entry], wanted: Sequence[Entry]) -> None:
    """Same entries in the same order, to the bit."""
    assert [entry.position for entry in found] == [entry.position for entry in wanted]
    for one, other in zip(found, wanted, strict=True):
        if isinstance(other.frame, Damage) or isinstance(one.frame, Damage):
            assert one == other
            continue
        assert (one.frame.kind, one.frame.time) == (other.frame.kind, other.frame.time)
        assert same_batches(one.frame.batch, other.frame.batch), f"{one.frame.batch} for {other.frame.batch}"
