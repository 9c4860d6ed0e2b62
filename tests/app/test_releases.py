"""One error over all rollouts: each has its part, the parts never add up to more, and people are told."""

from __future__ import annotations

import math
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.act import rollout as machine
from lossloop.act.policy import ErrorOver, Plan
from lossloop.act.rollout import Rollout, next_number
from lossloop.app.cli import main
from lossloop.app.reading import status
from lossloop.app.releases import part_of
from lossloop.core.clock import format_time
from lossloop.core.errors import Conflict
from tests.app.desk import MODEL, ROLLOUT, Desk

FIRST = 6 / math.pi**2
SHARED = {**ROLLOUT, "error_over": "all"}
PLAN = Plan(promote_if_within=0.01, roll_back_if_worse_by=0.02, error_over=ErrorOver.ALL)

plans = st.builds(
    lambda shadow, error, over: msgspec.structs.replace(PLAN, shadow=shadow, error=error, error_over=over),
    st.sampled_from([0, 0, 14]), st.floats(1e-6, 0.999), st.sampled_from(ErrorOver),
)  # fmt: skip


def released(plans: list[Plan]) -> list[Rollout]:
    """A model's rollouts, one after another."""
    past: list[Rollout] = []
    for plan in plans:
        made = machine.begin(
            id=f"{len(past) + 1:06d}", model="m", champion=1, challenger=2, salt="s", plan=plan, at=0,
            first_seq=0, number=next_number(past, plan),
        )  # fmt: skip
        past.append(made)
    return past


def spent(rollout: Rollout) -> float:
    """The chance that a rollout makes a mistake of one kind, in any of its stages."""
    stages = 2 if rollout.plan.shadow else 1
    return stages * part_of(rollout.plan, rollout.number).error


@given(st.lists(plans, max_size=60))
def test_what_all_rollouts_spend_is_never_more_than_the_error(plans: list[Plan]) -> None:
    sharing = [each for each in released(plans) if each.plan.error_over is ErrorOver.ALL]
    assert [each.number for each in sharing] == list(range(1, len(sharing) + 1))
    most = max((each.plan.error for each in sharing), default=0.0)
    assert sum(map(spent, sharing)) <= most


@given(st.floats(1e-6, 0.999), st.integers(1, 3000))
def test_the_error_is_spent_on_ever_more_rollouts_and_never_up(error: float, many: int) -> None:
    plan = msgspec.structs.replace(PLAN, error=error)
    parts = [part_of(plan, number).error for number in range(1, many + 1)]
    assert all(later < sooner for sooner, later in pairwise(parts))
    assert error * FIRST * 0.999 <= sum(parts) < error


@given(st.lists(plans, max_size=20))
def test_a_rollout_with_an_error_of_its_own_has_all_of_it_and_takes_nothing(plans: list[Plan]) -> None:
    rollouts = released(plans)
    alone = [each for each in rollouts if each.plan.error_over is ErrorOver.EACH]
    assert all((each.number, part_of(each.plan, each.number).error) == (0, each.plan.error) for each in alone)
    without = released([plan for plan in plans if plan.error_over is ErrorOver.ALL])
    assert [each.number for each in rollouts if each.number] == [each.number for each in without]


def test_a_part_is_said_in_words() -> None:
    assert part_of(PLAN, 0).promise.words == "5% once"
    assert part_of(PLAN, 1).promise.words == "3.04% of the 5% for all rollouts"
    assert part_of(PLAN, 2).promise.words == "0.76% of the 5% for all rollouts"
    shadow = msgspec.structs.replace(PLAN, shadow=14)
    assert part_of(shadow, 1).promise.words == "1.52% in each stage, of the 5% for all rollouts"


# In the loop.


def promised(desk: Desk) -> dict[str, Any]:
    with desk.books() as books:
        found: dict[str, Any] = status(books, MODEL)["rollout"]
        return found


def test_each_rollout_needs_more_evidence_than_the_one_before(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", versions=2, rollout=SHARED)
    for number in (1, 2):
        desk.rollout(2)
        assert promised(desk)["number"] == number
        desk.arms(10 * number, 0.1, 0.9, share=0.2, rows=300)
    verdicts = [each.verdict for each in desk.decisions() if each.verdict is not None]
    assert [each.promise for each in verdicts] == [
        "3.04% of the 5% for all rollouts", "0.76% of the 5% for all rollouts",
    ]  # fmt: skip
    thresholds = [math.exp(each.threshold) for each in verdicts]
    assert thresholds == pytest.approx([20 / FIRST, 80 / FIRST])
    assert all(each.evidence >= each.threshold for each in verdicts)


def test_a_status_says_when_and_for_how_long_as_people_do_and_keeps_the_salt(tmp_path: Path) -> None:
    desk = Desk.ready(
        tmp_path / "s", versions=2, rollout={**SHARED, "step_for": "2d", "decide_within": "40d"}
    )
    desk.rollout(2)
    with desk.books() as books:
        found, started = status(books, MODEL), books.rollout(MODEL)
    assert started is not None
    told = found["rollout"]
    assert (told["plan"]["step_for"], told["plan"]["decide_within"]) == ("2d", "40d")
    assert told["started"] == told["since"] == format_time(started.started)
    assert started.salt
    assert started.salt not in str(found), "who knows it could choose the version that a unit meets"


def test_a_policy_that_is_set_anew_does_not_begin_again(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", versions=2, rollout=SHARED)
    desk.rollout(2)
    desk.arms(1, 0.1, 0.9, share=0.2, rows=300)
    desk.policy(rollout={**SHARED, "decide_within": "30d"})
    desk.rollout(2, error_over="each")
    assert promised(desk)["promise"] == "5% once"
    assert "number" not in promised(desk)
    desk.arms(20, 0.1, 0.9, share=0.2, rows=300)
    desk.rollout(2)
    assert promised(desk)["promise"] == "0.76% of the 5% for all rollouts"


def test_in_shadow_and_then_on_the_ramp_a_rollout_has_half_of_its_part(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", versions=2, rollout={**SHARED, "shadow": 30})
    desk.rollout(2)
    for number in range(10):
        desk.day(number, 0.9, shadow=(2, [0.1] * 4))
        if desk.share():
            break
    (ramp,) = [each for each in desk.decisions() if each.action == "ramp"]
    assert ramp.verdict is not None
    assert math.exp(ramp.verdict.threshold) == pytest.approx(40 / FIRST)
    desk.arms((number + 2) * 24, 0.1, 0.9, share=0.2, rows=300)
    (gone,) = [each for each in desk.decisions() if each.action == "roll_back"]
    assert gone.verdict is not None
    assert gone.verdict.threshold == ramp.verdict.threshold
    assert gone.verdict.promise == "1.52% in each stage, of the 5% for all rollouts"


def test_folded_again_a_rollout_has_the_same_part(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", versions=2, rollout=SHARED)
    for number in (1, 2, 3):
        desk.rollout(2)
        desk.arms(10 * number, 0.1, 0.9, share=0.2, rows=300)
    before, shown = desk.decisions(), promised(desk)
    for path in desk.home.path.glob("state.db*"):
        path.unlink()
    desk.fold()
    assert (desk.decisions(), promised(desk)) == (before, shown)


def test_people_see_the_part_of_a_rollout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    desk = Desk.ready(tmp_path / "s", versions=2, rollout=SHARED)
    desk.rollout(2)
    monkeypatch.setattr(sys, "argv", ["lossloop", "status", MODEL, "--state", str(tmp_path / "s")])
    with pytest.raises(SystemExit, match="0"):
        main()
    said = " ".join(capsys.readouterr().out.split())
    assert "challenger: version 2 at 20% of the traffic (3.04% of the 5% for all rollouts)" in said


def test_a_plan_that_nothing_could_be_judged_under_starts_no_rollout(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", versions=2, rollout=ROLLOUT)
    for changes in ({"error": "1e-320"}, {"error": "6e-309", "error_over": "all"}, {"promote_if_within": 5}):
        with pytest.raises(Conflict, match=r"needs a finite threshold|must lie between"):
            desk.rollout(2, **changes)
    assert desk.share() == 0.0
    assert promised(desk) is None
