"""The page of what was asked and measured names scripts and tests that exist, and leaves no script out."""

from __future__ import annotations

import re

import pytest

from tests.house.repository import ROOT

PAGE = (ROOT / "docs" / "reference" / "acceptance.md").read_text()
SCRIPTS = {path.stem for path in (ROOT / "benchmarks" / "judges").glob("*.py")} - {"command"}
NAMED = {words.split()[0] for words in re.findall(r"`([a-z_]+(?: --[^`]+)?)`", PAGE)}


def rows() -> list[list[str]]:
    """The cells of every row of every table but for the headings and the lines under them."""
    lines = [line for line in PAGE.splitlines() if line.startswith("| ") and not set(line) <= set("|- ")]
    return [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]


def test_every_script_is_on_the_page_and_every_one_on_it_exists() -> None:
    assert NAMED == SCRIPTS, "a script's figures belong on docs/reference/acceptance.md"


@pytest.mark.parametrize("cells", [row for row in rows() if "`" in row[-1]], ids=lambda row: str(row[0]))
def test_every_row_says_what_measures_it(cells: list[str]) -> None:
    """A script of that name with those options, or a test that holds the figures."""
    said = cells[-1].split("`")[1]
    if said.startswith("tests/"):
        text = (ROOT / said).read_text()
        published = [figure for part in cells[1:-1] for figure in re.findall(r"-?\d+\.?\d*", part)]
        assert published
        assert all(figure in text for figure in published), cells
        return
    script, *options = said.split()
    source = (ROOT / "benchmarks" / "judges" / f"{script}.py").read_text()
    for option in options:
        if option == "--replications":
            assert "replications=" in source
        elif option.startswith("--"):
            assert f'"{option}"' in source, said


def test_the_specification_s_figures_stand_beside_ours() -> None:
    both = [row for row in rows() if len(row) == 4 and "`" in row[-1] and row[0]]
    assert len(both) > 30
    assert sum(bool(row[1]) for row in both) > 25
