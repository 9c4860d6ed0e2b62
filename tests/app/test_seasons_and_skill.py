"""Limits by season and baselines, in the corners: floors, classes, unbounded losses, policies that change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from lossloop.app.commands import Promote
from lossloop.app.watches import judge_of, kind_of
from lossloop.app.watches.seasons import limits_of
from lossloop.app.watches.skill import baseline_of
from lossloop.core.errors import InputError, PolicyError
from lossloop.core.seasons import Season
from lossloop.judges import Skill
from lossloop.registry import Reference
from tests.app.desk import CALM, DAY, MODEL, Desk, ticked
from tests.app.test_estimates import BASELINE, ESTIMATE, RICH, ready, verdicts
from tests.app.test_estimates_kept import champion, lens

WEEK = (0.1, 0.1, 0.1, 0.1, 0.1, 0.2, 0.2)
WEEKLY: dict[str, Any] = {"kind": "seasonal", "season": "weekday", "limit": 0.2, "promise": "5% ever"}


def limits(reference: Reference, watch: dict[str, Any] = WEEKLY, **policy: Any) -> list[float]:
    view = lens(watches={"w": watch}, **policy)
    found: list[float] = limits_of(view, view.policy.watches["w"], champion(reference)).tolist()  # type: ignore[arg-type]
    return found


def with_season(means: Any = WEEK, **changes: Any) -> Reference:
    return msgspec.structs.replace(CALM, seasons={Season.WEEKDAY: tuple(means)}, **changes)


# Seasons.


def test_learned_limits_are_on_average_the_limit_where_the_reference_is_even() -> None:
    found = limits(with_season(mean=float(np.mean(WEEK))))
    assert np.mean(found) == pytest.approx(0.2)
    assert found[5] == pytest.approx(2.0 * found[0])


def test_a_part_of_the_season_that_lost_nothing_has_no_limit_to_learn() -> None:
    with pytest.raises(InputError, match=r"the limit of mon is 0, not above the least loss 0"):
        limits(with_season((0.0, *WEEK[1:])))


def test_a_reference_that_lost_nothing_has_no_season_to_learn() -> None:
    with pytest.raises(InputError, match="has no loss to learn a season of"):
        limits(with_season(mean=0.0))


def test_written_limits_need_no_reference_and_stand_above_the_floor() -> None:
    names = dict.fromkeys(Season.WEEKDAY.names, 0.3)
    watch = {"kind": "seasonal", "season": "weekday", "limits": names, "promise": "5% ever"}
    assert limits(CALM, watch) == pytest.approx([0.3] * 7)


@pytest.mark.parametrize(
    ("season", "block", "fits"),
    [
        ("weekday", "1d", True), ("weekday", "6h", True), ("weekday", "2d", False), ("weekday", "7h", False),
        ("hour", "1h", True), ("hour", "15m", True), ("hour", "2h", False), ("month", "12h", True),
        ("month", "1w", False),
    ],
)  # fmt: skip
def test_a_block_lies_in_one_part_of_the_season(season: str, block: str, fits: bool) -> None:
    watch = {
        "kind": "seasonal", "season": season, "limits": dict.fromkeys(Season(season).names, 0.3),
        "promise": "5% ever",
    }  # fmt: skip
    if fits:
        assert set(limits(CALM, watch, block=block)) == {0.3}
    else:
        with pytest.raises(InputError, match="may lie in more than one"):
            limits(CALM, watch, block=block)


# Baselines.


def skill(baseline: Any, **policy: Any) -> Any:
    reference = msgspec.structs.replace(CALM, loss=policy.get("loss", "brier"), baseline=baseline)
    watch = {**BASELINE, **policy.pop("watch", {})}
    view = lens(watches={"w": watch}, **policy)
    return judge_of(view, view.policy.watches["w"], champion(reference))


def test_a_baseline_of_classes_is_a_list_of_shares() -> None:
    judge = skill((0.2, 0.3, 0.5), task="multiclass", loss="brier_multiclass")
    assert isinstance(judge, Skill)
    view = lens(task="multiclass", loss="brier_multiclass")
    reference = msgspec.structs.replace(CALM, loss="brier_multiclass", baseline=(0.2, 0.3, 0.5))
    assert baseline_of(view, champion(reference)).tolist() == [0.2, 0.3, 0.5]


def test_a_baseline_of_an_unbounded_loss_needs_a_clip() -> None:
    with pytest.raises(InputError, match="clip_difference"):
        skill(1.5, task="regression", loss="squared")
    judge = skill(1.5, task="regression", loss="squared", watch={"clip_difference": 0.5})
    assert (judge.reach, judge.clips) == (0.5, True)


def test_a_clip_wider_than_the_loss_clips_nothing() -> None:
    judge = skill(0.3, watch={"clip_difference": 3.0})
    assert (judge.reach, judge.clips) == (1.0, False)


def test_each_row_is_compared_with_the_answer_for_all(tmp_path: Path) -> None:
    """Outcomes of both kinds: a baseline of .3 loses .09 where nothing happens, and .49 where it does."""
    desk = ready(tmp_path, {**BASELINE, "promise": "1 per 5000 outcomes"})
    calm, late = desk.predict(8, [0.04] * 6), desk.predict(9, [0.04] * 2)
    desk.know(10, calm, 0.0)
    desk.know(10, late, 1.0)  # it said .2 and loses .64
    desk.tick(DAY + 7)
    points = desk.points("w")
    total = sum((point.mean or 0.0) * point.rows for point in points)
    assert total == pytest.approx(6 * (0.04 - 0.09) + 2 * (0.64 - 0.49))
    assert sum(point.labelled for point in points) == 8


# A policy that changes.


def test_a_watch_that_asks_something_else_begins_anew_and_the_others_go_on(tmp_path: Path) -> None:
    desk = ready(tmp_path, BASELINE)
    for day in range(3):
        desk.day(day, 0.5)
    with desk.books() as books:
        before = books.watch("m", "w")
    assert desk.policy(watches={"w": BASELINE, "more": ESTIMATE}).ok
    with desk.books() as books:
        assert books.watch("m", "w") == before
    assert desk.policy(watches={"w": {**BASELINE, "tolerance": 0.1}, "more": ESTIMATE}).ok
    with desk.books() as books:
        assert books.watch("m", "w") is None


def test_an_estimate_that_begins_to_audit_waits_for_the_judging_age(tmp_path: Path) -> None:
    desk = ready(tmp_path, ESTIMATE)
    desk.predict(8, [0.1] * 10)
    desk.tick(DAY + 1)
    assert verdicts(desk) == ["healthy"], "a day that is over, and not yet at its judging age"
    watch = {**ESTIMATE, "audit": "50%"}
    assert desk.policy(watches={"w": watch}).ok
    ids = desk.predict(DAY + 8, [0.1] * 10)
    desk.know(DAY + 9, ids)
    desk.tick(2 * DAY + 1)
    assert verdicts(desk) == ["healthy", "no_data"], "of the first day no audit came, the second waits"
    desk.tick(2 * DAY + 7)
    assert verdicts(desk) == ["healthy", "no_data", "healthy"]
    assert desk.points("w")[-1].labelled > 0


@pytest.mark.parametrize("watch", [BASELINE, ESTIMATE, {**ESTIMATE, "audit": "5%"}, WEEKLY])
def test_what_it_cannot_see_is_said_where_its_verdict_is(tmp_path: Path, watch: dict[str, Any]) -> None:
    reference = msgspec.structs.replace(RICH, seasons={Season.WEEKDAY: WEEK})
    desk = ready(tmp_path, watch, reference)
    desk.day(0, 0.1)
    with desk.books() as books:
        state = books.watch("m", "w")
        kind = kind_of(books.policy("m").watches["w"])
    assert state is not None
    assert state.verdict is not None
    assert state.verdict.promise == watch["promise"]
    assert state.verdict.assumption
    assert kind.cannot_see


def test_a_baseline_cannot_be_wider_than_a_prediction(tmp_path: Path) -> None:
    """It stands beside every row that is judged: a million numbers would take all memory."""
    reference = msgspec.structs.replace(CALM, loss="brier_multiclass", baseline=(1e-6,) * 1_001)
    desk = Desk.at(tmp_path / "s")
    desk.send(ticked(0))
    desk.policy(task="multiclass", loss="brier_multiclass")
    desk.register("wide", reference)
    desk.obey(Promote(model=MODEL, version=1))
    watch = {"kind": "baseline", "tolerance": 0.1, "promise": "5% ever"}
    with pytest.raises(PolicyError, match="has 1,001 numbers; at most 1,000 are possible"):
        desk.policy(task="multiclass", loss="brier_multiclass", watches={"skill": watch})
