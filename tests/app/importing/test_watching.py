"""Watched folders: label files are taken once they are whole, once each, and stay where they are."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lossloop.act.settings import read_settings
from lossloop.app import operate
from lossloop.app.commands import Promote
from lossloop.app.home import Home
from lossloop.app.importing import LabelFolders, all_progress
from lossloop.app.importing.watching import words_on
from lossloop.core.errors import PolicyError
from lossloop.ledger.frames import Kind
from tests.app.desk import MODEL, Desk, external, policy_text
from tests.app.importing.pasts import counts, csv_of, happened, live, logged, parquet, text
from tests.app.server import Server, serving, within

Y = Kind.OUTCOME


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "labels").mkdir()
    return tmp_path / "labels"


@pytest.fixture
def desk(tmp_path: Path, folder: Path) -> Desk:
    return live(tmp_path / "s", folders={MODEL: str(folder)})


@pytest.fixture
def folders(desk: Desk) -> Iterator[LabelFolders]:
    found = LabelFolders(desk.home)
    yield found
    found.close()


def names(folders: LabelFolders) -> list[str]:
    """The files that a look takes."""
    return [Path(report.source).name for report in folders.look()]


def test_a_file_is_taken_once_it_has_stayed_the_same(folder: Path, desk: Desk, folders: LabelFolders) -> None:
    path = text(folder / "a.csv", "id,y_true", "a,1")
    assert names(folders) == []
    with path.open("a") as file:
        file.write("b,0\n")
    assert names(folders) == []
    assert names(folders) == ["a.csv"]
    assert names(folders) == []
    log = logged(desk.home, Y)
    assert log.values == {"a": 1.0, "b": 0.0}
    assert log.history == {False}
    assert path.exists()


def test_every_kind_of_file_is_taken_and_no_other(folder: Path, desk: Desk, folders: LabelFolders) -> None:
    csv_of(folder / "a.csv", happened(10))
    csv_of(folder / "b.csv.gz", happened(10, first=10))
    parquet(folder / "c.parquet", happened(10, first=20))
    for name in (".hidden.csv", "a.csv.tmp", "notes.txt"):
        text(folder / name, "id,y_true", "x,1")
    (folder / "d.csv").mkdir()
    folders.look()
    assert names(folders) == ["a.csv", "b.csv.gz", "c.parquet"]
    assert logged(desk.home, Y).ids == set(happened(30)["id"].to_pylist())


def test_the_same_file_again_renamed_or_after_a_restart_changes_nothing(folder: Path, desk: Desk) -> None:
    path = csv_of(folder / "a.csv", happened(100))
    first = LabelFolders(desk.home)
    first.look()
    assert names(first) == ["a.csv"]
    frames = len(logged(desk.home, Y).frames)
    path.rename(folder / "b.csv")
    shutil.copy(folder / "b.csv", folder / "c.csv")
    os.utime(folder / "b.csv")
    first.look()
    assert [(report.read, report.before) for report in first.look()] == [(0, 100), (0, 100)]
    first.close()
    second = LabelFolders(desk.home)
    second.look()
    second.look()
    second.close()
    assert len(logged(desk.home, Y).frames) == frames


def test_a_file_that_becomes_another_is_taken_again(folder: Path, desk: Desk, folders: LabelFolders) -> None:
    text(folder / "a.csv", "id,y_true", "a,1")
    folders.look()
    folders.look()
    text(folder / "new", "id,y_true", "a,0").replace(folder / "a.csv")
    folders.look()
    assert names(folders) == ["a.csv"]
    assert logged(desk.home, Y).values == {"a": 0.0}


def test_bad_rows_are_kept_beside_and_a_bad_file_is_told_once(
    folder: Path, desk: Desk, folders: LabelFolders, capsys: pytest.CaptureFixture[str]
) -> None:
    text(folder / "a.csv", "id,y_true,reason", "a,1,", "b,2,", ",0,", "c,,lost")
    text(folder / "b.csv", "key,label", "a,1")
    (folder / "c.parquet").write_bytes(b"PAR1")
    for _ in range(4):
        folders.look()
    found = {Path(progress.source).name: progress for _, progress in all_progress(desk.home)}
    assert (found["a.csv"].taken, found["a.csv"].rejected, found["a.csv"].finished) == (2, 2, True)
    assert "has no column 'id'; name it with --map id=COLUMN" in found["b.csv"].error
    assert "cannot be read as Parquet" in found["c.parquet"].error
    (rejects,) = (desk.home.path / "imports").glob("*/rejects.csv")
    assert len(rejects.read_text().splitlines()) == 3
    said = capsys.readouterr().err
    assert said.count("has no column 'id'") == 1
    assert said.count("cannot be read as Parquet") == 1
    assert logged(desk.home, Y).values == {"a": 1.0, "c": None}


def test_of_a_bad_file_it_is_not_said_that_it_was_taken(
    folder: Path, desk: Desk, folders: LabelFolders
) -> None:
    text(folder / "a.csv", "id,y_true", "a,1", ",0")
    text(folder / "b.csv", "key,label", "a,1")
    folders.look()
    assert [words_on(report) for report in folders.look()] == ["1 rows taken, 1 rejected", ""]
    shutil.copy(folder / "a.csv", folder / "c.csv")
    folders.look()
    assert [words_on(report) for report in folders.look()] == ["it was taken before"]


def test_a_mapping_in_the_folder_says_which_column_is_what(
    folder: Path, desk: Desk, folders: LabelFolders
) -> None:
    text(folder / "a.csv", "key;label;when", "a;fraud;2021-01-01 00:00:00", "b;fine;2021-01-01 00:00:00")
    folders.look()
    folders.look()
    assert not logged(desk.home, Y).rows
    text(
        folder / "mapping.yaml",
        "id: key",
        "y_true: label",
        "time: when",
        "timezone: UTC",
        "labels: {fraud: 1, fine: 0}",
    )
    assert names(folders) == ["a.csv"]
    assert logged(desk.home, Y).values == {"a": 1.0, "b": 0.0}
    text(folder / "mapping.yaml", "id: [")
    text(folder / "b.csv", "key;label", "c;fine")
    folders.look()
    folders.look()
    assert "c" not in logged(desk.home, Y).rows


def test_a_folder_that_nobody_can_read_keeps_no_other_out(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What nobody had thought of in one file ended each look, and nothing behind it was ever taken."""
    (tmp_path / "first").mkdir()
    desk = live(tmp_path / "s", folders={"a model before": str(tmp_path / "first"), MODEL: str(folder)})
    text(tmp_path / "first" / "a.csv", "id,y_true", "a,1")
    (tmp_path / "first" / "mapping.yaml").write_bytes(b"\xff\xfe\0")
    text(folder / "b.csv", "id,y_true", "b,1")
    folders = LabelFolders(desk.home)
    for _ in range(3):
        folders.look()
    folders.close()
    assert logged(desk.home, Y).values == {"b": 1.0}
    assert capsys.readouterr().err.count("UnicodeDecodeError") == 1


def test_what_is_not_there_yet_may_come(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    desk = live(tmp_path / "s", folders={MODEL: "labels", "nobody": str(folder)})
    text(folder / "a.csv", "id,y_true", "a,1")
    folders = LabelFolders(desk.home)
    for _ in range(3):
        folders.look()
    said = capsys.readouterr().err
    assert said.count("cannot look into it (No such file or directory); is label_folders right?") == 1
    assert said.count("unknown model 'nobody'") == 1
    (desk.home.path / "labels").mkdir()
    text(desk.home.path / "labels" / "b.csv", "id,y_true", "b,1")
    folders.look()
    assert names(folders) == ["b.csv"]
    folders.close()


def test_nothing_runs_where_there_is_nothing_to_look_into(tmp_path: Path) -> None:
    desk = live(tmp_path / "s")
    folders = LabelFolders(desk.home)
    folders.start()
    assert folders.look() == []
    folders.close()
    assert not (desk.home.path / "imports").exists()


def test_the_setting_is_read_strictly(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("label_folders: {m: /data/labels}\n".replace("/data", str(tmp_path)))
    assert read_settings(path).label_folders == {"m": f"{tmp_path}/labels"}
    path.write_text("label_folders: [a]\n")
    with pytest.raises(PolicyError, match=r"settings.yaml, line 1: label_folders: must be a mapping"):
        read_settings(path)


# In a running Lossloop.


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    place = tmp_path_factory.mktemp("watched")
    (place / "labels").mkdir()
    with serving(place / "state", label_folders={"model-x": str(place / "labels")}) as found:
        yield found


def done(home: Home) -> dict[str, int]:
    return {Path(found.source).name: found.taken for _, found in all_progress(home) if found.finished}


def test_lossloop_up_takes_what_is_put_there(server: Server) -> None:
    home, folder = server.home, server.home.path.parent / "labels"
    operate.set_policy(home, policy_text(model="model-x"))
    operate.register(home, "model-x", external())
    operate.obey(home, Promote(model="model-x", version=1))
    sent = [{"id": f"p{n:07d}", "version": 1, "y_pred": 0.5} for n in range(50)]
    assert server.record("model-x", *sent).status == 200
    csv_of(folder / "2021-01-01.csv", happened(50))
    within(lambda: done(home) == {"2021-01-01.csv": 50})
    within(lambda: counts(home, model="model-x").get("outcomes") == 50)
    os.kill(server.up.pids()["worker"], 9)
    parquet(folder / "2021-01-02.parquet", happened(60))
    within(lambda: done(home) == {"2021-01-01.csv": 50, "2021-01-02.parquet": 60})
    within(lambda: counts(home, model="model-x").get("waiting") == 10)
    assert counts(home, model="model-x")["outcomes"] == 50
