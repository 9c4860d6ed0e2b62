"""Verifying a ledger in PostgreSQL: what is wrong is found, and the events that it touches are named."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import NewerFormat
from lossloop.ledger.facts import command
from lossloop.ledger.findings import DAMAGE, LOST, Finding
from lossloop.ledger.postgres.checking import _unexplained, size, verify
from lossloop.ledger.postgres.database import Database
from lossloop.ledger.postgres.frames import partition_of
from lossloop.ledger.postgres.keeping import prune
from lossloop.ledger.postgres.log import PostgresLog
from lossloop.ledger.removals import Gone
from tests.ledger.postgres.upkeep import asked, change, erased, facts, fold, write
from tests.ledger.samples import KEYS, outcome_frame, prediction_frame, tick_frame

IDS = [f"order-{number}" for number in range(4)]
FLIP = "set_byte(payload, {at}, get_byte(payload, {at}) # 1)"


@pytest.fixture
def filled(database: Database) -> Database:
    frames = [
        prediction_frame(IDS, time=10, model="late"),
        outcome_frame(dict.fromkeys(IDS, 1.0), time=20, model="late"),
        tick_frame(30),
        prediction_frame(["x"], time=40, model="churn"),
    ]
    write(database, frames)
    return database


def only(database: Database) -> Finding:
    report = verify(database)
    assert not report.sound
    (finding,) = report.findings
    return finding


def test_a_sound_ledger(filled: Database) -> None:
    told: list[int] = []
    report = verify(filled, tell=told.append)
    assert report.sound
    assert (report.segments, report.sealed, report.frames, report.findings) == (3, 0, 4, [])
    assert report.bytes == size(filled) == sum(told) > 1000


def test_an_empty_ledger_is_sound(database: Database) -> None:
    assert verify(database).sound
    assert size(database) == 0


def test_a_flipped_byte_is_found_and_its_events_are_named(filled: Database) -> None:
    """The last bytes are padding or values: the ids can be read still."""
    (length,) = asked(filled, "SELECT octet_length(payload) FROM frames WHERE kind = 1 AND model = 'late'")[0]
    at = length - 20
    assert change(
        filled, f"UPDATE frames SET payload = {FLIP.format(at=at)} WHERE kind = 1 AND model = 'late'"
    )
    found = only(filled)
    assert (found.what, found.kind, found.model, found.rows) == (DAMAGE, "prediction", "late", 4)
    assert (found.first, found.last, found.ids) == (10, 10, tuple(IDS))
    assert found.problem == "the frame's CRC-32 does not match"
    assert found.end == found.start + 1


def test_every_byte_of_a_frame_is_covered(filled: Database) -> None:
    (length,) = asked(filled, "SELECT octet_length(payload) FROM frames WHERE kind = 2")[0]
    for at in range(0, length, 37):
        flip = f"UPDATE frames SET payload = {FLIP.format(at=at)} WHERE kind = 2"
        change(filled, flip)
        found = only(filled)
        assert (found.kind, found.model, found.rows, found.first) == ("outcome", "late", 4, 20)
        assert set(found.ids) <= set(IDS) or found.ids
        change(filled, flip)
    assert verify(filled).sound


@pytest.mark.parametrize(
    "wrong", ['"time" = "time" + 1', '"rows" = 7', "kind = 2", "crc = crc + 1", "kind = 99"]
)
def test_what_stands_beside_the_payload_is_covered(filled: Database, wrong: str) -> None:
    change(filled, f"UPDATE frames SET {wrong} WHERE model = 'churn'")
    found = only(filled)
    assert (found.what, found.model) == (DAMAGE, "churn")


def test_a_frame_under_another_model_is_found(filled: Database) -> None:
    change(filled, "UPDATE frames SET model = 'other' WHERE model = 'churn'")
    assert only(filled).problem == "the column model says other, and the frame says churn"


def test_a_segment_of_another_partition_is_found(filled: Database) -> None:
    mine = partition_of("churn", 4)
    change(
        filled,
        f"UPDATE segments SET partition = {(mine + 1) % 4} WHERE segment = "
        "(SELECT segment FROM frames WHERE model = 'churn')",
    )
    assert (
        only(filled).problem == f"its segment belongs to partition {(mine + 1) % 4}, "
        "which does not fold churn"
    )


@pytest.mark.parametrize(("number", "last"), [(1, 2), (2, 2), (3, 3)])
def test_a_frame_that_is_missing_is_found(database: Database, number: int, last: int) -> None:
    write(database, [tick_frame(1), tick_frame(2), tick_frame(3)])
    change(database, f"DELETE FROM frames WHERE number BETWEEN {number} AND {last}")
    found = only(database)
    assert (found.what, found.start, found.end) == (LOST, number - 1, last)
    assert "no fact says that they have expired" in found.problem


def test_a_segment_that_was_folded_and_is_gone_is_found(filled: Database) -> None:
    fold(filled)
    change(filled, "DELETE FROM frames WHERE model = 'churn'")
    change(filled, "DELETE FROM segments WHERE segment NOT IN (SELECT segment FROM frames)")
    assert "the segment was folded and is not there any more" in only(filled).problem


def test_a_segment_that_ends_too_early_is_found(filled: Database) -> None:
    fold(filled)
    mine = "segment IN (SELECT segment FROM frames WHERE kind = 2)"
    change(filled, f"UPDATE segments SET frames = frames - 1 WHERE {mine}")
    words = sorted(finding.problem for finding in verify(filled).findings)
    assert words == [
        "frames behind the end of their segment, which nobody reads",
        "frames were folded that are not there any more; restore them from a backup",
    ]


def test_frames_without_a_segment_are_found(filled: Database) -> None:
    change(filled, "DELETE FROM segments WHERE segment IN (SELECT segment FROM frames WHERE model = 'churn')")
    found = only(filled)
    assert (found.start, found.end, found.rows) == (0, 1, 1)
    assert found.problem == "frames behind the end of their segment, which nobody reads"


def test_what_went_on_purpose_is_not_missing(database: Database) -> None:
    write(database, facts(0), facts(10), [frame for start in (20, 30) for frame in facts(start)])
    fold(database)
    erased(database)
    assert verify(database).sound
    prune(database, "m", cutoff=25, keys=KEYS)
    prune(database, "late", cutoff=35, keys=KEYS)
    report = verify(database)
    assert report.sound
    change(database, "DELETE FROM frames WHERE kind = 7 AND number = 2")
    assert not verify(database).sound, "what is kept of rows that have expired is as dear as the rest"


def test_what_an_older_release_deleted_is_not_missing_and_what_is_lost_beside_it_is(
    database: Database,
) -> None:
    write(database, [outcome_frame({f"{n}": 1.0}, time=n) for n in range(6)])
    ((segment,),) = asked(database, "SELECT DISTINCT segment FROM frames")
    gone = Gone(model="m", segment=segment, outcomes=2, first=0, last=1, frames=((1, 2),))
    write(database, [command("expired/1", "expired", msgspec.to_builtins(gone), now=9)])
    change(database, "DELETE FROM frames WHERE number <= 2 AND kind = 2")
    assert verify(database).sound
    change(database, "DELETE FROM frames WHERE number = 4 AND kind = 2")
    found = only(database)
    assert (found.what, found.start, found.end) == (LOST, 3, 4)


def test_a_ledger_in_use_is_sound(database: Database) -> None:
    """What is appended while it is looked at is not looked at, and not missing."""
    writer = PostgresLog(database).writer()
    for number in range(5):
        writer.append([tick_frame(number)])

    def append(done: int) -> None:
        writer.append([tick_frame(100)])

    assert verify(database, tell=append).sound
    writer.close()


def test_a_frame_of_a_newer_release_is_said(filled: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lossloop.ledger.postgres.frames._KINDS", frozenset({1, 2}))
    with pytest.raises(NewerFormat, match="a frame of kind 5; install a newer lossloop"):
        verify(filled)


NUMBERS = st.sets(st.integers(1, 30))


@given(NUMBERS, NUMBERS)
def test_what_no_fact_explains_is_told_and_nothing_else(missing: set[int], expired: set[int]) -> None:
    stretches = sorted((number, number + number % 3) for number in expired)
    known = {each for low, high in stretches for each in range(low, high + 1)}
    found: set[int] = set()
    for low, high in _holes(missing):
        for finding in _unexplained(("s", low, high), stretches):
            assert finding.end > finding.start
            found |= set(range(finding.start + 1, finding.end + 1))
    assert found == missing - known


def _holes(missing: set[int]) -> list[tuple[int, int]]:
    return [
        (low, next(each for each in range(low, 100) if each + 1 not in missing))
        for low in sorted(missing)
        if low - 1 not in missing
    ]
