"""Rollouts over a replay: shadow, canary steps, and the ends that they come to on evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lossloop.app.commands import Promote, RollBack
from lossloop.core.errors import Conflict, PolicyError
from lossloop.core.records import Decision, Verdict
from lossloop.registry import versions
from tests.app.desk import DAY, MODEL, ROLLOUT, WATCH, Desk, asked, happened, ticked


def releasing(path: Path, *, plan: dict[str, Any] | None = None, **policy: Any) -> Desk:
    """Version 1 is champion, version 2 on its way."""
    desk = Desk.ready(path / "s", versions=2, rollout={**ROLLOUT, **(plan or {})}, **policy)
    desk.rollout(2)
    return desk


def last(desk: Desk) -> Decision:
    return desk.decisions()[-1]


def verdict_of(decision: Decision) -> Verdict:
    assert decision.verdict is not None
    return decision.verdict


def aliases(desk: Desk) -> dict[str, int]:
    with desk.books() as books:
        return versions.aliases(books.documents, MODEL)


# The canary.


def test_a_bad_canary_rolls_back_by_itself(tmp_path: Path) -> None:
    desk = releasing(tmp_path)
    assert desk.share() == 0.2
    desk.arms(1, 0.1, 0.9, share=0.2, rows=200)
    assert desk.told() == [("roll_back", "done")]
    assert (desk.champion(), desk.share()) == (1, 0.0)
    assert aliases(desk) == {"champion": 1}
    verdict = verdict_of(last(desk))
    assert verdict.kind == "alarm"
    assert verdict.evidence >= verdict.threshold
    assert verdict.effect is not None
    assert verdict.effect.estimate == pytest.approx(0.8, abs=0.1)
    assert (last(desk).outcomes, last(desk).version, last(desk).share) == (250, 2, 0.0)


def test_a_healthy_canary_climbs_its_steps_and_is_promoted(tmp_path: Path) -> None:
    desk = releasing(tmp_path)
    for day in range(3):
        desk.arms(day * DAY + 1, 0.1, 0.1, share=0.2 if day == 0 else 0.5, rows=100)
    desk.tick(4 * DAY)
    assert desk.told() == [("ramp", "done"), ("promote", "done")]
    assert [each.share for each in desk.decisions() if each.by == "policy"] == [0.5, 1.0]
    assert aliases(desk) == {"champion": 2, "previous": 1}


def test_time_alone_promotes_nothing(tmp_path: Path) -> None:
    desk = releasing(tmp_path, plan={"decide_within": "20d"})
    for day in range(15):
        desk.arms(day * DAY + 1, 0.1, 0.1, share=0.2, rows=1)  # none of them the challenger's
    assert desk.told() == [], "no data is never a pass, not even to the next step"
    assert (desk.champion(), desk.share()) == (1, 0.2)
    desk.tick(21 * DAY)
    assert desk.told() == [("roll_back", "done")]
    assert last(desk).reason == "none of the challenger's outcomes came within 20d"


def test_what_is_not_certified_in_time_goes_back(tmp_path: Path) -> None:
    desk = releasing(tmp_path, plan={"decide_within": "5d"})
    desk.arms(1, 0.1, 0.1, share=0.2, rows=4)
    desk.tick(2 * DAY)
    desk.arms(2 * DAY + 1, 0.1, 0.1, share=0.5, rows=1)
    desk.tick(6 * DAY)
    assert desk.told() == [("ramp", "done"), ("roll_back", "done")]
    assert last(desk).reason == "not certified within 5d"


def test_a_certificate_of_the_first_step_waits_for_the_last(tmp_path: Path) -> None:
    desk = releasing(tmp_path, plan={"steps": ["20%", "40%", "60%"]})
    desk.arms(1, 0.1, 0.1, share=0.2, rows=400)
    assert desk.told() == []
    for day in (1.5, 2.5, 3.5):
        desk.tick(day * DAY)
        desk.arms(day * DAY + 1, 0.1, 0.1, share=0.5, rows=1)
    desk.tick(5 * DAY)
    assert desk.told() == [("ramp", "done"), ("ramp", "done"), ("promote", "done")]


def test_time_that_passed_over_several_steps_takes_them_one_by_one(tmp_path: Path) -> None:
    desk = releasing(tmp_path, plan={"steps": ["10%", "20%", "40%", "60%"]})
    desk.arms(1, 0.1, 0.1, share=0.1, rows=9)
    desk.tick(2.5 * DAY)
    assert [each.share for each in desk.decisions()[2:]] == [0.2]
    desk.arms(2.6 * DAY, 0.1, 0.1, share=0.2, rows=4)
    desk.tick(9 * DAY)
    assert desk.share() == 0.4, (
        "a step begins when it is taken, so its traffic lasts as long as the plan says"
    )


def test_a_certified_release_that_turns_bad_still_rolls_back(tmp_path: Path) -> None:
    desk = releasing(tmp_path, plan={"step_for": "9d"})
    desk.arms(1, 0.1, 0.1, share=0.2, rows=400)
    for day in range(1, 6):
        desk.arms(day * DAY, 0.1, 0.9, share=0.2, rows=400)
    assert desk.told() == [("roll_back", "done")]


def test_rows_that_could_not_go_either_way_are_no_evidence(tmp_path: Path) -> None:
    desk = releasing(tmp_path)
    theirs, mine = desk.ids(100), desk.ids(100)
    desk.send(
        asked(1, [0.9] * 100, theirs, version=2, role="challenger", propensity=1.0),
        asked(1, [0.1] * 100, mine, propensity=1.0),
        happened(2, theirs + mine),
        ticked(9),
    )
    assert desk.points("rollout: roll back") == []
    assert desk.told() == []


def test_rows_from_before_the_rollout_are_no_evidence(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", versions=2, rollout=ROLLOUT)
    desk.arms(1, 0.1, 0.9, share=0.2, rows=200)
    desk.rollout(2)
    desk.tick(10)
    assert desk.told() == []
    desk.arms(11, 0.1, 0.9, share=0.2, rows=200)
    assert desk.told() == [("roll_back", "done")]


def test_evidence_of_an_earlier_rollout_is_forgotten(tmp_path: Path) -> None:
    desk = releasing(tmp_path)
    desk.arms(1, 0.1, 0.9, share=0.2, rows=200)
    desk.rollout(2)
    desk.arms(9, 0.1, 0.9, share=0.2, rows=2)
    assert desk.told() == [("roll_back", "done")]
    assert desk.share() == 0.2
    with desk.books() as books:
        assert len(books.past_rollouts(MODEL)) == 2


def test_a_sticky_unit_is_judged_once_however_often_it_comes(tmp_path: Path) -> None:
    desk = releasing(tmp_path)
    for hour in range(1, 5):
        theirs, mine = desk.ids(100), desk.ids(4)
        desk.send(
            asked(
                hour, [0.9] * 100, theirs, version=2, role="challenger", propensity=0.2, units=["busy"] * 100
            ),
            asked(hour, [0.1] * 4, mine, propensity=0.8, units=["a", "b", "c", "d"]),
            happened(hour + 0.1, theirs + mine),
        )
    desk.tick(12)
    assert desk.told() == []
    points = desk.points("rollout: roll back")
    assert sum(point.rows for point in points) == 5
    with desk.books() as books:
        assert books.counts(MODEL).outcomes == 416


def test_missing_outcomes_drop_out_of_both_arms_or_count_as_the_worst_case(tmp_path: Path) -> None:
    told = {}
    for rule in ("same_in_both_arms", "worst_case"):
        desk = releasing(tmp_path / rule, labels={"mature_after": "6h", "missing": rule})
        mine, theirs = desk.ids(400), desk.ids(100)
        desk.send(
            asked(1, [0.1] * 100, theirs, version=2, role="challenger", propensity=0.2),
            asked(1, [0.1] * 400, mine, propensity=0.8),
            happened(2, mine + theirs[50:]),
            ticked(8),
        )
        with desk.books() as books:
            rollout = books.rollout(MODEL)
        told[rule] = rollout is not None and rollout.certified
    assert told == {"same_in_both_arms": True, "worst_case": False}


def test_a_step_in_which_none_of_the_challenger_s_outcomes_came_is_no_pass(tmp_path: Path) -> None:
    desk = releasing(tmp_path, plan={"decide_within": "10d"})
    for day in range(8):
        theirs, mine = desk.ids(20), desk.ids(80)
        desk.send(
            asked(day * DAY + 1, [0.1] * 80, mine, propensity=0.8),
            asked(day * DAY + 1, [0.1] * 20, theirs, version=2, role="challenger", propensity=0.2),
            happened(day * DAY + 2, mine),
        )
    assert (desk.told(), desk.share()) == ([], 0.2)
    desk.tick(10 * DAY)
    assert desk.told() == [("roll_back", "done")]
    assert last(desk).reason == "none of the challenger's outcomes came within 10d"


# Shadow.

SHADOW = {"shadow": "4 blocks", "clip_difference": 0.5, "steps": ["50%"]}


def shadowed(desk: Desk, day: int, champion: float, challenger: float, rows: int = 6) -> None:
    """A day on which both answered everything."""
    desk.day(day, champion, rows=rows, shadow=(2, [challenger] * rows))


def test_a_shadow_that_is_no_worse_is_certified_and_ramped(tmp_path: Path) -> None:
    desk = releasing(tmp_path, plan={**SHADOW, "shadow": "40 blocks"})
    assert desk.share() == 0.0
    with desk.books() as books:
        traffic = books.traffic(MODEL)
    assert traffic is not None
    assert traffic.shadow
    for day in range(30):
        shadowed(desk, day, 0.2, 0.05)
        if desk.told():
            break
    assert desk.told() == [("ramp", "done")]
    assert desk.share() == 0.5
    assert verdict_of(last(desk)).kind == "better"
    desk.arms((day + 2) * DAY, 0.2, 0.2, share=0.5, rows=1)
    desk.tick((day + 4) * DAY)
    assert desk.told() == [("ramp", "done"), ("promote", "done")], (
        "the shadow's certificate holds on the ramp"
    )


def test_a_shadow_that_is_worse_is_refused_and_met_nobody(tmp_path: Path) -> None:
    desk = releasing(tmp_path, plan={**SHADOW, "shadow": "40 blocks"})
    for day in range(30):
        shadowed(desk, day, 0.05, 0.9)
        if desk.told():
            break
    assert desk.told() == [("refuse", "done")]
    assert verdict_of(last(desk)).kind == "alarm"
    assert desk.share() == 0.0


def test_a_shadow_that_is_not_certified_in_its_blocks_is_refused(tmp_path: Path) -> None:
    desk = releasing(tmp_path, plan=SHADOW)
    for day in range(4):
        shadowed(desk, day, 0.2, 0.2, rows=1)
    assert desk.told() == [("refuse", "done")]
    assert last(desk).reason == "not certified within 4 blocks of shadow"
    assert desk.points("rollout: promote")[-1].block == "2024-01-04"


def test_days_without_pairs_are_no_blocks_of_shadow(tmp_path: Path) -> None:
    desk = releasing(tmp_path, plan=SHADOW)
    for day in range(9):
        desk.day(day, 0.1)
    assert desk.told() == []


def test_pairs_without_outcomes_certify_nothing(tmp_path: Path) -> None:
    desk = releasing(tmp_path, plan={**SHADOW, "shadow": "9 blocks"}, labels={"mature_after": "6h"})
    for day in range(9):
        desk.predict(day * DAY + 1, [0.2] * 6, shadow=(2, [0.0] * 6))
        desk.tick((day + 1) * DAY + 7)
    assert desk.told() == [("refuse", "done")]


def test_a_shadow_that_nobody_feeds_ends_in_its_time_too(tmp_path: Path) -> None:
    desk = releasing(tmp_path, plan={**SHADOW, "decide_within": "10d"})
    desk.tick(9 * DAY)
    assert desk.told() == []
    desk.tick(10 * DAY)
    assert [action for action, _ in desk.told()] == ["refuse"]


# What may be done.


def test_a_promotion_may_need_approval(tmp_path: Path) -> None:
    desk = releasing(tmp_path, plan={"steps": ["50%"]}, approve=["promote"])
    for day in range(4):
        desk.arms(day * DAY + 1, 0.1, 0.1, share=0.5, rows=60)
    assert desk.told() == [("promote", "awaits_approval")], "said once, however often it is proposed"
    assert (desk.champion(), desk.share()) == (1, 0.5)
    desk.obey(Promote(model=MODEL))
    assert desk.champion() == 2
    assert last(desk).by == "operator"


def test_in_observe_mode_a_canary_stays_and_is_told_what_would_have_been(tmp_path: Path) -> None:
    desk = releasing(tmp_path, mode="observe")
    for hour in (1, 2, 3):
        desk.arms(hour, 0.1, 0.9, share=0.2, rows=200)
    assert desk.told() == [("roll_back", "would_have")]
    assert desk.share() == 0.2


def test_a_freeze_holds_a_rollout_and_unfreezing_lets_it_go_on(tmp_path: Path) -> None:
    desk = releasing(tmp_path)
    desk.freeze(on=True)
    desk.arms(1, 0.1, 0.9, share=0.2, rows=200)
    assert desk.told() == [("roll_back", "frozen")]
    assert desk.share() == 0.2
    desk.freeze(on=False)
    desk.arms(9, 0.1, 0.9, share=0.2, rows=10)
    assert desk.told() == [("roll_back", "frozen"), ("roll_back", "done")]
    assert desk.share() == 0.0


def test_a_budget_holds_back_the_rollback_beyond_it(tmp_path: Path) -> None:
    desk = releasing(tmp_path, budget={"roll_back": "1 per 30d"})
    desk.arms(1, 0.1, 0.9, share=0.2, rows=200)
    desk.rollout(2)
    desk.arms(9, 0.1, 0.9, share=0.2, rows=200)
    assert desk.told() == [("roll_back", "done"), ("roll_back", "over_budget")]


# Who is told.

TOLD = {"on": {"rollout": [{"notify": "log"}]}}


def test_people_are_told_how_a_rollout_ended(tmp_path: Path) -> None:
    desk = releasing(tmp_path, **TOLD)
    desk.arms(1, 0.1, 0.9, share=0.2, rows=200)
    assert desk.told() == [("roll_back", "done"), ("notify", "done")]
    assert last(desk).reason.startswith("roll back (done): difference 0.")
    assert last(desk).watch == "rollout"


def test_people_are_told_once_of_a_rollback_that_may_not_come_about(tmp_path: Path) -> None:
    desk = releasing(tmp_path, mode="observe", **TOLD)
    for hour in (1, 2, 3):
        desk.arms(hour, 0.1, 0.9, share=0.2, rows=200)
    assert desk.told() == [("roll_back", "would_have"), ("notify", "done")]


def test_people_are_not_told_of_every_step(tmp_path: Path) -> None:
    desk = releasing(tmp_path, **TOLD)
    desk.arms(1, 0.1, 0.1, share=0.2, rows=100)
    desk.tick(2 * DAY)
    assert desk.told() == [("ramp", "done")]


# Operators.


def test_an_operator_may_roll_back_or_promote_at_any_time(tmp_path: Path) -> None:
    desk = releasing(tmp_path)
    assert desk.obey(RollBack(model=MODEL, reason="a hunch")).message == "version 2 is off the traffic"
    assert (desk.share(), last(desk).reason, last(desk).by) == (0.0, "a hunch", "operator")
    desk.rollout(2)
    desk.obey(Promote(model=MODEL))
    assert aliases(desk) == {"champion": 2, "previous": 1}
    assert desk.obey(RollBack(model=MODEL)).version == 1
    assert aliases(desk) == {"champion": 1}, "what was rolled back is nothing to go back to"
    with pytest.raises(Conflict, match="no previous champion"):
        desk.obey(RollBack(model=MODEL))
    assert desk.champion() == 1


def test_promoting_another_version_ends_the_rollout(tmp_path: Path) -> None:
    desk = releasing(tmp_path)
    desk.register("version 3")
    desk.obey(Promote(model=MODEL, version=3))
    assert (desk.champion(), desk.share()) == (3, 0.0)
    assert aliases(desk) == {"champion": 3, "previous": 1}


def test_what_cannot_be_released_is_refused_with_the_way_out(tmp_path: Path) -> None:
    desk = Desk.at(tmp_path / "s")
    desk.policy(rollout=ROLLOUT)
    desk.register("one")
    desk.register("two")
    with pytest.raises(Conflict, match="m has no champion to compare with; run: lossloop promote m 2"):
        desk.rollout(2)
    desk.obey(Promote(model=MODEL, version=1))
    with pytest.raises(Conflict, match="version 1 is the champion already"):
        desk.rollout(1)
    with pytest.raises(Conflict, match=r"unknown version 'm:7'"):
        desk.rollout(7)
    desk.rollout(2)
    desk.register("three")
    with pytest.raises(Conflict, match="the rollout of version 2 is under way; roll it back or wait"):
        desk.rollout(3)
    desk.policy(rollout=None)
    with pytest.raises(Conflict, match="has no rollout; add one, or promote by hand"):
        desk.rollout(3)


def test_a_version_that_the_watches_could_not_judge_is_not_released(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", rollout=ROLLOUT, watches={"worse": WATCH})
    desk.register("blind", reference=None)
    with pytest.raises(Conflict, match="watch 'worse' could not judge m:2: m:2 has no reference"):
        desk.rollout(2)
    assert desk.share() == 0.0


def test_a_plan_is_overridden_for_one_release_and_checked(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", versions=2, rollout=ROLLOUT)
    with pytest.raises(Conflict, match="unknown key 'step'; did you mean 'steps'"):
        desk.rollout(2, step=["1%"])
    with pytest.raises(Conflict, match="must rise"):
        desk.rollout(2, steps=["5%", "1%"])
    desk.rollout(2, steps=["1%"])
    assert desk.share() == 0.01


def test_nothing_to_go_back_to_or_to_promote_is_said(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s")
    with pytest.raises(Conflict, match="m has no previous champion to go back to"):
        desk.obey(RollBack(model=MODEL))
    with pytest.raises(Conflict, match="no rollout is running; name the version to promote"):
        desk.obey(Promote(model=MODEL))


def test_an_endless_loss_has_no_canary(tmp_path: Path) -> None:
    desk = Desk.at(tmp_path / "s")
    with pytest.raises(PolicyError, match=r"a canary needs .*; squared .*: write one with a cap"):
        desk.policy(task="regression", loss="squared", rollout={**ROLLOUT, "clip_difference": 0.5})
