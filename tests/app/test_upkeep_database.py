"""Verifying, pruning and erasing a ledger in PostgreSQL: with the results that files give."""

from __future__ import annotations

import itertools
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lossloop.access.audit import AuditLog
from lossloop.app import keeping
from lossloop.app.alone import stopped
from lossloop.app.erasing import Counts, Erasure, erase_unit, survey
from lossloop.app.home import Home
from lossloop.app.keeping import Keeper, keep, prune
from lossloop.app.reading import prediction
from lossloop.app.rebuilding import rebuild
from lossloop.core.clock import DAY, ManualClock, SystemClock
from lossloop.core.errors import InUse
from lossloop.ledger.history import predicted
from lossloop.ledger.joined.keys import Keys
from lossloop.ledger.postgres.database import Database
from lossloop.ledger.postgres.keeping import may_remove
from lossloop.ledger.postgres.session import Session
from lossloop.ledger.postgres.setup import grant, init_store
from lossloop.ledger.postgres.turns import Turn
from tests.app.desk import MODEL, Desk, happened, ticked
from tests.app.desk import asked as predictions
from tests.app.keepsakes import UNIT, figures, storied
from tests.app.processes import started
from tests.app.server import within
from tests.app.test_cli import Run, run
from tests.app.test_erasing import erased
from tests.app.test_rebuilding_database import create, place
from tests.ledger.postgres import server as postgres
from tests.ledger.postgres.upkeep import asked, change, left

__all__ = ["run"]
TABLES = "documents, offsets, chunks"
_numbers = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    with postgres.running() as server:
        yield server


@pytest.fixture(scope="module")
def story(server: postgres.Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state directory over a database, as a template for those of tests."""
    create(server, "upkeep")
    init_store(Database(url=server.url("upkeep")), partitions=2)
    folder = tmp_path_factory.mktemp("story") / "s"
    storied(folder, settings={"store": server.url("upkeep")})
    return folder


@pytest.fixture
def desk(server: postgres.Server, story: Path, tmp_path: Path) -> Desk:
    """The story, in a database of the test's own."""
    name = f"upkeep{next(_numbers)}"
    create(server, name, template="upkeep")
    shutil.copytree(story, tmp_path / "s")
    connect_to(tmp_path / "s", server.url("upkeep"), server.url(name))
    return Desk(home=Home(path=tmp_path / "s"), sent=8)


def connect_to(path: Path, before: str, after: str) -> Home:
    """Let a directory use another database, or the same one as somebody else."""
    settings = path / "settings.yaml"
    settings.write_text(settings.read_text().replace(before, after))
    return Home(path=path)


@pytest.fixture
def files(tmp_path: Path) -> Desk:
    """The same story in files."""
    return storied(tmp_path / "files")


def anew(desk: Desk) -> Any:
    """The figures of a state that is folded from the beginning."""
    if desk.home.database is None:
        rebuild(desk.home, accept=True)
    else:
        change(place(desk), f"TRUNCATE {TABLES}")
        desk.fold()
    return figures(desk.home)


def close_to(shown: Any) -> Any:
    """Figures whose sums were added up in another order."""
    return {
        **shown,
        "losses": [{name: pytest.approx(value) for name, value in row.items()} for row in shown["losses"]],
    }


def kept(desk: Desk) -> int:
    with closing(desk.home.log.reader()) as log:
        return len(predicted(log, MODEL))


def later(days: float) -> ManualClock:
    return ManualClock(SystemClock().now() + round(days * DAY))


# As files do.


def test_both_begin_with_the_same_figures(files: Desk, desk: Desk) -> None:
    assert figures(desk.home) == figures(files.home)


def test_an_erased_unit_goes_on_counting_as_in_files(files: Desk, desk: Desk) -> None:
    before = figures(desk.home)
    with stopped(desk.home) as alone:
        expected = survey(alone, UNIT)
    done = erased(desk.home)
    assert done == erased(files.home)
    assert expected.models == done.models == {MODEL: Counts(predictions=4, outcomes=4)}
    assert not left(place(desk), UNIT, "p000000", "p000006")
    assert left(place(desk), "bob")
    desk.fold()
    assert figures(desk.home) == before == figures(files.home)
    assert anew(desk) == close_to(anew(files))
    assert anew(desk)["counts"]["predictions"] == before["counts"]["predictions"]
    assert erased(desk.home) == Erasure(models={})


def test_what_expired_goes_on_counting_as_in_files(files: Desk, desk: Desk) -> None:
    before = figures(desk.home)
    for each in (files, desk):
        each.policy(retention={"age": "400d"})
        (gone,) = keep(each.home, later(900))
        assert (gone.model, gone.predictions, gone.outcomes) == (MODEL, 8, 8)
        assert kept(each) == 0
        each.fold()
        assert figures(each.home) == before
        assert [gone.predictions for gone in keep(each.home, later(901))] == [0]
    assert anew(desk) == close_to(anew(files))
    assert anew(desk)["counts"]["predictions"] == before["counts"]["predictions"]


def test_what_expired_is_known_again_in_a_state_made_anew(files: Desk, desk: Desk, tmp_path: Path) -> None:
    """As if nothing had: `whole` keeps everything, and is never made anew."""
    shutil.copytree(files.home.path, tmp_path / "whole")
    whole = Desk(home=Home(path=tmp_path / "whole"), sent=8)
    for each in (files, desk):
        each.send(happened(40, ["p000000"], 1.0))
        keep(each.home, later(0))  # in files only what is sealed expires
        assert prune(each.home, MODEL, larger_than=0).predictions == 8
        assert rebuild(each.home).agrees
    whole.send(happened(40, ["p000000"], 1.0))
    assert figures(desk.home) == figures(files.home) == figures(whole.home)
    for each in (files, desk, whole):
        each.send(
            happened(50, ["p000001"], 1.0),
            happened(51, ["p000002", "p000003"], 0.0),
            predictions(52, [0.25, 0.5], ["p000003", "new"], units=["bob", "bob"]),
            ticked(80),
        )
    for each in (files, desk):
        assert figures(each.home) == figures(whole.home)
        assert rebuild(each.home).agrees
        assert figures(each.home) == figures(whole.home)
    assert figures(whole.home)["counts"]["corrections"] == 2


def test_a_person_is_erased_from_what_has_expired(desk: Desk) -> None:
    prune(desk.home, MODEL, larger_than=0)
    desk.send(happened(60, ["p000000"], 1.0), predictions(60, [0.1], ["p000002"], units=["bob"]))
    before = figures(desk.home)
    assert erased(desk.home).models == {MODEL: Counts(predictions=5, outcomes=5)}
    assert not left(place(desk), UNIT, "p000000", "p000002")
    keys = Keys(desk.home.settings().secret)
    with closing(desk.home.log.reader()) as log:
        kept = [entry.frame.batch for entry in log.read({}) if "key_low" in entry.frame.batch.schema.names]  # type: ignore[union-attr]
    assert {unit for batch in kept if "unit_key" in batch.schema.names
            for unit in batch.column("unit_key").to_pylist()} == {keys.unit("bob"), 0}  # fmt: skip
    assert sum(batch.num_rows for batch in kept) == 8
    assert figures(desk.home) == before
    assert erased(desk.home).models == {}
    assert anew(desk)["counts"]["predictions"] == before["counts"]["predictions"]


def test_erased_then_expired_and_more_behind_it(files: Desk, desk: Desk) -> None:
    """Summaries of summaries: made from a state that was made anew, over frames with holes between them."""
    for each in (files, desk):
        erased(each.home)
        each.day(3, 0.25)
        anew(each)
        each.policy(retention={"age": "400d"})
        keep(each.home, later(900))
        each.day(4, 0.25)
        each.fold()
        before = figures(each.home)
        assert anew(each) == close_to(before)
        assert kept(each) == 4
    assert figures(desk.home)["counts"] == figures(files.home)["counts"]
    assert figures(desk.home)["losses"] == close_to(figures(files.home))["losses"]


def test_what_has_expired_is_not_found_and_its_neighbour_is_not_taken_for_it(desk: Desk) -> None:
    desk.policy(retention={"age": "400d"})
    keep(desk.home, later(900))
    with closing(desk.home.log.reader()) as log, closing(desk.home.state()) as state:
        found = prediction(state, log, Keys(desk.home.settings().secret), MODEL, "p000001")
    assert found is not None
    assert (found["y_pred"], found["unit"]) == (0.5, None)


# By hand.


def test_the_commands_answer_as_they_do_for_files(run: Run, desk: Desk) -> None:
    said = run("ledger", "verify")
    assert (said.code, said.out.startswith("Checked ")) == (0, True)
    assert ", 0 of them sealed: " in said.out
    would = run("ledger", "prune", MODEL, "--larger-than", "0B", "--dry-run")
    assert would.out.startswith(f"Would remove 8 predictions and 8 outcomes of {MODEL} from 2 segments, ")
    assert run("ledger", "prune", MODEL, "--older-than", "1d").out.startswith("Nothing of ")
    assert run("ledger", "prune", MODEL).code == 1
    said = run("erase", "--unit", UNIT, "--yes", "--json")
    assert said.json["models"] == {MODEL: {"predictions": 4, "outcomes": 4}}
    plain = run("ledger", "prune", MODEL, "--larger-than", "0B", "--json").json
    assert (plain["predictions"], plain["outcomes"], plain["dry_run"]) == (4, 4, False)
    assert run("ledger", "verify", "--json").json["sound"] is True
    (entry,) = AuditLog(desk.home.path).entries()
    assert entry.details["models"] == {MODEL: {"predictions": 4, "outcomes": 4}}
    assert UNIT not in AuditLog(desk.home.path).path.read_text()


def test_a_flipped_byte_ends_with_1_and_names_its_events(run: Run, desk: Desk) -> None:
    flip = "payload = set_byte(payload, octet_length(payload) - 30, 77)"
    mine = "kind = 1 AND position('p000000'::bytea IN payload) > 0"
    change(place(desk), f"UPDATE frames SET {flip} WHERE {mine}")
    said = run("ledger", "verify")
    assert said.code == 1
    assert " frames 0 to 1: the frame's CRC-32 does not match: 4 predictions of m, received 20" in said.out
    assert "; ids p000000, p000001, p000002, p000003\n" in said.out
    plain = run("ledger", "verify", "--json")
    assert plain.json["findings"][0]["ids"][0] == "p000000"
    assert set(plain.json) == {
        "sound", "audit", "segments", "sealed", "frames", "bytes", "findings", "strays"
    }  # fmt: skip


def test_an_erasure_reaches_the_exports_of_a_database(run: Run, desk: Desk, tmp_path: Path) -> None:
    assert run("ledger", "export", str(tmp_path / "b.tar.zst")).code == 0
    assert erased(desk.home).backups == [str(tmp_path / "b.tar.zst")]
    assert erased(desk.home).backups == []


# While others use it.


def test_a_running_lossloop_is_not_erased_from(desk: Desk) -> None:
    with (
        started(desk.home.path),
        pytest.raises(InUse, match=r"erasing needs postgresql://.* for itself; stop lossloop up first, then"),
        stopped(desk.home),
    ):
        raise AssertionError("two write the state")


class Killed(BaseException):
    """In place of SIGKILL."""


@pytest.mark.parametrize("last", [1, 5, 9, 14])
def test_wherever_erasing_is_cut_off_doing_it_again_ends_it(
    desk: Desk, last: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From one moment on nothing of it reaches the database any more."""
    before, run_of, calls = figures(desk.home), Session.run, itertools.count()

    def dying(session: Session, work: Any) -> Any:
        mine = threading.current_thread() is threading.main_thread()
        if mine and next(calls) >= last:
            raise Killed
        return run_of(session, work)

    with stopped(desk.home) as alone, monkeypatch.context() as patched:
        patched.setattr(Session, "run", dying)
        with pytest.raises(Killed):
            erase_unit(alone, UNIT)
    erased(desk.home)
    assert not left(place(desk), UNIT, "p000000", "p000006")
    desk.fold()
    assert figures(desk.home) == before
    assert anew(desk) == close_to(before)


KILLED = """
import os, signal, sys
from lossloop.app.cli import main
from lossloop.ledger.postgres.session import Session

rows_of = Session.rows

def dying(session, name, **values):
    found = rows_of(session, name, **values)
    if name == "remove":
        os.kill(os.getpid(), signal.SIGKILL)
    return found

Session.rows = dying
main()
"""


def test_a_process_that_is_killed_in_the_midst_of_it_is_followed_by_another(run: Run, desk: Desk) -> None:
    """Its leases end after three seconds: the next one waits for that."""
    before = figures(desk.home)
    command = [sys.executable, "-c", KILLED, "erase", "--unit", UNIT, "--yes"]
    ended = subprocess.run(command, capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert left(place(desk), UNIT), "it came to its end"
    assert run("erase", "--unit", UNIT, "--yes").code == 0
    assert not left(place(desk), UNIT, "p000000", "p000006")
    assert run("ledger", "verify").code == 0
    desk.fold()
    assert figures(desk.home) == before
    assert anew(desk) == close_to(before)


# By itself.


def test_it_is_done_by_itself_and_by_one_machine(desk: Desk) -> None:
    desk.policy(retention={"age": "1d"})
    turn = Turn(place(desk), "keeper")
    assert turn.mine()
    keeper = Keeper(desk.home, later(900), every=0.01)
    keeper.start()
    try:
        assert kept(desk) == 8, "another machine has the turn"
        turn.close()
        within(lambda: kept(desk) == 0)
    finally:
        keeper.close()
    told = "SELECT count(*) FROM frames WHERE kind = 3 AND position('expired'::bytea IN payload) > 0"
    assert asked(place(desk), told) == [(2,)]


def test_who_may_not_says_so_once_and_begins_when_it_may(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.policy(retention={"age": "1d"})
    owner, looks = place(desk), itertools.count()
    change(owner, "CREATE ROLE plain LOGIN")
    grant(owner, "plain", "applier")
    monkeypatch.setattr(keeping, "may_remove", lambda database: next(looks) >= 0 and may_remove(database))
    keeper = Keeper(connect_to(desk.home.path, "postgres@", "plain@"), later(900), every=0.01)
    keeper.start()
    try:
        within(lambda: next(looks) > 20)
        assert kept(desk) == 8
        grant(owner, "plain", "keeper")
        within(lambda: kept(desk) == 0)
    finally:
        keeper.close()
    said = capsys.readouterr().err
    assert said.startswith("the retention of m is not carried out: this user of postgresql://plain@")
    assert "Let its owner grant it the part keeper, or run lossloop ledger prune as somebody who may" in said
    assert len(said.splitlines()) == 1
