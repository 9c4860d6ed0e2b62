"""Derived state is replaced as a whole, by whoever holds the leases; memory and statements stay small."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from lossloop.core.errors import LossloopError
from lossloop.ledger.postgres import replacing
from lossloop.ledger.postgres.database import Database
from lossloop.ledger.postgres.errors import Fenced
from lossloop.ledger.postgres.replacing import Made, replace_all
from lossloop.ledger.postgres.session import Session
from lossloop.ledger.postgres.setup import grant
from lossloop.ledger.postgres.store import Lease, PostgresStore
from lossloop.ledger.postgres.view import PostgresView
from lossloop.ledger.sqlite.state import State
from lossloop.ledger.sqlite.texts import texts_of
from tests.ledger.postgres.places import taken
from tests.ledger.postgres.server import Server


def numbers(first: int, rows: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"n": pa.array(range(first, first + rows), pa.int64())})


def write(store: Any, name: str, rows: int) -> None:
    """A few documents, offsets and two streams."""
    with store.transaction():
        for place in range(rows):
            store.put("thing", f"{name}/{place}", {"place": place, "word": 'quoted "\u00fc"'})
            store.put_chunk(f"rows/{name}", 2 * place, numbers(2 * place, 2))
        store.put_chunk(f"other/{name}", 0, numbers(0, 3))
        store.put_offset(f"segment {name}", rows)


def filled(session: Session, lease: Lease, name: str, rows: int) -> None:
    write(PostgresStore(session, lease), name, rows)


def sources(folder: Path, leases: Sequence[Lease]) -> Iterator[Made]:
    for lease in leases:
        with closing(State(folder / f"{lease.partition}.db")) as state:
            yield Made(lease=lease, documents=texts_of(state), store=state)


@pytest.fixture
def leases(database: Database) -> list[Lease]:
    """Those of all partitions, each with something in it."""
    found = [lease for _, lease in sorted(taken(database).items())]
    with closing(Session(database)) as session:
        for lease in found:
            filled(session, lease, f"old{lease.partition}", 3)
    return found


@pytest.fixture
def folder(tmp_path: Path, leases: list[Lease]) -> Path:
    """A state to be taken for each partition; that of the last is empty."""
    for lease in leases:
        with closing(State(tmp_path / f"{lease.partition}.db")) as state:
            if lease.partition < len(leases) - 1:
                write(state, f"new{lease.partition}", 20 + lease.partition)
    return tmp_path


def contents(database: Database) -> dict[str, Any]:
    with closing(PostgresView(database)) as view:
        chunks = {
            name: [(chunk.first, chunk.batch.to_pydict()) for chunk in view.chunks(name)]
            for name in view.streams("")
        }
        return {"things": view.all("thing", dict), "offsets": view.offsets(), **chunks}


@pytest.mark.parametrize("size", [1, 200, replacing.BYTES_AT_ONCE])
def test_what_was_made_is_there_and_nothing_else(
    database: Database, leases: list[Lease], folder: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(replacing, "BYTES_AT_ONCE", size)
    with closing(PostgresView(database)) as view:
        change = view.change()
        replace_all(database, lambda: sources(folder, leases))
        assert view.change() != change, "whoever follows the state must look again"
    found = contents(database)
    assert sorted(found["offsets"]) == ["segment new0", "segment new1", "segment new2"]
    assert len(found["things"]) == 20 + 21 + 22
    assert found["things"]["new1/4"] == {"place": 4, "word": 'quoted "\u00fc"'}
    assert [first for first, _ in found["rows/new2"]] == list(range(0, 44, 2))
    assert sorted(name for name in found if "old" in name) == []


def test_one_lease_that_was_lost_keeps_all_as_it_was(
    database: Database, leases: list[Lease], folder: Path
) -> None:
    before = contents(database)
    stale = [*leases[:-1], replace(leases[-1], token=leases[-1].token - 1)]
    with pytest.raises(Fenced, match="has taken partition 3"):
        replace_all(database, lambda: sources(folder, stale))
    assert contents(database) == before


def test_what_fails_in_the_midst_keeps_all_as_it_was(
    database: Database, leases: list[Lease], folder: Path
) -> None:
    before = contents(database)

    def broken() -> Iterator[Made]:
        yield from sources(folder, leases[:2])
        raise LossloopError("no more")

    with pytest.raises(LossloopError, match="no more"):
        replace_all(database, broken)
    assert contents(database) == before


def test_an_applier_may_do_it(database: Database, leases: list[Lease], folder: Path, server: Server) -> None:
    role = f"rebuilder_{database.schema}"
    with psycopg.connect(server.url(), autocommit=True) as owner:
        owner.execute(f"CREATE ROLE {role} LOGIN")
    grant(database, role, "applier")
    replace_all(replace(database, url=server.url(user=role)), lambda: sources(folder, leases))
    assert len(contents(database)["offsets"]) == len(leases) - 1
