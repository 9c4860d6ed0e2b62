"""Holdouts over a replay: kept over rollouts, judged once a unit, drawn anew with each period."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lossloop.app.holdouts import HeldOut, held_out, past
from lossloop.app.reading import status
from lossloop.app.rebuilding import rebuild
from lossloop.core.errors import LossloopError
from lossloop.core.traffic import Traffic
from tests.app.desk import DAY, MODEL, ROLLOUT, WATCH, Desk, asked, happened, ticked

HELD = {"holdout": {"share": "20%", "version": 3, "period": "30d"}}


def holding(path: Path, *, serving: Any = HELD, **policy: Any) -> Desk:
    """Version 1 is champion, and a fifth of the units keep version 3."""
    desk = Desk.ready(path / "s", versions=4, **policy)
    desk.policy(serving=serving, **policy)
    return desk


def served(
    desk: Desk, hour: float, held: float, others: float, *, rows: int = 100, **given: Any
) -> list[str]:
    """Units held out and all others, their outcomes, and the moment at which they are judged."""
    mine, theirs = desk.ids(rows // 5), desk.ids(rows - rows // 5)
    desk.send(
        asked(hour, [held] * len(mine), mine, version=3, role="holdout", propensity=0.2),
        asked(hour + 0.1, [others] * len(theirs), theirs, **{"propensity": 0.8, **given}),
        happened(hour + 0.2, mine + theirs),
        ticked(hour + 6.3),
    )
    return mine + theirs


def told(desk: Desk) -> dict[str, Any]:
    with desk.books() as books:
        found: dict[str, Any] = status(books, MODEL)["holdout"]
        return found


def run_of(desk: Desk) -> HeldOut:
    with desk.books() as books:
        found = held_out(books.documents, MODEL)
        assert found is not None
        return found


def traffic(desk: Desk) -> Traffic:
    with desk.books() as books:
        found = books.traffic(MODEL)
        assert found is not None
        return found


def test_the_servers_are_told_who_is_held_out(tmp_path: Path) -> None:
    desk = holding(tmp_path)
    assert (traffic(desk).held_out, traffic(desk).versions) == (0.2, (1, 3))
    assert traffic(desk).holdout_salt == run_of(desk).salt != ""
    with desk.books() as books:
        assert run_of(desk).salt not in str(status(books, MODEL)), "who knew it could choose what to meet"


def test_all_others_are_shown_to_be_better(tmp_path: Path) -> None:
    desk = holding(tmp_path)
    assert told(desk)["worse"] is None
    for day in range(5):
        served(desk, day * DAY + 1, 0.9, 0.1)
    found = told(desk)
    assert (found["held"], found["others"]) == (100, 400)
    assert (found["better"]["kind"], found["worse"]["kind"]) == ("better", "inconclusive")
    effect = found["better"]["effect"]
    assert effect["low"] <= -0.8 <= effect["high"] < 0
    assert desk.told() == [], "a holdout moves no traffic"
    assert [point.kind for point in desk.points("holdout: better")][-1] == "better"


def test_where_they_are_worse_people_are_told_once_a_period(tmp_path: Path) -> None:
    desk = holding(tmp_path, on={"holdout": [{"notify": "log"}]})
    for day in range(5):
        served(desk, day * DAY + 1, 0.1, 0.9)
    assert told(desk)["worse"]["kind"] == "alarm"
    assert desk.told() == [("notify", "done")]
    assert "worse than version 3, which is held out" in desk.decisions()[-1].reason
    assert desk.champion() == 1


def test_it_is_no_part_of_a_rollout_and_goes_on_through_it(tmp_path: Path) -> None:
    desk = holding(tmp_path, rollout=ROLLOUT)
    salt = run_of(desk).salt
    desk.rollout(2)
    assert traffic(desk).holdout_salt == salt
    mine, theirs = desk.ids(160), desk.ids(40)
    desk.send(
        asked(1, [0.1] * 160, mine, propensity=0.8 * 0.8),
        asked(1.1, [0.9] * 40, theirs, version=2, role="challenger", propensity=0.8 * 0.2),
        happened(1.2, mine + theirs), ticked(8),
    )  # fmt: skip
    assert desk.told() == [("roll_back", "done")]
    effect = desk.decisions()[-1].verdict
    assert effect is not None
    assert effect.effect is not None
    assert effect.effect.estimate == pytest.approx(0.8, abs=0.1)
    assert told(desk)["others"] == 200, "all others are all who were not held out, challengers among them"


def test_the_held_out_are_in_no_watch_of_the_champion(tmp_path: Path) -> None:
    """Also where it is the champion that is held."""
    held = {"holdout": {"share": "20%", "version": 1}}
    desk = holding(tmp_path, serving=held, watches={"worse": WATCH})
    mine, theirs = desk.ids(40), desk.ids(40)
    desk.send(
        asked(8, [0.9] * 40, mine, role="holdout", propensity=0.2),
        asked(8.1, [0.1] * 40, theirs, propensity=0.8),
        happened(9, mine + theirs), ticked(DAY + 7),
    )  # fmt: skip
    assert desk.points("worse")[0].rows == 40
    assert desk.points("worse")[0].mean == pytest.approx(0.1)


def test_what_was_answered_otherwise_is_no_evidence(tmp_path: Path) -> None:
    desk = holding(tmp_path)
    served(desk, 1, 0.9, 0.1, propensity=1.0)
    served(desk, 9, 0.9, 0.1, role="override", propensity=0.8)
    assert (told(desk)["held"], told(desk)["others"]) == (40, 0)


def test_a_unit_counts_once_in_a_period(tmp_path: Path) -> None:
    desk = holding(tmp_path)
    for day in (1, 2, 31):
        ids = desk.ids(3)
        desk.send(
            asked(day * DAY, [0.5] * 3, ids, units=["ann", "ann", None], propensity=0.8),
            happened(day * DAY + 1, ids), ticked(day * DAY + 7),
        )  # fmt: skip
        assert told(desk)["others"] == {1: 2, 2: 3, 31: 2}[day]


def test_with_a_period_others_are_held_out(tmp_path: Path) -> None:
    desk = holding(tmp_path)
    served(desk, 1, 0.9, 0.1)
    first = run_of(desk)
    desk.tick(29.9 * DAY)
    assert run_of(desk) == first
    desk.tick(30 * DAY)
    second = run_of(desk)
    assert (second.number, second.held, second.judged) == (2, 0, None)
    assert first.salt != second.salt == traffic(desk).holdout_salt
    with desk.books() as books:
        assert past(books.documents, MODEL) == [first]
    desk.tick(95 * DAY)
    assert run_of(desk).number == 3, "a period lasts from when it begins"


def test_setting_the_same_policy_again_changes_nothing(tmp_path: Path) -> None:
    desk = holding(tmp_path)
    served(desk, 1, 0.9, 0.1)
    before = run_of(desk)
    desk.policy(serving=HELD, cooldown="3d")
    assert run_of(desk) == before
    desk.policy(serving={"holdout": {"share": "20%", "version": 4}})
    assert (run_of(desk).number, traffic(desk).versions) == (2, (1, 4))
    desk.policy()
    assert not told(desk)
    assert traffic(desk).held_out == 0.0
    desk.policy(serving=HELD)
    assert run_of(desk).number == 3


@pytest.mark.parametrize(
    ("holdout", "message"),
    [
        ({"share": "20%", "version": 9}, "unknown version"),
        ({"share": "60%", "version": 3}, "serving.holdout.share: hold out 50% of the units at most"),
        ({"share": "5%", "version": 0}, "versions are numbered from 1"),
        ({"share": "5%", "version": 3, "period": "0d"}, "must last longer than nothing"),
        ({"share": "5%"}, "the key 'version' is missing"),
    ],
)
def test_a_holdout_that_cannot_be_is_refused(tmp_path: Path, holdout: dict[str, Any], message: str) -> None:
    desk = Desk.ready(tmp_path / "s", versions=3)
    with pytest.raises(LossloopError, match=message):
        desk.policy(serving={"holdout": holdout})
    assert told(desk) is None


def test_its_share_does_not_change_while_units_are_drawn(tmp_path: Path) -> None:
    desk = holding(tmp_path, rollout=ROLLOUT)
    desk.rollout(2)
    for serving in (None, {"holdout": {"share": "10%", "version": 3}}):
        with pytest.raises(LossloopError, match="the rollout of version 2 is under way"):
            desk.policy(serving=serving, rollout=ROLLOUT)
    desk.policy(serving={"holdout": {"share": "20%", "version": 4}}, rollout=ROLLOUT)
    assert run_of(desk).holdout.version == 4


def test_a_loss_without_a_bound_is_refused(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", versions=2, task="regression", loss="squared")
    with pytest.raises(LossloopError, match="a holdout is compared by a bounded loss"):
        desk.policy(serving={"holdout": {"share": "5%", "version": 1}}, task="regression", loss="squared")


def test_a_rebuild_gives_the_same(tmp_path: Path) -> None:
    desk = holding(tmp_path, on={"holdout": [{"notify": "log"}]}, watches={"worse": WATCH})
    for day in range(34):
        served(desk, day * DAY + 1, 0.1, 0.9, rows=50)
    before, decided, run = desk.told(), desk.decisions(), run_of(desk)
    assert before.count(("notify", "done")) >= 1
    assert run.number == 2
    assert rebuild(desk.home).agrees
    assert (desk.decisions(), run_of(desk)) == (decided, run)
