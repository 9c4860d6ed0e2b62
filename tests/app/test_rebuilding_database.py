"""A ledger in PostgreSQL is rebuilt as one of files is: every partition, or none; what disagrees is told."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from lossloop.app import operate
from lossloop.app.alone import stopped
from lossloop.app.cli import ledger
from lossloop.app.commands import Promote
from lossloop.app.erasing import erase_unit
from lossloop.app.fold import folding_in
from lossloop.app.home import Home
from lossloop.app.reading import status
from lossloop.app.rebuilding import Rebuilt, rebuild
from lossloop.app.showing import beside, shown
from lossloop.app.switching import SwitchLoss
from lossloop.core.errors import InUse
from lossloop.ledger import facts
from lossloop.ledger.frames import Kind
from lossloop.ledger.postgres.database import Database
from lossloop.ledger.postgres.frames import frame_of, partition_of, row_of
from lossloop.ledger.postgres.session import Session
from lossloop.ledger.postgres.setup import init_store
from lossloop.ledger.postgres.store import Lease, PostgresStore
from lossloop.ledger.postgres.turns import maintained
from tests.app.desk import MODEL, Desk, asked, columns, happened, moment, policy_text, ticked
from tests.app.server import within
from tests.app.test_beside import COST
from tests.app.test_rebuild import storied
from tests.ledger.postgres import server as postgres

PARTITIONS = 3
OTHERS = ("a", "g", "i")
TABLES = ("documents", "offsets", "chunks")
_numbers = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    with postgres.running() as server:
        yield server


@pytest.fixture(scope="module")
def story(server: postgres.Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory over a database `story` with several models in several partitions."""
    create(server, "story")
    init_store(Database(url=server.url("story")), partitions=PARTITIONS)
    desk = storied(tmp_path_factory.mktemp("story"), store=server.url("story"))
    for model in OTHERS:
        operate.set_policy(desk.home, policy_text(model=model, rollout=None, watches=None))
        desk.register("first", model=model)
        desk.obey(Promote(model=model, version=1))
    desk.freeze(on=True)
    ids = [f"x{number}" for number in range(40)]
    desk.send(
        *(
            asked(14 * 24 + place, [0.25] * 40, ids, units=ids, model=model)
            for place, model in enumerate(OTHERS)
        ),
        *(happened(14 * 24 + 9, ids, model=model) for model in OTHERS),
        ticked(15 * 24),
    )
    desk.freeze(on=False)
    assert len({partition_of(model, PARTITIONS) for model in (MODEL, *OTHERS)}) == PARTITIONS
    return desk.home.path


@pytest.fixture
def desk(server: postgres.Server, story: Path, tmp_path: Path) -> Desk:
    """A copy of the story: a directory of its own over a database of its own."""
    name = f"copy{next(_numbers)}"
    create(server, name, template="story")
    shutil.copytree(story, tmp_path / "s")
    settings = tmp_path / "s" / "settings.yaml"
    settings.write_text(settings.read_text().replace(server.url("story"), server.url(name)))
    return Desk(home=Home(path=tmp_path / "s"))


def create(server: postgres.Server, name: str, template: str = "template1") -> None:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")


def place(desk: Desk) -> Database:
    assert desk.home.database is not None
    return desk.home.database


def sql(desk: Desk, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """Run a statement as the ledger's owner."""
    with psycopg.connect(place(desk).url, options="-c search_path=lossloop") as connection:
        cursor = connection.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def contents(desk: Desk) -> dict[str, Any]:
    """All of the derived state, by partition, but for how it is cut and when it was written."""
    found: dict[str, Any] = {
        "documents": sql(desk, "SELECT kind, key, partition, body FROM documents ORDER BY 1, 2, 3"),
        "offsets": sql(desk, "SELECT partition, segment, reached FROM offsets ORDER BY 1, 2"),
    }
    with closing(Session(place(desk))) as session:
        for partition in range(PARTITIONS):
            store = PostgresStore(session, Lease(partition=partition, token=0))
            found |= {f"{partition}: {name}": columns(store, name) for name in store.streams("")}
    return found


def lie(desk: Desk) -> str:
    """Change the first decision in the log by hand; return its id."""
    rows = sql(
        desk,
        'SELECT segment, number, kind, "time", "rows", crc, payload FROM frames WHERE kind = %s '
        "ORDER BY segment, number",
        int(Kind.DECISION),
    )
    segment, *row = rows[0]
    frame = frame_of(*row)
    ids = frame.batch.column("id").to_pylist()  # type: ignore[union-attr]
    bodies = frame.batch.column("body").to_pylist()  # type: ignore[union-attr]
    decided = [(ids[0], '{"action": "promote"}'), *zip(ids[1:], bodies[1:], strict=True)]
    lied = row_of(facts.decisions(decided, now=frame.time))  # type: ignore[union-attr]
    statement = "UPDATE frames SET payload = %s, crc = %s WHERE segment = %s AND number = %s"
    sql(desk, statement, lied["payload"], lied["crc"], segment, row[0])
    return str(ids[0])


def test_a_rebuild_changes_nothing_and_repeats_nothing(desk: Desk) -> None:
    before, logged = contents(desk), sql(desk, "SELECT count(*) FROM frames")
    with desk.books() as books:
        told = books.now()
    steps: list[int] = []
    found = rebuild(desk.home, progress=steps.append)
    assert found == Rebuilt(frames=sum(steps), same=len(desk.decisions()) + len(OTHERS))
    assert contents(desk) == before
    assert len([name for name in before if "rows/" in name]) == 1 + len(OTHERS)
    assert sql(desk, "SELECT count(*) FROM frames") == logged, "nothing was logged again"
    with desk.books() as books:
        assert books.now() == told == moment(15 * 24), "the latest clock is the one that is told"
    assert not (desk.home.path / "rebuilt").exists()


def test_what_comes_after_a_rebuild_is_folded_on(desk: Desk) -> None:
    rebuild(desk.home)
    desk.send(asked(16 * 24, [0.25] * 5, desk.ids(5), model="a"))
    with desk.books() as books:
        assert books.counts("a").predictions == 45
    assert rebuild(desk.home).agrees


def test_a_state_that_was_emptied_or_spoiled_is_made_whole(desk: Desk) -> None:
    before = contents(desk)
    for table in TABLES:
        sql(desk, f"DELETE FROM {table} WHERE partition <> 1")
    sql(desk, "UPDATE documents SET body = '{}' WHERE kind = 'counts'")
    assert rebuild(desk.home).agrees
    assert contents(desk) == before


def test_where_the_log_decided_otherwise_the_state_stays_until_that_is_accepted(desk: Desk) -> None:
    right = contents(desk)
    changed = lie(desk)
    sql(desk, "UPDATE documents SET body = '{\"predictions\": 7}' WHERE kind = 'counts' AND key = 'a'")
    wrong = contents(desk)
    found = rebuild(desk.home)
    assert (found.differ, found.only_logged, found.only_recomputed) == ((changed,), (), ())
    assert found.kept
    assert contents(desk) == wrong
    accepted = rebuild(desk.home, accept=True)
    assert (accepted.differ, accepted.kept) == ((changed,), False)
    assert contents(desk) == right


def test_where_there_is_no_state_the_new_one_is_taken(desk: Desk) -> None:
    right, changed = contents(desk), lie(desk)
    sql(desk, f"TRUNCATE {', '.join(TABLES)}")
    found = rebuild(desk.home)
    assert (found.differ, found.kept) == ((changed,), False)
    assert contents(desk) == right


def test_a_rebuild_that_is_killed_leaves_the_old_state_whole(desk: Desk) -> None:
    sql(desk, "UPDATE documents SET body = '{\"predictions\": 7}' WHERE kind = 'counts'")
    before = contents(desk)
    command = [sys.executable, "-m", "lossloop", "ledger", "rebuild", "--state", str(desk.home.path)]
    with psycopg.connect(place(desk).url) as holding:
        # The partition that is replaced last cannot be: the others are, in a transaction that does not end.
        last = partition_of(MODEL, PARTITIONS)
        holding.execute("SELECT FROM lossloop.documents WHERE partition = %s FOR UPDATE", [last])
        process = subprocess.Popen(command)
        try:
            within(lambda: waiting(desk) or process.poll() is not None)
            assert process.poll() is None
            assert (desk.home.path / "rebuilt").exists()
        finally:
            process.kill()
            process.wait()
    within(lambda: not waiting(desk))
    assert contents(desk) == before
    assert rebuild(desk.home).agrees
    assert contents(desk) != before
    assert not (desk.home.path / "rebuilt").exists()


def waiting(desk: Desk) -> bool:
    """Whether somebody waits for a lock."""
    return bool(sql(desk, "SELECT 1 FROM pg_locks WHERE NOT granted"))


def test_a_rebuild_that_was_cut_short_leaves_all_as_it_was(desk: Desk) -> None:
    before = contents(desk)

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rebuild(desk.home, progress=stop)
    assert contents(desk) == before
    assert not (desk.home.path / "rebuilt").exists()
    assert rebuild(desk.home).agrees, "its leases were given back"


def test_a_rebuild_runs_beside_no_applier(desk: Desk) -> None:
    with closing(folding_in(place(desk), desk.home)), pytest.raises(InUse, match="an applier folds"):
        rebuild(desk.home)


def test_a_rebuild_runs_beside_nobody_who_removes_facts(desk: Desk) -> None:
    before = contents(desk)
    with maintained(place(desk)), pytest.raises(InUse, match="try again later"):
        rebuild(desk.home)
    assert contents(desk) == before


def test_what_was_pruned_or_erased_goes_on_counting(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    before = figures(desk)
    ledger.prune("a", larger_than="1B", state=desk.home.path)
    assert "Removed 40 predictions and 40 outcomes of a" in capsys.readouterr().out
    with stopped(desk.home) as alone:
        assert erase_unit(alone, "x7", "g").models["g"].predictions == 1
    assert figures(desk) == before
    assert rebuild(desk.home).agrees
    assert figures(desk) == before


def figures(desk: Desk) -> dict[str, Any]:
    """What is shown of each model."""
    with desk.books() as books:
        return {model: status(books, model) for model in (MODEL, *OTHERS)}


def test_the_command_says_what_it_found(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    ledger.rebuild(state=desk.home.path, json=True)
    assert msgspec.json.decode(capsys.readouterr().out)["agrees"] is True
    changed = lie(desk)
    with pytest.raises(SystemExit) as ended:
        ledger.rebuild(state=desk.home.path)
    assert ended.value.code == 1
    assert f"1 decided otherwise: {changed}" in capsys.readouterr().out


def test_a_loss_that_was_added_and_switched_to_is_rebuilt_to_the_last_bit(desk: Desk) -> None:
    desk.policy(beside=[COST])
    with desk.books() as books:
        there, new = (shown(books.documents, MODEL, each) for each in (None, beside(MODEL, COST)))
    assert [each.losses.count for each in new] == [each.losses.count for each in there]
    desk.obey(SwitchLoss(model=MODEL, text=policy_text(loss=COST, beside=["brier"]), force=True))
    desk.send(asked(16 * 24, [0.5], ["late"], version=3), happened(16 * 24 + 1, ["late"], 1.0))
    with desk.books() as books:
        assert shown(books.documents, MODEL)[: len(new)] == new
        assert shown(books.documents, MODEL)[-1].losses.total == 0.0, "it was warned of"
        assert len(shown(books.documents, MODEL, beside(MODEL, "brier"))) == len(there) + 1
    before = contents(desk)
    assert rebuild(desk.home).agrees
    assert contents(desk) == before
