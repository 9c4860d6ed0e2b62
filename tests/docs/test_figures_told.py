"""What the pages say of benches and of the contest is what there is: every figure and every detector."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lossloop.app.bench import judge_targets, serve_targets, targets
from lossloop.app.bench.contest import ours, peers
from lossloop.app.bench.contest.cells import CELLS
from tests.house.repository import ROOT

DOCS = ROOT / "docs"
COMPARES = (DOCS / "explanation" / "how-it-compares.md").read_text()
MEASURE = (DOCS / "how-to" / "measure-your-machine.md").read_text()
NAMES = {
    "ADWIN": "ADWIN",
    "Page-Hinkley": "Page-Hinkley",
    "DDM": "DDM",
    "KSWIN": "KSWIN",
    "t-test every 100, z=1.645": "t-test every 100, z = 1.645",
    "Argo: 3 failures allowed, 1.2x": "Argo, 3 failures allowed, 1.2x",
    "Argo: 3 failures allowed, 2x": "Argo, 3 failures allowed, 2x",
    "Flagger: 5 failed checks, 1.2x": "Flagger, 5 failed checks, 1.2x",
    "Flagger: 5 failed checks, 2x": "Flagger, 5 failed checks, 2x",
    "NannyML, chunks of 1,000": "NannyML, chunks of 1,000",
    "NannyML, chunks of 5,000": "NannyML, chunks of 5,000",
}
"""What a peer of the bench is called on the page."""


def table_rows(text: str) -> dict[str, list[str]]:
    """The cells behind the first, by the first, of all rows of all tables; the first table wins."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        cells = [cell.strip().strip("*") for cell in line.strip().strip("|").split(" | ")]
        if line.startswith("| ") and len(cells) > 1:
            found.setdefault(cells[0].strip("`"), cells[1:])
    return found


def number(cell: str) -> float:
    text = cell.strip("* ").replace(",", "")
    return float("inf") if text == "never" else float(text)


def listed(text: str) -> set[str]:
    """Ids that a definition list of the page names; `http_*` stands for all that begin so."""
    terms = [line for line in text.splitlines() if line.startswith("`")]
    return {name for line in terms for name in re.findall(r"`([a-z0-9_*]+)`", line)}


FIGURES = (*targets.TARGETS, *judge_targets.TARGETS, *serve_targets.TARGETS)


@pytest.mark.parametrize("id", FIGURES)
def test_every_figure_is_explained(id: str) -> None:
    names = listed(MEASURE)
    assert id in names or any(name.endswith("*") and id.startswith(name[:-1]) for name in names)


def test_every_name_that_is_explained_is_a_figure() -> None:
    for name in listed(MEASURE):
        assert name in FIGURES or any(id.startswith(name.rstrip("*")) for id in FIGURES), name


def test_every_peer_and_promise_has_a_row_for_every_cell() -> None:
    rows = table_rows(COMPARES)
    assert set(NAMES) == set(peers.as_configured())
    promised = [promise.words for promise in ours.PROMISES.values()]
    for name in [*NAMES.values(), *promised]:
        cells = rows[name]
        assert len(cells) == 1 + len(CELLS), name
        assert 0.0 <= number(cells[0]) <= 1.0
        assert all(number(cell) > 0 for cell in cells[1:])


def test_the_page_counts_the_cells_as_its_table_has_them() -> None:
    rows = table_rows(COMPARES)
    mine = [number(cell) for cell in rows[ours.PROMISES[ours.OURS].words]]
    rivals = [[number(cell) for cell in rows[name]] for name in NAMES.values()]
    allowed = [row for row in rivals if row[0] <= 0.05]
    ahead = [place for place in range(1, 1 + len(CELLS)) if all(mine[place] < row[place] for row in allowed)]
    told = re.search(r"ahead in \*\*(\d) of 9 cells\*\*", COMPARES)
    assert told is not None
    assert len(ahead) == int(told[1])
    assert mine[0] <= 0.05


def test_those_with_too_many_false_alarms_stand_apart() -> None:
    below = COMPARES.split("*too many false alarms:*")[1].split("\n\n")[0]
    rows = table_rows(COMPARES)
    apart = {name for name in NAMES.values() if f"| {name} |" in below}
    assert apart == {name for name in NAMES.values() if number(rows[name][0]) > 0.05}


@pytest.mark.parametrize("page", sorted(Path(DOCS).rglob("*.md")), ids=lambda page: page.name)
def test_a_benchmark_that_a_page_names_is_there(page: Path) -> None:
    for name in re.findall(r"python -m (benchmarks[\w.]+)", page.read_text()):
        assert (ROOT / Path(*name.split("."))).with_suffix(".py").exists(), name
