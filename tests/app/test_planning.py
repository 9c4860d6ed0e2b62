"""Plans from a ledger: what a watch will tell and when, and what it will not."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossloop.act.policy import read_policy
from lossloop.app.backtest import Candidate
from lossloop.app.cli import main
from lossloop.app.cli.plan import count, finite, span
from lossloop.app.home import Home
from lossloop.app.planning import Plan, WatchPlan, plan
from lossloop.core.clock import DAY, HOUR
from lossloop.core.errors import InputError, UnknownName
from tests.app.backtest.ledgers import ledger, reference_of
from tests.app.desk import MODEL, ROLLOUT, WATCH, Desk, policy_text

GUARD = {"kind": "guardrail", "limit": 0.15, "promise": "1 per 1000 blocks"}
ROWS = {"kind": "guardrail", "limit": 0.12, "promise": "1 per 100000 outcomes"}
REGRESSION = {**WATCH, "promise": "1 per 1000 blocks"}
FUTURES = 30
WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def days(count: int = 40, rows: int = 50, *, level: float = 0.1, seed: int = 1) -> Any:
    """Rows that lose 0 or 1, at a rate that differs from day to day."""
    draw = np.random.default_rng(seed)
    rate = np.clip(draw.normal(level, 0.02, count), 0.0, 1.0)
    return (draw.random((count, rows)) < rate[:, None]).astype(np.float64)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Forty days of a champion with a reference of sixty."""
    reference = reference_of(days(60, seed=2).mean(axis=1))
    return ledger(tmp_path_factory.mktemp("l") / "s", days(), reference=reference)


def planned(home: Home, **policy: Any) -> Plan:
    text = policy_text(**policy)
    return plan(home, Candidate(name="p.yaml", policy=read_policy(text)), MODEL, futures=FUTURES)


def watch_of(found: Plan) -> WatchPlan:
    (watch,) = found.watches
    return watch


def test_larger_rises_are_told_sooner_and_small_ones_never(home: Home) -> None:
    watch = watch_of(planned(home, watches={"worse": REGRESSION}))
    halves = [each.half for each in watch.effects]
    assert halves == sorted(halves, reverse=True)
    assert math.isinf(halves[0]), "a rise of 1% lies within the tolerance"
    assert halves[-1] < 60
    assert all(each.half <= each.most for each in watch.effects)
    assert watch.false_in_year <= 0.4, "365 blocks of 1,000"
    assert watch.mean == pytest.approx(0.1, abs=0.02)
    assert "moved to the reference's mean" in watch.source


def test_time_is_counted_at_the_present_traffic(home: Home) -> None:
    found = planned(home, watches={"worse": GUARD, "rows": ROWS})
    blocks, rows = found.watches
    assert found.predictions_per_day == pytest.approx(50, rel=0.05)
    assert (blocks.counts, blocks.per_day) == ("blocks", 1.0)
    assert rows.per_day == pytest.approx(50, rel=0.05)
    last = rows.effects[-1]
    assert last.half_time is not None
    assert last.half_time == pytest.approx(last.half / rows.per_day * DAY, rel=0.01)
    assert blocks.effects[-1].half_time == blocks.effects[-1].half * DAY


def test_a_watch_that_no_plan_is_made_for_says_so_and_stops_no_other(home: Home) -> None:
    kinds: dict[str, Any] = {
        "where": {"kind": "slices", "limit": 0.3, "promise": "5% ever"},
        "hours": {"kind": "seasonal", "season": "weekday", "limits": dict.fromkeys(WEEK, 0.3)},
        "skill": {"kind": "baseline", "tolerance": 0.1},
        "audited": {"kind": "estimate", "limit": 0.3, "audit": "5%"},
    }
    asked = {name: {"promise": "1 per 1000 blocks", **watch} for name, watch in kinds.items()}
    found = planned(home, slices=["carrier"], watches={"worse": GUARD, **asked})
    assert [bool(each.unplanned) for each in found.watches] == [False, True, False, True, True]


def test_the_least_rise_of_a_week_is_told_in_a_week(home: Home) -> None:
    watch = watch_of(planned(home, watches={"rows": ROWS}))
    assert watch.week_half is not None
    assert watch.week_most is not None
    assert 0.2 < watch.week_half <= watch.week_most
    slower = next(each for each in watch.effects if each.share < 0.8 * watch.week_half)
    assert slower.half > 7 * watch.per_day


def test_the_same_question_has_the_same_answer(home: Home) -> None:
    policy = {"watches": {"worse": REGRESSION}}
    assert planned(home, **policy) == planned(home, **policy)


# Warnings.


def test_a_reference_too_small_for_the_tolerance_says_how_many_blocks_it_needs(tmp_path: Path) -> None:
    home = ledger(tmp_path / "s", days(), reference=reference_of(days(9, 20).mean(axis=1)))
    watch = watch_of(planned(home, watches={"worse": {**REGRESSION, "tolerance": 0.001}}))
    said = " ".join(watch.warnings)
    assert "the reference is too small for a tolerance of 0.001" in said
    assert "blocks would do, it has 9" in said


def test_missing_outcomes_that_hide_the_tolerance_are_warned_of(tmp_path: Path) -> None:
    home = ledger(tmp_path / "s", days(level=0.5), reference=reference_of(days(60, level=0.5).mean(axis=1)),
                  missing=0.4)  # fmt: skip
    found = planned(home, watches={"worse": REGRESSION}, rollout=ROLLOUT, labels={"mature_after": "6h"})
    assert found.missing == pytest.approx(0.4, abs=0.05)
    assert any("missing at the judging age" in each for each in watch_of(found).warnings)
    assert any("no challenger can be shown" in each for each in found.warnings)


def test_a_limit_below_the_past_is_warned_of(home: Home) -> None:
    watch = watch_of(planned(home, watches={"limit": {**GUARD, "limit": 0.05}}))
    assert "it would alarm at once" in watch.warnings[0]
    assert watch.false_in_year > 0.9


def test_a_promise_and_a_tolerance_that_cannot_both_be_kept_are_told(home: Home) -> None:
    strict = {**GUARD, "limit": 0.101, "promise": "1 per 1000000000000 blocks"}
    watch = watch_of(planned(home, watches={"limit": strict}))
    assert any("cannot both be kept" in each for each in watch.warnings)


# What cannot be told.


@pytest.mark.parametrize(
    ("count", "reference", "why"),
    [(3, None, "a plan needs 8"), (0, None, "a plan needs 8")],
)
def test_too_short_a_past_is_told_with_what_it_needs(
    tmp_path: Path, count: int, reference: Any, why: str
) -> None:
    home = ledger(tmp_path / "s", days(max(count, 1))[:count] if count else days(1)[:1, :1])
    assert why in watch_of(planned(home, watches={"limit": GUARD})).unplanned


def test_a_young_champion_is_planned_from_its_reference(tmp_path: Path) -> None:
    home = ledger(tmp_path / "s", days(2), reference=reference_of(days(30).mean(axis=1)))
    watch = watch_of(planned(home, watches={"worse": REGRESSION}))
    assert watch.unplanned == ""
    assert watch.source.startswith("the reference of m:1")


def test_a_watch_that_cannot_judge_says_why(home: Home) -> None:
    watch = watch_of(planned(home, block="12h", watches={"worse": REGRESSION}))
    assert "the reference of m:1 is over blocks of 1d" in watch.unplanned


def test_under_another_loss_a_reference_is_measured_on_the_past(home: Home) -> None:
    watch = watch_of(planned(home, loss="log_loss(cap=5)", watches={"worse": REGRESSION}))
    assert watch.unplanned == ""
    assert watch.source.startswith("40 blocks")


def test_a_loss_that_is_always_the_least_has_no_rises(tmp_path: Path) -> None:
    home = ledger(tmp_path / "s", np.zeros((20, 5)))
    assert "the least that there is" in watch_of(planned(home, watches={"limit": GUARD})).unplanned


def test_a_constant_loss_is_planned(tmp_path: Path) -> None:
    home = ledger(tmp_path / "s", np.full((20, 5), 0.1))
    watch = watch_of(planned(home, watches={"limit": GUARD}))
    assert watch.false_in_year == 0.0
    assert math.isfinite(watch.effects[-1].most)


def test_without_a_champion_nothing_is_planned(tmp_path: Path) -> None:
    desk = Desk.at(tmp_path / "s")
    desk.policy(watches={"limit": GUARD})
    with pytest.raises(InputError, match="has no champion yet"):
        planned(desk.home, watches={"limit": GUARD})
    with pytest.raises(UnknownName):
        plan(desk.home, Candidate(name="p", policy=read_policy(policy_text())), "other")


@pytest.mark.parametrize("futures", [-1, 0, 9, 10_001])
def test_too_few_futures_say_nothing_and_too_many_take_for_ever(home: Home, futures: int) -> None:
    candidate = Candidate(name="p", policy=read_policy(policy_text(watches={"limit": GUARD})))
    with pytest.raises(InputError, match="between 10 and 10,000 futures"):
        plan(home, candidate, MODEL, futures=futures)


# Rollouts.


def test_more_traffic_decides_a_canary_sooner(home: Home) -> None:
    wide = {**ROLLOUT, "steps": ["5%", "50%"], "promote_if_within": 0.1, "roll_back_if_worse_by": 0.2}
    small, large = planned(home, rollout=wide).rollout
    assert (small.stage, small.share, large.share) == ("canary", 0.05, 0.5)
    assert large.certify_half < small.certify_half
    assert large.refuse_half < small.refuse_half
    assert large.certify_half <= large.certify_most


def test_without_pairs_nobody_knows_how_long_a_shadow_takes(home: Home) -> None:
    found = planned(home, rollout={**ROLLOUT, "shadow": 21})
    assert "the ledger has 0 blocks of shadow" in found.rollout_unplanned
    assert [step.stage for step in found.rollout] == ["canary", "canary"]


def test_an_unbounded_loss_has_no_canary_to_plan(tmp_path: Path) -> None:
    policy = {"task": "regression", "loss": "squared"}
    home = ledger(tmp_path / "s", days(), policy=policy)
    found = planned(home, **policy, rollout=ROLLOUT, watches={"limit": GUARD})
    assert "write one with a cap" in found.rollout_unplanned
    assert found.rollout == ()


# In the terminal.


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_the_command_tells_the_plan(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    flags: list[str],
) -> None:  # fmt: skip
    file, rollout = tmp_path / "p.yaml", {**ROLLOUT, "shadow": 5, "error_over": "all"}
    file.write_text(policy_text(watches={"worse": REGRESSION}, rollout=rollout))
    words = ["lossloop", "plan", str(file), "--futures", "20", "--state", str(home.path), *flags]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    said = capsys.readouterr().out
    if flags:
        told = json.loads(said)
        assert told["watches"][0]["effects"][0]["half"] is None
        assert told["futures"] == 20
        assert told["rollout_promise"] == "1.52% in each stage, of the 5% for all rollouts"
        return
    assert "+100%" in said
    assert "over a year" in said
    assert "a week shows a rise of" in said
    assert "the next rollout may use 1.52% in each stage, of the 5% for all rollouts" in said
    assert "rollout: cannot tell: shadow: the ledger has 0 blocks of shadow" in " ".join(said.split())


def test_counts_and_times_as_people_read_them() -> None:
    assert [count(each) for each in (7.0, 1234.0, 1_234_567.0, math.inf)] == ["7", "1,230", "1,230,000", "-"]
    assert [span(each) for each in (None, 90 * 10**6, 5 * HOUR, 49 * HOUR)] == [
        "over a year",
        "90s",
        "5h",
        "2d",
    ]
    assert finite({"a": [1.0, math.inf, {"b": -math.inf}]}) == {"a": [1.0, None, {"b": None}]}
