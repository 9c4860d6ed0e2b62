"""Setting up says clearly what is missing, and does nothing twice."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import setup
from tests.house.repository import ROOT


@pytest.fixture
def requirements(tmp_path: Path) -> Path:
    for minor in ("3.11", "3.12"):
        (tmp_path / f"run-{minor}.txt").touch()
    return tmp_path


def test_an_old_python_is_told_what_is_needed(requirements: Path) -> None:
    problem = setup.python_problem((3, 10), requirements)
    assert problem == "Python 3.10 is too old; 3.11 or newer is needed. Name one: make PYTHON=python3.13 ..."


def test_a_python_without_a_lock_is_told_which_have_one(requirements: Path) -> None:
    problem = setup.python_problem((3, 19), requirements)
    assert problem is not None
    assert "no lock for Python 3.19, only for 3.11, 3.12" in problem


def test_a_python_with_a_lock_is_taken(requirements: Path) -> None:
    assert setup.python_problem((3, 12), requirements) is None


def test_the_fingerprint_follows_locks_and_metadata_and_nothing_else(tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "requirements").mkdir()
    lock = tmp_path / "requirements" / "run-3.11.txt"
    lock.write_text("numpy==2.5.5")
    first = setup.fingerprint(tmp_path, "3.11")
    (tmp_path / "pyproject.toml").open("a").close()
    (tmp_path / "other.py").touch()
    assert setup.fingerprint(tmp_path, "3.11") == first
    assert setup.fingerprint(tmp_path, "3.12") != first
    lock.write_text("numpy==2.5.6")
    assert setup.fingerprint(tmp_path, "3.11") != first


@pytest.mark.parametrize(
    ("there", "wanted", "enough"),
    [("run", "run", True), ("dev", "run", True), ("dev", "dev", True), ("run", "dev", False)],
)
def test_the_larger_set_stands_for_the_smaller(tmp_path: Path, there: str, wanted: str, enough: bool) -> None:
    (tmp_path / f".installed-{there}").write_text("same")
    assert setup.installed(tmp_path, wanted, "same") is enough
    assert not setup.installed(tmp_path, wanted, "changed")


@pytest.mark.parametrize("arguments", [[], ["all"], ["run", "dev"]])
def test_anything_but_one_set_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert setup.main(arguments) == 1
    assert capsys.readouterr().err == "setup: usage: setup.py run|dev\n"


def test_make_without_python_says_so() -> None:
    command = ["make", "--no-print-directory", "setup", "PYTHON=no-such-python"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "no-such-python was not found; Python 3.11 or newer is needed" in done.stderr


def test_make_help_lists_the_two_commands() -> None:
    done = subprocess.run(
        ["make", "help", f"PYTHON={sys.executable}"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "make run" in done.stdout
    assert "make test" in done.stdout
