"""Erasing in PostgreSQL: nothing of a unit is left, nothing of anybody else is gone, and counts stay."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from lossloop.core.errors import InUse
from lossloop.ledger.base import Entry
from lossloop.ledger.frames import Damage, Frame, Kind
from lossloop.ledger.postgres import scanning
from lossloop.ledger.postgres.checking import verify
from lossloop.ledger.postgres.database import Database
from lossloop.ledger.postgres.erasing import erase
from lossloop.ledger.postgres.keeping import prune
from lossloop.ledger.postgres.log import PostgresLog
from lossloop.ledger.postgres.scanning import Key, batches
from lossloop.ledger.postgres.session import Session
from lossloop.ledger.postgres.turns import maintained
from tests.ledger.postgres.upkeep import (
    UNIT,
    asked,
    change,
    erased,
    everything,
    facts,
    fold,
    fold_in,
    left,
    rows,
    summed,
    surveyed,
    told,
    whole,
    write,
)
from tests.ledger.samples import KEYS, features, outcome_frame, prediction_frame


class Killed(BaseException):
    """In place of SIGKILL."""


@pytest.fixture
def filled(database: Database) -> Database:
    write(database, facts(0), facts(10), facts(20))
    return database


def test_a_unit_is_gone_from_every_table(filled: Database) -> None:
    assert left(filled, UNIT)
    found = erased(filled)
    assert {model: (held.predictions, held.outcomes) for model, held in found.items()} == {
        "m": (6, 9),
        "late": (3, 3),
    }
    assert found["m"].ids == {f"id-{start}-{n}" for start in (0, 10, 20) for n in (0, 2)}
    assert found["late"].ids == {"late-0", "late-10", "late-20"}
    assert not left(filled, UNIT, "id-0-0", "id-10-2", "late-20")
    assert left(filled, "id-0-1", "bob")
    assert erased(filled) == {}
    assert verify(filled).sound


def test_what_is_left_keeps_its_place_and_its_bits(filled: Database) -> None:
    fold(filled)
    wanted = everything(filled)
    erased(filled)
    found = {entry.position: entry for entry in everything(filled)}
    for entry in wanted:
        there = found.pop(entry.position)
        assert there.frame == _without(entry)
    assert all(entry.frame.kind is Kind.COMMAND for entry in found.values())  # type: ignore[union-attr]


def _without(entry: Entry) -> Frame:
    """A frame as it should be once the unit is erased."""
    frame = entry.frame
    assert isinstance(frame, Frame)
    if frame.kind not in (Kind.PREDICTION, Kind.OUTCOME):
        return frame
    ids = frame.batch.column("id").to_pylist()
    stays = [not (id.startswith("late") or id.endswith(("-0", "-2"))) for id in ids]
    return Frame(kind=frame.kind, time=frame.time, batch=frame.batch.filter(pa.array(stays)))


def test_facts_say_how_many_and_not_who(filled: Database) -> None:
    with whole(filled) as held:
        fold_in(held)
        erase(held, surveyed(held), summarise=summed)
    facts = told(everything(filled))
    assert sum(gone.predictions for gone in facts) == 9
    assert sum(gone.outcomes for gone in facts) == 12
    assert all(gone.frames for gone in facts)
    of_m = [gone for gone in facts if gone.model == "m" and gone.predictions]
    assert [gone.versions for gone in of_m] == [{"1": 2}] * 3
    assert [gone.summary for gone in of_m] == [{"ids": [f"id-{n}-0", f"id-{n}-2"]} for n in (0, 10, 20)]
    assert UNIT not in str(facts)


def test_only_the_models_that_are_named_forget(filled: Database) -> None:
    assert set(erased(filled, models=["late"])) == {"late"}
    assert left(filled, UNIT, "id-0-0")
    assert not left(filled, "late-0")
    assert erased(filled, models=["nobody"]) == {}
    assert erased(filled, unit="nobody") == {}


def test_what_came_after_the_fold_is_left(filled: Database) -> None:
    """Servers may go on: what nobody has folded is not looked at, and is erased the next time."""
    with whole(filled) as held:
        fold_in(held)
        write(filled, facts(30))
        assert erase(held, surveyed(held))["m"].predictions == 6
    assert left(filled, UNIT, "id-30-0")
    assert erased(filled)["m"].predictions == 2
    assert not left(filled, UNIT)


def test_servers_append_while_a_unit_is_erased(filled: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, rows_of = PostgresLog(filled).writer(), Session.rows

    def busy(session: Session, name: str, **values: Any) -> Any:
        if name == "remove":
            writer.append([outcome_frame({"in between": 1.0}, time=50)])
        return rows_of(session, name, **values)

    monkeypatch.setattr(Session, "rows", busy)
    monkeypatch.setattr(scanning, "HEADS_AT_ONCE", 2)
    erased(filled)
    writer.close()
    assert len([row for row in rows(everything(filled), "m") if row[1] == "in between"]) >= 5
    assert not left(filled, UNIT)
    assert verify(filled).sound


def test_damaged_bytes_go_too(filled: Database) -> None:
    where = "WHERE kind = 1 AND model = 'late' AND \"time\" = 10"
    change(filled, f"UPDATE frames SET crc = crc + 1 {where}")
    erased(filled)
    assert not left(filled, UNIT)
    assert asked(filled, f"SELECT octet_length(payload) FROM frames {where}") == [(0,)]
    assert [entry.frame for entry in everything(filled) if isinstance(entry.frame, Damage)]
    (finding,) = verify(filled).findings
    assert (finding.problem, finding.model) == ("was damaged; its bytes are not kept", "late")
    erased(filled)
    assert len(verify(filled).findings) == 1


def test_rows_without_a_unit_and_odd_columns_are_left(database: Database) -> None:
    odd = prediction_frame(["a", "b"], unit=["bob", None], features=features([{"note": UNIT}, {"note": ""}]))
    plain = odd.batch.drop_columns(["unit"])
    write(database, [odd, Frame(kind=Kind.PREDICTION, time=3, batch=plain)])
    before = everything(database)
    assert erased(database) == {}
    assert everything(database) == before


def test_what_was_erased_expires_like_the_rest(filled: Database) -> None:
    erased(filled)
    gone = prune(filled, "late", cutoff=99, keys=KEYS)
    assert (gone.predictions, gone.outcomes, gone.segments) == (0, 0, 0)
    assert gone.bytes > 0, "what was emptied goes as well"
    assert prune(filled, "late", cutoff=99, keys=KEYS).bytes == 0
    assert verify(filled).sound


def test_one_erases_at_a_time(filled: Database) -> None:
    with whole(filled) as held:
        fold_in(held)
        found = surveyed(held)
        with maintained(filled), pytest.raises(InUse, match="another process prunes, erases or exports"):
            erase(held, found)


def test_whoever_lost_its_leases_erases_nothing(filled: Database) -> None:
    with whole(filled) as held:
        fold_in(held)
        found, before = surveyed(held), everything(filled)
        change(filled, "UPDATE partitions SET token = token + 1 WHERE partition = 0")
        with pytest.raises(InUse, match="or has taken it over; do it again"):
            erase(held, found)
    assert everything(filled) == before


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "HEADS_AT_ONCE", 2)


@pytest.mark.parametrize("done", [False, True])
def test_wherever_erasing_is_cut_off_doing_it_again_ends_it(
    database: Database, small: None, done: bool
) -> None:
    """Killed before each step, and behind it before anybody was told; one ledger, a unit for each try."""
    step, over = 0, False
    while not over:
        step += 1
        unit = f"unit {step}"
        write(database, [_of(unit, frame) for frame in facts(100 * step)])
        fold(database)
        known = sum(gone.predictions for gone in told(everything(database)))
        over = _cut_off(database, unit, step, done=done)
        assert verify(database).sound
        erased(database, unit)
        assert not left(database, unit, f"id-{100 * step}-0", f"late-{100 * step}")
        facts_now = told(everything(database))
        assert sum(gone.predictions for gone in facts_now) == known + 3
    assert step > 3


def _of(unit: str, frame: Frame) -> Frame:
    """The frame with another unit in place of UNIT."""
    place = frame.batch.schema.get_field_index("unit")
    if place < 0:
        return frame
    units = [unit if each == UNIT else each for each in frame.batch.column(place).to_pylist()]
    batch = frame.batch.set_column(place, "unit", pa.array(units))
    return Frame(kind=frame.kind, time=frame.time, batch=batch)


def _cut_off(database: Database, unit: str, step: int, *, done: bool) -> bool:
    """Erase, killed at a step; whether it came to its end."""
    rows_of, steps = Session.rows, iter(range(1, 100))

    def dying(session: Session, name: str, **values: Any) -> Any:
        if name != "remove":
            return rows_of(session, name, **values)
        dies = next(steps) == step
        found = rows_of(session, name, **values) if done or not dies else None
        if dies:
            raise Killed
        return found

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Session, "rows", dying)
        try:
            erased(database, unit)
        except Killed:
            return False
    return True


def test_frames_are_taken_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [Key("s", number, 10) for number in range(7)]
    assert [len(some) for some in batches(keys, 35)] == [3, 3, 1]
    assert [len(some) for some in batches(keys, 1)] == [1] * 7
    assert list(batches([], 1)) == []
    monkeypatch.setattr(scanning, "HEADS_AT_ONCE", 4)
    assert [list(some) for some in batches(keys)] == [keys[:4], keys[4:]]
