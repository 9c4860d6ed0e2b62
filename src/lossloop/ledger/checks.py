"""What every log and every store must do, a plugin's too.

A check takes a maker of empty logs (CHECKS), or of places of empty stores (STORE_CHECKS), and raises
AssertionError.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from lossloop.ledger.base import Entry, Log, LogReader, Offsets, Position
from lossloop.ledger.expired import Needs, expired
from lossloop.ledger.facts import command, decisions, outcomes, predictions, tick
from lossloop.ledger.frames import Damage, Frame, Kind
from lossloop.ledger.joined.keys import Keys
from lossloop.ledger.store import Chunk, Store

Make = Callable[[], Log]


class Place(Protocol):
    """Where derived state lies: opened by its one writer, and by others who only read."""

    def writer(self) -> Store:
        """The state, for whoever may write it; the writer before was closed."""
        ...

    def reader(self) -> Store:
        """The state as it is committed, by a connection of its own."""
        ...


MakePlace = Callable[[], Place]


def check_frames_come_back_whole(make: Make) -> None:
    """What goes in comes out: kind, time, rows, and whose rows they are."""
    log, sent = make(), _one_of_each()
    writer = log.writer()
    for frame in sent[:2]:
        writer.append([frame])
    writer.append(sent[2:])
    writer.close()
    _assert_same(_frames(_read(log)), sent, "the log gave back other frames")


def check_nothing_is_there_before_it_was_appended(make: Make) -> None:
    """A new log, a writer that wrote nothing and an append of nothing give nothing to read."""
    log = make()
    assert not _read(log), "a new log holds something"
    writer = log.writer()
    assert not _read(log), "a writer wrote without being asked"
    position = writer.append([])
    assert position.reached_by({}), "nothing was appended, but a reader at the start has not reached it"
    assert not _read(log), "an append of nothing left something to read"
    writer.close()


def check_reading_goes_on_where_it_stopped(make: Make) -> None:
    """From any entry's position on come all entries behind it, and no other."""
    log = make()
    _write(log, [_numbered(i) for i in range(5)])
    reader = log.reader()
    entries = _all(reader)
    assert len(entries) == 5, f"{len(entries)} of 5 frames came back"
    for index, entry in enumerate(entries, 1):
        rest = list(reader.read({entry.position.segment: entry.position.offset}))
        assert [each.position for each in rest] == [each.position for each in entries[index:]], (
            "reading from an entry's position did not go on behind it"
        )
    reader.close()


def check_a_position_is_reached_by_reading_to_it(make: Make) -> None:
    """An append's position is reached once all its frames were read, and not before."""
    log = make()
    writer = log.writer()
    positions = [writer.append([_numbered(i), _numbered(i)]) for i in range(3)]
    writer.close()
    offsets: dict[str, int] = {}
    entries = _read(log)
    assert len(entries) == 6, f"{len(entries)} of 6 frames came back"
    for read, entry in enumerate(entries, 1):
        offsets[entry.position.segment] = entry.position.offset
        reached = [position.reached_by(offsets) for position in positions]
        assert reached == [read >= 2 * (i + 1) for i in range(3)], f"after {read} frames: {reached}"


def check_writers_do_not_disturb_each_other(make: Make) -> None:
    """Each writer has a segment of its own, in which its frames stand in its order."""
    log = make()
    writers = [log.writer() for _ in range(3)]
    for i in range(4):
        for j, writer in enumerate(writers):
            writer.append([_numbered(10 * j + i)])
    for writer in writers:
        writer.close()
    found: dict[str, list[int]] = {}
    for entry in _read(log):
        found.setdefault(entry.position.segment, []).append(_number(entry))
    wanted = [[10 * j + i for i in range(4)] for j in range(3)]
    assert sorted(found.values()) == wanted, f"three writers left {sorted(found.values())}"


def check_facts_come_in_the_order_of_their_receipt(make: Make) -> None:
    """Facts of several writers are merged by receipt time, however little is read at once."""
    log = make()
    one, other = log.writer(), log.writer()
    for times, writer in (([1, 4, 6, 7], one), ([2, 3, 5, 9], other)):
        for moment in times:
            writer.append([_numbered(moment)])
    one.close()
    other.close()
    for most in (1 << 20, 1):
        reader, seen = log.reader(), _Seen()
        while seen.take(reader, most=most):
            pass
        assert seen.numbers == [1, 2, 3, 4, 5, 6, 7, 9], f"facts came in the order {seen.numbers}"
        reader.close()


def check_a_segment_keeps_its_order_whatever_its_clock_says(make: Make) -> None:
    """A clock that was set back does not let a fact pass the one before it, from the same writer."""
    log = make()
    _write(log, [_numbered(number) for number in (5, 2, 9, 1)])
    assert [_number(entry) for entry in _read(log)] == [5, 2, 9, 1]


def check_a_log_is_read_while_it_grows(make: Make) -> None:
    """A reader made before anything was written finds what is written later, in segments new and old."""
    log = make()
    reader, seen = log.reader(), _Seen()
    first = log.writer()
    for i in range(3):
        first.append([_numbered(i)])
        second = log.writer()
        second.append([_numbered(100 + i)])
        second.close()
        seen.take(reader)
        assert sorted(seen.numbers) == sorted([*range(i + 1), *range(100, 101 + i)]), (
            f"a reader of a growing log saw {seen.numbers}"
        )
    first.close()
    reader.close()


def check_small_reads_get_everything(make: Make) -> None:
    """However little is read at once, reading on gets every frame once: also one that is larger than that."""
    log = make()
    _write(log, [_numbered(i) for i in range(20)])
    reader, seen = log.reader(), _Seen()
    while seen.take(reader, most=1):
        assert len(seen.numbers) <= 20, "frames came again"
    assert seen.numbers == list(range(20)), f"small reads got {seen.numbers}"
    reader.close()


def check_readers_are_independent(make: Make) -> None:
    """What one reader has read is there for every other, as often as asked."""
    log = make()
    _write(log, [_numbered(i) for i in range(3)])
    one, other = log.reader(), log.reader()
    assert (
        [_number(e) for e in _all(one)]
        == [_number(e) for e in _all(one)]
        == [_number(e) for e in _all(other)]
    )
    one.close()
    assert [_number(e) for e in _all(other)] == [0, 1, 2], "closing one reader took facts from another"
    other.close()


def check_closing_twice_is_harmless(make: Make) -> None:
    """Whoever closes to be sure does no harm, and what was appended stays."""
    log = make()
    writer, reader = log.writer(), log.reader()
    writer.append([_numbered(7)])
    list(reader.read({}))
    for _ in range(2):
        writer.close()
        reader.close()
    assert [_number(entry) for entry in _read(log)] == [7]


CHECKS = (
    check_frames_come_back_whole,
    check_nothing_is_there_before_it_was_appended,
    check_reading_goes_on_where_it_stopped,
    check_a_position_is_reached_by_reading_to_it,
    check_writers_do_not_disturb_each_other,
    check_facts_come_in_the_order_of_their_receipt,
    check_a_segment_keeps_its_order_whatever_its_clock_says,
    check_a_log_is_read_while_it_grows,
    check_small_reads_get_everything,
    check_readers_are_independent,
    check_closing_twice_is_harmless,
)


# Stores.


def check_documents_come_back(make: MakePlace) -> None:
    """What was put last is there, until it is dropped; what is not there is None and can be dropped."""
    store = make().writer()
    assert store.get("kind", "key", dict) is None, "a new store holds a document"
    store.drop("kind", "key")
    for value in ({"a": [1, 2.5, None, "\u00e9\u0000", True]}, {}, {"b": -(1 << 53)}):
        store.put("kind", "key", value)
        assert store.get("kind", "key", dict[str, Any]) == value, f"{value} did not come back"
    store.put("other", "key", 1)
    store.drop("kind", "key")
    assert store.get("kind", "key", dict) is None, "a dropped document is still there"
    assert store.get("other", "key", int) == 1, "documents of two kinds are mixed"
    store.close()


def check_a_document_is_read_as_the_type_asked_for(make: MakePlace) -> None:
    """JSON has no types: who reads says which, also within the transaction that wrote it."""
    store = make().writer()
    with store.transaction():
        store.put("kind", "key", (1, 2))
        assert store.get("kind", "key", list[float]) == [1.0, 2.0]
    assert store.get("kind", "key", tuple[int, ...]) == (1, 2)
    assert store.get("kind", "key", list) == [1, 2]
    assert store.all("kind", list[int]) == {"key": [1, 2]}
    store.close()


def check_documents_are_listed_by_prefix_in_order(make: MakePlace) -> None:
    """Keys sort as their UTF-8 bytes do, also where some are not committed yet."""
    odd = ["m/\U0010ffff", "m/\U0010ffff\U0010ffffx", "m/\x00", "m/\x01", "m/\x01\x01", "m/\x02"]
    keys = ["m", "m/10", "m/2", "m-2/1", "\u00e9", "\U0001f600", "\uffff", "M", *odd, "m/x\x00y"]
    store = make().writer()
    for key in keys[::2]:
        store.put("kind", key, key)
        store.put("other", key, "")

    def assert_listed(wanted: Sequence[str]) -> None:
        for prefix in ("", "m", "m/", "m/2", "z"):
            found = store.all("kind", str, prefix=prefix)
            asked = sorted((key for key in wanted if key.startswith(prefix)), key=str.encode)
            assert list(found.items()) == [(key, key) for key in asked], f"below {prefix!r}: {found}"
        assert [store.get("kind", key, str) for key in wanted] == list(wanted)

    assert_listed(keys[::2])
    with store.transaction():
        for key in keys[1::2]:
            store.put("kind", key, key)
        store.drop("kind", keys[0])
        assert_listed(keys[1:])
    assert_listed(keys[1:])
    store.close()


def check_a_transaction_happens_whole_or_not_at_all(make: MakePlace) -> None:
    """Documents, offsets and chunks of a transaction that failed are not there, and were while it lasted."""
    place = make()
    store = place.writer()
    _put_some(store, 1)
    for ends_well in (False, True):
        with contextlib.suppress(_PlannedError), store.transaction():
            _put_some(store, 2)
            store.drop("kind", "old")
            store.drop_stream("old")
            assert _look(store) == _LATER, "a transaction does not see its own changes"
            if not ends_well:
                raise _PlannedError
        assert _look(store) == (_LATER if ends_well else _EARLIER), f"after a transaction: {_look(store)}"
    store.close()
    again = place.writer()
    assert _look(again) == _LATER, "another writer finds something else"
    again.close()


def check_a_transaction_within_another_fails_alone(make: MakePlace) -> None:
    """What the inner one changed is undone; what the outer one changed before and after stays."""
    store = make().writer()
    with store.transaction():
        store.put("kind", "before", 1)
        store.put("kind", "changed", 1)
        store.put_chunk("s", 0, _batch(0, 2))
        with contextlib.suppress(_PlannedError), store.transaction():
            assert store.get("kind", "before", int) == 1, "an inner transaction does not see the outer one"
            store.put("kind", "changed", 2)
            store.drop("kind", "before")
            store.put_chunk("s", 2, _batch(2, 4))
            store.put_offset("a", 1)
            raise _PlannedError
        assert store.get("kind", "changed", int) == 1, "a failed inner transaction left something"
        with store.transaction():
            store.put("kind", "after", 1)
    assert store.all("kind", int) == {"after": 1, "before": 1, "changed": 1}
    assert _rows(store, "s") == [0, 1], "a failed inner transaction left rows"
    assert store.offsets() == {}, "a failed inner transaction left an offset"
    store.close()


def check_others_see_what_is_committed_and_only_that(make: MakePlace) -> None:
    """A reader sees a commit, not what leads to it; `change` tells a reader, and not the writer itself."""
    place = make()
    store = place.writer()
    _put_some(store, 1)
    reader = place.reader()
    seen, own = reader.change(), store.change()
    assert _look(reader) == _EARLIER, f"a reader does not see what is committed: {_look(reader)}"
    assert reader.change() == seen, "reading is taken for a change"
    with store.transaction():
        _put_some(store, 2)
        store.drop("kind", "old")
        store.drop_stream("old")
        assert _look(reader) == _EARLIER, "a reader sees what is not committed"
        assert reader.change() == seen, "what is not committed is taken for a change"
    assert reader.change() != seen, "a commit is not told as a change"
    assert _look(reader) == _LATER, f"a reader does not see what is committed: {_look(reader)}"
    assert store.change() == own, "a writer's own commit is told to it as another's"
    reader.close()
    store.close()


def check_offsets_are_kept_by_segment(make: MakePlace) -> None:
    """The last one put counts, also where it is smaller."""
    store = make().writer()
    assert dict(store.offsets()) == {}
    for segment, reached in (("a", 1), ("b", 1 << 40), ("a", 7), ("b", 2)):
        store.put_offset(segment, reached)
    assert dict(store.offsets()) == {"a": 7, "b": 2}, f"{store.offsets()}"
    store.close()


def check_chunks_come_in_the_order_of_their_rows(make: MakePlace) -> None:
    """Whatever the order in which they were put; `after` leaves out those that begin at it or before."""
    store = make().writer()
    for low, high in ((4, 6), (0, 3), (3, 4), (6, 9)):
        store.put_chunk("a/b", low, _batch(low, high))
    store.put_chunk("a/bc", 0, _batch(0, 1))
    chunks = list(store.chunks("a/b"))
    assert [(chunk.first, chunk.end) for chunk in chunks] == [(0, 3), (3, 4), (4, 6), (6, 9)]
    assert _rows(store, "a/b") == list(range(9))
    assert [chunk.first for chunk in store.chunks("a/b", after=3)] == [4, 6]
    assert not list(store.chunks("a/b", after=6)), "rows behind the last chunk"
    assert not list(store.chunks("a")), "a stream that is only the beginning of a name has rows"
    store.close()


def check_a_chunk_replaces_those_that_begin_in_its_rows(make: MakePlace) -> None:
    """So small ones become a large one, and rows are written anew; in one transaction or in several."""
    for together in (False, True):
        store = make().writer()
        with store.transaction() if together else contextlib.nullcontext():
            for low in range(0, 8, 2):
                store.put_chunk("s", low, _batch(low, low + 2))
            store.put_chunk("s", 2, _batch(2, 6))
            assert [chunk.first for chunk in store.chunks("s")] == [0, 2, 6], "merged chunks are still there"
            assert _rows(store, "s") == list(range(8)), "merging lost or repeated rows"
            store.put_chunk("s", 6, _batch(106, 108))
        assert _rows(store, "s") == [*range(6), 106, 107], "rows written anew are the old ones"
        assert [chunk.first for chunk in store.chunks("s", after=0)] == [2, 6]
        store.close()


def check_batches_come_back_as_they_were(make: MakePlace) -> None:
    """Types, nulls, lists and metadata; also of megabytes, and of rows cut out of a larger batch."""
    store = make().writer()
    large = pa.array(np.arange(100_000))
    pairs = pa.FixedSizeListArray.from_arrays(pa.array([1.0, 2.0, 3.0, 4.0, 5.0, None]), 2)
    columns = {"f": pairs, "s": pa.array(["a", None, "\u00e9"]), "b": pa.array([b"\x00", b"", None])}
    mixed = pa.RecordBatch.from_pydict(columns).replace_schema_metadata({"model": "m"})
    sent = {"large": pa.RecordBatch.from_pydict({"n": large}), "mixed": mixed, "part": mixed.slice(1, 2)}
    for name, batch in sent.items():
        store.put_chunk(name, 0, batch)
    for name, batch in sent.items():
        (chunk,) = store.chunks(name)
        assert chunk.batch.equals(batch, check_metadata=True), f"the {name} batch is another one"
    store.close()


def check_streams_are_listed_until_they_are_dropped(make: MakePlace) -> None:
    """By prefix and in order; a stream that was dropped begins anew."""
    store = make().writer()
    for name in ("rows/b", "rows/a", "labels/a", "rows/a-b"):
        store.put_chunk(name, 0, _batch(0, 2))
    assert store.streams("rows/") == ["rows/a", "rows/a-b", "rows/b"]
    with store.transaction():
        store.drop_stream("rows/a")
        store.drop_stream("rows/none")
        store.put_chunk("rows/c", 0, _batch(0, 1))
        assert store.streams("rows/") == ["rows/a-b", "rows/b", "rows/c"]
        store.put_chunk("rows/a", 0, _batch(5, 6))
        assert _rows(store, "rows/a") == [5]
    assert store.streams("") == ["labels/a", "rows/a", "rows/a-b", "rows/b", "rows/c"]
    assert _rows(store, "rows/a") == [5], "a dropped stream still has rows"
    store.close()


def check_closing_a_store_twice_is_harmless(make: MakePlace) -> None:
    """Whoever closes to be sure does no harm, and what was committed stays."""
    place = make()
    store = place.writer()
    store.put("kind", "key", 1)
    reader = place.reader()
    for _ in range(2):
        store.close()
        reader.close()
    again = place.reader()
    assert again.get("kind", "key", int) == 1
    again.close()


STORE_CHECKS = (
    check_documents_come_back,
    check_a_document_is_read_as_the_type_asked_for,
    check_documents_are_listed_by_prefix_in_order,
    check_a_transaction_happens_whole_or_not_at_all,
    check_a_transaction_within_another_fails_alone,
    check_others_see_what_is_committed_and_only_that,
    check_offsets_are_kept_by_segment,
    check_chunks_come_in_the_order_of_their_rows,
    check_a_chunk_replaces_those_that_begin_in_its_rows,
    check_batches_come_back_as_they_were,
    check_streams_are_listed_until_they_are_dropped,
    check_closing_a_store_twice_is_harmless,
)


class _PlannedError(Exception):
    """Ends a transaction."""


_Looked = tuple[dict[str, int], dict[str, int], dict[str, list[int]]]
_EARLIER: _Looked = ({"key": 1, "old": 1}, {"a": 1}, {"old": [0], "s": [1, 2]})
_LATER: _Looked = ({"key": 2}, {"a": 2}, {"s": [2, 3]})


def _put_some(store: Store, number: int) -> None:
    """A document, an offset and rows that tell by their values who put them; what is `old` comes with 1."""
    with store.transaction():
        store.put("kind", "key", number)
        store.put_offset("a", number)
        store.put_chunk("s", 0, _batch(number, number + 2))
        if number == 1:
            store.put("kind", "old", 1)
            store.put_chunk("old", 0, _batch(0, 1))


def _look(store: Store) -> _Looked:
    """All that `_put_some` has put."""
    rows = {name: _rows(store, name) for name in store.streams("")}
    return store.all("kind", int), dict(store.offsets()), rows


def _batch(low: int, high: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"n": pa.array(range(low, high), pa.int64())})


def _rows(store: Store, stream: str) -> list[int]:
    chunks: list[Chunk] = list(store.chunks(stream))
    return [number for chunk in chunks for number in chunk.batch.column("n").to_pylist()]


# What checks of logs share.


class _Seen:
    """A reader's progress: how far it is, and the numbers of the frames that it was given."""

    def __init__(self) -> None:
        self._offsets: dict[str, int] = {}
        self.numbers: list[int] = []

    def take(self, reader: LogReader, most: int = 1 << 20) -> int:
        """Read once; return how many frames came."""
        entries = list(reader.read(self._offsets, most=most))
        self._offsets |= {entry.position.segment: entry.position.offset for entry in entries}
        self.numbers += [_number(entry) for entry in entries]
        return len(entries)


def _one_of_each() -> list[Frame]:
    batch = outcomes(["a", "b"], [1.0, None], [3, 4], model="m")
    return [
        Frame(kind=Kind.OUTCOME, time=5, batch=batch),
        command("id", "freeze", {"on": True}, now=6),
        decisions([("m/0", "{}"), ("m/1", "[1]")], now=7),
        tick(8, now=-1),
        Frame(kind=Kind.PREDICTION, time=9, batch=batch.slice(0, 0)),
        _answered(),
        expired(_answered(), Needs(keys=Keys(b"secret"))),
        expired(Frame(kind=Kind.OUTCOME, time=10, batch=batch), Needs(keys=Keys(b"secret"))),
    ]


def _answered() -> Frame:
    """An answer, and a prediction that failed."""
    columns = {
        "id": ["a", "b"], "version": [1, 1], "time": [3, 4], "y_pred": [0.5, None],
        "latency_ms": [12.5, None], "error": [None, "TimeoutError"],
    }  # fmt: skip
    return Frame(kind=Kind.PREDICTION, time=11, batch=predictions(columns, model="m"))


def _numbered(number: int) -> Frame:
    return tick(number, now=number)


def _number(entry: Entry) -> int:
    assert isinstance(entry.frame, Frame), f"{entry.frame} in a log that nobody damaged"
    return entry.frame.time


def _write(log: Log, frames: Sequence[Frame]) -> Position:
    writer = log.writer()
    positions = [writer.append([frame]) for frame in frames]
    writer.close()
    return positions[-1]


def _read(log: Log) -> list[Entry]:
    reader = log.reader()
    entries = _all(reader)
    reader.close()
    return entries


def _all(reader: LogReader, after: Offsets | None = None) -> list[Entry]:
    return list(reader.read(after or {}))


def _frames(entries: Sequence[Entry]) -> list[Frame | Damage]:
    return [entry.frame for entry in entries]


def _assert_same(found: Sequence[Frame | Damage], wanted: Sequence[Frame], words: str) -> None:
    assert len(found) == len(wanted), f"{words}: {len(found)} of {len(wanted)}"
    for one, other in zip(found, wanted, strict=True):
        assert isinstance(one, Frame), f"{words}: damage"
        assert (one.kind, one.time) == (other.kind, other.time), f"{words}: {one.kind}, {one.time}"
        assert one.batch.equals(other.batch, check_metadata=True), f"{words}: {one.kind} has other rows"
