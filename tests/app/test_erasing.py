"""Erasing a person from a whole state directory: log, state and backups; the figures stay."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lossloop.access.audit import AuditLog
from lossloop.app.alone import stopped
from lossloop.app.bundles import export
from lossloop.app.erasing import OLDER, Counts, Erasure, erase_unit, survey
from lossloop.app.home import Home
from lossloop.app.rebuilding import rebuild
from lossloop.core.errors import InUse, UnknownName
from lossloop.ledger.files.finding import find
from lossloop.ledger.files.sealing import seal
from lossloop.ledger.files.verify import verify
from tests.app.desk import MODEL, Desk, asked, happened, ticked
from tests.app.keepsakes import UNIT, figures, places_of, storied
from tests.app.processes import lossloop, started


def erased(home: Home, model: str | None = None, *more: Path) -> Erasure:
    with stopped(home) as alone:
        return erase_unit(alone, UNIT, model, more=more)


@pytest.mark.parametrize("sealed", [False, True])
def test_nothing_of_a_unit_is_left_and_the_figures_are(tmp_path: Path, sealed: bool) -> None:
    desk = storied(tmp_path / "s")
    if sealed:
        seal(desk.home.segments.directory)
    before = figures(desk.home)
    assert places_of(desk.home, UNIT)
    with stopped(desk.home) as alone:
        expected = survey(alone, UNIT)
    done = erased(desk.home)
    assert expected.models == done.models == {MODEL: Counts(predictions=4, outcomes=4)}
    assert not places_of(desk.home, UNIT)
    assert not find(desk.home.segments.directory, "p000000", model=MODEL)
    assert figures(desk.home) == before
    desk.fold()
    assert figures(desk.home) == before
    assert verify(desk.home.segments.directory).sound


def test_the_same_predictions_may_not_come_back_as_new(tmp_path: Path) -> None:
    """What is erased was counted once; a state made anew counts it too."""
    desk = storied(tmp_path / "s")
    before = figures(desk.home)
    erased(desk.home)
    rebuild(desk.home, accept=True)
    after = figures(desk.home)
    assert after["counts"]["predictions"] == before["counts"]["predictions"]
    assert after["counts"]["outcomes"] == before["counts"]["outcomes"]


def test_the_audit_log_says_what_and_not_whom(tmp_path: Path) -> None:
    desk = storied(tmp_path / "s")
    erased(desk.home)
    audit = AuditLog(desk.home.path)
    (entry,) = audit.entries()
    assert entry.what == "erase"
    assert entry.details["models"] == {MODEL: {"predictions": 4, "outcomes": 4}}
    assert entry.details["unit"] == audit.keyed(UNIT)
    assert UNIT not in audit.path.read_text()


def test_doing_it_again_finds_nothing(tmp_path: Path) -> None:
    desk = storied(tmp_path / "s", days=1)
    assert erased(desk.home).models == {MODEL: Counts(predictions=2, outcomes=2)}
    assert erased(desk.home) == Erasure(models={})
    assert len(AuditLog(desk.home.path).entries()) == 2


def test_only_the_model_that_is_named_forgets(tmp_path: Path) -> None:
    desk = storied(tmp_path / "s", days=1)
    desk.send(asked(50, [0.5], ["x"], units=[UNIT], model="unknown"))
    assert erased(desk.home, MODEL).models == {MODEL: Counts(predictions=2, outcomes=2)}
    assert places_of(desk.home, UNIT)
    with pytest.raises(UnknownName, match="unknown model 'nobody'"), stopped(desk.home) as alone:
        survey(alone, UNIT, "nobody")


def test_backups_that_are_listed_forget_too(tmp_path: Path) -> None:
    desk = storied(tmp_path / "s", days=1)
    for name in ("a.tar.zst", "b", "gone"):
        export(desk.home, tmp_path / name)
    shutil.rmtree(tmp_path / "gone")
    shutil.copytree(tmp_path / "b", tmp_path / "elsewhere")
    done = erased(desk.home, None, tmp_path / "elsewhere")
    assert [Path(path).name for path in done.backups] == ["a.tar.zst", "b", "elsewhere"]
    assert [Path(path).name for path in done.not_found] == ["gone"]
    assert not places_of(Home(path=tmp_path / "b"), UNIT)
    assert erased(desk.home, None, tmp_path / "elsewhere").backups == []


def test_a_backup_in_an_older_format_goes_as_a_whole(tmp_path: Path) -> None:
    desk = storied(tmp_path / "s", days=1)
    older = desk.home.path / OLDER.replace("*", "1")
    shutil.copytree(desk.home.path / "log", older / "log")
    with stopped(desk.home) as alone:
        assert survey(alone, UNIT).removed == [older.name]
    assert erased(desk.home).removed == [older.name]
    assert not places_of(desk.home, UNIT)


def test_a_running_lossloop_is_not_erased_from(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s")
    with (
        started(desk.home.path),
        pytest.raises(InUse, match=r"needs .* for itself; stop lossloop up first, then erase"),
        stopped(desk.home),
    ):
        raise AssertionError("two write the state")
    with stopped(desk.home) as alone:
        assert survey(alone, UNIT).models == {}


def test_an_id_that_two_units_sent_goes_as_a_whole_and_is_counted_once(tmp_path: Path) -> None:
    """The other's row, which had never counted, would have been the first with its id, and counted anew."""
    desk = storied(tmp_path / "s", days=1)
    ids = ["hers first", "his first"]
    desk.send(asked(33, [0.1] * 2, ids, units=[UNIT, "bob"]), happened(34, ids))
    desk.send(asked(35, [0.2] * 2, ids, units=["bob", UNIT]), ticked(50))
    before = figures(desk.home)
    assert before["counts"]["repeats"] == 2
    assert erased(desk.home).models == {MODEL: Counts(predictions=6, outcomes=4)}
    assert not places_of(desk.home, UNIT)
    after = figures(desk.home)
    assert after["counts"] == before["counts"]
    rebuild(desk.home, accept=True)
    counts = {**before["counts"], "repeats": 0}
    assert figures(desk.home)["counts"] == {name: count for name, count in counts.items() if count}


def test_outcomes_that_were_missing_or_never_came_go_on_counting(tmp_path: Path) -> None:
    labels = {"mature_after": "6h", "absent_means": 0, "after": "5h"}
    desk = Desk.ready(tmp_path / "s", labels=labels)
    desk.send(asked(8, [0.1] * 4, ["a", "b", "c", "d"], units=[UNIT] * 4), happened(9, ["a"]))
    desk.send(happened(9, ["b"], None), ticked(14), happened(14.5, ["d"], 1.0), ticked(40))
    before = figures(desk.home)
    assert {name: before["counts"][name] for name in ("outcomes", "absent")} == {"outcomes": 2, "absent": 2}
    erased(desk.home)
    assert figures(desk.home) == before
    rebuild(desk.home, accept=True)
    counts = figures(desk.home)["counts"]
    assert {name: counts[name] for name in ("outcomes", "absent")} == {"outcomes": 2, "absent": 2}


def test_what_is_erased_before_its_time_has_no_outcome_by_absence(tmp_path: Path) -> None:
    """A state that had seen it counted it as absent later, and one made anew did not."""
    desk = Desk.ready(tmp_path / "s", labels={"mature_after": "6h", "absent_means": 0, "after": "5h"})
    desk.send(asked(8, [0.1] * 3, ["a", "b", "c"], units=[UNIT, UNIT, "bob"]), happened(9, ["a"]))
    erased(desk.home)
    desk.tick(40)
    counts = figures(desk.home)["counts"]
    assert {name: counts[name] for name in ("predictions", "outcomes", "absent")} == {
        "predictions": 3,
        "outcomes": 1,
        "absent": 1,
    }
    rebuild(desk.home, accept=True)
    assert figures(desk.home)["counts"] == counts


def test_deleted_rows_of_the_state_leave_no_bytes_behind(tmp_path: Path) -> None:
    """Ids that were noted while they were erased stood in pages that SQLite only marks as free."""
    desk = Desk.ready(tmp_path / "s")
    ids = [f"order of ada {number}" for number in range(40)]
    desk.send(asked(8, [0.1] * 40, ids, units=[UNIT] * 40), happened(9, ids), ticked(40))
    erased(desk.home)
    assert not [path for id in ids for path in places_of(desk.home, id)]


REJECTED = f"""id,version,y_pred,time,unit
order-1,1,0.5,2020-01-01T00:00:00Z,bob
order-2,1,none,2020-01-01T00:00:00Z,{UNIT}
order-3,1,"a ""quoted"",
one",2020-01-01T00:00:00Z,bob
p000000,1,none,2020-01-01T00:00:00Z,
"""


def test_rows_that_an_import_rejected_forget_too(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", settings={"clock": "receipt"})
    source, labels = tmp_path / "history.csv", tmp_path / "labels.csv"
    source.write_text(REJECTED)
    labels.write_text("kind,number,y_true\norder,1,1\norder,1,none\nbob,7,none\n")
    desk.send(asked(8, [0.5] * 2, ["bob/7", "p000000"], units=[UNIT] * 2))
    assert lossloop("import", "predictions", MODEL, str(source), state=desk.home.path).returncode == 0
    made = ("--id-from", "kind,number")
    assert lossloop("import", "outcomes", MODEL, str(labels), *made, state=desk.home.path).returncode == 0
    rejects = sorted(desk.home.path.glob("imports/*/rejects.csv"))
    assert len(rejects) == 2
    assert erased(desk.home).rejected == 3
    assert not places_of(desk.home, UNIT)
    left = "".join(path.read_text() for path in rejects)
    assert "p000000" not in left
    assert "bob,7" not in left
    assert 'order-3,1,"a ""quoted"",\none"' in left
    assert left.count("reject_row") == 2
    assert erased(desk.home).rejected == 0
    again = lossloop("import", "predictions", MODEL, str(source), state=desk.home.path)
    assert "0 predictions taken" in again.stdout, "what was done with stays done with"
