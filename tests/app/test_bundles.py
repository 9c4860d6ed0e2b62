"""A whole ledger out and in again: the copy folds to the same, and holds no token."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from lossloop.app import bundles
from lossloop.app.bundles import backups, bring_in, erase_in_bundle, export
from lossloop.app.home import Home
from lossloop.app.operate import fold_here
from lossloop.core.errors import InputError, InUse, StateError
from lossloop.ledger.files import bundle, durable
from lossloop.ledger.files.manifests import sealed_directory
from lossloop.ledger.files.sealing import seal
from lossloop.ledger.files.verify import verify
from lossloop.ledger.history import predicted
from tests.app.desk import asked
from tests.app.keepsakes import UNIT, figures, places_of, storied
from tests.app.server import Server
from tests.ledger.anyframes import assert_same, everything

NAMES = ["b.tar.zst", "b"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sealed", [False, True])
def test_what_is_exported_and_imported_is_the_same_ledger(tmp_path: Path, name: str, sealed: bool) -> None:
    desk = storied(tmp_path / "s")
    if sealed:
        seal(desk.home.segments.directory)
        desk.send(asked(70, [0.5], ["last"]))
    stored = desk.home.artifacts.put(b"a model")
    before = figures(desk.home)
    told: list[int] = []
    contents = export(desk.home, tmp_path / name, tell=told.append)
    assert (
        sum(told) == sum(item.bytes for item in contents.files.values()) <= bundles.size(desk.home) + 10_000
    )
    bring_in(tmp_path / name, tmp_path / "t")
    home = Home(path=tmp_path / "t").check()
    assert_same(everything(home.segments), everything(desk.home.segments))
    fold_here(home)
    assert figures(home) == before
    assert home.artifacts.get(stored) == b"a model"
    assert home.settings() == desk.home.settings()
    assert verify(home.segments.directory).sound


def test_tokens_stay_and_the_copy_has_its_own(tmp_path: Path) -> None:
    desk = storied(tmp_path / "s")
    export(desk.home, tmp_path / "b")
    tokens = [desk.home.tokens.read(), (desk.home.path / "token.sha256").read_text()]
    raw = b"".join(path.read_bytes() for path in (tmp_path / "b").rglob("*") if path.is_file())
    assert not [token for token in tokens if token.encode() in raw]
    bring_in(tmp_path / "b", tmp_path / "t")
    assert Home(path=tmp_path / "t").tokens.read() not in tokens
    assert (tmp_path / "t").stat().st_mode & 0o777 == 0o700
    made = {path.name for path in (tmp_path / "t").iterdir()}
    assert made == {"format", "log", "settings.yaml", "token", "token.sha256"}


def test_a_directory_that_holds_something_is_refused(tmp_path: Path) -> None:
    desk = storied(tmp_path / "s")
    export(desk.home, tmp_path / "b")
    with pytest.raises(InputError, match="holds other things; choose an empty place with --state"):
        bring_in(tmp_path / "b", tmp_path / "s")
    (tmp_path / "empty").mkdir()
    bring_in(tmp_path / "b", tmp_path / "empty")
    with pytest.raises(InputError, match="is there already"):
        export(desk.home, tmp_path / "b")


def test_what_is_no_ledger_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    for number, files in enumerate(({}, {"format": b"2"}, {"format": b"2", "evil.py": b"x"})):
        sources = []
        for name, data in files.items():
            (tmp_path / name).write_bytes(data)
            sources.append(bundle.Source(name=name, path=tmp_path / name, bytes=len(data)))
        bundle.pack(tmp_path / f"b{number}", sources, {})
    with pytest.raises(StateError, match="is no ledger"):
        bring_in(tmp_path / "b0", tmp_path / "t")
    with pytest.raises(StateError, match=r"is no ledger: it holds evil\.py"):
        bring_in(tmp_path / "b2", tmp_path / "t")
    with pytest.raises(InputError, match="there is no bundle"):
        bring_in(tmp_path / "nothing", tmp_path / "t")
    assert not list(tmp_path.glob("t*"))


def test_nothing_is_exported_while_something_is_sealed(tmp_path: Path) -> None:
    desk = storied(tmp_path / "s", days=1)
    log = desk.home.segments.directory
    with durable.maintained(sealed_directory(log)), pytest.raises(InUse, match="try again later"):
        export(desk.home, tmp_path / "b")
    assert not (tmp_path / "b").exists()
    assert backups(desk.home) == []


def test_bundles_are_listed_once_each(tmp_path: Path) -> None:
    desk = storied(tmp_path / "s", days=1)
    for name in NAMES:
        export(desk.home, tmp_path / name)
    shutil.rmtree(tmp_path / "b")
    export(desk.home, tmp_path / "b")
    assert sorted(Path(backup.path).name for backup in backups(desk.home)) == ["b", "b.tar.zst"]
    assert bundles.unpacked_size(tmp_path / "b.tar.zst") == (tmp_path / "b.tar.zst").stat().st_size


@pytest.mark.parametrize("name", NAMES)
def test_a_unit_is_erased_from_a_bundle(tmp_path: Path, name: str) -> None:
    desk = storied(tmp_path / "s")
    export(desk.home, tmp_path / name)
    gone = erase_in_bundle(tmp_path / name, UNIT, None)
    assert {model: (rows.predictions, rows.outcomes) for model, rows in gone.items()} == {"m": (4, 4)}
    assert erase_in_bundle(tmp_path / name, UNIT, None) == {}
    bring_in(tmp_path / name, tmp_path / "t")
    home = Home(path=tmp_path / "t")
    assert not places_of(home, UNIT)
    assert places_of(home, "bob")
    assert verify(home.segments.directory).sound
    assert not list(tmp_path.glob("*.erasing"))


def test_a_damaged_bundle_is_not_made_to_look_whole(tmp_path: Path) -> None:
    desk = storied(tmp_path / "s", days=1)
    export(desk.home, tmp_path / "b")
    path = next((tmp_path / "b" / "log").glob("*.seg"))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StateError, match="is damaged or missing"):
        erase_in_bundle(tmp_path / "b", UNIT, None)
    assert (tmp_path / "b").exists()
    assert not list(tmp_path.glob("*.erasing"))


def test_a_bundle_without_a_log_holds_nobody(tmp_path: Path) -> None:
    bundle.pack(tmp_path / "b", [], {})
    assert erase_in_bundle(tmp_path / "b", UNIT, None) == {}


def recorded(server: Server, model: str, ids: list[str]) -> None:
    """Predictions of another system, acknowledged."""
    answer = server.record(model, *({"id": id, "version": 1, "y_pred": 0.5} for id in ids))
    assert answer.status < 300, answer.body


def ids_in(home: Home, model: str) -> set[str]:
    log = home.log.reader()
    found = predicted(log, model)
    log.close()
    return set(found["id"].to_pylist())


def test_an_export_of_a_running_server_holds_what_it_had_acknowledged(server: Server, tmp_path: Path) -> None:
    model, ids = server.model(versions=0), [f"before-{number}" for number in range(20)]
    recorded(server, model, ids)
    with written_to(server, model):
        export(server.home, tmp_path / "b.tar.zst")
    bring_in(tmp_path / "b.tar.zst", tmp_path / "t")
    copy = Home(path=tmp_path / "t").check()
    fold_here(copy)
    assert set(ids) <= ids_in(copy, model)
    assert verify(copy.segments.directory, copy.state().offsets()).sound


@contextmanager
def written_to(server: Server, model: str) -> Iterator[None]:
    """A server that is sent predictions all the time."""
    over, numbers = threading.Event(), count()

    def work() -> None:
        while not over.is_set():
            recorded(server, model, [f"during-{next(numbers)}"])

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_state_directory_copied_while_in_use_folds_to_the_right_facts(
    server: Server, tmp_path: Path
) -> None:
    """File by file, without an export: derived state of another moment is left behind, facts are whole."""
    model, ids = server.model(versions=0), [f"before-{number}" for number in range(20)]
    recorded(server, model, ids)
    with written_to(server, model):
        shutil.copytree(server.home.path, tmp_path / "copy", ignore=shutil.ignore_patterns("state.*"))
    copy = Home(path=tmp_path / "copy").check()
    fold_here(copy)
    assert set(ids) <= ids_in(copy, model)
    assert verify(copy.segments.directory, copy.state().offsets()).sound
