from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import psycopg
import pytest

from lossloop.core.errors import Conflict, StateError
from lossloop.ledger.applier import Applier
from lossloop.ledger.postgres.crew import Crew, Folding, Share
from lossloop.ledger.postgres.database import Database
from lossloop.ledger.postgres.frames import partition_of
from lossloop.ledger.postgres.leases import Leases, holders
from lossloop.ledger.postgres.log import PostgresLog
from lossloop.ledger.postgres.session import Session
from lossloop.ledger.postgres.turns import Turn
from lossloop.ledger.postgres.view import PostgresView
from tests.ledger.postgres.processes import MODELS, begin, shares, wait_until
from tests.ledger.samples import outcome_frame, tick_frame

LONG = timedelta(hours=1)
Gather = Callable[..., Crew]


@pytest.fixture
def gather(database: Database) -> Iterator[Gather]:
    """Makes crews, which are closed in the end."""
    crews: list[Crew] = []

    def make(begin: Callable[[Share], Folding] = begin, *, span: timedelta = LONG, name: str = "a") -> Crew:
        crews.append(Crew(database, begin, span=span, name=name))
        return crews[-1]

    yield make
    for crew in crews:
        crew.close()


@pytest.fixture
def view(database: Database) -> Iterator[PostgresView]:
    view = PostgresView(database)
    yield view
    view.close()


def write(database: Database, rounds: int = 1) -> None:
    writer = PostgresLog(database).writer()
    for number in range(rounds):
        writer.append([outcome_frame({f"{number}": 1.0}, model=model) for model in MODELS])
    writer.close()


def frames(view: PostgresView) -> dict[str, int]:
    return {model: held[0] for model, held in view.all("sum", tuple[int, int, float]).items()}


def test_a_crew_folds_all_partitions(database: Database, gather: Gather, view: PostgresView) -> None:
    write(database, rounds=2)
    crew = gather()
    assert crew.step() == 2 * len(MODELS)
    assert crew.partitions == [0, 1, 2, 3]
    assert frames(view) == dict.fromkeys(MODELS, 2)
    assert crew.step() == 0
    write(database)
    assert crew.step() == len(MODELS)
    assert crew.step() == 4, "decisions are facts, which are read too: a frame for each partition"
    assert crew.step() == 0


def test_a_crew_that_closes_leaves_at_once(database: Database, gather: Gather, view: PostgresView) -> None:
    write(database)
    first = gather()
    first.step()
    first.close()
    first.close()
    assert holders(database) == {}
    write(database)
    gather(name="b").step()
    assert frames(view) == dict.fromkeys(MODELS, 2)


def test_a_crew_makes_room_for_another(database: Database, gather: Gather) -> None:
    span = timedelta(seconds=1)
    one, other = gather(span=span), gather(span=span, name="b")

    def share() -> bool:
        one.step()
        other.step()
        return shares(database) == {"a": 2, "b": 2} and len(one.partitions) == len(other.partitions) == 2

    wait_until(share)


def test_a_partition_that_was_lost_is_dropped_and_the_others_go_on(
    database: Database, gather: Gather, view: PostgresView
) -> None:
    crew = gather()
    crew.step()
    with psycopg.connect(database.url) as connection:
        connection.execute(
            f"UPDATE {database.schema}.partitions SET token = token + 1, holder = 'x' WHERE partition = 2"
        )
    write(database)
    crew.step()
    assert crew.partitions == [0, 1, 3]
    assert frames(view) == {model: 1 for model in MODELS if partition_of(model, 4) != 2}
    assert crew.step() == 0


def resting(database: Database) -> int:
    """How many segments nobody looks at all the time."""
    with psycopg.connect(database.url) as connection:
        return len(
            connection.execute(f"SELECT 1 FROM {database.schema}.segments WHERE rests IS NOT NULL").fetchall()
        )


def test_segments_that_were_folded_rest_until_something_is_added(
    database: Database, gather: Gather, view: PostgresView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lossloop.ledger.postgres.crew.TIDY_EVERY", 0.0)
    monkeypatch.setattr("lossloop.ledger.postgres.crew.REST_AFTER", timedelta(0))
    writer = PostgresLog(database).writer()
    position = writer.append([outcome_frame({"1": 1.0}, model=MODELS[0])])
    crew = gather()
    assert not resting(database), "what is not folded yet rests"
    crew.step()
    crew.step()
    assert resting(database) == 1
    assert position.reached_by(view.offsets())
    position = writer.append([outcome_frame({"2": 1.0}, model=MODELS[0])])
    assert not resting(database)
    assert not position.reached_by(view.offsets())
    assert crew.step() == 1
    assert position.reached_by(view.offsets())
    reader = PostgresLog(database).reader()
    assert len(list(reader.read({}))) == 2, "what rests is not read by who begins anew"
    assert not reader.behind(view.offsets())
    reader.close()
    writer.close()


def test_what_is_for_all_rests_once_all_have_folded_it(
    database: Database, gather: Gather, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lossloop.ledger.postgres.crew.TIDY_EVERY", 0.0)
    monkeypatch.setattr("lossloop.ledger.postgres.crew.REST_AFTER", timedelta(0))
    writer = PostgresLog(database).writer()
    writer.append([tick_frame(1)])
    writer.close()
    with psycopg.connect(database.url) as connection:
        connection.execute(
            f"INSERT INTO {database.schema}.offsets SELECT p, segment, 1 "
            f"FROM {database.schema}.segments, generate_series(0, 2) AS p"
        )
    session = Session(database)
    session.execute("let_rest", span=timedelta(0))
    assert resting(database) == 0
    session.close()
    crew = gather()
    crew.step()
    crew.step()
    assert resting(database) == 1


def test_derived_state_that_was_deleted_is_folded_again(
    database: Database, gather: Gather, view: PostgresView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lossloop.ledger.postgres.crew.TIDY_EVERY", 0.0)
    monkeypatch.setattr("lossloop.ledger.postgres.crew.REST_AFTER", timedelta(0))
    write(database, rounds=2)
    crew = gather()
    for _ in range(4):
        crew.step()
    assert resting(database)
    crew.close()
    with psycopg.connect(database.url) as connection:
        for table in ("documents", "offsets", "chunks"):
            connection.execute(f"TRUNCATE {database.schema}.{table}")
    assert frames(view) == {}
    gather(name="b").step()
    assert frames(view) == dict.fromkeys(MODELS, 2)


class _Failing:
    """Fails at its first step; what it was begun with is gone then."""

    made = 0

    def __init__(self, share: Share) -> None:
        _Failing.made += 1
        self._first = _Failing.made == 1
        self._applier: Applier = begin(share)

    def step(self) -> int:
        if self._first:
            raise Conflict("as planned")
        return self._applier.step()

    def close(self) -> None:
        self._applier.close()


def test_a_partition_that_failed_begins_anew(database: Database, gather: Gather, view: PostgresView) -> None:
    write(database)
    _Failing.made = 0
    crew = gather(_Failing)
    with pytest.raises(Conflict, match="as planned"):
        crew.step()
    assert crew.partitions == [1, 2, 3]
    assert crew.step()
    assert _Failing.made == 5
    assert frames(view) == dict.fromkeys(MODELS, 1)


class _Patient:
    """Folds nothing, and counts how often it is stepped."""

    steps = 0

    def __init__(self, share: Share) -> None:
        """It needs nothing."""

    def step(self) -> int:
        _Patient.steps += 1
        return 0

    def close(self) -> None:
        """It holds nothing."""


def test_partitions_are_stepped_when_the_log_has_grown_and_else_seldom(
    database: Database, gather: Gather, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lossloop.ledger.postgres.crew.STEP_EVERY", 1e9)
    _Patient.steps = 0
    crew = gather(_Patient)
    for _ in range(9):
        assert crew.step() == 0
    assert _Patient.steps == 4, "each partition once"
    write(database)
    for _ in range(9):
        assert crew.step() == 0
    assert _Patient.steps == 8


def test_partitions_are_stepped_also_when_only_time_goes_on(database: Database, gather: Gather) -> None:
    _Patient.steps = 0
    crew = gather(_Patient)

    def often() -> bool:
        crew.step()
        return _Patient.steps == 12

    wait_until(often)


def test_without_a_ledger_there_is_no_crew(empty: Database) -> None:
    with pytest.raises(StateError, match="there is no ledger"):
        Crew(empty, begin)


def test_a_turn_is_one_process_at_a_time(database: Database, empty: Database) -> None:
    one, other, elsewhere = Turn(database, "work"), Turn(database, "work"), Turn(database, "rest")
    assert one.mine()
    assert one.mine()
    assert not other.mine()
    assert elsewhere.mine()
    one.close()
    one.close()
    wait_until(other.mine)
    assert not one.mine()
    for turn in (one, other, elsewhere):
        turn.close()


def test_every_applier_has_a_name_of_its_own(database: Database) -> None:
    assert Leases(database, name="a").holder.startswith("a:")
    assert Leases(database).holder != Leases(database).holder
