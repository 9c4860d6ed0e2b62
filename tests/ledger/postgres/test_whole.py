"""A ledger held as a whole: by one process, while no applier lives, and no other can begin."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from lossloop.core.errors import InUse
from lossloop.ledger.postgres.crew import Crew
from lossloop.ledger.postgres.database import Database
from lossloop.ledger.postgres.leases import holders
from lossloop.ledger.postgres.log import PostgresLog
from lossloop.ledger.postgres.view import PostgresView
from lossloop.ledger.postgres.whole import held
from tests.ledger.postgres.processes import MODELS, begin, wait_until
from tests.ledger.postgres.upkeep import fold_in, whole, write
from tests.ledger.samples import outcome_frame


def test_it_has_all_partitions_and_gives_them_back(database: Database) -> None:
    with whole(database) as found:
        assert set(holders(database)) == {0, 1, 2, 3}
        assert [store.partition for store in found.stores()] == [0, 1, 2, 3]
        assert [share.lease.partition for share in found.shares()] == [0, 1, 2, 3]
        assert found.store_of(2).partition == 2
        assert found.tokens() == {store.partition: store.lease.token for store in found.stores()}
    assert holders(database) == {}


def test_all_is_folded_by_its_shares(database: Database) -> None:
    write(database, [outcome_frame({"a": 1.0}, model=model) for model in MODELS])
    with whole(database) as found:
        fold_in(found)
    view, reader = PostgresView(database), PostgresLog(database).reader()
    assert not reader.behind(view.offsets())
    view.close()
    reader.close()


def test_while_an_applier_lives_there_is_none(database: Database) -> None:
    span = timedelta(seconds=0.5)
    crew = Crew(database, begin, name="alive", span=span)
    try:
        with pytest.raises(InUse, match=r"an applier folds the ledger"), held(database, span=span):
            raise AssertionError("two fold")
        assert len(holders(database)) == 4, "the applier lost nothing"
    finally:
        crew.close()


def test_an_applier_that_begins_meanwhile_waits(database: Database) -> None:
    write(database, [outcome_frame({"a": 1.0}, model=model) for model in MODELS])
    with whole(database) as found:
        crew = Crew(database, begin, name="later", span=timedelta(seconds=1))
        for _ in range(3):
            assert crew.step() == 0
            time.sleep(0.05)
        assert crew.partitions == []
        fold_in(found)
    try:
        wait_until(lambda: bool(crew.step() or crew.partitions))
    finally:
        crew.close()
