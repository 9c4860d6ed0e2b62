"""All facts of one moment: what is appended afterwards is not among them."""

from __future__ import annotations

import time

from lossloop.ledger.base import entries_of
from lossloop.ledger.postgres.database import Database
from lossloop.ledger.postgres.log import PostgresLog
from lossloop.ledger.postgres.moment import MomentReader, moment_of, weight_of
from lossloop.ledger.postgres.session import Session
from tests.ledger.samples import numbers, outcome_frame, tick_frame


def test_a_moment_holds_what_was_there_and_nothing_since(database: Database) -> None:
    one, other = PostgresLog(database).writer(), PostgresLog(database).writer()
    one.append([tick_frame(1), outcome_frame({"a": 1.0}, model="m", time=3)])
    other.append([outcome_frame({"b": 1.0}, model="n", time=2)])
    session = Session(database)
    before = time.time_ns() // 1000
    moment = moment_of(session)
    assert before - 60_000_000 < moment.time <= time.time_ns() // 1000 + 60_000_000
    third = PostgresLog(database).writer()
    for writer in (one, third):
        writer.append([tick_frame(0)])
    reader = MomentReader(session, moment)
    assert numbers([entry.frame for entry in entries_of(reader)]) == [1, 2, 3]
    reader.close()
    for writer in (one, other, third):
        writer.close()


def test_an_empty_ledger_has_an_empty_moment(database: Database) -> None:
    session = Session(database)
    moment = moment_of(session)
    assert moment.ends == {}
    assert not list(entries_of(MomentReader(session, moment)))
    assert weight_of(session) == 0
    session.close()


def test_the_weight_is_that_of_the_payloads(database: Database) -> None:
    writer, session = PostgresLog(database).writer(), Session(database)
    writer.append([outcome_frame({f"id-{number}": 1.0 for number in range(1000)})])
    one = weight_of(session)
    assert one > 20_000
    writer.append([outcome_frame({f"id-{number}": 1.0 for number in range(1000)})])
    assert weight_of(session) == 2 * one
    writer.close()
    session.close()
