"""`lossloop loss recompute`: what people and programs are told of a loss over history."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossloop.app.cli import main
from lossloop.app.cli.figures import figures_table, notes
from lossloop.app.cli.loss import Bar
from tests.app.desk import MODEL
from tests.app.past import Past, labels, rows


@pytest.fixture
def past(tmp_path: Path) -> Past:
    """Six days of two versions; a tenth of the outcomes is missing."""
    draw = np.random.default_rng(1)
    found = Past.at(tmp_path / "s")
    found.predicted(rows(draw.random(600), version=1 + np.arange(600) % 2, day=np.arange(600) // 100))
    return found.told(labels(np.arange(61, 601), draw.integers(0, 2, 540)))


class Said:
    """How the command ended and what it said."""

    def __init__(self, code: Any, out: str, err: str) -> None:
        self.code, self.out, self.err = int(code or 0), out, err

    @property
    def lines(self) -> list[str]:
        """What was printed, runs of spaces as one, rules left out."""
        lines = (re.sub(r"[\s─]+", " ", line).strip() for line in self.out.splitlines())
        return [line for line in lines if line]

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, past: Past, *arguments: str
) -> Said:
    given = ["lossloop", "loss", "recompute", *arguments, "--state", str(past.home.path)]
    monkeypatch.setattr("sys.argv", given)
    code: Any = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
    said = capsys.readouterr()
    return Said(code, said.out, said.err)


class Terminal:
    """A terminal to type the command into."""

    def __init__(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, past: Past
    ) -> None:
        self._with = (capsys, monkeypatch, past)

    def __call__(self, *arguments: str) -> Said:
        return run(*self._with, *arguments)


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, past: Past) -> Terminal:
    return Terminal(capsys, monkeypatch, past)


def test_the_loss_in_force_is_shown_by_version_and_role(typed: Terminal) -> None:
    said = typed(MODEL)
    assert (said.code, said.err) == (0, "")
    assert re.fullmatch(r"m brier@\w{6}, in force", said.lines[0])
    assert said.lines[1] == "version role rows labelled missing mean [95%]"
    assert re.fullmatch(r"1 champion 300 270 10\.0% 0\.\d{4} \[0\.\d{4}, 0\.\d{4}\]", said.lines[2])
    assert re.fullmatch(r"all 600 540 10\.0% 0\.\d{4} \[0\.\d{4}, 0\.\d{4}\]", said.lines[4])
    assert said.lines[5] == "60 of 600 predictions have no outcome; they are in no mean."
    assert re.fullmatch(r"600 predictions in \d+\.\d\d s on embedded\.", said.lines[6])


def test_another_loss_is_compared_with_the_one_in_force(typed: Terminal) -> None:
    said = typed(MODEL, "--loss", "0.5*brier", "--by", "version")
    assert re.fullmatch(r"m 0\.5\*brier@\w{6}, against brier@\w{6} in force", said.lines[0])
    assert said.lines[1].endswith("mean [95%] less in force [95%]")
    assert re.fullmatch(r"1 300 270 10\.0% 0\.\d{4} \[.*\] -0\.\d{4} \[-0\.\d{4}, -0\.\d{4}\]", said.lines[2])


def test_too_few_blocks_are_marked(typed: Terminal) -> None:
    said = typed(MODEL, "--by", "block", "--since", "2024-01-02", "--until", "2024-01-04")
    assert [line.split()[0] for line in said.lines[2:5]] == ["2024-01-02", "2024-01-03", "all"]
    assert all(line.endswith("~") for line in said.lines[2:5])
    assert "~ too few blocks for an interval over blocks: rows are taken for independent." in said.out


def test_the_floor_is_told_as_a_ratio(typed: Terminal) -> None:
    said = typed(MODEL, "--floor")
    assert re.search(r"on embedded: \d+\.\d times one plain NumPy pass \(\d\.\d{3} s\)\.$", said.out.strip())
    assert typed(MODEL, "--floor", "--json").json["floor_seconds"] > 0


def test_an_answer_for_programs_has_every_key(typed: Terminal) -> None:
    told = typed(MODEL, "--loss", "squared", "--by", "role,version,role", "--json").json
    assert sorted(told) == sorted([
        "model", "loss", "text", "unit", "needs_outcome", "in_force", "since", "until", "by", "figures",
        "whole", "problem", "gone", "seconds", "on", "floor_seconds",
    ])  # fmt: skip
    assert (told["by"], told["on"], told["floor_seconds"]) == (["role", "version"], "embedded", None)
    assert sorted(told["whole"]) == sorted([
        "version", "role", "block", "slice", "rows", "labelled", "missing", "unscored", "mean", "interval",
        "in_force", "delta", "over",
    ])  # fmt: skip
    assert [each["version"] for each in told["figures"]] == [1, 2]


def test_dask_says_the_same(typed: Terminal) -> None:
    here, there = (typed(MODEL, "--on", name, "--json").json for name in ("embedded", "dask"))
    for told in (here, there):
        del told["seconds"], told["on"]
    assert here == there


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["n"], "unknown model 'n'; there are: m"),
        ([MODEL, "--loss", "briar"], "unknown loss 'briar'; did you mean 'brier'?"),
        ([MODEL, "--on", "spark"], "unknown executor 'spark'"),
        ([MODEL, "--on", "embedded:here"], "the embedded executor has no address; use dask or ray"),
        ([MODEL, "--on", "dask:nowhere://x"], "no Dask scheduler answers at nowhere://x"),
        ([MODEL, "--since", "soon"], "write a moment such as 2013-03-18T17:45:00Z"),
        ([MODEL, "--since", "2030-01-01"], "m has no predictions from 2030-01-01T00:00:00Z"),
        ([MODEL, "--by", "version,origin"], "unknown feature 'origin'"),
    ],
)
def test_an_error_says_what_to_do_and_ends_with_one(
    typed: Terminal, arguments: list[str], words: str
) -> None:
    said = typed(*arguments)
    assert (said.code, said.out) == (1, "")
    assert words in said.err
    assert words in typed(*arguments, "--json").json["error"]


def test_the_command_explains_itself(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for arguments in (["loss", "--help"], ["loss", "recompute", "--help"]):
        monkeypatch.setattr("sys.argv", ["lossloop", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code
        assert "recompute" in capsys.readouterr().out


# What has to be said.


def figure(**given: Any) -> dict[str, Any]:
    interval = {"estimate": 0.5, "low": 0.25, "high": 0.75}
    return {
        "version": None, "role": None, "block": None, "slice": None, "rows": 10, "labelled": 10,
        "missing": 0.0, "unscored": 0, "mean": 0.5, "interval": interval, "in_force": None, "delta": None,
        "over": "blocks", **given,
    }  # fmt: skip


def answer(whole: dict[str, Any], **given: Any) -> dict[str, Any]:
    return {
        "figures": [whole], "whole": whole, "needs_outcome": True, "in_force": None, "problem": "", "gone": 0,
        "seconds": 0.5, "on": "ray", "floor_seconds": None, **given,
    }  # fmt: skip


def test_all_is_well_with_nothing_to_say_but_the_time() -> None:
    assert notes(answer(figure())) == ["10 predictions in 0.50 s on ray."]


def test_what_is_missing_ill_or_gone_is_said() -> None:
    whole = figure(labelled=8, missing=0.2, unscored=3)
    assert notes(answer(whole, problem="probability 7 is outside [0, 1]", gone=1234))[:3] == [
        "2 of 10 predictions have no outcome; they are in no mean.",
        "3 predictions have no such loss; the first: probability 7 is outside [0, 1].",
        "1,234 further predictions were erased or have expired; only counts are left.",
    ]


def test_a_loss_that_needs_no_outcome_leaves_none_out() -> None:
    said = notes(answer(figure(labelled=8, missing=0.2), needs_outcome=False))
    assert said[0] == "2 of 10 predictions have no outcome; this loss needs none."


def test_what_has_no_mean_or_no_difference_is_a_dash() -> None:
    table = figures_table(answer(figure(mean=None, interval=None), in_force="brier@123456"))
    cells = [str(next(iter(column.cells))) for column in table.columns]
    assert cells == ["10", "10", "0.0%", "-", "-"]


def test_the_bar_is_silent_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with Bar() as bar:
        bar.show(1, 2)
        bar.show(2, 2)
    assert capsys.readouterr() == ("", "")
