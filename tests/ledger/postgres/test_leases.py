from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import InUse, StateError
from lossloop.ledger.postgres.database import Database
from lossloop.ledger.postgres.leases import SPAN, Leases, alone, fair_share, holders
from tests.ledger.postgres.processes import wait_until
from tests.ledger.postgres.server import Server

Join = Callable[..., Leases]
LONG, SHORT = timedelta(hours=1), timedelta(seconds=0.4)


@pytest.fixture
def join(database: Database) -> Iterator[Join]:
    """Makes appliers' leases, which are closed in the end."""
    made: list[Leases] = []

    def make(name: str, span: timedelta = LONG) -> Leases:
        made.append(Leases(database, span=span, name=name))
        return made[-1]

    yield make
    for leases in made:
        leases.close()


def names(database: Database) -> dict[int, str]:
    return {partition: holder.partition(":")[0] for partition, holder in holders(database).items()}


# Sharing.


@given(st.integers(1, 64), st.sets(st.text(min_size=1, max_size=3), min_size=1, max_size=9))
def test_shares_are_fair_and_make_up_the_whole(partitions: int, alive: set[str]) -> None:
    shares = [fair_share(partitions, alive, holder) for holder in alive]
    assert sum(shares) == partitions
    assert max(shares) - min(shares) <= 1


def test_the_first_takes_all_and_makes_room_for_the_next(database: Database, join: Join) -> None:
    one, other = join("one"), join("other")
    one.beat()
    assert sorted(one.held()) == [0, 1, 2, 3]
    assert not one.surplus()
    other.beat()
    assert not other.held(), "leases that are held were taken"
    one.beat()
    assert [lease.partition for lease in one.surplus()] == [2, 3]
    for lease in one.surplus():
        one.give_back(lease)
    assert not one.surplus()
    other.beat()
    assert names(database) == {0: "one", 1: "one", 2: "other", 3: "other"}


def test_a_token_is_never_given_out_twice(join: Join) -> None:
    seen = set()
    for number in range(3):
        leases = join(f"{number}")
        leases.beat()
        seen |= set(leases.held().values())
        leases.stop()
    assert len(seen) == 12


def test_who_stops_leaves_nothing_behind(database: Database, join: Join) -> None:
    one = join("one")
    one.start()
    one.stop()
    assert names(database) == {}
    other = join("other")
    other.beat()
    assert names(database) == dict.fromkeys(range(4), "other"), "one that is gone still has a share"


# Time.


def test_leases_are_renewed_while_their_holder_does_something_else(database: Database, join: Join) -> None:
    one, other = join("one", SHORT), join("other", SHORT)
    one.start()
    held = one.held()
    seen: set[object] = set()

    def renewed() -> bool:
        seen.add(_expiry(database))
        return len(seen) > 4

    def taken() -> bool:
        other.beat()
        return len(other.held()) == 4

    wait_until(renewed)
    assert one.held() == held
    one.close()
    wait_until(taken)
    assert {lease.token for lease in other.held().values()} == {2}


def _expiry(database: Database) -> object:
    with psycopg.connect(database.url) as connection:
        return connection.execute(f"SELECT min(expires) FROM {database.schema}.partitions").fetchall()[0][0]


def test_who_finds_its_lease_taken_knows_that_it_is_lost(database: Database, join: Join) -> None:
    one = join("one")
    one.beat()
    lost = one.held()[1]
    with psycopg.connect(database.url) as connection:
        connection.execute(
            f"UPDATE {database.schema}.partitions SET holder = 'x', token = 9, expires = 'infinity' "
            "WHERE partition = 1"
        )
    assert one.held()[1] == lost, "nobody has told it yet"
    one.beat()
    assert sorted(one.held()) == [0, 2, 3]


def test_a_lease_that_was_found_lost_is_held_no_more(join: Join) -> None:
    one = join("one")
    one.beat()
    lease = one.held()[2]
    one.forget(lease)
    one.forget(lease)
    assert sorted(one.held()) == [0, 1, 3]


def test_after_a_start_of_the_server_nobody_loses_what_it_could_not_renew(
    server: Server, database: Database, join: Join
) -> None:
    one, other = join("one", SPAN), join("other", SPAN)
    one.beat()
    with psycopg.connect(database.url) as connection:
        connection.execute(f"UPDATE {database.schema}.partitions SET expires = '-infinity'")
        connection.execute(f"DELETE FROM {database.schema}.appliers")
    server.restart()
    started = time.monotonic()
    other.beat()
    if time.monotonic() - started < SPAN.total_seconds() / 2:
        assert not other.held()
    one.beat()
    assert len(one.held()) + len(other.held()) == 4


def test_without_a_ledger_nothing_begins(empty: Database) -> None:
    leases = Leases(empty)
    with pytest.raises(StateError, match="there is no ledger"):
        leases.start()
    leases.close()


def test_a_database_that_is_away_for_a_while_ends_no_renewal(
    server: Server, database: Database, join: Join
) -> None:
    one = join("one", SHORT)
    one.start()
    server.restart()
    before = _expiry(database)
    wait_until(lambda: _expiry(database) != before)
    wait_until(lambda: len(one.held()) == 4)


# Alone.


def test_who_wants_all_partitions_waits_for_the_dead_only(database: Database, join: Join) -> None:
    dead = join("dead", SHORT)
    dead.beat()
    with alone(database, span=SHORT, name="alone") as leases:
        assert sorted(leases.held()) == [0, 1, 2, 3]
        other = join("other")
        other.beat()
        assert not other.held(), "nobody gets a partition meanwhile"
    other.beat()
    assert sorted(other.held()) == [0, 1, 2, 3], "all were given back at once"


def test_nobody_is_alone_beside_an_applier(database: Database, join: Join) -> None:
    join("living").beat()
    with pytest.raises(InUse, match="an applier folds the ledger in"), alone(database, span=SHORT):
        pass
    assert set(names(database).values()) == {"living"}
