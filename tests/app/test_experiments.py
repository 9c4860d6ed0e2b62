"""Experiments over a replay: several arms beside the champion, judged apart, ended by evidence or by time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lossloop.app.charts.history import read_history
from lossloop.app.charts.watches import watch_charts
from lossloop.app.cli.views import _show
from lossloop.app.commands import Promote, Result, RollBack, StartExperiment, StartRollout
from lossloop.app.reading import status
from lossloop.app.rebuilding import rebuild
from lossloop.core.errors import Conflict
from lossloop.core.traffic import Arm, Traffic
from tests.app.desk import DAY, MODEL, ROLLOUT, WATCH, Desk, asked, happened, ticked

SHARES = {1: 0.5, 2: 0.25, 3: 0.25}
"""Of the champion and two arms."""


def trying(path: Path, *, arms: dict[int, float] | None = None, plan: Any = None, **policy: Any) -> Desk:
    """Version 1 is champion, versions 2 and 3 are compared with it."""
    desk = Desk.ready(path / "s", versions=4, **policy)
    begun(desk, arms or {2: 0.25, 3: 0.25}, **(plan or {}))
    return desk


def begun(desk: Desk, arms: dict[int, float], **plan: Any) -> Result:
    sent = tuple(Arm(version=version, share=share) for version, share in arms.items())
    return desk.obey(StartExperiment(model=MODEL, arms=sent, plan=plan))


def met(desk: Desk, hour: float, losses: dict[int, float], *, rows: int = 80, **given: Any) -> None:
    """Traffic of all arms at their shares, its outcomes, and the moment at which it is judged."""
    frames, every = [], []
    for version, loss in losses.items():
        ids = desk.ids(round(rows * SHARES[version]))
        role = "champion" if version == 1 else "challenger"
        sent = {"role": role, "version": version, "propensity": SHARES[version], **given}
        frames.append(asked(hour + 0.01 * version, [loss] * len(ids), ids, **sent))
        every += ids
    desk.send(*frames, happened(hour + 0.2, every), ticked(hour + 6.3))


def told(desk: Desk) -> dict[str, Any]:
    with desk.books() as books:
        found: dict[str, Any] = status(books, MODEL)["experiment"]
        return found


def arm(desk: Desk, version: int) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in told(desk)["arms"] if each["version"] == version)
    return found


def traffic(desk: Desk) -> Traffic:
    with desk.books() as books:
        found = books.traffic(MODEL)
        assert found is not None
        return found


# How it ends.


def test_the_better_arm_is_promoted_once_all_are_decided(tmp_path: Path) -> None:
    desk = trying(tmp_path)
    assert [(each.version, each.share) for each in traffic(desk).arms] == [(2, 0.25), (3, 0.25)]
    for day in range(6):
        met(desk, day * DAY + 1, {1: 0.5, 2: 0.9, 3: 0.1}, rows=200)
    assert desk.told() == [("roll_back", "done"), ("promote", "done")]
    assert [each.version for each in desk.decisions() if each.by == "policy"] == [2, 3]
    assert (desk.champion(), traffic(desk).arms) == (3, ())
    assert (told(desk)["course"], told(desk)["winner"]) == ("promoted", 3)


def test_of_two_better_arms_the_best_is_promoted(tmp_path: Path) -> None:
    desk = trying(tmp_path)
    for day in range(8):
        met(desk, day * DAY + 1, {1: 0.9, 2: 0.4, 3: 0.1}, rows=200)
    assert desk.told() == [("promote", "done")]
    assert desk.champion() == 3
    assert "the best of 2 shown to be better" in desk.decisions()[-1].reason


def test_one_that_is_shown_to_be_better_waits_for_the_others(tmp_path: Path) -> None:
    """They may be better still; at the end of its time the best of those shown is taken."""
    desk = trying(tmp_path, plan={"decide_within": "10d"})
    for day in range(6):
        met(desk, day * DAY + 1, {1: 0.5, 2: 0.1, 3: 0.5}, rows=200)
    assert desk.told() == []
    assert (arm(desk, 2)["certified"], arm(desk, 3)["certified"]) == (True, False)
    assert told(desk)["best"] == 2
    desk.tick(10 * DAY)
    assert desk.told() == [("promote", "done")]
    assert desk.champion() == 2


def test_without_a_better_one_it_stops(tmp_path: Path) -> None:
    desk = trying(tmp_path, plan={"decide_within": "5d"})
    met(desk, 1, {1: 0.5, 2: 0.5, 3: 0.5})
    desk.tick(4.9 * DAY)
    assert desk.told() == []
    desk.tick(5 * DAY)
    assert desk.told() == [("stop", "done")]
    assert desk.decisions()[-1].reason == "no arm was shown to be better within 5d"
    assert (desk.champion(), traffic(desk).arms) == (1, ())


def test_when_every_arm_is_worse_it_stops(tmp_path: Path) -> None:
    desk = trying(tmp_path)
    for day in range(6):
        met(desk, day * DAY + 1, {1: 0.1, 2: 0.9, 3: 0.9}, rows=200)
    assert desk.told() == [("roll_back", "done"), ("roll_back", "done"), ("stop", "done")]
    assert desk.champion() == 1


def test_no_data_is_no_pass(tmp_path: Path) -> None:
    desk = trying(tmp_path, plan={"decide_within": "5d"})
    desk.tick(6 * DAY)
    assert desk.told() == [("stop", "done")]


# What is evidence.


def test_units_of_an_arm_that_was_given_up_are_the_champions_and_no_evidence(tmp_path: Path) -> None:
    desk = trying(tmp_path)
    for day in range(3):
        met(desk, day * DAY + 1, {1: 0.5, 2: 0.9, 3: 0.5}, rows=200)
    assert desk.told() == [("roll_back", "done")]
    assert [(each.version, each.closed) for each in traffic(desk).arms] == [(2, True), (3, False)]
    before = arm(desk, 3)
    met(desk, 4 * DAY, {1: 0.0}, rows=400, propensity=1.0)
    assert arm(desk, 3) == before
    met(desk, 5 * DAY, {2: 0.0}, rows=400)
    assert arm(desk, 2)["seen"] == arm(desk, 2)["seen"]
    assert arm(desk, 3) == before


def test_rows_that_say_another_chance_are_no_evidence(tmp_path: Path) -> None:
    desk = trying(tmp_path)
    met(desk, 1, {2: 0.9}, rows=400, propensity=0.2)
    met(desk, 8, {1: 0.1}, rows=400, propensity=0.6)
    met(desk, 16, {2: 0.9}, rows=400, role="override", propensity=0.25)
    met(desk, 24, {2: 0.9}, rows=400, role="holdout", propensity=0.25)
    assert (arm(desk, 2)["seen"], arm(desk, 2)["verdict"], desk.told()) == (0, None, [])


def test_rows_from_before_it_began_are_no_evidence(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", versions=4)
    met(desk, 1, {1: 0.1, 2: 0.9, 3: 0.9}, rows=400)
    begun(desk, {2: 0.25, 3: 0.25})
    desk.tick(2 * DAY)
    assert arm(desk, 2)["seen"] == 0
    met(desk, 3 * DAY, {1: 0.1, 2: 0.9, 3: 0.9}, rows=400)
    assert desk.told()[0] == ("roll_back", "done")


def test_a_unit_counts_once(tmp_path: Path) -> None:
    desk = trying(tmp_path)
    frames = []
    for hour in range(1, 40):
        ids = desk.ids(2)
        frames += [
            asked(hour, [0.9], ids[:1], version=2, role="challenger", propensity=0.25, units=["ann"]),
            asked(hour, [0.1], ids[1:], propensity=0.5, units=["bob"]),
            happened(hour + 0.1, ids),
        ]
    desk.send(*frames)
    desk.tick(3 * DAY)
    assert (arm(desk, 2)["seen"], desk.told()) == (1, [])


def test_the_share_that_is_held_out_is_reckoned_with(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", versions=4)
    desk.policy(serving={"holdout": {"share": "20%", "version": 4}})
    begun(desk, {2: 0.25, 3: 0.25})
    assert told(desk)["held_out"] == 0.2
    met(desk, 1, {2: 0.5, 3: 0.5}, rows=80, propensity=0.25)
    assert arm(desk, 2)["seen"] == 0, "over all arms chances add up to 1"
    met(desk, 10, {2: 0.5, 3: 0.5}, rows=80, propensity=0.8 * 0.25)
    assert (arm(desk, 2)["seen"], arm(desk, 3)["seen"]) == (20, 20)


def test_an_arm_can_be_judged_in_a_slice_and_is_not_promoted_beyond_it(tmp_path: Path) -> None:
    desk = trying(tmp_path, arms={2: 0.25}, plan={"only": {"carrier": ["UA"]}})
    SHARES[1] = 0.75
    try:
        for day in range(6):
            met(desk, day * DAY + 1, {1: 0.5, 2: 0.1}, rows=200)
    finally:
        SHARES[1] = 0.5
    assert traffic(desk).only == {"carrier": ("UA",)}
    assert desk.told() == [("promote", "awaits_approval")]
    assert desk.decisions()[-1].reason.endswith("judged only where carrier is UA")
    desk.obey(Promote(model=MODEL, version=2))
    assert (desk.champion(), told(desk)["course"]) == (2, "promoted")


# What holds it back.


def test_in_mode_observe_it_says_what_it_would_do_once(tmp_path: Path) -> None:
    desk = trying(tmp_path, mode="observe")
    for day in range(4):
        met(desk, day * DAY + 1, {1: 0.1, 2: 0.9, 3: 0.5}, rows=200)
    assert desk.told() == [("roll_back", "would_have")]
    assert len(traffic(desk).arms) == 2


def test_a_promotion_may_need_approval_and_a_rollback_a_budget(tmp_path: Path) -> None:
    desk = trying(tmp_path, approve=["promote"], budget={"roll_back": "1 per 9d"})
    for day in range(6):
        met(desk, day * DAY + 1, {1: 0.1, 2: 0.9, 3: 0.9}, rows=200)
    assert desk.told() == [("roll_back", "done"), ("roll_back", "over_budget")]
    desk.tick(15 * DAY)
    assert desk.told()[2:] == [("roll_back", "done"), ("stop", "done")]


def test_people_are_told(tmp_path: Path) -> None:
    on = {"experiment": [{"notify": "log"}]}
    desk = trying(tmp_path, plan={"decide_within": "2d"}, on=on)
    desk.tick(3 * DAY)
    assert ("notify", "done") in desk.told()


# What is refused.


@pytest.mark.parametrize(
    ("arms", "message"),
    [
        ({1: 0.2}, "version 1 is the champion already"),
        ({9: 0.2}, "unknown version"),
        ({2: 0.5, 3: 0.5}, "leave some to the champion"),
        ({2: 0.0}, "share of version 2 must lie between"),
        ({2: 1.5}, "share of version 2 must lie between"),
        ({}, "1 to 20 arms"),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path: Path, arms: dict[int, float], message: str) -> None:
    desk = Desk.ready(tmp_path / "s", versions=4)
    with pytest.raises(Conflict, match=message):
        begun(desk, arms)
    assert told(desk) is None


def test_units_are_drawn_by_one_thing_at_a_time(tmp_path: Path) -> None:
    desk = trying(tmp_path, rollout=ROLLOUT, beside=["log_loss(cap=5)"])
    with pytest.raises(Conflict, match="the experiment with versions 2, 3 is under way"):
        desk.obey(StartRollout(model=MODEL, version=4))
    with pytest.raises(Conflict, match="under way"):
        begun(desk, {4: 0.1})
    with pytest.raises(Exception, match="cannot change before its end"):
        desk.policy(rollout=ROLLOUT, serving={"holdout": {"share": "5%", "version": 4}})
    desk.obey(RollBack(model=MODEL))
    assert told(desk)["course"] == "stopped"
    desk.rollout(4)
    with pytest.raises(Conflict, match="the rollout of version 4 is under way"):
        begun(desk, {2: 0.1})


def test_a_loss_without_a_bound_is_refused(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", versions=2, task="regression", loss="squared")
    with pytest.raises(Conflict, match="arms are compared by a bounded loss"):
        begun(desk, {2: 0.1})


def test_an_unknown_key_of_a_plan_is_refused(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", versions=2)
    wrong: list[dict[str, Any]] = [
        {"better": 1}, {"better_by": -1}, {"only": {"carrier": []}}, {"decide_within": "0d"},
    ]  # fmt: skip
    for plan in wrong:
        with pytest.raises(Conflict):
            begun(desk, {2: 0.1}, **plan)


# A person's orders.


def test_a_person_may_end_it_with_any_version(tmp_path: Path) -> None:
    desk = trying(tmp_path)
    desk.obey(Promote(model=MODEL, version=4))
    assert (desk.champion(), told(desk)["course"]) == (4, "stopped")
    begun(desk, {2: 0.1})
    desk.obey(Promote(model=MODEL, version=2))
    assert (desk.champion(), told(desk)["course"], traffic(desk).arms) == (2, "promoted", ())


def test_each_has_a_salt_of_its_own(tmp_path: Path) -> None:
    desk = trying(tmp_path)
    first = traffic(desk).salt
    desk.obey(RollBack(model=MODEL))
    begun(desk, {2: 0.25})
    assert first != traffic(desk).salt != ""
    with desk.books() as books:
        shown = str(status(books, MODEL))
        assert traffic(desk).salt not in shown


# The same facts, the same state.


def test_a_rebuild_gives_the_same_and_repeats_nothing(tmp_path: Path) -> None:
    desk = trying(
        tmp_path, watches={"worse": WATCH}, plan={"decide_within": "9d"},
    )  # fmt: skip
    desk.policy(watches={"worse": WATCH})
    for day in range(9):
        met(desk, day * DAY + 1, {1: 0.5, 2: 0.9, 3: 0.1}, rows=120)
    assert desk.told() == [("roll_back", "done"), ("promote", "done")]
    before, decided = desk.everything(), desk.decisions()
    assert rebuild(desk.home).agrees
    assert desk.decisions() == decided
    after = desk.everything()
    differing = {name for name in before if before[name] != after[name]}
    assert differing <= {"documents"}, "commands keep when they were received"
    kinds = ("experiment", "point", "traffic", "decision")
    assert [each for each in after["documents"] if each[0] in kinds] == [
        each for each in before["documents"] if each[0] in kinds
    ]


def test_batches_of_any_size_give_the_same_verdicts(tmp_path: Path) -> None:
    """What was judged does not depend on how facts were folded: one by one, or many at once."""
    found = []
    for name, size in (("one", 1), ("many", 7)):
        desk = trying(tmp_path / name)
        frames = []
        for number in range(20):
            version = (1, 1, 2, 3)[number % 4]
            ids = [f"r{number}"]
            role = "champion" if version == 1 else "challenger"
            frames.append(asked(
                number * 0.1, [(0.5, 0.9, 0.1)[version - 1]], ids, version=version, role=role,
                propensity=SHARES[version],
            ))  # fmt: skip
            frames.append(happened(number * 0.1 + 0.01, ids))
        for start in range(0, len(frames), size):
            desk.send(*frames[start : start + size])
        desk.tick(2 * DAY)
        found.append([each["verdict"] for each in told(desk)["arms"]])
    assert found[0] == found[1]


# What people are shown.


def shown(desk: Desk, capsys: pytest.CaptureFixture[str]) -> str:
    """What `lossloop status` prints."""
    with desk.books() as books:
        _show({**status(books, MODEL), "imports": []})
    return " ".join(capsys.readouterr().out.split())


def test_status_says_how_each_arm_stands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    desk = trying(tmp_path, plan={"only": {"carrier": ["UA", "DL"]}})
    words = shown(desk, capsys)
    assert "champion at 50%; each arm is judged with 2.5%, one of 2 equal parts of 5%" in words
    assert "version 2 at 25%: nothing was judged yet" in words
    assert "drawn: rows where carrier is UA or DL; the champion answers all others" in words
    for day in range(4):
        met(desk, day * DAY + 1, {1: 0.5, 2: 0.9, 3: 0.1}, rows=200)
    words = shown(desk, capsys)
    assert "version 2 at 25%: loss +" in words
    assert "; given up" in words
    assert "version 3 at 25%: loss -" in words
    assert "; shown to be better; the best so far" in words
    desk.obey(RollBack(model=MODEL))
    assert "the last experiment was stopped at" in shown(desk, capsys)


def test_status_says_who_is_held_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    desk = Desk.ready(tmp_path / "s", versions=3)
    desk.policy(serving={"holdout": {"share": "50%", "version": 3}})
    assert "holdout: version 3 for 50% of the units until" in shown(desk, capsys)
    mine, theirs = desk.ids(60), desk.ids(60)
    desk.send(
        asked(1, [0.9] * 60, mine, version=3, role="holdout", propensity=0.5),
        asked(1.1, [0.1] * 60, theirs, propensity=0.5), happened(2, mine + theirs), ticked(9),
    )  # fmt: skip
    assert "; shown to be better (60 and 60 units)" in shown(desk, capsys)


def test_each_comparison_has_its_charts(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", versions=4)
    held_out = {"holdout": {"share": "20%", "version": 4}}
    desk.policy(serving=held_out, experiment={"better_by": 0.01})
    begun(desk, {2: 0.25, 3: 0.25})
    for day in range(3):
        for version, share in SHARES.items():
            met(desk, day * DAY + version, {version: 0.5}, rows=80, propensity=0.8 * share)
        held = desk.ids(20)
        desk.send(
            asked(day * DAY + 10, [0.5] * 20, held, version=4, role="holdout", propensity=0.2),
            happened(day * DAY + 11, held),
        )
    desk.tick(5 * DAY)
    with desk.books() as books:
        charts = watch_charts(read_history(books, MODEL))
    about = [each.about for each in charts]
    for words in (
        "Version 2 in an experiment", "Version 3 in an experiment",
        "All others beside version 4, which is held out",
    ):  # fmt: skip
        mine = [each for each, what in zip(charts, about, strict=True) if what == words]
        assert [each.title.removeprefix(words) for each in mine] == [": difference", ""]
        names = [line["name"] for line in mine[1].data["series"]]
        assert names == sorted(names, key=lambda name: name != "for being better")
        assert len(names) == 2
    limits = {
        tuple(limit[2] for limit in each.data["limits"]) for each in charts if "difference" in each.title
    }
    assert limits == {(-0.01, 0.0), (0.0,)}
