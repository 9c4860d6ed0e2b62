"""Two engines of the same contract, driven alike, are never told apart; neither from a plain model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.records import Record
from lossloop.ledger.buffered import GONE, Changes, StreamChanges, as_type, is_a, text_of
from lossloop.ledger.memory import Memory, MemoryStore
from lossloop.ledger.sqlite.state import State
from lossloop.ledger.store import Store


class Thing(Record, frozen=True):
    """Something to keep."""

    number: int


class _FailedError(Exception):
    """Ends a block."""


# What may be done, and what it leads to.

keys = st.sampled_from(["a", "a/1", "b"])
streams = st.sampled_from(["s", "s/1"])
changes = st.one_of(
    st.tuples(st.just("put"), keys, st.integers(0, 9)),
    st.tuples(st.just("drop"), keys, st.none()),
    st.tuples(st.just("offset"), keys, st.integers(0, 9)),
    st.tuples(st.just("append"), streams, st.integers(1, 3)),
    st.tuples(st.just("merge"), streams, st.integers(0, 3)),
    st.tuples(st.just("forget"), streams, st.none()),
)
blocks = st.recursive(
    changes,
    lambda inner: st.tuples(st.just("block"), st.lists(inner, max_size=5), st.booleans()),
    max_leaves=20,
)


@contextmanager
def failing(fails: bool) -> Iterator[None]:
    try:
        yield
    except _FailedError:
        assert fails


def rows(store: Store, stream: str) -> list[int]:
    return [number for chunk in store.chunks(stream) for number in chunk.batch.column("n").to_pylist()]


def look(store: Store) -> Any:
    found = {name: [(chunk.first, chunk.end) for chunk in store.chunks(name)] for name in store.streams("")}
    return (
        store.all("kind", int),
        {key: store.get("kind", key, int) for key in ("a", "a/1", "b")},
        store.all("kind", int, prefix="a/"),
        dict(store.offsets()),
        found,
        {name: rows(store, name) for name in found},
    )


def apply(store: Store, what: str, where: Any, value: Any) -> None:
    """Do one change; appended rows count up, merging keeps them."""
    if what == "put":
        store.put("kind", where, value)
    elif what == "drop":
        store.drop("kind", where)
    elif what == "offset":
        store.put_offset(where, value)
    elif what == "append":
        count = len(rows(store, where))
        store.put_chunk(where, count, pa.RecordBatch.from_pydict({"n": list(range(count, count + value))}))
    elif what == "merge":
        chunks = list(store.chunks(where))[-value:] if value else []
        if chunks:
            merged = [number for chunk in chunks for number in chunk.batch.column("n").to_pylist()]
            store.put_chunk(where, chunks[0].first, pa.RecordBatch.from_pydict({"n": merged}))
    elif what == "forget":
        store.drop_stream(where)
    else:
        with failing(value), store.transaction():
            for each in where:
                apply(store, *each)
            if value:
                raise _FailedError


@given(st.lists(blocks, max_size=12))
def test_memory_and_sqlite_are_alike(done: list[Any]) -> None:
    memory, embedded = MemoryStore(), State(Path(":memory:"))
    for each in done:
        apply(memory, *each)
        apply(embedded, *each)
        assert look(memory) == look(embedded)
    embedded.close()


@given(st.lists(blocks, max_size=12))
def test_one_transaction_around_all_ends_as_many_small_ones(done: list[Any]) -> None:
    many, one = MemoryStore(), MemoryStore()
    for each in done:
        apply(many, *each)
    with one.transaction():
        for each in done:
            apply(one, *each)
        within = look(one)
    assert within == look(one) == look(many)


# The parts.


def test_what_was_changed_and_not_committed_is_nobodys() -> None:
    memory = Memory()
    store, other = MemoryStore(memory), MemoryStore(memory)
    with store.transaction():
        store.put("kind", "a", 1)
        assert store.get("kind", "a", int) == 1
        assert other.get("kind", "a", int) is None
        assert memory == Memory()
    assert other.get("kind", "a", int) == 1


def test_a_transaction_that_failed_leaves_nothing() -> None:
    memory = Memory()
    apply(MemoryStore(memory), "block", [("put", "a", 1), ("append", "s", 2)], True)
    assert memory == Memory()


def test_a_transaction_of_nothing_is_no_commit() -> None:
    memory = Memory()
    with MemoryStore(memory).transaction():
        pass
    assert memory.commits == 0


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 4)), max_size=8), st.integers(0, 8))
def test_changes_of_a_stream_are_the_same_in_one_block_or_in_two(
    put: list[tuple[int, int]], split: int
) -> None:
    def changed(some: list[tuple[int, int]]) -> StreamChanges:
        found = StreamChanges()
        for first, count in some:
            found.cut(first, first + count)
            found.chunks[first] = pa.RecordBatch.from_pydict({"n": [count]})
        return found

    whole, outer = changed(put), changed(put[:split])
    outer.absorb(changed(put[split:]))
    assert sorted(outer.chunks) == sorted(whole.chunks)
    assert [outer.keeps(first) for first in range(15)] == [whole.keeps(first) for first in range(15)]


def test_changes_of_an_inner_block_are_the_outer_ones_too() -> None:
    outer, inner = Changes(), Changes()
    assert not outer
    outer.documents["kind", "a"] = 1
    inner.documents["kind", "a"] = GONE
    inner.offsets["s"] = 3
    outer.absorb(inner)
    assert outer.documents == {("kind", "a"): GONE}
    assert outer.offsets == {"s": 3}
    assert outer


def test_a_value_is_handed_out_as_it_is_where_its_type_is_asked_for() -> None:
    thing = Thing(number=1)
    assert as_type(thing, Thing) is thing
    assert as_type(thing, dict) == {"number": 1}
    assert as_type({"number": 1}, Thing) == thing
    assert as_type((1, 2), list[int]) == [1, 2]
    assert not is_a((1, 2), tuple[int, ...])
    assert text_of({"b": 1, "a": thing}) == '{"a":{"number":1},"b":1}'
