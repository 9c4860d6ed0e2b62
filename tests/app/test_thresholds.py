"""Thresholds in the loop: learned, made a version, judged by what they cost, and taken back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossloop.app import operate
from lossloop.app.cli import main
from lossloop.app.commands import Promote, RollBack
from lossloop.app.home import Home
from lossloop.app.recompute import Question as Recompute
from lossloop.app.recompute import recompute
from lossloop.app.thresholds.asking import Answer, Question, register, thresholds
from lossloop.core.errors import Conflict, InputError, PolicyError, UnknownName
from lossloop.core.thresholds import Thresholds
from lossloop.ledger.frames import Frame
from lossloop.pipelines.executors import open_executor
from lossloop.registry import Manifest, Version, versions
from tests.app.desk import DAY, MODEL, Desk, asked, happened, ticked

COSTS = "action_cost(costs=((0, 1), (4, 0)))"
PLAN = {"shadow": "20 blocks", "steps": ["50%"], "step_for": "1d", "promote_if_within": 0.1,
        "clip_difference": 1.0, "roll_back_if_worse_by": 0.05}  # fmt: skip
LAZY = Thresholds(actions=("pass", "warn"), least=(0.9,))
DAYS, ROWS = 20, 40


def scored(start: int, days: int, *, seed: int = 1, version: int = 1, challenger: int = 0) -> list[Frame]:
    """Days of calibrated scores with outcomes; a challenger in shadow scores the same."""
    draw, frames = np.random.default_rng(seed), list[Frame]()
    for day in range(start, start + days):
        scores = draw.random(ROWS)
        came = draw.random(ROWS) < scores
        ids = [f"d{day}r{row}" for row in range(ROWS)]
        losses = (scores**2).tolist()
        shadow = (challenger, losses) if challenger else None
        frames.append(asked(day * DAY + 1, losses, ids, version=version, shadow=shadow))
        for label in (0.0, 1.0):
            mine = [id for id, one in zip(ids, came.tolist(), strict=True) if one == label]
            frames.append(happened(day * DAY + 2, mine, label))
        frames.append(ticked(day * DAY + DAY + 7))
    return frames


def made(path: Path, *, days: int = DAYS, cut: Thresholds | None = LAZY, **policy: Any) -> Desk:
    """A champion of another system, with some days behind it."""
    desk = Desk.at(path / "s")
    desk.send(ticked(0))
    desk.policy(**{"loss": COSTS, "rollout": PLAN, **policy})
    operate.register(desk.home, MODEL, Manifest(runtime="external", thresholds=cut))
    desk.obey(Promote(model=MODEL, version=1))
    desk.send(*scored(0, days))
    return desk


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return made(tmp_path_factory.mktemp("cuts")).home


def ask(home: Home, **asked: Any) -> Answer:
    return thresholds(home, Question(model=MODEL, **asked))


def version(desk: Desk, number: int) -> Version:
    with desk.books() as books:
        return versions.find(books.documents, MODEL, number)


# Learned.


def test_they_are_learned_from_what_came_for_the_costs_of_the_policy(home: Home) -> None:
    found = ask(home)
    assert found.learned.rows == DAYS * ROWS
    assert found.learned.blocks == DAYS
    assert found.thresholds.actions == LAZY.actions
    assert found.thresholds.least[0] == pytest.approx(0.2, abs=0.1), "theory: 1 / (1 + 4)"
    assert found.learned.present == LAZY.least
    assert found.learned.cheaper
    assert (found.against, found.unit, found.warnings) == ("those of m:1", "USD", ())
    assert found.missing == (0.0, 0.0)


def test_a_manifest_differs_in_its_thresholds_and_in_what_they_cost_alone(home: Home) -> None:
    found = ask(home)
    reference, lineage = found.manifest.reference, found.manifest.lineage
    assert reference is not None
    assert reference.loss == COSTS
    assert reference.mean == pytest.approx(found.learned.cost.estimate), "held out, not on its own rows"
    assert len(reference.block_means) == DAYS
    assert (lineage["scores_of"], lineage["learned_rows"], lineage["costs"]) == (1, 800, [[0, 1], [4, 0]])
    assert found.manifest.runtime == "external"


def test_what_has_not_reached_its_judging_age_is_not_looked_at(tmp_path: Path) -> None:
    desk = made(tmp_path, days=12)
    before = ask(desk.home).learned
    early = asked(12 * DAY + 9, [0.25] * 200, [f"x{row}" for row in range(200)])
    desk.send(early, happened(12 * DAY + 9.5, [f"x{row}" for row in range(200)], 1.0))
    assert ask(desk.home).learned == before, "labels that come early are not like the others"
    desk.tick(13 * DAY)
    assert ask(desk.home).learned.rows == before.rows + 200


def test_a_span_can_be_asked_for_and_other_costs(home: Home) -> None:
    found = ask(home, since="2024-01-06", until="2024-01-18", actions={"let be": (0, 9), "look": (1, 1)})
    assert found.learned.rows == 12 * ROWS
    assert found.thresholds.actions == ("let be", "look")
    assert found.thresholds.least[0] == pytest.approx(1 / 9, abs=0.1)
    assert found.warnings == (
        "these are not the costs of the policy's loss, by which the version will be judged",
    )


def test_selective_outcomes_are_warned_of(tmp_path: Path) -> None:
    desk = made(tmp_path, days=12)
    desk.send(asked(13 * DAY, [0.95**2] * 60, [f"w{row}" for row in range(60)]), ticked(14 * DAY))
    (warning,) = ask(desk.home).warnings
    assert "of what met 'warn' has no outcome" in warning


@pytest.mark.parametrize(
    ("policy", "asked_", "said"),
    [
        ({"loss": "brier"}, {}, "brier says nothing of what actions cost"),
        ({"task": "regression", "loss": "squared.clip(9)"}, {}, "cut probabilities of a binary task"),
        ({}, {"version": 7}, "unknown version"),
        ({}, {"actions": {"a": (0, 1), "b": (1, 1), "c": (2, 0)}}, "choose among 3 actions"),
    ],
)
def test_what_cannot_be_learned_says_why(tmp_path: Path, policy: Any, asked_: Any, said: str) -> None:
    desk = made(tmp_path, days=11, cut=None, **policy)
    with pytest.raises(InputError, match=said):
        ask(desk.home, **asked_)


def test_too_few_outcomes_say_how_many_are_needed(tmp_path: Path) -> None:
    desk = Desk.at(tmp_path / "s")
    desk.policy(loss=COSTS)
    with pytest.raises(InputError, match="no champion yet"):
        ask(desk.home)
    with pytest.raises(UnknownName):
        thresholds(desk.home, Question(model="other"))
    operate.register(desk.home, MODEL, Manifest(runtime="external", thresholds=LAZY))
    with pytest.raises(InputError, match="need 25 rows or more where 1 happened"):
        ask(desk.home, version=1)


# A version like any other.


def test_learned_thresholds_go_through_shadow_and_canary_and_can_be_rolled_back(tmp_path: Path) -> None:
    desk = made(tmp_path)
    result = register(desk.home, ask(desk.home))
    assert result.version == 2
    assert register(desk.home, ask(desk.home)).version == 2, "the same again is the version that it is"
    desk.rollout(2)
    desk.send(*scored(DAYS, 12, seed=2, challenger=2))
    assert desk.told()[0] == ("ramp", "done"), "certified in shadow, on the same scores"
    verdict = next(each.verdict for each in desk.decisions() if each.action == "ramp")
    assert verdict is not None
    assert verdict.effect is not None
    assert verdict.effect.estimate < -0.5, "what is done costs less; the scores are the same"
    desk.obey(Promote(model=MODEL, version=2))
    assert desk.champion() == 2
    desk.obey(RollBack(model=MODEL))
    assert desk.champion() == 1


def test_worse_thresholds_are_refused_by_the_shadow(tmp_path: Path) -> None:
    desk = made(tmp_path, days=1, cut=Thresholds(actions=("pass", "warn"), least=(0.2,)))
    operate.register(desk.home, MODEL, Manifest(runtime="external", thresholds=LAZY))
    desk.rollout(2)
    desk.send(*scored(1, 15, seed=2, challenger=2))
    assert desk.told() == [("refuse", "done")]


def test_scores_in_shadow_and_of_versions_made_of_it_count_as_its_own(tmp_path: Path) -> None:
    desk = made(tmp_path, days=12)
    register(desk.home, ask(desk.home))
    operate.register(desk.home, MODEL, Manifest(runtime="external", thresholds=LAZY, notes="another model"))
    desk.send(*scored(12, 11, version=2, challenger=3))
    assert ask(desk.home).learned.rows == 23 * ROWS
    assert ask(desk.home, version=2).learned.rows == 23 * ROWS
    assert ask(desk.home, version=3).learned.rows == 11 * ROWS
    (warning,) = ask(desk.home, version=2).warnings
    assert "were learned from rows up to" in warning


def test_a_rollout_that_could_see_nothing_is_refused(tmp_path: Path) -> None:
    desk = made(tmp_path, days=12, loss="brier")
    found = ask(desk.home, actions={"pass": (0, 4), "warn": (1, 0)})
    assert "does not see what is done" in found.warnings[0]
    register(desk.home, found)
    with pytest.raises(Conflict, match="differs from the champion only in its thresholds, which brier"):
        desk.rollout(2)
    register(desk.home, ask(desk.home, actions={"pass": (0, 4), "warn": (1, 0)}, since="2024-01-02"))
    with pytest.raises(Conflict, match="without being judged"):
        desk.rollout(3)


def test_a_version_without_thresholds_or_with_others_is_no_challenger(tmp_path: Path) -> None:
    desk = made(tmp_path, days=1)
    three = Thresholds(actions=("pass", "ask", "warn"), least=(0.2, 0.5))
    for number, cut in ((2, None), (3, three)):
        operate.register(desk.home, MODEL, Manifest(runtime="external", thresholds=cut, notes=str(number)))
    with pytest.raises(Conflict, match="has no thresholds, so action_cost could not judge it"):
        desk.rollout(2)
    with pytest.raises(Conflict, match="choose among 3 actions, and action_cost has costs of 2"):
        desk.rollout(3)
    silent = made(tmp_path / "silent", days=0)
    with pytest.raises(PolicyError, match="choose among 2 actions, and action_cost has costs of 3"):
        silent.policy(loss="action_cost(costs=((0, 1, 2), (3, 2, 1)))")
    with pytest.raises(PolicyError, match="choose among 2 actions, and action_cost has costs of 3"):
        desk.policy(loss=COSTS, rollout=PLAN, beside=["action_cost(costs=((0, 1, 2), (3, 2, 1)))"])


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({"loss": "zero_one"}, "choose among 3 actions, and zero_one has costs of 2"),
        ({"loss": "huber(delta=1.0)", "task": "regression"}, "which cut a probability; a regression task"),
        (
            {"loss": "log_loss_multiclass(cap=5)", "task": "multiclass"},
            "which cut a probability; a multiclass",
        ),
    ],
)
def test_thresholds_that_a_loss_cannot_judge_are_no_champions(
    tmp_path: Path, policy: dict[str, Any], said: str
) -> None:
    """Once, zero_one took the third of three actions for always wrong, and numbers were cut as scores are."""
    desk = Desk.at(tmp_path / "s")
    desk.send(ticked(0))
    assert desk.policy(labels={"mature_after": "6h", "missing": "same_in_both_arms"}, **policy).ok
    three = Thresholds(actions=("pass", "ask", "warn"), least=(0.2, 0.5))
    operate.register(desk.home, MODEL, Manifest(runtime="external", thresholds=three))
    with pytest.raises(Conflict, match=said):
        desk.obey(Promote(model=MODEL, version=1))


def test_nor_are_those_that_a_loss_beside_has_no_costs_of(tmp_path: Path) -> None:
    desk = Desk.at(tmp_path / "s")
    desk.send(ticked(0))
    desk.policy(loss="brier", beside=[COSTS])
    three = Thresholds(actions=("pass", "ask", "warn"), least=(0.2, 0.5))
    operate.register(desk.home, MODEL, Manifest(runtime="external", thresholds=three))
    with pytest.raises(Conflict, match="choose among 3 actions, and action_cost has costs of 2"):
        desk.obey(Promote(model=MODEL, version=1))


def test_figures_are_of_what_was_done(tmp_path: Path) -> None:
    desk = made(tmp_path, days=11)
    watched = {"cost": {"kind": "guardrail", "limit": 5.0, "promise": "1 per 1000 blocks"}}
    desk.policy(loss=COSTS, rollout=PLAN, watches=watched)
    with open_executor() as here:
        found = recompute(desk.home, Recompute(model=MODEL), here)
    assert found.whole.mean == pytest.approx(ask(desk.home).learned.present_cost.estimate)
    with open_executor() as here:
        other = recompute(desk.home, Recompute(model=MODEL, loss="brier"), here)
    assert other.whole.mean == pytest.approx(1 / 6, abs=0.03), "the scores themselves"


# In the terminal.


def lossloop(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str
) -> tuple[int, str]:
    monkeypatch.setattr("sys.argv", ["lossloop", *words])
    try:
        main()
    except SystemExit as end:
        code = int(str(end.code or 0))
    else:
        code = 0
    streams = capsys.readouterr()
    return code, streams.out + streams.err


def test_the_terminal_tells_and_registers(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    state = ("--state", str(home.path))
    code, out = lossloop(capsys, monkeypatch, "thresholds", MODEL, *state)
    assert code == 0
    assert "scores of version 1: 800 outcomes of 20 blocks" in out
    assert "those of m:1 cost" in out
    code, out = lossloop(capsys, monkeypatch, "thresholds", MODEL, "--json", *state)
    assert json.loads(out)["cheaper"] is True
    assert json.loads(out)["registered"] is None
    code, out = lossloop(capsys, monkeypatch, "thresholds", MODEL, "--action", "pass", *state)
    assert (code, "no action with its costs" in out) == (1, True)
    code, out = lossloop(
        capsys, monkeypatch, "thresholds", MODEL, "--action", "a=1,2", "--action", "a=2,1", *state
    )
    assert (code, "a name of its own" in out) == (1, True)
    desk = made(tmp_path, days=11)
    state = ("--state", str(desk.home.path))
    code, out = lossloop(capsys, monkeypatch, "thresholds", MODEL, "--register", *state)
    assert "m:2 is registered; next: lossloop rollout m 2" in out
    code, out = lossloop(capsys, monkeypatch, "status", MODEL, *state)
    assert "version 1: pass, warn from 0.9" in out


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_file_can_be_learned_from(home: Home, tmp_path: Path, kind: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from pyarrow import csv

    draw = np.random.default_rng(1)
    scores = draw.random(300)
    labels = [None if row % 10 == 0 else int(draw.random() < score) for row, score in enumerate(scores)]
    table = pa.table(
        {"y_pred": scores, "y_true": labels, "block": [f"day {row // 20}" for row in range(300)]}
    )
    path = tmp_path / f"held_out.{kind}"
    csv.write_csv(table, path) if kind == "csv" else pq.write_table(table, path)
    found = ask(home, file=path)
    assert (found.learned.rows, found.learned.blocks) == (270, 15)
    assert found.manifest.lineage["learned_from"] == path.name
    alone = table.drop_columns("block")
    csv.write_csv(alone, path) if kind == "csv" else pq.write_table(alone, path)
    (warning,) = ask(home, file=path).warnings
    assert "without blocks there is no reference" in warning
    assert ask(home, file=path).manifest.reference is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("y_pred\n0.5\n", "unknown column of f.csv 'y_true'"),
        ("y_pred,y_true\nhigh,1\n", "y_pred must hold numbers"),
        ("y_pred,y_true\n0.5,1\n,0\n", "row 2 of f.csv has no score"),
        ("y_pred,y_true\n", "no rows"),
        ("y_pred,y_true\n0.5,1,3\n", "row 1 of f.csv"),
        ("y_pred,y_true\n0.5,1\n", "need 25 rows or more where 1 happened; of these 1 it was 1"),
        ("y_pred,y_true\n" + "7,1\n" * 30, "a probability in"),
    ],
)
def test_a_bad_file_says_what_is_wrong(home: Home, tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "f.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        ask(home, file=path)
