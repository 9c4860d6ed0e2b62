"""Every kind that judges outcomes says in a backtest what it said in the loop; others are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lossloop.app.labels import wanted_at
from lossloop.core.seasons import Season
from tests.app.backtest.test_replay import agree, replayed
from tests.app.desk import DAY, MODEL, Desk
from tests.app.test_estimates import ready
from tests.app.test_slices import fail, sliced

ROWS = {"kind": "slices", "limit": 0.3, "promise": "5% false among alarms over outcomes"}
WEEK = dict(zip(Season.WEEKDAY.names, [0.1] * 5 + [0.9] * 2, strict=True))
OF_SEASONS: tuple[dict[str, Any], ...] = (
    {"kind": "seasonal", "season": "weekday", "limits": WEEK, "promise": "1 per 20 blocks"},
    {"kind": "seasonal", "season": "month", "limit": 0.11, "promise": "1 per 20 blocks"},
    {"kind": "baseline", "tolerance": 0.0, "promise": "1 per 10 blocks"},
)
OF_ARRIVALS: tuple[dict[str, Any], ...] = (
    {"kind": "estimate", "tolerance": 0.02, "promise": "1 per 20 blocks"},
)


@pytest.mark.parametrize("watch", [None, ROWS], ids=["blocks", "rows"])
def test_slices_are_replayed_with_the_slices_that_rows_have(tmp_path: Path, watch: Any) -> None:
    desk = sliced(tmp_path, watch=watch)
    fail(desk)
    assert desk.points("where")
    agree(desk)
    assert replayed(desk)["where"].alarms


@pytest.mark.parametrize("watch", OF_SEASONS, ids=lambda watch: watch["kind"])
def test_seasons_and_baselines_are_replayed(tmp_path: Path, watch: dict[str, Any]) -> None:
    desk = ready(tmp_path, watch, cooldown="3d")
    for day in range(12):
        desk.day(day, 0.9 if day > 3 else 0.05, rows=2)
    agree(desk)
    assert replayed(desk)["w"].alarms


def test_an_audit_is_replayed_on_the_labels_that_were_drawn(tmp_path: Path) -> None:
    watch = {"kind": "estimate", "limit": 0.2, "audit": "30%", "promise": "1 per 8 blocks"}
    desk = ready(tmp_path, watch, labels={"mature_after": "6h"})
    for day in range(8):
        ids = desk.predict(day * DAY + 8, [0.8] * 12)
        drawn = {each["id"] for each in wanted_at(desk.home, MODEL)["wanted"]}
        desk.know(day * DAY + 9, sorted(drawn), 0.0)
        desk.know(day * DAY + 9.5, sorted(set(ids) - drawn), 1.0)
        desk.tick(day * DAY + DAY + 7)
    agree(desk)
    assert replayed(desk)["w"].alarms


@pytest.mark.parametrize("watch", OF_ARRIVALS, ids=lambda watch: watch["kind"])
def test_a_watch_of_arrivals_is_told_as_one_that_was_not_replayed(
    tmp_path: Path, watch: dict[str, Any]
) -> None:
    desk: Desk = ready(tmp_path, watch)
    desk.day(0, 0.1)
    found = replayed(desk)["w"]
    assert "as they arrive" in found.not_replayed
    assert found.points == ()
