"""`lossloop metrics`: what people and programs are told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from lossloop.app.cli import main
from lossloop.app.cli.metrics import metrics_table, notes
from tests.app.desk import MODEL
from tests.app.past import Past, labels, rows
from tests.app.test_loss_cli import Said
from tests.app.test_metrics import of_days

Typed = Any


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Typed:
    """A terminal 120 characters wide to type the command into."""
    monkeypatch.setenv("COLUMNS", "120")

    def run(past: Past, *arguments: str) -> Said:
        given = ["lossloop", "metrics", MODEL, *arguments, "--state", str(past.home.path)]
        monkeypatch.setattr("sys.argv", given)
        code: Any = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return run


@pytest.fixture
def past(tmp_path: Path) -> Past:
    return of_days(tmp_path / "s")


def test_a_few_groups_stand_beside_each_other(typed: Typed, past: Past) -> None:
    said = typed(past)
    assert (said.code, said.err) == (0, "")
    assert said.lines[:4] == [
        "m binary, called 1 from 0.5 on", "metric 1 champion 2 champion", "rows 800 800", "labelled 800 640"
    ]  # fmt: skip
    number = r"\d\.\d{4} \[\d\.\d{4}, \d\.\d{4}\]"
    assert any(re.fullmatch(f"accuracy {number} {number}", line) for line in said.lines)
    assert any(re.fullmatch(r"bias [+-]0\.\d{4} \[-0\.\d{4}, \+0\.\d{4}\] .*", line) for line in said.lines)
    assert said.lines[-2] == "160 of 1,600 predictions have no outcome; they are in no metric."
    words = r"auc is counted in bins: of the rows themselves it differs by at most 0\.0\d+\."
    assert re.fullmatch(words, said.lines[-1])


def test_one_metric_is_shown_with_its_interval(typed: Typed, past: Past) -> None:
    said = typed(past, "--metric", "recall", "--by", "block", "--threshold", "0.25")
    assert said.lines[:2] == ["m binary, called 1 from 0.25 on", "block labelled recall [95%]"]
    assert re.fullmatch(r"2024-01-01 180 0\.\d{4} \[0\.\d{4}, (0|1)\.\d{4}\] ~", said.lines[2])
    assert said.lines[-1].startswith("~ too few blocks for an interval over blocks")
    assert "bins" not in said.out


def test_many_groups_are_told_in_short(typed: Typed, past: Past) -> None:
    said = typed(past, "--by", "block")
    assert said.lines[1] == "block labelled accuracy precision recall f1 auc ece"
    assert re.fullmatch(r"2024-01-01 180( 0\.\d{1,5}){6}", said.lines[2])
    assert "~" not in said.out, "there are no intervals to mark"


def test_regression_has_no_threshold(typed: Typed, tmp_path: Path) -> None:
    past = Past.at(tmp_path / "s", task="regression", loss="squared")
    past.predicted(rows([1.0, 5.0])).told(labels([1, 2], [2.0, 5.0]))
    said = typed(past)
    assert said.lines[0] == "m regression"
    assert [line.split()[0] for line in said.lines[1:]] == [
        "metric", "rows", "labelled", "mae", "rmse", "bias", "wape", "r2", "~"
    ]  # fmt: skip


def test_an_answer_for_programs_has_every_key(typed: Typed, past: Past) -> None:
    told = typed(past, "--json").json
    assert sorted(told) == sorted([
        "model", "task", "threshold", "since", "until", "by", "against", "gap_level", "figures", "gone",
        "seconds",
    ])  # fmt: skip
    assert sorted(told["figures"][0]) == sorted([
        "version", "role", "block", "slice", "rows", "labelled", "missing", "unmeasured", "over", "metrics",
        "detail",
    ])  # fmt: skip


@pytest.mark.parametrize("json", [(), ("--json",)])
def test_a_metric_that_is_not_there_is_refused(typed: Typed, past: Past, json: tuple[str, ...]) -> None:
    said = typed(past, "--metric", "recal", *json)
    assert said.code == 1
    words = "unknown metric of a binary task 'recal'; did you mean 'recall'"
    assert words in said.out + said.err


def figure(name: str, *, over: str = "blocks", gap: Any = None, rows: int = 10) -> dict[str, Any]:
    interval = {"estimate": 0.5, "low": 0.25, "high": 0.75}
    estimate = {"value": 0.5, "interval": interval, "gap": gap, "between": None}
    return {
        "version": None, "role": None, "block": None, "slice": name, "rows": rows, "labelled": 8,
        "unmeasured": 1, "over": over, "metrics": {"recall": estimate},
    }  # fmt: skip


def test_gaps_are_a_column_of_their_own() -> None:
    gap = {"estimate": -0.25, "low": -0.5, "high": 0.125}
    found = {
        "figures": [figure("c=A"), figure("c=B", gap=gap, over="rows")], "gone": 3, "against": "c=A",
        "gap_level": 0.95,
    }  # fmt: skip
    table = metrics_table(found, "recall")
    assert [str(column.header) for column in table.columns] == [
        "slice",
        "labelled",
        "recall [95%]",
        "less c=A",
    ]
    cells = [[str(cell) for cell in column.cells] for column in table.columns]
    assert cells[2] == ["0.5000 [0.2500, 0.7500]", "0.5000 [0.2500, 0.7500] ~"]
    assert cells[3] == ["-", "-0.2500 [-0.5000, +0.1250] ~"]
    assert notes(found, "recall") == [
        "4 of 20 predictions have no outcome; they are in no metric.",
        "2 predictions with an outcome cannot be measured; they are in no metric.",
        "3 further predictions were erased or have expired.",
        "~ too few blocks for an interval over blocks: rows are taken for independent.",
        "Gaps have intervals that hold together: 95% for all slices of one metric.",
    ]
