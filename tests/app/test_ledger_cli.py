"""`lossloop ledger ...` and `lossloop erase`: for people and for programs."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from lossloop.access.audit import AuditLog
from lossloop.app.home import Home
from lossloop.app.rebuilding import rebuild
from lossloop.ledger.files.manifests import sealed_directory
from tests.app.desk import MODEL, Desk
from tests.app.keepsakes import UNIT, figures, places_of, storied
from tests.app.test_cli import Run, run
from tests.ledger.test_sealing import flip

__all__ = ["run"]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """In the directory that the commands use."""
    return storied(tmp_path / "s")


def test_sealing_says_what_became_of_it(run: Run, desk: Desk) -> None:
    said = run("ledger", "seal", "--json")
    assert said.code == 0
    assert sum(each["rows"] for each in said.json["sealed"]) > 16
    assert all(each["bytes"] > 0 < each["sealed_bytes"] for each in said.json["sealed"])
    again = run("ledger", "seal")
    assert again.out == "No finished segment to seal.\n"
    desk.tick(60)
    assert run("ledger", "seal").out.startswith("Sealed 1 segments: ")
    assert not list(desk.home.segments.directory.glob("*.seg"))


def test_a_sound_log_ends_with_0(run: Run, desk: Desk) -> None:
    run("ledger", "seal")
    said = run("ledger", "verify")
    assert said.code == 0
    assert said.out.startswith("Checked ")
    assert said.out.endswith(": sound.\n")
    plain = run("ledger", "verify", "--json").json
    assert plain["sound"] is True
    assert plain["segments"] == plain["sealed"] > 0
    assert plain["findings"] == plain["strays"] == []
    assert plain["audit"] is None


def test_a_flipped_byte_ends_with_1_and_names_its_events(run: Run, desk: Desk) -> None:
    path = next(
        path for path in desk.home.segments.directory.glob("*.seg") if b"p000000" in path.read_bytes()
    )
    flip(path, path.read_bytes().index(b"p000000") + 90)
    said = run("ledger", "verify")
    assert said.code == 1
    assert f"{path.name} bytes 0 to " in said.out
    assert f": 4 predictions of {MODEL}, received 20" in said.out
    assert "; ids p000000, p000001, p000002, p000003\n" in said.out
    assert said.out.endswith(": NOT sound.\n")
    plain = run("ledger", "verify", "--json")
    assert plain.code == 1
    assert plain.json["sound"] is False
    assert plain.json["findings"][0]["ids"][0] == "p000000"


def test_what_is_only_noted_is_no_damage(run: Run, desk: Desk) -> None:
    run("ledger", "seal")
    (sealed_directory(desk.home.segments.directory) / "ticks" / "x.parquet.draft").touch()
    (torn, *_) = sorted(storied_segment(desk))
    with torn.open("ab") as file:
        file.write(b"LLF1")
    said = run("ledger", "verify")
    assert said.code == 0
    assert "ticks/x.parquet.draft: left by a crash; the next sealing removes it\n" in said.out
    assert ": cut off before it was acknowledged\n" in said.out


def storied_segment(desk: Desk) -> list[Path]:
    desk.tick(60)
    return list(desk.home.segments.directory.glob("*.seg"))


def test_a_segment_that_is_gone_and_an_audit_log_that_was_changed_are_said(run: Run, desk: Desk) -> None:
    lost = sorted(desk.home.segments.directory.glob("*.seg"))[0]
    lost.unlink()
    audit = AuditLog(desk.home.path)
    audit.append("erase", {"rows": 1})
    audit.path.write_text(audit.path.read_text().replace('"rows":1', '"rows":0'))
    said = run("ledger", "verify")
    assert said.code == 1
    assert f"{lost.name}: the segment was folded and is not there any more" in said.out
    assert "the audit log: " in said.out
    assert "line 1 was changed" in run("ledger", "verify", "--json").json["audit"]


def test_a_log_without_state_is_verified_too(run: Run, desk: Desk) -> None:
    for path in desk.home.path.glob("state.db*"):
        path.unlink()
    assert run("ledger", "verify").code == 0
    assert not desk.home.state_file.exists(), "verifying folded the log"


def test_pruning_says_what_goes_before_it_does(run: Run, desk: Desk) -> None:
    run("ledger", "seal")
    would = run("ledger", "prune", MODEL, "--larger-than", "0B", "--dry-run")
    assert would.out.startswith(f"Would remove 8 predictions and 8 outcomes of {MODEL} from ")
    assert (
        run("ledger", "prune", MODEL, "--older-than", "1d").out
        == f"Nothing of {MODEL} is too old or too much.\n"
    )
    before = figures(desk.home)
    said = run("ledger", "prune", MODEL, "--larger-than", "0B", "--json").json
    assert (said["predictions"], said["outcomes"], said["dry_run"]) == (8, 8, False)
    assert said["first"] <= said["last"]
    assert run("ledger", "prune", MODEL, "--larger-than", "0B", "--json").json["first"] is None
    assert figures(desk.home) == before
    rebuild(desk.home, accept=True)
    assert figures(desk.home)["counts"]["predictions"] == before["counts"]["predictions"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "give --older-than or --larger-than"),
        (["--older-than", "10"], "is not a duration"),
        (["--larger-than", "10"], "is not a size"),
    ],
)
def test_pruning_needs_to_know_what_is_too_much(run: Run, desk: Desk, options: list[str], words: str) -> None:
    said = run("ledger", "prune", MODEL, *options)
    assert said.code == 1
    assert words in " ".join(said.err.split())


def test_pruning_a_model_that_is_not_there_says_so(run: Run, desk: Desk) -> None:
    said = run("ledger", "prune", "nobody", "--older-than", "1d")
    assert said.code == 1
    assert "unknown model 'nobody'" in " ".join(said.err.split())


@pytest.mark.parametrize("name", ["b.tar.zst", "b"])
def test_an_export_is_imported(run: Run, desk: Desk, tmp_path: Path, name: str) -> None:
    said = run("ledger", "export", str(tmp_path / name), "--json").json
    assert said["files"] > 3
    assert said["bytes"] > 1000
    assert said["until"].startswith("20")
    told = run("ledger", "import", str(tmp_path / name), "--state", str(tmp_path / "t"))
    assert told.out == f"Made {tmp_path / 't'} of {said['files']} files, up to {said['until']}.\n"
    assert figures(Home(path=tmp_path / "t")) == figures(desk.home)
    refused = run("ledger", "import", str(tmp_path / name), "--state", str(tmp_path / "t"), "--json")
    assert refused.code == 1
    assert "holds other things" in refused.json["error"]
    again = run("ledger", "export", str(tmp_path / name))
    assert (again.code, "is there already" in again.err) == (1, True)


class Terminal(io.StringIO):
    """Somebody who types one line."""

    def isatty(self) -> bool:
        return True


def typed(monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(line + "\n"))


def test_erasing_asks_and_says_how_much(
    run: Run, desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run("ledger", "export", str(tmp_path / "b"))
    typed(monkeypatch, "no")
    said = run("erase", "--unit", UNIT)
    assert said.code == 0
    assert f"{MODEL}: 4 predictions, 4 outcomes" in said.out
    assert f"and what {tmp_path / 'b'} holds of it" in said.out
    assert said.out.endswith("Nothing was erased.\n")
    assert places_of(desk.home, UNIT)
    typed(monkeypatch, "yes")
    said = run("erase", "--unit", UNIT, "--model", MODEL)
    assert "Erased:\n" in said.out
    assert said.out.endswith("The audit log has an entry.\n")
    assert not places_of(desk.home, UNIT)
    assert not places_of(Home(path=tmp_path / "b"), UNIT)


def test_nobody_to_ask_is_an_error(run: Run, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    for options in ([], ["--json"]):
        said = run("erase", "--unit", UNIT, *options)
        assert said.code == 1
        assert "give --yes to erase without a question" in " ".join((said.out + said.err).split())
    assert places_of(desk.home, UNIT)


def test_erasing_for_programs(run: Run, desk: Desk, tmp_path: Path) -> None:
    run("ledger", "export", str(tmp_path / "b"))
    (tmp_path / "b").rename(tmp_path / "moved")
    wanted: dict[str, Any] = {
        "models": {MODEL: {"predictions": 4, "outcomes": 4}},
        "backups": [str(tmp_path / "moved")],
        "removed": [],
        "not_found": [str(tmp_path / "b")],
        "rejected": 0,
    }
    said = run("erase", "--unit", UNIT, "--yes", "--json", "--backup", str(tmp_path / "moved"))
    assert json.loads(said.out) == wanted
    words = run("erase", "--unit", UNIT, "--yes").out
    assert "no prediction and no outcome in the log" in words
    assert f"{tmp_path / 'b'} was made from this ledger and is not there" in words


def test_an_unknown_model_is_said_to_be_one(run: Run, desk: Desk) -> None:
    said = run("erase", "--unit", UNIT, "--model", "nobody", "--yes", "--json")
    assert said.code == 1
    assert said.json["error"] == f"unknown model 'nobody'; there are: {MODEL}"
