"""The table: predictions by row, key, time and block, over any number of parts, and again after a restart."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossloop.ledger.joined import columns, stream, table
from lossloop.ledger.joined.columns import NEVER, Array, Int64
from lossloop.ledger.joined.table import Rows, Table, history_of, keep_within, prepare
from lossloop.ledger.sqlite.state import State
from lossloop.ledger.store import Chunk

nan = math.nan
FIELDS = ("version", "role", "propensity", "at", "block", "unit", "shadow_version")
batches = st.lists(
    st.tuples(st.integers(1, 9), st.integers(0, 20), st.integers(0, 3), st.booleans()), min_size=1, max_size=8
)
"""Rows, how much time passes before them, how long their predictions are, whether they say all they can."""


@pytest.fixture(params=[3, 7, 1000])
def parts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    few(monkeypatch, request.param)
    return int(request.param)


def few(patched: pytest.MonkeyPatch, count: int) -> None:
    """Parts of so few rows, and chunks that are merged early."""
    patched.setattr(columns, "PART_ROWS", count)
    patched.setattr(table, "PART_ROWS", count)
    patched.setattr(stream, "_GATHERED", 3)


def new() -> State:
    return State(Path(":memory:"))


def keys(rows: Int64) -> tuple[Array, Array]:
    """Keys that look like random numbers, as real ones do."""
    every = rows.astype(np.uint64)
    return every * np.uint64(3) + np.uint64(1), every * np.uint64(0x9E3779B97F4A7C15)


def batch(start: int, count: int, *, at: int = 0, width: int = 0, full: bool = True) -> dict[str, Array]:
    """Predictions that can be told apart by their numbers; `width` 0 is a number each."""
    every = np.arange(start, start + count)
    high, low = keys(every)
    y_pred = every / 8
    made: dict[str, Array] = {
        "key_high": high, "key_low": low, "version": every % 3 + 1, "at": np.full(count, at),
        "time": every * 7, "block": np.full(count, at // 10), "content": every,
        "y_pred": np.repeat(y_pred[:, None], width, 1) if width else y_pred,
    }  # fmt: skip
    said: dict[str, Array] = {
        "role": every % 2, "propensity": 1 / (1 + every), "unit": every * 11, "shadow_version": every % 5,
    }  # fmt: skip
    return {**made, **said} if full else made


class Known:
    """The same rows as plain columns."""

    def __init__(self) -> None:
        self.said: dict[str, list[Any]] = {name: [] for name in (*FIELDS, "time", "content")}
        self.y_pred: list[list[float]] = []
        self.labels: dict[int, tuple[float, float, int]] = {}

    def __len__(self) -> int:
        return len(self.y_pred)

    def append(self, rows: dict[str, Array]) -> None:
        count = len(rows["at"])
        for name, known in self.said.items():
            known.extend(
                rows[name].tolist() if name in rows else [1.0 if name == "propensity" else 0] * count
            )
        self.y_pred += np.reshape(rows["y_pred"], (count, -1)).tolist()

    def check(self, rows: Rows, start: int, end: int) -> None:
        end = min(end, len(self))
        assert rows.seq.tolist() == list(range(start + 1, end + 1))
        for name in FIELDS:
            assert getattr(rows, name).tolist() == self.said[name][start:end]
        for got, wanted in zip(rows.y_pred, self.y_pred[start:end], strict=True):
            assert np.atleast_1d(got)[: len(wanted)].tolist() == wanted
            assert np.isnan(np.atleast_1d(got)[len(wanted) :]).all()
        labels = [self.labels.get(row, (nan, nan, NEVER)) for row in range(start, end)]
        for place, name in enumerate(("y_true", "judged", "labelled_at")):
            values = np.array([label[place] for label in labels])
            assert np.array_equal(getattr(rows, name), values, equal_nan=name != "labelled_at")


def label(made: Table, known: Known, rows: list[int], moment: int) -> None:
    """Set outcomes that tell when they were set."""
    y_true = np.array(rows) + moment / 2
    made.label(np.array(rows, np.int64), y_true, y_true / 4, np.full(len(rows), moment))
    known.labels |= {
        row: (value, value / 4, moment) for row, value in zip(rows, y_true.tolist(), strict=True)
    }


@settings(max_examples=60)
@given(
    part=st.sampled_from([2, 5, 1000]), batches=batches, most=st.sampled_from([0, 6, 1 << 20]),
    data=st.data(),
)  # fmt: skip
def test_it_answers_as_plain_columns_do(
    part: int, batches: list[tuple[int, int, int, bool]], most: int, data: st.DataObject
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        few(patched, part)
        store, known, at = new(), Known(), 0
        made = Table(store, "m")
        for number, (count, later, width, full) in enumerate(batches):
            at += later
            rows = batch(len(known), count, at=at, width=width, full=full)
            made.append(rows)
            known.append(rows)
            there = st.integers(0, len(known) - 1)
            label(made, known, data.draw(st.lists(there, unique=True, min_size=1, max_size=4)), number)
            if data.draw(st.booleans()):
                with store.transaction():
                    made.flush()
                keep_within([made], most)
            check(made, known, data.draw)
        with store.transaction():
            made.flush()
        check(Table(store, "m", most=most), known, data.draw)


def check(made: Table, known: Known, draw: Any) -> None:
    count, ats, blocks = len(known), np.array(known.said["at"]), np.array(known.said["block"])
    assert len(made) == count
    assert (made.last_at, made.last_block) == (ats[-1], blocks[-1])
    start, end = sorted(draw(st.tuples(st.integers(0, count), st.integers(0, count + 5))))
    known.check(made.slice(start, end), start, end)
    until, most = draw(st.integers(-1, int(ats[-1]) + 1)), draw(st.integers(0, count + 1))
    ripe = int(np.count_nonzero(ats <= until))
    known.check(made.matured(after=start, until=until, most=most), start, max(start, min(ripe, start + most)))
    block = draw(st.integers(-1, int(blocks[-1]) + 1))
    (places,) = np.nonzero(blocks == block)
    assert made.block(block).seq.tolist() == (places + 1).tolist()
    later = blocks[blocks > block]
    assert made.first_block_after(block) == (None if not len(later) else later[0])
    asked = np.array(draw(st.lists(st.integers(0, count + 20), max_size=9)), np.int64)
    assert made.find(*keys(asked)).tolist() == [row if row < count else -1 for row in asked.tolist()]
    there = asked[asked < count]
    for name in ("time", "content", "unit", "propensity"):
        assert made.columns([name], there)[0].tolist() == [known.said[name][row] for row in there.tolist()]
    (found,) = made.columns(["y_pred"], there)
    for row, got in zip(there.tolist(), found, strict=True):
        assert np.atleast_1d(got)[: len(known.y_pred[row])].tolist() == known.y_pred[row]


@settings(max_examples=40)
@given(part=st.sampled_from([2, 5, 1000]), count=st.integers(1, 30), data=st.data())
def test_several_columns_are_read_as_each_by_itself(part: int, count: int, data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patched:
        few(patched, part)
        made, known = Table(new(), "m"), Known()
        for start in range(0, count, 7):
            made.append(batch(start, min(7, count - start), width=start % 3))
        label(made, known, data.draw(st.lists(st.integers(0, count - 1), unique=True, max_size=5)), 1)
        rows = np.array(data.draw(st.lists(st.integers(0, count - 1), max_size=9)), np.int64)
        names = data.draw(st.permutations(["unit", "y_pred", "role", "y_true", "labelled_at", "content"]))
        together = made.columns(names, rows)
        for name, found in zip(names, together, strict=True):
            assert np.array_equal(found, made.columns([name], rows)[0], equal_nan=name.startswith("y_"))
            assert len(found) == len(rows)
        moments = dict(zip(names, together, strict=True))["labelled_at"]
        assert (moments != NEVER).tolist() == [row in known.labels for row in rows.tolist()]


def test_an_empty_table_has_nothing() -> None:
    made = Table(new(), "m")
    assert (len(made), made.last_at, made.last_block, made.first_block_after(-9)) == (0, 0, None, None)
    assert len(made.slice(0, 9)) == len(made.matured(after=0, until=9, most=9)) == len(made.block(0)) == 0
    assert made.find(*keys(np.arange(3))).tolist() == [-1] * 3
    assert made.columns(["at"], np.empty(0, np.int64))[0].shape == (0,)
    made.flush()


def test_nothing_is_written_where_nothing_changed(parts: int) -> None:
    store = new()
    made = Table(store, "m")
    with store.transaction():
        made.append(batch(0, 10))
        made.flush()
    before = [chunk.first for name in store.streams("") for chunk in store.chunks(name)]
    with store.transaction():
        made.flush()
    assert [chunk.first for name in store.streams("") for chunk in store.chunks(name)] == before


def test_what_was_not_flushed_is_gone_after_a_restart(parts: int) -> None:
    store, known = new(), Known()
    made = Table(store, "m")
    rows = batch(0, 8)
    made.append(rows)
    known.append(rows)
    with store.transaction():
        made.flush()
    made.append(batch(8, 5))
    label(made, Known(), [2, 9], 4)
    again = Table(store, "m")
    known.check(again.slice(0, 100), 0, 100)
    assert again.find(*keys(np.array([7, 8]))).tolist() == [7, -1]


def test_models_and_their_history_do_not_meet(parts: int) -> None:
    store = new()
    for number, name in enumerate(("m", history_of("m"), "m2")):
        made = Table(store, name)
        made.append(batch(0, 4 + number))
        label(made, Known(), [number], 1)
        with store.transaction():
            made.flush()
    assert [len(Table(store, name)) for name in ("m", history_of("m"), "m2")] == [4, 5, 6]
    assert np.flatnonzero(~np.isnan(Table(store, "m2").slice(0, 9).y_true)).tolist() == [2]


def test_the_last_label_of_a_row_is_in_force(parts: int) -> None:
    store, known = new(), Known()
    made = Table(store, "m")
    made.append(batch(0, 10))
    for moment, rows in enumerate(([0, 9, 5], [9], [5, 4], [9])):
        label(made, known, rows, moment)
        with store.transaction():
            made.flush()
    known.append(batch(0, 10))
    for each in (made, Table(store, "m")):
        known.check(each.slice(0, 10), 0, 10)


def test_parts_leave_memory_the_least_used_first(parts: int) -> None:
    store = new()
    made = Table(store, "m")
    made.append(batch(0, 3 * parts, at=40))
    with store.transaction():
        made.flush()
    made.columns(["at"], np.array([0]))
    keep_within([made], 2 * parts)
    assert [part.is_closed for part in made.parts] == [False, True, False]
    keep_within([made], 0)
    assert all(part.is_closed for part in made.parts)
    assert (made.last_at, made.last_block) == (40, 4)
    assert (made.find(*keys(np.array([parts, 5 * parts]))) == [parts, -1]).all()
    assert [part.is_closed for part in made.parts] == [True, False, True]


def test_a_part_that_is_not_full_stays_in_memory(parts: int) -> None:
    store = new()
    made = Table(store, "m")
    made.append(batch(0, parts + 1))
    with store.transaction():
        made.flush()
    keep_within([made], 0)
    assert [part.is_closed for part in made.parts] == [True, False]
    made.append(batch(parts + 1, 2))
    assert len(made) == parts + 3


def test_what_is_looked_for_later_is_prepared_a_part_at_a_time(parts: int) -> None:
    store = new()
    made = Table(store, "m")
    made.append(batch(0, 2 * parts + 1))
    with store.transaction():
        made.flush()
    keep_within([made], 2 * parts)
    closed = [part.is_closed for part in made.parts]
    assert [prepare([made]) for _ in range(3)] == [True, True, False], "two parts are open"
    assert [part.is_closed for part in made.parts] == closed, "what was closed to save memory stays so"
    every = np.arange(2 * parts + 2)
    assert (made.find(*keys(every)) == np.where(every <= 2 * parts, every, -1)).all()
    made.append(batch(2 * parts + 1, 1))
    assert prepare([made]), "new rows come to be prepared too"
    assert made.find(*keys(every))[-1] == 2 * parts + 1


# Erasure.


@pytest.mark.parametrize("closed", [False, True])
def test_erased_rows_stay_and_say_nothing_of_anyone(parts: int, closed: bool) -> None:
    store = new()
    made = Table(store, "m")
    made.append(batch(0, 5))
    made.append(batch(5, 5, width=2))
    label(made, Known(), [1, 6], 3)
    with store.transaction():
        made.flush()
        keep_within([made], 0 if closed else 1 << 20)
        made.erase(np.array([1, 6, 9]))
    for each in (made, Table(store, "m")):
        rows = each.slice(0, 10)
        assert np.flatnonzero(rows.unit == 0).tolist() == [0, 1, 6, 9], "the first had none"
        assert np.flatnonzero(np.isnan(rows.y_pred).all(axis=1)).tolist() == [1, 6, 9]
        assert np.isnan(rows.shadow_y_pred).all()
        assert each.columns(["content"], np.array([1, 2]))[0].tolist() == [0, 2]
        assert each.find(*keys(np.arange(10))).tolist() == [0, -1, 2, 3, 4, 5, -1, 7, 8, -1]
        assert np.flatnonzero(~np.isnan(rows.y_true)).tolist() == [1, 6]
        assert rows.version.tolist() == (np.arange(10) % 3 + 1).tolist()
    raw = b"".join(chunk.batch.column("key_low").to_numpy().tobytes() for chunk in store.chunks("rows/m"))
    assert keys(np.array([6]))[1].tobytes() not in raw, "what was written is gone from the store"


# A reader in another process.


class Overtaken(State):
    """A state that another process changes each time that a stream was listed."""

    def __init__(self, path: Path, writer: Iterator[None]) -> None:
        super().__init__(path, read_only=True)
        self._writer = writer

    def chunks(self, stream: str, *, after: int = -1) -> Iterator[Chunk]:
        found = list(super().chunks(stream, after=after))
        next(self._writer, None)
        yield from found


def test_a_reader_may_be_overtaken_by_the_writer(parts: int, tmp_path: Path) -> None:
    """Rows and labels are listed one after the other: a label of a row that was not read is no label."""
    writer = State(tmp_path / "state.db")
    made, known = Table(writer, "m"), Known()

    def write() -> Iterator[None]:
        while True:
            start = len(made)
            made.append(batch(start, parts))
            label(made, known, list(range(start, start + parts)), 1)
            with writer.transaction():
                made.flush()
            yield

    writing = write()
    next(writing)
    reader = Overtaken(tmp_path / "state.db", writing)
    found = Table(reader, "m")
    assert len(found) == 2 * parts
    assert np.flatnonzero(np.isnan(found.slice(0, 9999).y_true)).tolist() == list(range(parts, 2 * parts))
    reader.close()
    writer.close()
