"""A wrong byte in the derived state is an error that says what to do, and never a wrong figure."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import LossloopError, StateError
from lossloop.ledger.sqlite import state as states
from lossloop.ledger.sqlite import sums
from lossloop.ledger.sqlite.state import QUERIES, State
from lossloop.ledger.sqlite.sums import crc_of, sum_of

PAGE = 4096
KINDS = ("counts", "summary", "point", "none")
STREAMS = ("rows/m", "labels/m")


def batch(start: int, end: int) -> pa.RecordBatch:
    noise = np.random.default_rng(1).random(end - start)
    return pa.RecordBatch.from_pydict({"x": np.arange(start, end), "y": noise})


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state of many small documents and chunks, some larger than a page, and of two files beside."""
    path = tmp_path_factory.mktemp("state") / "state.db"
    patched = pytest.MonkeyPatch()
    patched.setattr(states, "LARGE", 40_000)
    state = State(path)
    for number in range(60):
        with state.transaction():
            state.put("counts", f"m{number}", {"predictions": number})
            state.put("summary", f"m/{number:03d}", {"bins": list(range(number * 10))})
            state.put("point", f"m/{number:03d}", number)
            state.put_offset(f"segment-{number % 7}.seg", number)
            state.put_chunk("rows/m", number * 100, batch(0, 100))
            state.put_chunk("labels/m", number * 10, batch(0, 10))
    with state.transaction():
        state.put_chunk("rows/m", 6000, batch(0, 3000))
        state.put_chunk("rows/m", 9000, batch(0, 4000))
        state.drop("point", "m/003")
    state.close()
    patched.undo()
    assert len(list(path.with_suffix(".parts").iterdir())) == 2
    return path


@pytest.fixture
def path(original: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    shutil.copytree(original.parent, tmp_path / "s")
    return tmp_path / "s" / "state.db"


def content(path: Path, *, read_only: bool) -> Any:
    """All that can be asked of a state."""
    state = State(path, read_only=read_only)
    try:
        documents = {kind: state.all(kind, object) for kind in KINDS}
        single = {(kind, key): state.get(kind, key, object) for kind in KINDS for key in documents[kind]}
        chunks = {
            name: [(each.first, each.batch.to_pydict()) for each in state.chunks(name)] for name in STREAMS
        }
        return documents, single, state.offsets(), state.streams(""), chunks
    finally:
        state.close()


def places(size: int, count: int) -> Iterator[tuple[int, int]]:
    """Bits to flip: anywhere, and in what says how a page is made up, where there are fewer but worse."""
    chance = random.Random(11)
    for number in range(count):
        page = chance.randrange(size // PAGE) * PAGE
        at = chance.randrange(size) if number % 3 else page + chance.randrange(100)
        yield at, 1 << chance.randrange(8)


@pytest.mark.parametrize("read_only", [True, False], ids=["reader", "writer"])
def test_a_flipped_bit_in_the_database_is_an_error_or_changes_nothing(path: Path, read_only: bool) -> None:
    right, raw = content(path, read_only=True), path.read_bytes()
    said = []
    for at, bit in places(len(raw), 80):
        spoilt = bytearray(raw)
        spoilt[at] ^= bit
        for name in ("state.db-wal", "state.db-shm"):
            path.with_name(name).unlink(missing_ok=True)
        path.write_bytes(spoilt)
        try:
            assert content(path, read_only=read_only) == right, f"bit {bit} of byte {at}"
        except LossloopError as error:
            said.append(str(error))
    assert len(said) > 25
    assert all("lossloop" in words for words in said), "an error says what to do"


def test_a_flipped_bit_in_a_file_beside_it_is_an_error(path: Path) -> None:
    file = max(path.with_suffix(".parts").iterdir(), key=lambda each: each.stat().st_size)
    raw = file.read_bytes()
    for at, bit in [(0, 1), (len(raw) - 1, 128), *places(len(raw), 40)]:
        spoilt = bytearray(raw)
        spoilt[at] ^= bit
        file.write_bytes(spoilt)
        words = rf"is damaged \(a checksum of rows/m is wrong: {file.name}\); run: lossloop ledger rebuild"
        with pytest.raises(StateError, match=words):
            content(path, read_only=True)
    file.write_bytes(raw)
    assert content(path, read_only=True)


@pytest.mark.parametrize("end", [-1, -4096, 100, 0], ids=str)
def test_a_file_that_lost_its_end_is_an_error(path: Path, end: int) -> None:
    file = next(path.with_suffix(".parts").iterdir())
    file.write_bytes(file.read_bytes()[:end])
    with pytest.raises(StateError, match="run: lossloop ledger rebuild"):
        content(path, read_only=False)


def lost_document(connection: apsw.Connection) -> None:
    connection.execute("DELETE FROM documents WHERE kind = 'counts' AND key = 'm7'")


def renamed_document(connection: apsw.Connection) -> None:
    connection.execute("UPDATE documents SET key = 'm7x' WHERE kind = 'counts' AND key = 'm7'")


def lost_chunk(connection: apsw.Connection) -> None:
    connection.execute("DELETE FROM chunks WHERE stream = 'rows/m' AND first = 500")


def older_offset(connection: apsw.Connection) -> None:
    connection.execute(
        "UPDATE offsets SET reached = 1, crc = ? WHERE segment = 'segment-1.seg'",
        (crc_of("segment-1.seg", 1),),
    )


@pytest.mark.parametrize("spoil", [lost_document, renamed_document, lost_chunk, older_offset])
@pytest.mark.parametrize("read_only", [True, False], ids=["reader", "writer"])
def test_rows_that_are_lost_or_of_another_time_are_missed(
    path: Path, spoil: Callable[[apsw.Connection], None], read_only: bool
) -> None:
    """As pages of two moments give them: what a page says is right, but the others do not go with it."""
    connection = apsw.Connection(str(path))
    triggers = list(connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'"))
    for name, _ in triggers:
        connection.execute(f"DROP TRIGGER {name}")
    spoil(connection)
    for _, sql in triggers:
        connection.execute(sql)
    connection.close()
    with pytest.raises(StateError, match=r"state.db is damaged \(.*\); run: lossloop ledger rebuild"):
        State(path, read_only=read_only)


def test_a_reader_of_very_many_documents_looks_whether_they_are_all_there(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sums, "MOST_READ", 10)
    assert content(path, read_only=True)
    connection = apsw.Connection(str(path))
    connection.execute("UPDATE documents SET body = '{}' WHERE key = 'm7'")
    connection.close()
    state = State(path, read_only=True)
    assert state.get("counts", "m6", object) == {"predictions": 6}
    with pytest.raises(StateError, match="the checksum of the document counts m7 is wrong"):
        state.get("counts", "m7", object)
    with pytest.raises(StateError, match="the checksum of the document counts m7 is wrong"):
        state.all("counts", object)
    state.close()
    with pytest.raises(StateError, match="a checksum in documents is wrong"):
        State(path)


def test_tables_of_another_making_are_not_read(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE guests (name TEXT)")
    connection.close()
    with pytest.raises(StateError, match="its tables are not those of this release"):
        State(path, read_only=True)


def test_what_a_writer_finds_broken_meanwhile_is_told(path: Path) -> None:
    state = State(path)
    state.connection.execute("PRAGMA cache_size = 1")
    raw = bytearray(path.read_bytes())
    raw[PAGE:] = bytes(len(raw) - PAGE)
    path.write_bytes(raw)

    def write() -> None:
        with state.transaction():
            for number in range(60):
                state.get("summary", f"m/{number:03d}", object)
                state.put("summary", f"m/{number:03d}", {"bins": list(range(500))})

    with pytest.raises(StateError, match="run: lossloop ledger rebuild"):
        write()
    state.close()


@given(data=st.binary(max_size=20_000), draw=st.data())
def test_a_sum_is_of_every_byte_and_its_place(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, draw: st.DataObject
) -> None:
    file = tmp_path_factory.getbasetemp() / "summed"
    file.write_bytes(data)
    known = sum_of(file)
    assert -(1 << 63) <= known < 1 << 63
    assert sum_of(file) == known
    file.write_bytes(data + b"\0")
    assert sum_of(file) != known
    if data:
        at = draw.draw(st.integers(0, len(data) - 1))
        file.write_bytes(data[:at] + bytes([data[at] ^ (1 << draw.draw(st.integers(0, 7)))]) + data[at + 1 :])
        assert sum_of(file) != known


def test_pages_in_another_order_have_another_sum(tmp_path: Path) -> None:
    one, other = np.random.default_rng(3).bytes(PAGE), np.random.default_rng(4).bytes(PAGE)
    sums_ = set()
    for number, data in enumerate(
        (one + other, other + one, one + other + bytes(PAGE), bytes(PAGE) + one + other)
    ):
        file = tmp_path / str(number)
        file.write_bytes(data)
        sums_.add(sum_of(file))
    assert len(sums_) == 4


def test_a_row_is_known_by_all_of_its_values() -> None:
    rows = [("a", "b", 1), ("a", "b", 2), ("ab", "", 1), ("a", "b1"), ("a", None, 1), ("b", "a", 1)]
    assert len({crc_of(*row) for row in rows}) == len(rows)


def test_documents_are_checked_by_the_queries_that_read_them() -> None:
    for name in ("get_document", "list_documents", "get_offsets", "get_chunks"):
        assert "crc" in QUERIES[name]
