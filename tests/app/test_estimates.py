"""Watches that estimate, that draw audits, that follow a season and that compare with a baseline."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from lossloop.app.cli import main
from lossloop.app.commands import Promote
from lossloop.app.labels import wanted_at
from lossloop.app.operate import check_policy
from lossloop.core.errors import InputError, PolicyError
from lossloop.core.estimates import Estimate
from lossloop.core.seasons import Season
from lossloop.judges import calibration
from lossloop.registry import Reference
from tests.app.desk import CALM, DAY, MODEL, Desk, policy_text

RNG = np.random.default_rng(0)
HALF = RNG.random(2_000)
CALIBRATION = calibration((RNG.random(2_000) < HALF).astype(np.float64), HALF, most=0.25)
JANUARY = (0.3, *[0.08] * 11)
"""Mean loss of each month; .1 on average. 2024-01-01 is a Monday."""
RICH: Reference = msgspec.structs.replace(
    CALM, row_upper=0.12, estimate=CALIBRATION, baseline=0.3, seasons={Season.MONTH: JANUARY}
)


def ready(path: Path, watch: dict[str, Any], reference: Reference | None = RICH, **policy: Any) -> Desk:
    """A champion with such a reference under one watch."""
    desk = Desk.at(path / "s")
    desk.tick(0)
    desk.policy(**policy)
    desk.register("version 1", reference)
    desk.obey(Promote(model=MODEL, version=1))
    assert desk.policy(watches={"w": watch}, **policy).ok
    return desk


def verdicts(desk: Desk) -> list[str]:
    return [point.kind for point in desk.points("w")]


def refusal(path: Path, watch: dict[str, Any], reference: Reference | None = RICH, **policy: Any) -> str:
    """Why a policy is refused."""
    with pytest.raises(Exception, match=r"watch") as caught:
        ready(path, watch, reference, **policy)
    return str(caught.value)


# Estimates.

ESTIMATE = {"kind": "estimate", "tolerance": 0.02, "promise": "1 per 20 blocks"}


def test_an_estimate_needs_no_label_and_is_judged_when_the_block_is_over(tmp_path: Path) -> None:
    desk = ready(tmp_path, ESTIMATE)
    for day in range(3):
        desk.predict(day * DAY + 8, [0.01] * 8)  # y_pred = .1: sure, so little loss is to be expected
    assert verdicts(desk) == ["healthy"] * 2
    for day in range(3, 12):
        desk.predict(day * DAY + 8, [0.25] * 8)  # y_pred = .5: as unsure as can be
    assert verdicts(desk)[-1] == "alarm"
    assert desk.points("w")[-1].mean == pytest.approx(0.25, abs=0.02)


def test_an_estimate_of_rows_is_judged_at_once(tmp_path: Path) -> None:
    watch = {"kind": "estimate", "limit": 0.15, "promise": "1 per 50 outcomes"}
    desk = ready(tmp_path, watch)
    desk.predict(8, [0.25] * 100)
    desk.predict(9, [0.25] * 10)
    assert verdicts(desk)[-1] == "alarm"


def test_an_estimate_is_blind_to_changed_answers_and_an_audit_is_not(tmp_path: Path) -> None:
    audited = {**ESTIMATE, "audit": "50%"}
    blind, seeing = ready(tmp_path / "a", ESTIMATE), ready(tmp_path / "b", audited)
    for day in range(12):
        for desk in (blind, seeing):
            ids = desk.predict(day * DAY + 8, [0.01] * 12)  # it says .1
            desk.know(day * DAY + 9, ids, 1.0)  # and it happens every time
            desk.tick(day * DAY + DAY + 7)
    assert set(verdicts(blind)) == {"healthy"}
    assert verdicts(seeing)[-1] == "alarm"
    assert seeing.points("w")[-1].mean == pytest.approx(0.81, abs=0.5)


def test_an_audit_looks_at_no_label_that_was_not_drawn(tmp_path: Path) -> None:
    """Labels sent without being asked may be chosen: only the good ones, say."""
    watch = {"kind": "estimate", "limit": 0.2, "audit": "30%", "promise": "1 per 8 blocks"}
    desk = ready(tmp_path, watch, labels={"mature_after": "6h"})
    keys = {}
    for day in range(9):
        ids = desk.predict(day * DAY + 8, [0.8] * 20)
        wanted = {each["id"] for each in wanted_at(desk.home, MODEL)["wanted"]}
        keys[day] = wanted & set(ids)
        desk.know(day * DAY + 9, sorted(wanted), 0.0)  # they lose .8
        desk.know(day * DAY + 9.5, sorted(set(ids) - wanted), 1.0)  # the others next to nothing
        desk.tick(day * DAY + DAY + 7)
    assert verdicts(desk)[-1] == "alarm"
    labelled = sum(point.labelled for point in desk.points("w"))
    assert labelled == sum(map(len, keys.values()))
    assert 0.1 < labelled / 180 < 0.5


def test_audits_that_never_come_do_not_alarm_and_are_no_pass(tmp_path: Path) -> None:
    watch = {"kind": "estimate", "limit": 0.2, "audit": "50%", "promise": "1 per 20 blocks"}
    desk = ready(tmp_path, watch)
    for day in range(4):
        desk.predict(day * DAY + 8, [0.9] * 12)
        desk.tick(day * DAY + DAY + 15)
    assert set(verdicts(desk)) == {"no_data"}


@pytest.mark.parametrize(
    ("watch", "reference", "said"),
    [
        (ESTIMATE, CALM, "has no estimate; make one"),
        (ESTIMATE, None, "has no reference"),
        ({"kind": "baseline", "tolerance": 0.0, "promise": "5% ever"}, CALM, "has no baseline"),
        ({"kind": "seasonal", "season": "weekday", "limit": 0.2, "promise": "5% ever"}, CALM,
         "has no season weekday"),
        ({"kind": "seasonal", "season": "hour", "limit": 0.2, "promise": "5% ever"}, RICH,
         "may lie in more than one hour"),
        ({"kind": "estimate", "limit": 0.2, "promise": "1 per 50 outcomes"},
         msgspec.structs.replace(RICH, design_effect=9.0), "design effect"),
        (ESTIMATE, msgspec.structs.replace(RICH, loss="log_loss(cap=5)"), "is of log_loss"),
        (ESTIMATE, msgspec.structs.replace(RICH, estimate=Estimate(
            by="calibrated", knots=((0.0,),) * 51, values=((0.5,),) * 51, most=1.0)), "at most 50 classes"),
        ({"kind": "baseline", "tolerance": 0.0, "promise": "5% ever"},
         msgspec.structs.replace(RICH, baseline=7.0), "does not take the baseline 7.0"),
        ({"kind": "baseline", "tolerance": 1.5, "promise": "5% ever"}, RICH, "the largest difference"),
    ],
)  # fmt: skip
def test_a_watch_says_what_it_lacks(tmp_path: Path, watch: Any, reference: Any, said: str) -> None:
    assert said in refusal(tmp_path, watch, reference)


@pytest.mark.parametrize(
    ("watch", "said"),
    [
        ({"kind": "estimate"}, "either the key 'limit' or the key 'tolerance'"),
        ({"kind": "estimate", "limit": 0.1, "tolerance": 0.1}, "either"),
        ({"kind": "estimate", "limit": -0.1}, "above 0"),
        ({"kind": "estimate", "limit": 0.1, "audit": "0%"}, "a share lies between"),
        ({"kind": "estimate", "limit": 0.1, "audit": "200%"}, "a share lies between"),
        ({"kind": "seasonal", "season": "week", "limit": 0.1}, "'week' is not possible"),
        ({"kind": "seasonal", "season": "weekday"}, "either the key 'limit' or the key 'limits'"),
        ({"kind": "seasonal", "season": "weekday", "limits": {"mon": 0.1}}, "a limit for each weekday"),
        ({"kind": "seasonal", "season": "weekday", "limits": {"mon": 0.0}}, "above 0"),
        ({"kind": "baseline", "tolerance": -1}, "0 or above"),
        ({"kind": "baseline", "tolerance": 0.3, "clip_difference": 0.2}, "above the tolerance"),
    ],
)
def test_a_policy_that_cannot_be_is_refused_with_its_line(tmp_path: Path, watch: Any, said: str) -> None:
    desk = Desk.at(tmp_path / "s")
    state = desk.home.writable_state()
    with pytest.raises(PolicyError, match=r"line \d+") as caught:
        check_policy(policy_text(watches={"w": {**watch, "promise": "5% ever"}}), desk.home.settings(), state)
    state.close()
    assert said in str(caught.value)


# Seasons.


def days(desk: Desk, losses: Sequence[float]) -> list[str]:
    for day, loss in enumerate(losses):
        desk.day(day, loss, rows=2)
    return verdicts(desk)


def test_a_bad_season_that_was_to_be_expected_is_no_alarm(tmp_path: Path) -> None:
    plain = {"kind": "guardrail", "limit": 0.11, "promise": "1 per 60 blocks"}
    learned = {**plain, "kind": "seasonal", "season": "month"}
    january = [0.3] * 14
    assert days(ready(tmp_path / "a", plain), january)[-1] == "alarm"
    assert set(days(ready(tmp_path / "b", learned), january)) == {"healthy"}
    worse = days(ready(tmp_path / "c", learned), [0.9] * 14)
    assert worse[-1] == "alarm", "a january worse than the reference's"


def test_limits_may_be_written(tmp_path: Path) -> None:
    limits = dict(zip(Season.WEEKDAY.names, [0.1] * 5 + [0.9] * 2, strict=True))
    watch = {"kind": "seasonal", "season": "weekday", "limits": limits, "promise": "1 per 60 blocks"}
    desk = ready(tmp_path, watch, CALM)
    assert set(days(desk, [0.05] * 5 + [0.8] * 2)) == {"healthy"}
    assert desk.points("w")[5].mean == pytest.approx(0.8)
    assert desk.points("w")[5].block == "2024-01-06", "a Saturday"


def test_rows_have_the_limit_of_the_hour_at_which_they_came(tmp_path: Path) -> None:
    limits = {str(hour): 0.9 if hour == 8 else 0.1 for hour in range(24)}
    watch = {"kind": "seasonal", "season": "hour", "limits": limits, "promise": "1 per 50 outcomes"}
    desk = ready(tmp_path, watch, None, block="1h", timezone="America/New_York")
    for hour, ends in ((13, "healthy"), (14, "alarm")):  # 8 and 9 o'clock in New York
        desk.know(hour + 0.5, desk.predict(hour, [0.6] * 60))
        desk.tick(hour + 6.6)
        assert verdicts(desk)[-1] == ends


# Baseline.

BASELINE = {"kind": "baseline", "tolerance": 0.0, "promise": "1 per 10 blocks"}


def test_a_model_that_is_no_better_than_one_answer_for_all_alarms(tmp_path: Path) -> None:
    good, bad = ready(tmp_path / "a", BASELINE), ready(tmp_path / "b", BASELINE)
    for day in range(8):
        good.day(day, 0.04)  # against .3 ** 2 = .09
        bad.day(day, 0.6)
    assert set(verdicts(good)) == {"healthy"}
    assert verdicts(bad)[-1] == "alarm"
    assert good.points("w")[-1].mean == pytest.approx(-0.05)


def test_a_day_that_is_hard_for_both_is_no_alarm(tmp_path: Path) -> None:
    desk = ready(tmp_path, BASELINE)
    for day in range(8):
        ids = desk.predict(day * DAY + 8, [0.25] * 4)  # it says .5, and it happens every time
        desk.know(day * DAY + 9, ids, 1.0)  # it loses .25, the baseline .49
        desk.tick(day * DAY + DAY + 7)
    assert set(verdicts(desk)) == {"healthy"}


def test_labels_that_are_missing_never_alarm_and_are_no_pass(tmp_path: Path) -> None:
    for missing in ("worst_case", "same_in_both_arms"):
        labels = {"mature_after": "6h", "missing": missing}
        desk = ready(tmp_path / missing, {**BASELINE, "clip_difference": 0.4}, labels=labels)
        for day in range(4):
            desk.predict(day * DAY + 8, [0.9] * 3)
            desk.tick(day * DAY + DAY + 15)
        assert set(verdicts(desk)) == {"no_data"}


# Audits that are wanted.


def test_wanted_are_those_drawn_that_can_still_be_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = {"kind": "estimate", "limit": 0.2, "audit": "40%", "promise": "5% ever"}
    desk = ready(tmp_path, watch)
    desk.predict(1, [0.1] * 50)
    young = desk.predict(8, [0.1] * 50)
    first = wanted_at(desk.home, MODEL)
    ids = [each["id"] for each in first["wanted"]]
    assert first["waiting"] == len(ids)
    assert set(ids) <= set(young), "the others have reached their judging age, 6 hours"
    assert 8 <= len(ids) <= 34
    assert first["wanted"][0]["until"].startswith("2024-01-01T14:00:00")
    desk.know(8.5, ids[:3])
    assert [each["id"] for each in wanted_at(desk.home, MODEL)["wanted"]] == ids[3:]
    given = ["lossloop", "labels", "wanted", MODEL, "--state", str(desk.home.path)]
    monkeypatch.setattr("sys.argv", given)
    _run(main)
    assert ids[3] in capsys.readouterr().out
    desk.know(8.6, ids)
    _run(main)
    assert "No prediction of m waits for an audit; 40% of them are drawn" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", [*given, "--json"])
    _run(main)
    assert json.loads(capsys.readouterr().out)["wanted"] == []


def test_without_a_watch_that_draws_nothing_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no watch of m draws audits"):
        wanted_at(ready(tmp_path, ESTIMATE).home, MODEL)


def _run(command: Any) -> None:
    with pytest.raises(SystemExit) as end:
        command()
    assert not end.value.code
