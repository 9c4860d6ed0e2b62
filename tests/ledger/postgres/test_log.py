from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest

from lossloop.core.errors import LossloopError, StateError, StorageFull, TooLarge
from lossloop.ledger import facts
from lossloop.ledger.base import Entry, Position
from lossloop.ledger.frames import Damage, Frame
from lossloop.ledger.postgres.database import Database
from lossloop.ledger.postgres.frames import EVERY, partition_of, row_of
from lossloop.ledger.postgres.log import PostgresLog, PostgresWriter, Spread
from tests.ledger.postgres.server import Server
from tests.ledger.postgres.wire import Wire, wired
from tests.ledger.samples import numbers, outcome_frame, tick_frame

MODELS = [f"m{number}" for number in range(12)]


@pytest.fixture
def wire(server: Server) -> Iterator[Wire]:
    with wired(server) as wire:
        yield wire


@pytest.fixture
def writer(database: Database) -> Iterator[PostgresWriter]:
    writer = PostgresLog(database).writer()
    yield writer
    writer.close()


def read(database: Database, partitions: list[int] | None = None, most: int = 1 << 20) -> list[Entry]:
    reader, offsets, found = PostgresLog(database, partitions=partitions).reader(), dict[str, int](), []
    while entries := list(reader.read(offsets, most=most)):
        offsets |= {entry.position.segment: entry.position.offset for entry in entries}
        found += entries
    assert not reader.behind(offsets)
    reader.close()
    return found


def times(database: Database) -> list[int]:
    return numbers([entry.frame for entry in read(database)])


def change(database: Database, statement: str) -> None:
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute(f"SET search_path = {database.schema}")
        connection.execute(statement)


# Partitions.


def test_a_reader_of_some_partitions_gets_their_models_and_what_is_for_all(
    database: Database, writer: PostgresWriter
) -> None:
    frames = [outcome_frame({"a": 1.0}, model=model, time=n) for n, model in enumerate(MODELS)]
    writer.append(frames[:6])
    writer.append([facts.command("id", "freeze", {"on": True}, now=100), *frames[6:]])
    for wanted in ([0], [1, 3], [0, 1, 2, 3]):
        found = [entry.frame for entry in read(database, wanted)]
        mine = [n for n, model in enumerate(MODELS) if partition_of(model, 4) in wanted]
        assert numbers(found) == [*mine, 100]
    assert len({partition_of(model, 4) for model in MODELS}) == 4, "the models leave a partition empty"


def test_an_append_to_several_partitions_is_reached_with_the_last_of_them(
    database: Database, writer: PostgresWriter
) -> None:
    position = writer.append([outcome_frame({"a": 1.0}, model=model) for model in MODELS])
    assert isinstance(position, Spread)
    offsets: dict[str, int] = {}
    for entry in read(database):
        assert not position.reached_by(offsets)
        offsets[entry.position.segment] = entry.position.offset
    assert position.reached_by(offsets)


def test_models_of_one_partition_share_a_segment(database: Database, writer: PostgresWriter) -> None:
    alike = [model for model in MODELS if partition_of(model, 4) == partition_of(MODELS[0], 4)]
    assert len(alike) > 1
    ends = [writer.append([outcome_frame({"a": 1.0}, model=model)]) for model in alike]
    assert ends == [Position(segment=ends[0].segment, offset=n) for n in range(1, len(alike) + 1)]


# Reading.


def test_offsets_are_dense_so_that_a_frame_is_found_behind_the_one_before(
    database: Database, writer: PostgresWriter
) -> None:
    for number in range(6):
        writer.append([outcome_frame({"a": 1.0}, model=model, time=number) for model in MODELS])
    before: dict[str, int] = {}
    for entry in read(database, [1]):
        assert entry.position.offset == before.get(entry.position.segment, 0) + 1
        before[entry.position.segment] = entry.position.offset


def test_many_frames_are_read_in_order_however_little_at_once(
    database: Database, writer: PostgresWriter
) -> None:
    other = PostgresLog(database).writer()
    for start in range(0, 3000, 500):
        writer.append([tick_frame(number) for number in range(start, start + 500, 2)])
        other.append([tick_frame(number) for number in range(start + 1, start + 500, 2)])
    other.close()
    assert numbers([entry.frame for entry in read(database, most=20_000)]) == list(range(3000))


def test_a_reader_may_go_back(database: Database, writer: PostgresWriter) -> None:
    writer.append([tick_frame(number) for number in range(5)])
    reader = PostgresLog(database).reader()
    first = list(reader.read({}, most=1))
    segment = first[0].position.segment
    assert numbers([e.frame for e in reader.read({segment: 3})]) == [3, 4]
    assert numbers([e.frame for e in reader.read({})]) == [0, 1, 2, 3, 4]
    reader.close()


def test_the_end_of_a_log_is_found_by_its_bytes(database: Database, writer: PostgresWriter) -> None:
    for number in range(10):
        writer.append([outcome_frame({"a": 1.0}, model=MODELS[0], time=number)])
    ends = {entry.position.segment: entry.position.offset for entry in read(database)}
    other = PostgresLog(database).writer()
    position = other.append([outcome_frame({"a": 1.0}, model=MODELS[0], time=number) for number in (10, 11)])
    other.close()
    ends[position.segment] = 2
    reader = PostgresLog(database).reader()
    size = len(row_of(outcome_frame({"a": 1.0}, model=MODELS[0]))["payload"])
    for frames in (0, 1, 2, 3, 7, 12, 99):
        after = reader.before(ends, frames * size)
        wanted = list(range(12))[-frames:] if frames else []
        assert numbers([entry.frame for entry in reader.read(after)]) == wanted
    reader.close()


def test_a_flipped_byte_is_damage_and_nothing_behind_it_is_lost(
    database: Database, writer: PostgresWriter
) -> None:
    for number in range(3):
        writer.append([tick_frame(number)])
    change(
        database,
        "UPDATE frames SET payload = set_byte(payload, 40, get_byte(payload, 40) # 1) WHERE number = 2",
    )
    found = [entry.frame for entry in read(database)]
    assert found[1] == Damage(start=1, end=2)
    assert numbers([found[0], found[2]]) == [0, 2]


def test_a_frame_that_was_deleted_since_is_passed_over(database: Database, writer: PostgresWriter) -> None:
    writer.append([tick_frame(number) for number in range(4)])
    reader = PostgresLog(database).reader()
    (first,) = reader.read({}, most=1)
    change(database, "DELETE FROM frames WHERE number = 2")
    found = [entry.frame for entry in reader.read({first.position.segment: 1})]
    reader.close()
    assert numbers(found) == [2, 3]


# Writing, when something goes wrong.


def test_an_answer_that_was_lost_duplicates_nothing(database: Database, wire: Wire) -> None:
    writer = PostgresLog(replace(database, url=wire.url())).writer()
    for number in range(12):
        if number % 3 == 1:
            wire.lose_the_answer_to(b"INSERT INTO frames" if number == 1 else str(number).encode())
        position = writer.append([tick_frame(number), tick_frame(number)])
        assert position.offset == 2 * number + 2
    writer.close()
    assert times(database) == [number for number in range(12) for _ in range(2)]
    assert wire.broken, "no answer was lost"


def test_after_an_append_with_an_unknown_end_another_segment_begins(database: Database, wire: Wire) -> None:
    writer = PostgresLog(replace(database, url=wire.url(), patience=0)).writer()
    writer.append([tick_frame(1)])
    wire.lose_the_answer_to(b"INSERT INTO frames")
    with pytest.raises(StateError, match="does not answer"):
        writer.append([tick_frame(2)])
    position = writer.append([tick_frame(3)])
    writer.close()
    assert position.offset == 1, "frames with the same numbers might be taken for each other"
    assert times(database) == [1, 2, 3], "what was refused may be there, what was acknowledged must be"


@pytest.mark.parametrize(("code", "kind"), [("53100", StorageFull), ("22012", StateError)])
def test_what_the_server_refused_is_not_in_the_log(
    database: Database, writer: PostgresWriter, code: str, kind: type[LossloopError]
) -> None:
    change(
        database,
        f"""CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE 'as planned' USING ERRCODE = '{code}'; END $$""",
    )
    writer.append([tick_frame(1)])
    change(database, "CREATE TRIGGER full_disk AFTER INSERT ON segments EXECUTE FUNCTION refuse()")
    for _ in range(2):
        with pytest.raises(kind):
            writer.append([tick_frame(2), tick_frame(3)])
    change(database, "DROP TRIGGER full_disk ON segments")
    writer.append([tick_frame(4)])
    assert times(database) == [1, 4]


def test_a_batch_over_the_limit_is_refused(
    writer: PostgresWriter, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lossloop.ledger.postgres.frames.MAX_PAYLOAD", 100)
    with pytest.raises(TooLarge, match=r"\d+ bytes in one batch; at most 100 are taken: send it in parts"):
        writer.append([tick_frame(1)])
    monkeypatch.undo()
    writer.append([tick_frame(2)])
    assert times(database) == [2]


def test_frames_for_all_are_marked_so(database: Database, writer: PostgresWriter) -> None:
    writer.append([tick_frame(1)])
    with psycopg.connect(database.url) as connection:
        found = connection.execute(f"SELECT partition, frames FROM {database.schema}.segments").fetchall()
    assert found == [(EVERY, 1)]


def test_a_frame_that_is_large_comes_back(database: Database, writer: PostgresWriter) -> None:
    labels = {f"id-{number:06d}": float(number) for number in range(200_000)}
    frame = outcome_frame(labels)
    writer.append([frame])
    (entry,) = read(database, most=1)
    assert isinstance(entry.frame, Frame)
    assert entry.frame.batch.equals(frame.batch)


def test_a_writer_that_lifts_gives_no_time_from_before_it_began(
    database: Database, writer: PostgresWriter
) -> None:
    """What a machine says whose clock stands an hour back is said after what was there."""
    writer.append([tick_frame(5_000)])
    late = PostgresLog(database, lifts=True).writer()
    late.append([tick_frame(1_000), tick_frame(6_000)])
    late.append([tick_frame(1_001)])
    late.close()
    reader = PostgresLog(database).reader()
    assert numbers([entry.frame for entry in reader.read({})]) == [5_000, 5_001, 6_000, 5_002]
    reader.close()


def test_a_writer_that_lifts_begins_an_empty_log_like_any_other(database: Database) -> None:
    writer = PostgresLog(database, lifts=True).writer()
    writer.append([tick_frame(1_000)])
    writer.close()
    reader = PostgresLog(database).reader()
    assert numbers([entry.frame for entry in reader.read({})]) == [1_000]
    reader.close()
