"""The locks: what they are made for, that they are fresh, and how platforms are merged."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts import lock
from tests.house.repository import ROOT, project

PINS = """\
numpy==2.5.5 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
rich==15.0.0 \\
    --hash=sha256:cc
"""
INPUTS = {"run": ["numpy", "rich"]}


def write_locks(folder: Path, text: str) -> None:
    for minor in lock.MINORS:
        (folder / f"run-{minor}.txt").write_text(text)


def fresh(requirements: list[str]) -> str:
    return f"# inputs: {lock.digest(requirements)}\n{PINS}"


def test_the_locks_of_this_repository_are_fresh() -> None:
    assert not lock.check(ROOT / "requirements", lock.lock_inputs(project()))


@pytest.mark.parametrize("path", sorted((ROOT / "requirements").glob("*.txt")), ids=lambda path: path.name)
def test_every_requirement_is_pinned_and_hashed(path: Path) -> None:
    pins = re.split(r"\n(?=\S)", path.read_text().rstrip())[2:]
    shape = re.compile(r"[\w.-]+==[\w.+!]+( ; sys_platform == '\w+')?( \\\n    --hash=sha256:[0-9a-f]{64})+")
    assert pins
    assert not [pin for pin in pins if not shape.fullmatch(pin)]


def test_every_version_of_python_we_claim_has_a_lock() -> None:
    claimed = re.findall(r"Python :: (3\.\d+)", " ".join(project()["project"]["classifiers"]))
    assert tuple(claimed) == lock.MINORS


def test_the_larger_set_holds_the_smaller() -> None:
    inputs = lock.lock_inputs(project())
    assert set(inputs["run"]) < set(inputs["dev"])
    assert set(inputs["build"]) < set(inputs["dev"])


def test_a_run_and_a_dev_lock_agree_on_versions() -> None:
    for minor in lock.MINORS:
        run, dev = (
            set(
                re.findall(
                    r"^\S+==\S+", (ROOT / "requirements" / f"{name}-{minor}.txt").read_text(), re.MULTILINE
                )
            )
            for name in ("run", "dev")
        )
        assert run <= dev


def test_a_fresh_lock_has_no_problem(tmp_path: Path) -> None:
    write_locks(tmp_path, fresh(INPUTS["run"]))
    assert lock.check(tmp_path, INPUTS) == []


def test_a_changed_requirement_makes_the_locks_stale(tmp_path: Path) -> None:
    write_locks(tmp_path, fresh(["numpy"]))
    assert lock.check(tmp_path, INPUTS)[0] == "run-3.11.txt: older than pyproject.toml; run `make lock`"


def test_a_missing_lock_is_named(tmp_path: Path) -> None:
    write_locks(tmp_path, fresh(INPUTS["run"]))
    (tmp_path / "run-3.12.txt").unlink()
    assert lock.check(tmp_path, INPUTS) == ["run-3.12.txt: missing; run `make lock`"]


def test_a_lock_that_names_a_host_is_refused(tmp_path: Path) -> None:
    write_locks(tmp_path, "--index-url https://example.org/simple\n" + fresh(INPUTS["run"]))
    assert lock.check(tmp_path, INPUTS)[0] == "run-3.11.txt: names a place to download from"


def test_platforms_that_agree_merge_without_markers() -> None:
    assert lock.merge({"linux": PINS, "darwin": PINS}) == PINS


def test_what_one_platform_alone_needs_gets_a_marker() -> None:
    more = PINS + "six==1.0 \\\n    --hash=sha256:dd\n"
    assert lock.merge({"linux": more, "darwin": PINS}) == (
        PINS + "six==1.0 ; sys_platform == 'linux' \\\n    --hash=sha256:dd\n"
    )


def test_versions_that_differ_by_platform_get_a_marker_each() -> None:
    other = PINS.replace("rich==15.0.0", "rich==14.0.0")
    merged = lock.merge({"linux": PINS, "darwin": other})
    assert "rich==15.0.0 ; sys_platform == 'linux'" in merged
    assert "rich==14.0.0 ; sys_platform == 'darwin'" in merged
