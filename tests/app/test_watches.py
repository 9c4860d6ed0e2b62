"""Watches over a replay: alarms once per incident, on evidence that was there in time."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from lossloop.act import outbox
from lossloop.app.books import Books
from lossloop.app.commands import Promote, RollBack
from lossloop.app.reading import status
from lossloop.app.showing import shown as shown_of
from lossloop.app.stepping import storable
from lossloop.core.errors import Conflict, PolicyError
from lossloop.core.records import Interval, Verdict, VerdictKind
from lossloop.ledger.frames import Frame
from lossloop.ledger.sqlite.state import State
from lossloop.registry import Reference
from tests.app.desk import CALM, DAY, MODEL, ROLLOUT, WATCH, Desk, asked, happened, ticked

ON = {"worse": [{"retrain": "again"}, {"notify": "log"}]}
RETRAINS = {"retrain": {"again": "somewhere:train"}}


def watched(path: Path, *, versions: int = 1, **policy: Any) -> Desk:
    """A champion under one regression watch that retrains and notifies."""
    keys = {"watches": {"worse": WATCH}, "on": ON, **policy}
    return Desk.ready(path / "s", versions=versions, settings=RETRAINS, **keys)


def kinds(desk: Desk, watch: str = "worse") -> list[str]:
    return [point.kind for point in desk.points(watch)]


def test_days_as_good_as_the_reference_stay_healthy(tmp_path: Path) -> None:
    desk = watched(tmp_path)
    for day in range(6):
        desk.day(day, 0.1)
    assert kinds(desk) == ["healthy"] * 6
    assert desk.told() == []


def test_an_alarm_is_answered_once_and_again_only_after_its_cooldown(tmp_path: Path) -> None:
    desk = watched(tmp_path, cooldown="5d")
    days: list[tuple[int, str]] = []
    for day in range(14):
        desk.day(day, 0.9)
        days += [(day, each.action) for each in desk.decisions()[len(days) + 1 :]]
    first = days[0][0]
    again = days[2][0]
    assert [action for _, action in days[:4]] == ["retrain", "notify"] * 2
    assert first <= 3
    assert again >= first + 5, "an incident's actions have their time"
    assert again <= first + 5 + 4, "and then it may alarm again, on new evidence"


def test_a_second_retraining_waits_for_the_first(tmp_path: Path) -> None:
    desk = watched(tmp_path, cooldown="1d")
    for day in range(9):
        desk.day(day, 0.9)
    assert desk.told()[:2] == [("retrain", "done"), ("notify", "done")]
    skipped = [each for each in desk.decisions() if each.status == "skipped"]
    assert skipped
    assert "a retraining is under way" in skipped[0].reason


def test_a_budget_caps_what_is_done_and_says_so(tmp_path: Path) -> None:
    desk = watched(tmp_path, cooldown="1d", on={"worse": [{"notify": "log"}]}, budget={"notify": "2 per 90d"})
    for day in range(16):
        desk.day(day, 0.9)
    done = [status for _, status in desk.told()]
    assert done[:2] == ["done", "done"]
    assert set(done[2:]) == {"over_budget"}


def test_in_observe_mode_it_only_says_what_it_would_have_done(tmp_path: Path) -> None:
    desk = watched(tmp_path, mode=None)
    for day in range(6):
        desk.day(day, 0.9)
    assert desk.told() == [("retrain", "would_have"), ("notify", "done")]
    with desk.books() as books:
        assert [effect.verb for effect in outbox.pending(books.documents)] == ["notify"]


def test_while_frozen_verdicts_go_on_and_nothing_is_done(tmp_path: Path) -> None:
    desk = watched(tmp_path)
    desk.freeze(on=True)
    for day in range(6):
        desk.day(day, 0.9)
    assert kinds(desk)[-1] == "alarm"
    assert desk.told() == [("retrain", "frozen"), ("notify", "done")]
    desk.freeze(on=False)
    desk.day(6, 0.9)
    assert desk.told()[2:] == [("retrain", "done")]


# Probation.


def promoted(path: Path, **policy: Any) -> tuple[Desk, int]:
    """Version 2 has just been made champion by its rollout; and the day after that."""
    plan = {**ROLLOUT, "steps": ["50%"]}
    desk = watched(path, versions=2, rollout=plan, probation="10d", **policy)
    desk.rollout(2)
    for day in range(4):
        desk.arms(day * DAY + 1, 0.1, 0.1, share=0.5, rows=60)
    desk.tick(5 * DAY)
    assert desk.told()[-1] == ("promote", "done")
    return desk, 5


def test_within_probation_an_alarm_goes_back_to_the_champion_before(tmp_path: Path) -> None:
    desk, day = promoted(tmp_path)
    for each in range(day, day + 5):
        desk.day(each, 0.9, version=2)
    assert desk.champion() == 1
    assert desk.told()[-2:] == [("roll_back", "done"), ("notify", "done")]
    assert "within probation" in desk.decisions()[-2].reason
    assert desk.decisions()[-2].version == 1


def test_after_probation_it_retrains(tmp_path: Path) -> None:
    desk, day = promoted(tmp_path)
    for each in range(day, day + 11):
        desk.day(each, 0.1, version=2)
    for each in range(day + 11, day + 16):
        desk.day(each, 0.9, version=2)
    assert desk.champion() == 2
    assert desk.told()[-2:] == [("retrain", "done"), ("notify", "done")]


def test_a_first_champion_is_never_rolled_back(tmp_path: Path) -> None:
    desk = watched(tmp_path)
    for day in range(5):
        desk.day(day, 0.9)
    assert desk.champion() == 1
    assert "roll_back" not in [action for action, _ in desk.told()]


def test_a_new_champion_is_judged_anew_and_only_on_its_own_rows(tmp_path: Path) -> None:
    desk = watched(tmp_path, versions=2)
    desk.day(0, 0.9)
    before = desk.points("worse")[-1].evidence
    desk.obey(Promote(model=MODEL, version=2))
    desk.day(1, 0.9)  # rows of version 1, which is champion no more
    assert len(desk.points("worse")) == 1
    desk.day(2, 0.1, version=2)
    assert desk.points("worse")[-1].evidence < before
    desk.obey(RollBack(model=MODEL))
    assert desk.champion() == 1


# What counts as evidence.


def test_an_outcome_that_did_not_come_counts_nothing_for_an_alarm(tmp_path: Path) -> None:
    desk = watched(tmp_path)
    for day in range(8):
        ids = desk.predict(day * DAY + 1, [0.9] * 10)
        desk.know(day * DAY + 2, ids[:1])
        desk.tick((day + 1) * DAY + 7)
    points = desk.points("worse")
    assert [point.kind for point in points] == ["healthy"] * 8
    assert [point.mean for point in points] == pytest.approx([0.09] * 8)
    assert [(point.rows, point.labelled) for point in points] == [(10, 1)] * 8


def test_a_block_without_any_outcome_is_no_data_and_no_pass(tmp_path: Path) -> None:
    desk = watched(tmp_path)
    desk.day(0, 0.1)
    desk.predict(DAY + 1, [0.9] * 10)
    desk.tick(2 * DAY + 7)
    assert kinds(desk) == ["healthy", "no_data"]
    with desk.books() as books:
        told = status(books, MODEL)["watches"]["worse"]
    assert told["kind"] == VerdictKind.NO_DATA
    assert told["reason"].startswith("none of 10 outcomes came in time")


def test_a_block_of_silence_passes_without_a_verdict(tmp_path: Path) -> None:
    desk = watched(tmp_path)
    desk.day(0, 0.1)
    desk.day(5, 0.1)
    assert [point.block for point in desk.points("worse")] == ["2024-01-01", "2024-01-06"]


def test_an_outcome_after_the_judging_age_is_shown_and_is_no_evidence(tmp_path: Path) -> None:
    desk = watched(tmp_path)
    ids = desk.predict(1, [0.9] * 4)
    desk.know(7.5, ids)  # 6.5 hours old: mature_after is 6
    desk.tick(DAY + 7)
    (point,) = desk.points("worse")
    assert (point.kind, point.mean, point.labelled) == ("no_data", 0.0, 0)
    with desk.books() as books:
        (shown,) = status(books, MODEL)["losses"]
    assert (shown["outcomes"], shown["mean"]) == (4, pytest.approx(0.9))


def test_the_judging_age_itself_is_still_in_time(tmp_path: Path) -> None:
    desk = watched(tmp_path)
    ids = desk.predict(1, [0.9] * 4)
    desk.know(7, ids)
    desk.tick(DAY + 7)
    assert desk.points("worse")[0].labelled == 4


def test_a_correction_moves_the_figures_by_its_difference_and_never_the_evidence(tmp_path: Path) -> None:
    desk = watched(tmp_path)
    ids = desk.day(0, 0.36)
    before = desk.points("worse")

    def shown() -> tuple[int, float]:
        with desk.books() as books:
            (row,) = status(books, MODEL)["losses"]
        return row["outcomes"], row["mean"] * row["outcomes"]

    count, total = shown()
    desk.know(DAY + 9, ids[:1], 1.0)
    desk.tick(DAY + 10)
    assert shown()[0] == count
    assert shown()[1] == pytest.approx(total - 0.36 + (1 - 0.6) ** 2)
    assert desk.points("worse") == before
    with desk.books() as books:
        counts = books.counts(MODEL)
        assert (counts.outcomes, counts.corrections) == (4, 1)
    desk.know(DAY + 11, ids[:1], 0.0)
    assert shown()[0] == count
    assert shown()[1] == pytest.approx(total)


def test_a_correction_before_the_judging_age_is_what_is_judged(tmp_path: Path) -> None:
    desk = watched(tmp_path)
    ids = desk.predict(1, [0.36] * 4)
    desk.know(2, ids, 1.0)
    desk.know(3, ids, 0.0)
    desk.tick(DAY + 7)
    assert desk.points("worse")[0].mean == pytest.approx(0.36)


def test_an_outcome_before_its_prediction_waits_for_it(tmp_path: Path) -> None:
    desk = watched(tmp_path)
    ids = desk.ids(4)
    desk.know(1, ids)
    with desk.books() as books:
        assert books.counts(MODEL).waiting == 4
    desk.send(asked(2, [0.9] * 4, ids), ticked(DAY + 7))
    assert desk.points("worse")[0].labelled == 4


def test_a_unit_counts_once_however_many_rows_it_has(tmp_path: Path) -> None:
    desk = watched(tmp_path)
    losses, units = [0.9] * 30 + [0.1] * 2, ["busy"] * 30 + ["one", "two"]
    ids = desk.predict(1, losses, units=units)
    desk.know(2, ids)
    desk.tick(DAY + 7)
    assert desk.points("worse")[0].mean == pytest.approx(np.mean([0.9, 0.1, 0.1]))


def test_rows_without_a_unit_are_units_of_their_own(tmp_path: Path) -> None:
    desk = watched(tmp_path)
    ids = desk.predict(1, [0.9, 0.9, 0.1, 0.1], units=["busy", "busy", None, None])
    desk.know(2, ids)
    desk.tick(DAY + 7)
    assert desk.points("worse")[0].mean == pytest.approx(np.mean([0.9, 0.1, 0.1]))


def test_several_days_judged_at_one_moment_are_a_point_each(tmp_path: Path) -> None:
    desk = watched(tmp_path)
    frames: list[Frame] = []
    for day in range(4):
        ids = desk.ids(3)
        frames += [asked(day * DAY + 1, [0.1] * 3, ids), happened(day * DAY + 2, ids)]
    desk.send(*frames)
    desk.tick(9 * DAY)
    assert [point.block for point in desk.points("worse")] == [f"2024-01-0{day}" for day in range(1, 5)]


# Rows, references and losses that cannot be judged.

BY_ROW = {"each": {"kind": "regression", "tolerance": 0.02, "promise": "1 per 500 outcomes"}}


def rows_reference(design_effect: float, row_upper: float | None = 0.12) -> Reference:
    return Reference(
        loss="brier", mean=0.1, block="1d", block_means=(0.1,) * 8, rows=800, design_effect=design_effect,
        row_upper=row_upper,
    )  # fmt: skip


def by_row(path: Path, reference: Reference) -> Desk:
    desk = Desk.at(path / "s")
    desk.send(ticked(0))
    desk.policy(watches=BY_ROW)
    desk.register("one", reference)
    desk.obey(Promote(model=MODEL, version=1))
    return desk


def test_a_promise_over_outcomes_is_judged_row_by_row_at_their_age(tmp_path: Path) -> None:
    desk = by_row(tmp_path, rows_reference(1.2))
    ids = desk.predict(1, [0.9] * 40)
    desk.know(2, ids)
    desk.tick(7.5)
    (point,) = desk.points("each")
    assert (point.kind, point.rows, point.block) == ("alarm", 40, "")
    desk.tick(9)
    assert len(desk.points("each")) == 1, "each row is judged once"


def test_judging_rows_is_refused_where_they_depend_on_each_other(tmp_path: Path) -> None:
    with pytest.raises(Conflict, match=r"watch 'each' could not judge m:1: .*design effect is 74, above 2"):
        by_row(tmp_path, rows_reference(74.0))


def test_rows_need_a_bound_over_rows(tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="has no row_upper; write the promise per blocks"):
        by_row(tmp_path, rows_reference(1.0, row_upper=None))


def test_a_policy_that_could_not_judge_the_champion_is_refused(tmp_path: Path) -> None:
    desk = Desk.at(tmp_path / "s")
    desk.policy()
    desk.register("without", reference=None)
    desk.obey(Promote(model=MODEL, version=1))
    with pytest.raises(PolicyError, match="watch 'worse': m:1 has no reference; register it with one"):
        desk.policy(watches={"worse": WATCH})


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        (None, "m:1 has no reference; register it with one, or use a guardrail"),
        (Reference(loss="squared", mean=0.1, block="1d", block_means=(0.1, 0.1), rows=9, design_effect=1.0),
         "is of squared, the policy's loss brier"),
        (Reference(loss="brier", mean=0.1, block="1h", block_means=(0.1, 0.1), rows=9, design_effect=1.0),
         "is over blocks of 1h, the policy's are of 1d"),
        (Reference(loss="brier", mean=0.1, block="1d", block_means=(0.1,), rows=9, design_effect=1.0),
         "a t-bound needs at least 2 blocks"),
    ],
)  # fmt: skip
def test_a_version_that_a_watch_could_not_judge_does_not_become_champion(
    tmp_path: Path, reference: Reference | None, words: str
) -> None:
    desk = Desk.at(tmp_path / "s")
    desk.policy(watches={"worse": WATCH})
    desk.register("one", reference)
    with pytest.raises(Conflict, match=words):
        desk.obey(Promote(model=MODEL, version=1))
    assert desk.champion() is None


def test_a_guardrail_needs_no_reference(tmp_path: Path) -> None:
    desk = Desk.at(tmp_path / "s")
    desk.send(ticked(0))
    desk.policy(watches={"cost": {"kind": "guardrail", "limit": 0.2, "promise": "5% ever"}})
    desk.register("without", reference=None)
    desk.obey(Promote(model=MODEL, version=1))
    for day in range(5):
        desk.day(day, 0.9)
    assert kinds(desk, "cost")[-1] == "alarm"


def test_a_new_policy_judges_anew(tmp_path: Path) -> None:
    desk = watched(tmp_path)
    desk.day(0, 0.9)
    desk.policy(watches={"worse": {**WATCH, "tolerance": 0.05}})
    with desk.books() as books:
        assert status(books, MODEL)["watches"]["worse"]["reason"] == "nothing was judged yet"
    desk.day(1, 0.1)
    assert kinds(desk) == ["healthy", "healthy"]


@pytest.mark.parametrize(
    ("key", "value"),
    [("task", "regression"), ("loss", "squared"), ("block", "12h"), ("timezone", "Asia/Tokyo")],
)
def test_what_past_figures_were_computed_with_does_not_change(tmp_path: Path, key: str, value: str) -> None:
    desk = Desk.ready(tmp_path / "s")
    desk.predict(1, [0.1])
    with pytest.raises(Conflict, match=f"judged with its present {key}; give the model a new name"):
        desk.policy(**{key: value})


def test_a_loss_without_outcomes_is_shown_once_per_prediction(tmp_path: Path) -> None:
    """It is known when the prediction is made; an outcome that comes changes nothing."""
    desk = Desk.ready(tmp_path / "s", task="regression", loss="constraint_violation(high=0.5)")
    ids = desk.ids(4)
    desk.send(asked(8, [0.75, 0.25, 0.75, 0.75], ids), happened(9, ids))
    with desk.books() as books:
        (shown,) = shown_of(books.documents, MODEL)
    assert (shown.predictions, shown.losses.count, shown.losses.total) == (4, 4, 3.0)


def watch_of(desk: Desk) -> dict[str, Any]:
    with desk.books() as books:
        found: dict[str, Any] = status(books, MODEL)["watches"]["worse"]
        return found


def test_a_watch_that_asks_something_else_begins_anew(tmp_path: Path) -> None:
    """Evidence against one limit is none against another: kept, it would break the new limit's promise."""
    desk = watched(tmp_path)
    for day in range(2):
        desk.day(day, 0.3)
    before = desk.points("worse")[-1]
    assert before.evidence > 0.0
    desk.policy(watches={"worse": {**WATCH, "tolerance": 0.4}}, on=ON)
    desk.day(2, 0.3)
    found = watch_of(desk)
    assert found["count"] == 1
    assert desk.points("worse")[-1].evidence < before.evidence


def test_the_same_watch_written_again_goes_on(tmp_path: Path) -> None:
    desk = watched(tmp_path)
    desk.day(0, 0.1)
    desk.policy(watches={"worse": WATCH}, on=ON)
    desk.day(1, 0.1)
    assert watch_of(desk)["count"] == 2


def test_a_watch_says_what_it_asks_and_what_it_cannot_see(tmp_path: Path) -> None:
    desk = watched(tmp_path)
    found = watch_of(desk)
    assert found["asks"] == "regression"
    assert found["promise"] == "1 per 20 blocks"
    assert "harder season" in found["cannot_see"]


def test_a_watch_that_is_broken_says_so_and_stops_no_other(tmp_path: Path) -> None:
    """Its state cannot be read: a release that had written another one, or a mistake of ours."""
    guard = {"kind": "guardrail", "limit": 0.15, "promise": "1 per 20 blocks"}
    desk = watched(tmp_path, watches={"worse": WATCH, "guard": guard})
    desk.day(0, 0.3)
    state = State(desk.home.path / "state.db")
    books = Books(state)
    kept = books.watch(MODEL, "worse")
    assert kept is not None
    with state.transaction():
        books.put_watch(MODEL, "worse", msgspec.structs.replace(kept, judged=msgspec.Raw(b'{"logs":7}')))
    state.close()
    for day in range(1, 5):
        desk.day(day, 0.3)
    assert watch_of(desk)["kind"] == "error"
    assert "it failed: ValidationError" in watch_of(desk)["reason"]
    assert len(desk.points("guard")) == 5


@pytest.mark.parametrize(
    "change", [{"mean": 1e308}, {"row_upper": -1e300}, {"block_means": (1e308, -1e308)}, {"mean": 1e101}]
)
def test_a_reference_beyond_all_measure_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    desk = Desk.ready(tmp_path / "s")
    desk.register("huge", msgspec.structs.replace(CALM, **change))
    desk.policy(watches={"worse": WATCH})
    with pytest.raises(Conflict, match=r"has losses beyond 1e\+100"):
        desk.obey(Promote(model=MODEL, version=2))


def test_a_verdict_that_json_has_no_numbers_for_is_not_kept() -> None:
    verdict = Verdict(
        kind=VerdictKind.HEALTHY, evidence=0.5, threshold=3.0, count=2,
        effect=Interval(estimate=math.inf, low=0.0, high=math.inf),
    )  # fmt: skip
    assert storable(verdict).effect is None
    assert storable(storable(verdict)) == storable(verdict)
    with pytest.raises(ArithmeticError, match="evidence of nan"):
        storable(msgspec.structs.replace(verdict, evidence=math.nan))
