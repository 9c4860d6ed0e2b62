"""Which rows were one frame: starts, ends, numbers of rows."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.ledger.files import frameindex
from lossloop.ledger.files.frameindex import DAMAGED, NOWHERE, FrameIndex

SIZE, FEW = st.integers(1, 99), st.integers(0, 4)
ENTRIES = st.lists(
    st.one_of(
        st.tuples(SIZE, st.integers(1, 5), st.integers(-9, 9), st.integers(0, 2), FEW),
        st.tuples(SIZE, st.just(DAMAGED), st.just(0), st.just(NOWHERE), st.just(0)),
    ),
    max_size=12,
)


def index_of(parts: list[tuple[int, int, int, int, int]]) -> FrameIndex:
    """An index of frames of these sizes."""
    ends = accumulate(part[0] for part in parts)
    return frameindex.made([(end, *part[1:]) for end, part in zip(ends, parts, strict=True)])


@given(ENTRIES)
def test_an_index_survives(
    tmp_path_factory: pytest.TempPathFactory, parts: list[tuple[int, int, int, int, int]]
) -> None:
    index, path = index_of(parts), tmp_path_factory.mktemp("index") / "x.arrow"
    frameindex.write(path, index)
    read = frameindex.read(path.read_bytes())
    for name in ("end", "kind", "time", "table", "rows"):
        one, other = getattr(read, name), getattr(index, name)
        assert one.dtype == other.dtype
        assert one.tolist() == other.tolist()
    assert len(read) == len(parts)


@given(ENTRIES, st.lists(st.booleans(), min_size=3, max_size=3))
def test_rows_are_counted_through_the_segment_and_through_each_table(
    parts: list[tuple[int, int, int, int, int]], raw: list[bool]
) -> None:
    index = index_of(parts)
    rows, tables, ends = 0, [0, 0, 0], 0
    for place, (size, kind, _, table, count) in enumerate(parts):
        assert index.start[place] == ends
        ends += size
        assert index.end[place] == ends
        assert index.first_row[place] == rows
        rows += count
        if kind != DAMAGED:
            assert index.first_in_table(raw)[place] == tables[table]
            tables[table] += 1 if raw[table] else count


@given(ENTRIES)
def test_the_frames_of_rows_are_found(parts: list[tuple[int, int, int, int, int]]) -> None:
    index = index_of(parts)
    whose = [place for place, part in enumerate(parts) for _ in range(part[4])]
    for row, place in enumerate(whose):
        assert index.frames_of(np.array([row])).tolist() == [place]
    assert index.frames_of(np.arange(len(whose))).tolist() == sorted(set(whose))


@given(ENTRIES)
def test_no_frame_stands_before_the_one_before_it(parts: list[tuple[int, int, int, int, int]]) -> None:
    latest = index_of(parts).latest().tolist()
    assert latest == list(accumulate((max(0, part[2]) for part in parts), max))


def test_an_empty_index(tmp_path: Path) -> None:
    index = index_of([])
    assert len(index) == 0
    assert index.latest().tolist() == index.start.tolist() == []
