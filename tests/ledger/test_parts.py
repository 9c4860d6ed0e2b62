"""Chunks of streams, in the database and beside it: what is committed is there, what is not left nothing."""

from __future__ import annotations

import contextlib
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lossloop.core.errors import StateError, StorageFull
from lossloop.ledger.joined import stream as streams
from lossloop.ledger.joined.columns import Array, batch_of, columns_of
from lossloop.ledger.joined.stream import Stream
from lossloop.ledger.sqlite import state as states
from lossloop.ledger.sqlite.parts import LARGE, Parts
from lossloop.ledger.sqlite.state import QUERIES, State
from tests.house.repository import ROOT

PATIENCE = 60


def batch(start: int, end: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"x": np.arange(start, end)})


def rows(state: State, stream: str = "s", *, after: int = -1) -> list[int]:
    return [x for chunk in state.chunks(stream, after=after) for x in chunk.batch.column("x").to_pylist()]


def files(path: Path) -> set[str]:
    """The Arrow files beside a database."""
    return {each.name for each in path.with_suffix(".parts").glob("*")}


def named(state: State) -> set[str]:
    return {name for (name,) in state.connection.execute(QUERIES["list_files"])}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def state(path: Path) -> Iterator[State]:
    made = State(path)
    yield made
    made.close()


MANY = LARGE // 8
"""Rows that make a file."""


@pytest.mark.parametrize(("count", "is_file"), [(MANY - 1, False), (MANY, True)])
def test_what_is_large_is_a_file_and_what_is_not_is_none(
    path: Path, state: State, count: int, is_file: bool
) -> None:
    with state.transaction():
        state.put_chunk("s", 0, batch(0, count))
    assert rows(state) == list(range(count))
    assert len(files(path)) == is_file


def test_chunks_come_in_the_order_of_their_rows_and_behind_a_row(state: State) -> None:
    with state.transaction():
        for first in (20, 0, 10):
            state.put_chunk("s", first, batch(first, first + 10))
            state.put_chunk("other", first, batch(0, 1))
    assert rows(state) == list(range(30))
    assert rows(state, after=-1) == list(range(30))
    assert rows(state, after=0) == list(range(10, 30))
    assert rows(state, after=20) == []
    assert [(chunk.first, chunk.end) for chunk in state.chunks("s")] == [(0, 10), (10, 20), (20, 30)]


def test_a_chunk_replaces_those_that_begin_where_it_lies(state: State) -> None:
    with state.transaction():
        for first in range(5):
            state.put_chunk("s", first, batch(first, first + 1))
        state.put_chunk("s", 1, batch(1, 4))
    assert [(chunk.first, chunk.end) for chunk in state.chunks("s")] == [(0, 1), (1, 4), (4, 5)]
    assert rows(state) == list(range(5))


def test_streams_are_listed_by_prefix(state: State) -> None:
    with state.transaction():
        for name in ("rows/b", "rows/a", "labels/a", "rows/a/x"):
            state.put_chunk(name, 0, batch(0, 1))
    assert state.streams("rows/") == ["rows/a", "rows/a/x", "rows/b"]
    assert state.streams("") == ["labels/a", "rows/a", "rows/a/x", "rows/b"]
    state.drop_stream("rows/a")
    state.drop_stream("rows/none")
    assert state.streams("rows/") == ["rows/a/x", "rows/b"]


@pytest.mark.parametrize("columns", [
    {"x": np.array([1.0, np.nan, np.inf])},
    {"y_pred": np.array([[1.0, np.nan], [0.5, 2.0]]), "key_low": np.array([0, 2**64 - 1], np.uint64)},
    {"y_true": np.empty((0, 3)), "role": np.empty(0, np.int8)},
], ids=["numbers", "lists", "nothing"])  # fmt: skip
@pytest.mark.parametrize("large", [0, 1 << 30], ids=["file", "database"])
def test_columns_come_back_as_they_were(
    path: Path, monkeypatch: pytest.MonkeyPatch, columns: dict[str, Array], large: int
) -> None:
    monkeypatch.setattr(states, "LARGE", large)
    state = State(path)
    with state.transaction():
        state.put_chunk("s", 0, batch_of(columns))
    (chunk,) = state.chunks("s")
    for name, values in columns_of(chunk.batch).items():
        assert (values.dtype, values.shape) == (columns[name].dtype, columns[name].shape)
        assert np.array_equal(values, columns[name], equal_nan=values.dtype.kind == "f")
    assert len(files(path)) == (large == 0)
    state.close()


class Chunks(RuleBasedStateMachine):
    """A store of files and bodies against a dictionary: appended, merged, rewritten, dropped, cut off."""

    @initialize(large=st.sampled_from([0, 100, 1 << 20]))
    def begin(self, large: int) -> None:
        self.patched = pytest.MonkeyPatch()
        self.patched.setattr(states, "LARGE", large)
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "state.db"
        self.state = State(self.path)
        self.reader = State(self.path, read_only=True)
        self.known: dict[int, list[int]] = {}
        self.committed: dict[int, list[int]] = {}
        self.opened: contextlib.AbstractContextManager[None] | None = None

    def teardown(self) -> None:
        if hasattr(self, "state"):
            self.end()
            self.reader.close()
            self.state.close()
            self.folder.cleanup()
            self.patched.undo()

    def put(self, first: int, values: list[int]) -> None:
        if self.opened is None:
            self.opened = self.state.transaction()
            self.opened.__enter__()
        self.state.put_chunk("s", first, pa.RecordBatch.from_pydict({"x": values}))
        self.known = {
            start: each for start, each in self.known.items() if not first <= start < first + len(values)
        }
        self.known[first] = values

    @rule(values=st.lists(st.integers(0, 99), min_size=1, max_size=20))
    def append(self, values: list[int]) -> None:
        self.put(max((first + len(each) for first, each in self.known.items()), default=0), values)

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def merge(self, data: st.DataObject) -> None:
        starts = sorted(self.known)
        behind = data.draw(st.integers(0, len(starts) - 1))
        self.put(starts[behind], [x for start in starts[behind:] for x in self.known[start]])

    @precondition(lambda self: self.known and self.opened)
    @rule()
    def drop(self) -> None:
        self.state.drop_stream("s")
        self.known = {}

    @rule()
    def end(self) -> None:
        if self.opened is not None:
            self.opened.__exit__(None, None, None)
            self.opened = None
            self.committed = dict(self.known)
            assert files(self.path) == named(self.state)

    @precondition(lambda self: self.opened is not None)
    @rule()
    def roll_back(self) -> None:
        assert self.opened is not None
        assert not self.opened.__exit__(RuntimeError, RuntimeError(), None)
        self.opened, self.known = None, dict(self.committed)
        assert files(self.path) == named(self.state)

    @rule()
    def crash(self) -> None:
        """What a process that died leaves: no commit, and files that nobody names."""
        if self.opened is not None:
            self.roll_back()
        self.state.close()
        self.state = State(self.path)
        assert files(self.path) == named(self.state), "orphans stay for ever"

    @invariant()
    def the_writer_sees_what_it_wrote_and_the_reader_what_was_committed(self) -> None:
        for state, known in ((self.state, self.known), (self.reader, self.committed)):
            assert rows(state) == [x for first in sorted(known) for x in known[first]]


TestChunks = Chunks.TestCase
TestChunks.settings = settings(max_examples=30, stateful_step_count=20)


def test_a_file_that_a_crash_left_without_its_commit_is_removed(path: Path, state: State) -> None:
    with state.transaction():
        state.put_chunk("s", 0, batch(0, MANY))
    kept = files(path)
    Parts(path.with_suffix(".parts")).write(batch(0, 10))
    assert len(files(path)) == 2
    state.close()
    reader = State(path, read_only=True)
    assert len(files(path)) == 2, "a reader removes nothing: the file may be about to be committed"
    reader.close()
    State(path).close()
    assert files(path) == kept


def test_files_that_were_replaced_are_removed_once_that_is_committed(path: Path, state: State) -> None:
    with state.transaction():
        state.put_chunk("s", 0, batch(0, MANY))
    with contextlib.suppress(RuntimeError), state.transaction():
        state.put_chunk("s", 0, batch(0, 2 * MANY))
        raise RuntimeError
    assert rows(state) == list(range(MANY)), "what was not committed has replaced nothing"
    with state.transaction():
        state.put_chunk("s", 0, batch(0, 2 * MANY))
        assert len(files(path)) >= 2, "whoever reads what was committed still needs it"
    assert named(state) <= files(path)
    with state.transaction():
        state.drop_stream("s")
    assert rows(state) == []


def test_a_transaction_that_fails_leaves_no_file(path: Path, state: State) -> None:
    with state.transaction():
        state.put_chunk("s", 0, batch(0, MANY))
    kept = files(path)
    with contextlib.suppress(RuntimeError), state.transaction():
        state.put_chunk("s", MANY, batch(MANY, 2 * MANY))
        raise RuntimeError
    assert files(path) == kept
    with state.transaction():
        with contextlib.suppress(RuntimeError), state.transaction():
            state.put_chunk("s", 0, batch(0, MANY))
            raise RuntimeError
        state.put_chunk("t", 0, batch(0, MANY))
    assert rows(state) == list(range(MANY))
    assert files(path) == named(state)


def test_a_file_that_may_not_grow_is_a_full_disk_and_leaves_no_part_of_it(path: Path, state: State) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGE // 2, limits[1]))
    try:
        with pytest.raises(StorageFull, match="free some space"), state.transaction():
            state.put_chunk("s", 0, batch(0, MANY))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (files(path), rows(state)) == (set(), [])
    with state.transaction():
        state.put_chunk("s", 0, batch(0, MANY))
    assert rows(state) == list(range(MANY))


def test_a_reader_whose_file_is_replaced_meanwhile_reads_again(
    path: Path, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    with state.transaction():
        for first in (0, MANY):
            state.put_chunk("s", first, batch(first, first + MANY))
    reader, read = State(path, read_only=True), Parts.read
    merged = iter([True])

    def read_after_a_merge(self: Parts, name: str) -> pa.RecordBatch:
        if next(merged, False):
            with state.transaction():
                state.put_chunk("s", 0, batch(0, 2 * MANY))
        return read(self, name)

    monkeypatch.setattr(Parts, "read", read_after_a_merge)
    assert rows(reader) == list(range(2 * MANY))
    reader.close()


def test_a_file_that_is_gone_is_told_with_what_to_do(path: Path, state: State) -> None:
    with state.transaction():
        state.put_chunk("s", 0, batch(0, MANY))
    (file,) = path.with_suffix(".parts").iterdir()
    file.unlink()
    words = r"state.db is damaged \(a file that it names is missing\); run: lossloop ledger rebuild"
    with pytest.raises(StateError, match=words):
        rows(state)


def test_another_process_reads_whole_streams_while_they_are_merged(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(states, "LARGE", 200)
    monkeypatch.setattr(streams, "_GATHERED", 4)
    state = State(path)
    stream = Stream(state, "s")
    command = [sys.executable, "-m", "tests.ledger.reading", str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "reading\n"
        for number in range(150):
            with state.transaction():
                stream.append({"x": np.arange(number * 50, number * 50 + 50)})
        state.put("test", "done", True)
        said, _ = child.communicate(timeout=PATIENCE)
    assert child.returncode == 0
    count, changes = map(int, said.split())
    assert count == 150 * 50
    assert changes > 1, "it read only before and behind the writing"
    assert files(path) == named(state)
    state.close()
