from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from lossloop.core.errors import NewerFormat, StateError, StorageFull
from lossloop.core.records import Record
from lossloop.ledger.sqlite import state as states
from lossloop.ledger.sqlite.state import FORMAT, QUERIES, State
from lossloop.ledger.sqlite.sums import crc_of


class Thing(Record, frozen=True):
    """Something to keep."""

    number: int
    name: str = ""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def state(path: Path) -> State:
    return State(path)


some_kinds, some_keys = st.sampled_from(["one", "two"]), st.sampled_from(["a", "a/1", "b"])
keys = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
numbers = st.integers(-(1 << 53), 1 << 53) | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
)  # fmt: skip


# Documents.


def test_a_document_is_what_was_put(state: State) -> None:
    state.put("thing", "a", Thing(number=1, name="one"))
    assert state.get("thing", "a", Thing) == Thing(number=1, name="one")
    state.put("thing", "a", Thing(number=2))
    assert state.get("thing", "a", Thing) == Thing(number=2)


def test_what_is_not_there_is_none_and_can_be_dropped(state: State) -> None:
    assert state.get("thing", "a", Thing) is None
    state.drop("thing", "a")
    state.put("thing", "a", 1)
    state.drop("thing", "a")
    assert state.get("thing", "a", int) is None


@given(keys, json_values)
def test_any_json_survives(key: str, value: Any) -> None:
    state = State(Path(":memory:"))
    state.put("any", key, value)
    assert state.get("any", key, object) == value
    state.close()


@given(st.dictionaries(keys, st.integers(0, 9), max_size=8), keys)
def test_documents_are_listed_by_prefix_in_the_order_of_their_keys(
    found: dict[str, int], prefix: str
) -> None:
    state = State(Path(":memory:"))
    for key, value in found.items():
        state.put("number", key, value)
        state.put("other", key, -1)
    listed = state.all("number", int, prefix=prefix)
    assert listed == {key: value for key, value in found.items() if key.startswith(prefix)}
    assert list(listed) == sorted(listed, key=lambda key: key.encode())
    state.close()


def test_a_prefix_ends_where_it_ends(state: State) -> None:
    for model in ("flight", "flight-delay", "flights"):
        state.put("version", f"{model}/1", model)
    assert list(state.all("version", str, prefix="flight/").values()) == ["flight"]


def test_a_document_of_another_shape_is_an_error(state: State) -> None:
    state.put("thing", "a", {"number": "many"})
    with pytest.raises(msgspec.ValidationError, match="number"):
        state.get("thing", "a", Thing)


# Transactions.


def put_and_fail(state: State, key: str) -> None:
    with state.transaction():
        state.put("thing", key, 1)
        raise RuntimeError("midway")


def test_a_transaction_happens_in_full_or_not_at_all(state: State) -> None:
    with pytest.raises(RuntimeError, match="midway"):
        put_and_fail(state, "a")
    assert state.get("thing", "a", int) is None


def test_an_inner_transaction_fails_alone(state: State) -> None:
    with state.transaction():
        state.put("thing", "outer", 1)
        with pytest.raises(RuntimeError, match="midway"):
            put_and_fail(state, "inner")
        state.put("thing", "after", 1)
    assert list(state.all("thing", int)) == ["after", "outer"]


def fill(state: State) -> None:
    for number in range(1000):
        state.put("thing", f"{number}", "x" * 1000)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_full_disk_is_told_as_such_from_any_depth(state: State, depth: int) -> None:
    state.put("thing", "before", "kept")
    state.connection.pragma("max_page_count", state.connection.pragma("page_count"))

    def nested(left: int) -> None:
        with state.transaction():
            if left > 1:
                nested(left - 1)
            else:
                fill(state)

    with pytest.raises(StorageFull, match="no room for the derived state; free some space"):
        nested(depth)
    assert state.all("thing", str) == {"before": "kept"}
    with state.transaction():
        state.put("thing", "after", "small")
    assert state.get("thing", "after", str) == "small"


def test_other_errors_in_a_transaction_stay_what_they_are(state: State) -> None:
    with pytest.raises(apsw.ConstraintError), state.transaction():
        state.connection.execute("INSERT INTO documents (kind, key) VALUES ('a', 'b')")


# Opening.


def test_what_was_committed_is_there_for_the_next(path: Path) -> None:
    first = State(path)
    first.put("thing", "a", 1)
    first.close()
    second = State(path)
    assert second.get("thing", "a", int) == 1
    second.close()


def test_a_reader_sees_what_is_committed_and_only_that(path: Path, state: State) -> None:
    reader = State(path, read_only=True)
    before = reader.change()
    with state.transaction():
        state.put("thing", "a", 1)
        assert reader.get("thing", "a", int) is None
        assert reader.change() == before
    assert reader.get("thing", "a", int) == 1
    assert reader.change() != before
    reader.close()


def test_a_reader_cannot_write(path: Path, state: State) -> None:
    reader = State(path, read_only=True)
    with pytest.raises(apsw.ReadOnlyError):
        reader.put("thing", "a", 1)
    reader.close()


def test_commits_are_durable_in_a_log_of_their_own(state: State) -> None:
    assert state.connection.pragma("journal_mode") == "wal"
    assert state.connection.pragma("synchronous") == 2, "FULL"


def test_a_newer_format_is_refused_and_left_alone(path: Path) -> None:
    State(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {FORMAT + 1}")
    connection.close()
    for read_only in (True, False):
        with pytest.raises(
            NewerFormat,
            match=rf"state.db has format {FORMAT + 1}, this release reads up to {FORMAT}; install a",
        ):
            State(path, read_only=read_only)


@pytest.mark.parametrize("read_only", [True, False])
def test_what_is_no_database_is_refused(path: Path, read_only: bool) -> None:
    path.write_text("these are notes, not a database" * 100)
    with pytest.raises(
        StateError,
        match=r"state.db cannot be opened as a state database \(.*\); run: lossloop ledger rebuild",
    ):
        State(path, read_only=read_only)
    assert path.read_text().startswith("these are notes")


@pytest.mark.parametrize("read_only", [True, False])
def test_a_directory_is_no_database(tmp_path: Path, read_only: bool) -> None:
    with pytest.raises(StateError, match="run: lossloop ledger rebuild"):
        State(tmp_path, read_only=read_only)


def test_a_reader_does_not_make_what_is_not_there(path: Path) -> None:
    with pytest.raises(StateError, match="run: lossloop ledger rebuild"):
        State(path, read_only=True)
    assert not path.exists()
    path.touch()
    with pytest.raises(StateError, match=r"state.db is no state database .*; run: lossloop ledger rebuild"):
        State(path, read_only=True)


# Queries.


def test_every_query_is_one_that_the_schema_can_answer(state: State) -> None:
    for name, text in QUERIES.items():
        state.connection.execute(f"EXPLAIN {text}", (0,) * text_parameters(text))
        assert text.rstrip().endswith(";"), name


def text_parameters(text: str) -> int:
    return next((number for number in range(20, 0, -1) if f"?{number}" in text), 0)


def test_offsets_are_how_far_each_segment_was_read(state: State) -> None:
    state.put_offset("a", 10)
    state.put_offset("b", 5)
    state.put_offset("a", 30)
    assert state.offsets() == {"a": 30, "b": 5}


def test_an_offset_is_of_the_transaction_that_it_was_put_in(state: State) -> None:
    state.put_offset("a", 10)
    with contextlib.suppress(RuntimeError), state.transaction():
        state.put_offset("a", 20)
        raise RuntimeError
    assert state.offsets() == {"a": 10}


# What a writer keeps in memory must never be seen.


class Documents(RuleBasedStateMachine):
    """Documents through caches, nested transactions and another writer, against dictionaries."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "state.db"
        self.state = State(path)
        self.other = apsw.Connection(str(path))
        self.levels: list[dict[tuple[str, str], int]] = [{}]
        self.opened: list[AbstractContextManager[None]] = []

    def teardown(self) -> None:
        if hasattr(self, "state"):
            while self.opened:
                self.opened.pop().__exit__(None, None, None)
            self.state.close()
            self.other.close()
            self.folder.cleanup()

    @rule(kind=some_kinds, key=some_keys, value=st.integers(0, 9))
    def put(self, kind: str, key: str, value: int) -> None:
        self.state.put(kind, key, value)
        self.levels[-1][kind, key] = value

    @rule(kind=some_kinds, key=some_keys)
    def drop(self, kind: str, key: str) -> None:
        self.state.drop(kind, key)
        self.levels[-1].pop((kind, key), None)

    @precondition(lambda self: len(self.opened) < 3)
    @rule()
    def open(self) -> None:
        transaction = self.state.transaction()
        transaction.__enter__()
        self.opened.append(transaction)
        self.levels.append(dict(self.levels[-1]))

    @precondition(lambda self: self.opened)
    @rule()
    def commit(self) -> None:
        self.opened.pop().__exit__(None, None, None)
        made = self.levels.pop()
        self.levels[-1] = made

    @precondition(lambda self: self.opened)
    @rule()
    def roll_back(self) -> None:
        error = RuntimeError()
        assert not self.opened.pop().__exit__(RuntimeError, error, None)
        self.levels.pop()

    @precondition(lambda self: not self.opened)
    @rule(kind=some_kinds, key=some_keys, value=st.integers(10, 19))
    def another_connection_writes(self, kind: str, key: str, value: int) -> None:
        self.other.execute(QUERIES["put_document"], (kind, key, str(value), crc_of(kind, key, str(value))))
        self.levels[-1][kind, key] = value

    @rule(kind=some_kinds, key=some_keys)
    def get(self, kind: str, key: str) -> None:
        assert self.state.get(kind, key, int) == self.levels[-1].get((kind, key))

    @rule(kind=some_kinds, prefix=st.sampled_from(["", "a", "a/"]))
    def list(self, kind: str, prefix: str) -> None:
        wanted = {
            key: value
            for (each, key), value in sorted(self.levels[-1].items())
            if each == kind and key.startswith(prefix)
        }
        assert self.state.all(kind, int, prefix=prefix) == wanted

    @precondition(lambda self: not self.opened)
    @rule()
    def what_was_committed_is_on_disk(self) -> None:
        found = self.other.execute("SELECT kind, key, body FROM documents")
        assert {(kind, key): int(body) for kind, key, body in found} == self.levels[-1]


TestDocuments = Documents.TestCase
TestDocuments.settings = settings(max_examples=40, stateful_step_count=30)


def test_a_document_that_is_asked_for_as_another_type_is_read_as_that(state: State) -> None:
    with state.transaction():
        state.put("thing", "a", Thing(number=1))
        assert state.get("thing", "a", dict[str, Any]) == {"number": 1}
        assert state.get("thing", "a", Thing) == Thing(number=1)
        state.put("number", "a", 3)
        assert state.get("number", "a", float) == 3.0
        assert list(state.all("thing", Thing).values()) == [Thing(number=1)]
        assert list(state.all("thing", dict[str, Any]).values()) == [{"number": 1}]


def test_what_is_listed_may_be_changed_by_whoever_asked(state: State) -> None:
    with state.transaction():
        state.put("thing", "a", 1)
        state.all("thing", int).clear()
        assert state.all("thing", int) == {"a": 1}


def test_many_documents_do_not_stay_in_memory(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "MOST_CACHED", 10)
    with state.transaction():
        for number in range(20):
            state.put("thing", str(number), number)
    assert not state._known
    with state.transaction():
        assert [state.get("thing", str(number), int) for number in range(20)] == list(range(20))


def test_a_commit_of_another_connection_is_seen_and_ones_own_is_not(path: Path, state: State) -> None:
    other = apsw.Connection(str(path))
    before = state.change()
    state.put("thing", "a", 1)
    assert state.change() == before
    other.execute(QUERIES["put_document"], ("thing", "b", "2", crc_of("thing", "b", "2")))
    assert state.change() != before
    other.close()


def test_what_was_asked_for_in_vain_is_found_once_it_is_there(path: Path, state: State) -> None:
    """That a document is not there is remembered, too: the fold asks for the same ones with every frame."""
    with state.transaction():
        assert state.get("thing", "a", int) is None
        assert state.get("thing", "a", int) is None
        state.put("thing", "a", 1)
        assert state.get("thing", "a", int) == 1
        state.drop("thing", "a")
        assert state.get("thing", "a", int) is None
    with state.transaction():
        assert (state.get("thing", "a", int), state.get("thing", "b", Thing)) == (None, None)
    state.put("thing", "a", 2)
    other = State(path)
    other.put("thing", "b", Thing(number=3))
    other.close()
    with state.transaction():
        assert (state.get("thing", "a", int), state.get("thing", "b", Thing)) == (2, Thing(number=3))


def test_what_an_inner_transaction_found_missing_is_not_believed_when_it_failed(state: State) -> None:
    with state.transaction():
        state.put("thing", "a", 1)
        with contextlib.suppress(KeyError), state.transaction():
            state.drop("thing", "a")
            assert state.get("thing", "a", int) is None
            raise KeyError
        assert state.get("thing", "a", int) == 1
    assert state.get("thing", "a", int) == 1


def test_an_older_format_is_left_to_be_migrated(path: Path) -> None:
    State(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    for read_only in (True, False):
        with pytest.raises(StateError, match=r"state.db has format 1; run `lossloop ledger migrate` first"):
            State(path, read_only=read_only)
