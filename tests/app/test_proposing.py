"""A policy held against the past: what is measured, what is proposed, and what that costs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossloop.act.policy import read_policy
from lossloop.app.backtest import Candidate
from lossloop.app.cli import main
from lossloop.app.home import Home
from lossloop.app.proposing import Change, Checked, check_policy
from lossloop.app.proposing.editing import diff, edited
from lossloop.app.proposing.measuring import carries_over, rounded_up, spans
from lossloop.core.clock import DAY, HOUR
from lossloop.core.errors import InputError
from tests.app.backtest.ledgers import ledger, reference_of
from tests.app.desk import MODEL

POLICY = """\
# How the model is watched.
model: m
task: binary
loss: brier
block: 1d            # a day
labels: {mature_after: 6h}
watches:
  worse: {kind: regression, tolerance: 0.0001, promise: 1 per 1000 blocks}   # tight
  limit:
    kind: guardrail
    limit: 0.02
    promise: '5% ever'
"""
SOUND = POLICY.replace("0.0001", "0.05").replace("limit: 0.02", "limit: 0.2")


def independent(count: int = 60, rows: int = 50, *, level: float = 0.1, seed: int = 1) -> Any:
    draw = np.random.default_rng(seed)
    return (draw.random((count, rows)) < level).astype(np.float64)


def shared(count: int = 60, rows: int = 50) -> Any:
    """What a day's rows lose is for the most part their day's."""
    draw = np.random.default_rng(3)
    return np.clip(draw.normal(0.3, 0.1, (count, 1)) + draw.normal(0.0, 0.02, (count, rows)), 0.0, 1.0)


def wandering(*, carried: float = 0.6, count: int = 300, rows: int = 20) -> Any:
    """Days that come in runs."""
    draw = np.random.default_rng(4)
    level, found = 0.0, []
    for _ in range(count):
        level = carried * level + draw.normal(0.0, 0.06)
        found.append(level)
    return np.clip(0.4 + np.array(found)[:, None] + draw.normal(0.0, 0.02, (count, rows)), 0.0, 1.0)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    reference = reference_of(independent(seed=2).mean(axis=1))
    return ledger(tmp_path_factory.mktemp("l") / "s", independent(), reference=reference)


def checked(home: Home, text: str) -> Checked:
    return check_policy(home, Candidate(name="p.yaml", policy=read_policy(text)), MODEL, text)


def change_of(found: Checked, *path: str) -> Change:
    return next(change for change in found.changes if change.path == path)


def test_a_policy_that_keeps_what_it_promises_is_fine(home: Home) -> None:
    found = checked(home, SOUND)
    assert found.fine
    assert found.diff == ""
    assert found.text == SOUND
    assert found.rows == 3000


def test_a_tolerance_below_what_the_reference_is_sure_of_is_proposed_anew(home: Home) -> None:
    change = change_of(checked(home, POLICY), "watches", "worse", "tolerance")
    assert change.present == "0.0001"
    assert float(change.proposed) >= 0.005
    assert "the reference (60 blocks) is only sure to" in change.why
    assert change.before is not None
    assert change.after is not None
    pairs = zip(change.before.effects, change.after.effects, strict=True)
    assert all(one.most <= other.most for one, other in pairs), "a wider tolerance costs delay"


def test_a_limit_that_the_past_is_above_is_proposed_anew(home: Home) -> None:
    change = change_of(checked(home, POLICY), "watches", "limit", "limit")
    assert 0.1 < float(change.proposed) < 0.15
    assert "would alarm without any change" in change.why


def test_the_proposal_is_the_file_with_those_values_and_is_fine_itself(home: Home) -> None:
    found = checked(home, POLICY)
    assert "# How the model is watched." in found.text
    assert "# tight" in found.text
    assert "-    limit: 0.02\n" in found.diff
    again = checked(home, found.text)
    assert again.fine, again


def test_rows_that_vary_together_are_judged_in_blocks(tmp_path: Path) -> None:
    home = ledger(tmp_path / "s", shared())
    rows = SOUND.replace("'5% ever'", "1 per 100000 outcomes").replace(
        "  worse: {kind: regression, tolerance: 0.05, promise: 1 per 1000 blocks}   # tight\n", ""
    )
    found = checked(home, rows)
    change = change_of(found, "watches", "limit", "promise")
    assert "design effect" in change.why
    day = next(span for span in found.spans if span.block == DAY)
    assert day.design_effect > 10
    assert "promise: 1 per 3650 blocks" in found.text


def test_blocks_that_carry_over_are_made_longer(tmp_path: Path) -> None:
    home = ledger(tmp_path / "s", wandering())
    text = "model: m\ntask: binary\nloss: brier\nblock: 1d\nlabels: {mature_after: 6h}\n"
    found = checked(home, text)
    change = change_of(found, "block")
    assert (change.present, change.proposed) == ("1d", "1w")
    assert "block: 1w\n" in found.text


def test_where_no_block_is_free_of_the_one_before_a_warning_says_so(tmp_path: Path) -> None:
    home = ledger(tmp_path / "s", wandering(carried=0.97))
    found = checked(home, "model: m\ntask: binary\nloss: brier\nblock: 1d\nlabels: {mature_after: 6h}\n")
    assert not found.fine
    assert found.changes == ()
    assert "It takes a longer past" in found.warnings[0]


def test_a_watch_that_cannot_judge_is_a_warning(tmp_path: Path) -> None:
    home = ledger(tmp_path / "s", independent())
    found = checked(home, SOUND)
    assert not found.fine
    assert "has no reference" in found.warnings[0]


@pytest.mark.parametrize("days", [1, 5])
def test_too_short_a_past_is_refused_with_what_it_needs(tmp_path: Path, days: int) -> None:
    home = ledger(tmp_path / "s", independent(days))
    with pytest.raises(InputError, match=f"there are {days} blocks with outcomes; .* takes 8 or more"):
        checked(home, SOUND)


def test_without_any_outcome_it_is_refused_too(tmp_path: Path) -> None:
    home = ledger(tmp_path / "s", independent(20), missing=1.0)
    with pytest.raises(InputError, match="there are 0 blocks with outcomes"):
        checked(home, SOUND)


# What is measured.


def test_independent_rows_have_a_design_effect_of_one_and_nothing_carries_over() -> None:
    draw = np.random.default_rng(5)
    losses = draw.random(20_000)
    at = np.sort(draw.integers(0, 100 * DAY, 20_000))
    for each in spans(losses, at, DAY, "UTC"):
        assert each.design_effect == pytest.approx(1.0, abs=0.6)
        assert each.enough


def test_the_policys_own_block_is_among_those_measured() -> None:
    at = np.arange(5_000) * HOUR
    found = spans(np.random.default_rng(1).random(5_000), at, 3 * DAY, "UTC")
    assert 3 * DAY in [each.block for each in found]
    assert [each.block for each in found] == sorted(each.block for each in found)


def test_a_slow_season_is_no_reason_for_longer_blocks() -> None:
    draw = np.random.default_rng(2)
    season = 0.3 + 0.1 * np.sin(np.arange(336) / 336 * 2 * np.pi)
    assert abs(carries_over(season + draw.normal(0.0, 0.05, 336))) < 0.3
    assert carries_over(np.full(40, 0.2)) == 0.0


@pytest.mark.parametrize(
    ("value", "up"), [(0.0011, 0.002), (0.02, 0.02), (0.021, 0.05), (0.051, 0.1), (1.0, 1.0), (730.0, 1000.0)]
)
def test_proposals_are_numbers_that_people_write(value: float, up: float) -> None:
    assert rounded_up(value) == up


# The file.


def change(*path: str, to: str) -> Change:
    return Change(path=path, present="", proposed=to, why="")


@pytest.mark.parametrize(
    ("path", "to", "line"),
    [
        (("block",), "1w", "block: 1w            # a day"),
        (
            ("watches", "worse", "tolerance"),
            "0.05",
            "  worse: {kind: regression, tolerance: 0.05, promise: 1 per 1000 blocks}   # tight",
        ),
        (
            ("watches", "worse", "promise"),
            "5% ever",
            "  worse: {kind: regression, tolerance: 0.0001, promise: 5% ever}   # tight",
        ),
        (("watches", "limit", "limit"), "0.3", "    limit: 0.3"),
        (("watches", "limit", "promise"), "1% ever", "    promise: 1% ever"),
    ],
)
def test_a_value_changes_where_it_stands(path: tuple[str, ...], to: str, line: str) -> None:
    after = edited(POLICY, [change(*path, to=to)])
    assert line in after.splitlines()
    assert len(after.splitlines()) == len(POLICY.splitlines())
    changed = [
        one for one, other in zip(POLICY.splitlines(), after.splitlines(), strict=True) if one != other
    ]
    assert len(changed) == 1
    read_policy(after)


def test_a_key_that_is_not_written_is_left_to_people() -> None:
    text = POLICY.replace("block: 1d            # a day\n", "")
    assert edited(text, [change("block", to="1w")]) == text
    assert diff(text, text, "p.yaml") == ""


# In the terminal.


def typed(monkeypatch: pytest.MonkeyPatch, home: Home, file: Path, *flags: str) -> int:
    words = ["lossloop", "check", "policy", str(file), "--state", str(home.path), *flags]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_it_ends_with_1_until_the_proposal_is_written(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(POLICY)
    assert typed(monkeypatch, home, file) == 1
    said = capsys.readouterr().out
    assert "watches.worse.tolerance: 0.0001 -> " in said
    assert "+    limit: 0.1" in said
    assert file.read_text() == POLICY
    assert typed(monkeypatch, home, file, "--write") == 1
    assert "p.yaml was written." in capsys.readouterr().out
    assert typed(monkeypatch, home, file) == 0
    assert "Nothing to change" in capsys.readouterr().out
    assert typed(monkeypatch, home, file, "--json") == 0
    assert json.loads(capsys.readouterr().out)["fine"] is True
