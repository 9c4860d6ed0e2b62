"""A person who is erased is not in what batches keep, whether they are done or not."""

from __future__ import annotations

from pathlib import Path

import pytest

from lossloop.app.predicting import Naming, all_batches, forget_batches
from lossloop.app.predicting.progress import Folder
from lossloop.core.errors import InUse
from tests.app.keepsakes import places_of
from tests.app.predicting.desk import answer, counts, house, read
from tests.app.predicting.test_batch import Dying, Killed

NAMED = Naming(id="id", unit="who", keep=("who",))
HER = "alice-was-here"


def files(path: Path) -> list[Path]:
    (path / "a.csv").write_text(f"id,x,who\na1,1,{HER}\na2,two,{HER}\nb1,three,bob\n")
    (path / "b.csv").write_text(f"id,x,who\na3,4,{HER}\nb2,5,bob\n")
    return [path / "a.csv", path / "b.csv"]


def test_rejected_rows_of_a_batch_that_is_done(tmp_path: Path) -> None:
    home = house(tmp_path / "s")
    report = answer(home, files(tmp_path), tmp_path / "o.csv", naming=NAMED)
    assert report.rejects is not None
    assert forget_batches(home, HER, {}, None) == 1
    assert HER not in report.rejects.read_text()
    assert "bob" in report.rejects.read_text()
    assert forget_batches(home, HER, {}, None) == 0
    (batch,) = all_batches(home)
    assert (batch.finished, batch.rejected) == (True, 2)
    assert batch.rejects_size == report.rejects.stat().st_size


def test_ids_of_a_unit_name_it_too(tmp_path: Path) -> None:
    home = house(tmp_path / "s")
    report = answer(home, files(tmp_path), tmp_path / "o.csv", naming=Naming(id="id"))
    assert report.rejects is not None
    assert forget_batches(home, HER, {"m": {"b1"}}, None) == 1
    assert forget_batches(home, HER, {"other": {"a2"}}, None) == 0
    assert forget_batches(home, HER, {"m": {"a2"}}, "other") == 0
    assert forget_batches(home, HER, {"m": {"a2"}}, "m") == 1


def test_a_batch_that_was_not_done_begins_anew(tmp_path: Path) -> None:
    home = house(tmp_path / "s")
    said = files(tmp_path)
    with pytest.raises(Killed):
        answer(home, said, tmp_path / "o.csv", naming=NAMED, writer=Dying(home.log.writer(), 1, False))
    (before,) = all_batches(home)
    assert (before.rows, before.parts) == (3, 1)
    kept = tmp_path / "s" / "batches" / before.id
    assert places_of(home, HER)
    assert list(kept.glob("*.arrow"))
    forget_batches(home, HER, {}, None)
    assert not list(kept.glob("*.arrow"))
    assert not (kept / "rejects.csv").exists()
    (after,) = all_batches(home)
    assert (after.rows, after.rejected, after.version, after.id) == (0, 0, 1, before.id)
    report = answer(home, said, tmp_path / "o.csv", naming=NAMED)
    assert report.before == 0
    assert read(tmp_path / "o.csv")["id"].to_pylist() == ["a1", "a3", "b2"]
    assert counts(home) == {"predictions": 3, "repeats": 1}


def test_not_while_a_batch_is_being_answered(tmp_path: Path) -> None:
    home = house(tmp_path / "s")
    answer(home, files(tmp_path), tmp_path / "o.csv", naming=NAMED)
    (batch,) = all_batches(home)
    held = Folder(home, batch.id)
    with pytest.raises(InUse, match="another process works at the same batch"):
        forget_batches(home, HER, {}, None)
    held.close()
