"""Gates of a canary: errors and latency of both arms, on randomised rows, as they arrive."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossloop.act.policy import read_policy
from lossloop.app.charts import read_history, watch_charts
from lossloop.app.commands import RollBack
from lossloop.app.gated import gated
from lossloop.app.gating import judge_of
from lossloop.app.reading import status
from lossloop.app.rebuilding import rebuild
from lossloop.app.releases import part_of, part_of_test
from lossloop.core.errors import PolicyError
from lossloop.judges import Assigned
from lossloop.ledger.frames import Frame
from tests.app.desk import MODEL, Desk, asked, happened, policy_text, ticked

ERRORS = {"kind": "errors", "worse_by": "2%"}
SLOW = {"kind": "latency", "slower_than": "200ms", "worse_by": "5%"}
PLAN = {
    "steps": ["50%"], "step_for": "1d", "promote_if_within": 0.2, "roll_back_if_worse_by": 0.1,
    "gates": {"failing": ERRORS, "slow": SLOW},
}  # fmt: skip
FAILED = math.nan


def running(path: Path, **plan: Any) -> Desk:
    desk = Desk.ready(path / "s", versions=2, rollout={**PLAN, **plan})
    desk.rollout(2)
    return desk


def traffic(
    desk: Desk, hour: float, *, failing: float = 0.0, slow: float = 0.0, rows: int = 300, seed: int = 1,
    says: bool = True, units: list[str] | None = None,
) -> tuple[list[Frame], list[str]]:  # fmt: skip
    """Rows of both arms in turn; of the challenger's so many fail, or take half a second."""
    rng, ids, frames = np.random.default_rng(seed), desk.ids(rows), []
    for place in range(0, rows, 10):
        theirs, own = bool(rng.random() < 0.5), ids[place : place + 10]
        losses = [FAILED if theirs and rng.random() < failing else 0.1 for _ in own]
        took = [500.0 if theirs and rng.random() < slow else 20.0 for _ in own] if says else None
        frames.append(
            asked(
                hour, losses, own, version=2 if theirs else 1, role="challenger" if theirs else "champion",
                propensity=0.5, latency=took, units=None if units is None else units[place : place + 10],
            )
        )  # fmt: skip
    return frames, ids


def stage(desk: Desk) -> str:
    with desk.books() as books:
        rollout = books.rollout(MODEL)
        assert rollout is not None
        return str(rollout.stage)


def told(desk: Desk) -> dict[str, Any]:
    with desk.books() as books:
        found: dict[str, Any] = status(books, MODEL)
        return found


@pytest.mark.parametrize(("gate", "worse"), [("failing", {"failing": 0.3}), ("slow", {"slow": 0.4})])
def test_a_challenger_that_is_worse_is_rolled_back_before_any_outcome(
    tmp_path: Path, gate: str, worse: Any
) -> None:
    desk = running(tmp_path)
    frames, _ = traffic(desk, 1, rows=1200, **worse)
    desk.send(*frames)
    assert stage(desk) == "rolled_back"
    (decision,) = [each for each in desk.decisions() if each.action == "roll_back"]
    assert decision.reason.startswith(f"gate '{gate}', share ")
    assert decision.verdict is not None
    assert "1.67%, one of 3 equal parts of 5%" in decision.verdict.promise
    assert desk.points(f"rollout: {gate}")[-1].kind == "alarm"
    assert told(desk)["rollout"]["gates"] == {}, "what was judged goes with the rollout"


def test_a_challenger_that_is_as_good_goes_on_and_is_promoted(tmp_path: Path) -> None:
    desk = running(tmp_path)
    for part in range(2):
        frames, ids = traffic(desk, 1 + part, failing=0.01, slow=0.01, rows=600, seed=part)
        desk.send(*frames, happened(1.2 + part, ids))
    gates = told(desk)["rollout"]["gates"]
    assert {name: gate["kind"] for name, gate in gates.items()} == {
        "failing": "inconclusive", "slow": "inconclusive"
    }  # fmt: skip
    assert "slower than 200ms" in gates["slow"]["reason"]
    desk.send(ticked(20), ticked(27))
    assert desk.told()[-1] == ("promote", "done")


def test_a_gate_that_heard_nothing_of_the_challenger_is_no_pass(tmp_path: Path) -> None:
    desk = running(tmp_path, decide_within="3d", gates={"slow": SLOW})
    frames, ids = traffic(desk, 1, rows=400, says=False)
    desk.send(*frames, happened(1.2, ids), ticked(30))
    assert stage(desk) == "canary"
    desk.send(ticked(80))
    (decision,) = [each for each in desk.decisions() if each.action == "roll_back"]
    assert "that the gate 'slow' could judge within 3d" in decision.reason


def test_each_unit_is_judged_once_and_rows_that_were_not_drawn_never(tmp_path: Path) -> None:
    desk = running(tmp_path, gates={"failing": ERRORS})
    units = [f"u{place % 40}" for place in range(400)]
    frames, _ = traffic(desk, 1, rows=400, failing=0.5, units=units)
    sure = desk.ids(2)
    desk.send(*frames, asked(2, [FAILED, FAILED], sure, version=2, role="challenger"))
    assert sum(point.rows for point in desk.points("rollout: failing")) == 40


def test_only_a_canary_has_gates(tmp_path: Path) -> None:
    desk = running(tmp_path, shadow=5)
    frames, _ = traffic(desk, 1, failing=0.9)
    desk.send(*frames)
    assert stage(desk) == "shadow"
    assert not desk.points("rollout: failing")


def test_however_it_is_cut_and_made_anew_it_says_the_same(tmp_path: Path) -> None:
    apart, together = running(tmp_path / "a"), running(tmp_path / "b")
    frames, ids = traffic(apart, 1, failing=0.03, slow=0.02, rows=200)
    for frame in frames:
        apart.send(frame)
    together.send(*frames)
    for desk in (apart, together):
        desk.send(happened(1.2, ids), ticked(30))
    names = ("rollout: failing", "rollout: slow", "rollout: roll back")
    points = {name: apart.points(name) for name in names}
    assert all(points.values())
    assert {name: together.points(name) for name in names} == points
    before = apart.everything()
    assert rebuild(apart.home).agrees
    assert apart.everything() == before


def test_observing_says_once_what_would_have_been_done(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", versions=2, rollout=PLAN, mode=None)
    desk.rollout(2)
    frames, _ = traffic(desk, 1, rows=1200, failing=0.4)
    desk.send(*frames)
    assert desk.told() == [("roll_back", "would_have")]
    assert stage(desk) == "canary"


def test_a_next_rollout_begins_anew(tmp_path: Path) -> None:
    desk = running(tmp_path)
    desk.send(*traffic(desk, 1, rows=300)[0])
    desk.obey(RollBack(model=MODEL))
    desk.rollout(2)
    with desk.books() as books:
        assert gated(books.documents, MODEL) == {}


def test_gates_share_the_error_of_the_rollout() -> None:
    plan = read_policy(policy_text(rollout=PLAN)).rollout
    assert plan is not None
    part, whole = part_of_test(plan, 0), part_of(plan, 0)
    assert part.error == whole.error / 3
    assert judge_of(plan, "slow", 0).error == part.error
    every = read_policy(policy_text(rollout={**PLAN, "error_over": "all"})).rollout
    assert every is not None
    assert part_of_test(every, 2).error == part_of(every, 2).error / 3
    assert part_of_test(every, 2).words.endswith("of the 5% for all rollouts")
    alone = read_policy(policy_text(rollout={**PLAN, "gates": {}})).rollout
    assert alone is not None
    assert part_of_test(alone, 0) == part_of(alone, 0)


@pytest.mark.parametrize(
    ("gates", "words"),
    [
        ({"promote": ERRORS}, "is no name of a gate"),
        ({"roll back": ERRORS}, "is no name of a gate"),
        ({"a/b": ERRORS}, "is no name of a gate"),
        ({"a": {"kind": "drift"}}, "'drift' is not possible"),
        ({"a": {"kind": "errors"}}, "worse_by"),
        ({"a": {"kind": "errors", "worse_by": "200%"}}, "a share lies between 0 and 1"),
        ({"a": {**SLOW, "slower_than": "0ms"}}, "must be longer than nothing"),
        ({"a": {"kind": "latency", "worse_by": "1%"}}, "slower_than"),
    ],
)
def test_gates_that_cannot_be_are_named(gates: dict[str, Any], words: str) -> None:
    with pytest.raises(PolicyError, match=words):
        read_policy(policy_text(rollout={**PLAN, "gates": gates}))


def test_charts_show_the_evidence_of_gates_beside_the_two_tests(tmp_path: Path) -> None:
    desk = running(tmp_path)
    frames, ids = traffic(desk, 1, rows=200)
    desk.send(*frames)
    with desk.books() as books:
        (early,) = watch_charts(read_history(books, MODEL))
    assert early.head[1:] == ["for rolling back (failing)", "for rolling back (slow)"]
    desk.send(happened(1.2, ids), ticked(9))
    with desk.books() as books:
        loss, evidence = watch_charts(read_history(books, MODEL))
    assert loss.title.endswith("difference")
    assert "for promoting" in evidence.head


def test_a_healthy_challenger_is_rarely_rolled_back_however_often_one_looks() -> None:
    """2% of both arms fail; the promise is 1.67%, over 3,000 rows and every one of them looked at."""
    gates = {"failing": {**ERRORS, "worse_by": "0.1%"}, "slow": SLOW}
    plan = read_policy(policy_text(rollout={**PLAN, "gates": gates})).rollout
    assert plan is not None
    judge, rng, runs = judge_of(plan, "failing", 0), np.random.default_rng(3), 120
    alarms = 0
    for _ in range(runs):
        canary = rng.random(3000) < 0.3
        loss = (rng.random(3000) < 0.02).astype(float)
        rows = Assigned(loss=loss, is_canary=canary, propensity=np.full(3000, 0.3))
        alarms += judge.update(judge.start(), rows)[1].roll_back.kind == "alarm"
    assert alarms / runs <= 0.0167 + 3 * (0.0167 / runs) ** 0.5
