"""Charts of verdicts, drawn from what a replay left behind."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from lossloop.app.books import Point
from lossloop.app.charts import History, read_history, watch_charts
from lossloop.app.charts.page import render
from lossloop.core.records import Interval
from tests.app.desk import DAY, MODEL, ROLLOUT, WATCH, Desk

GUARDRAIL = {"kind": "guardrail", "limit": 0.5, "promise": "1 per 1000 outcomes"}


def history_of(desk: Desk) -> History:
    with desk.books() as books:
        return read_history(books, MODEL)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """Twelve days: eight calm ones, then bad ones until the watch alarms; and a bad challenger in between."""
    path = tmp_path_factory.mktemp("charts")
    desk = Desk.ready(
        path / "s", versions=2, watches={"worse": WATCH, "rows": GUARDRAIL}, rollout=ROLLOUT,
        on={"worse": [{"notify": "log"}]},
    )  # fmt: skip
    for day in range(8):
        desk.day(day, 0.1)
    desk.rollout(2)
    for hour in range(8):
        desk.arms(8 * DAY + hour, 0.1, 0.9, share=0.2)
    for day in range(9, 13):
        desk.day(day, 0.9)
    return desk


def test_each_watch_has_its_loss_and_its_evidence_and_a_rollout_too(desk: Desk) -> None:
    titles = [chart.title for chart in watch_charts(history_of(desk))]
    for watch in ("worse", "rows"):
        assert f"Watch '{watch}' on version 1: mean loss" in titles
        assert f"Watch '{watch}' on version 1" in titles
    assert {"Version 2 in canary: difference", "Version 2 in canary"} <= set(titles)


def test_the_band_is_around_the_mean_loss_and_the_limit_in_its_unit(desk: Desk) -> None:
    chart = next(each for each in watch_charts(history_of(desk)) if each.title.startswith("Watch 'worse'"))
    mean, own = chart.data["series"]
    assert own["y"][:8] == pytest.approx([0.1] * 8)
    assert mean["y"][7] == pytest.approx(0.1)
    for middle, low, high in zip(mean["y"], mean["lo"], mean["hi"], strict=True):
        assert middle is None or low <= middle <= high
    assert chart.data["limits"][0][2] == pytest.approx(0.12)
    assert all(
        each.data["y"][0] < limit[2] < each.data["y"][1]
        for each in watch_charts(history_of(desk))
        for limit in each.data["limits"]
    )
    assert chart.data["refs"][0][2] == pytest.approx(0.1)
    assert "however often one looks" in chart.says


def test_the_evidence_is_logarithmic_and_reaches_its_threshold_where_the_alarm_is_marked(desk: Desk) -> None:
    history = history_of(desk)
    chart = next(each for each in watch_charts(history) if each.title == "Watch 'worse' on version 1")
    (line,) = chart.data["series"]
    threshold = chart.data["limits"][0][2]
    crossed = next(x for x, y in zip(chart.data["x"], line["y"], strict=True) if y >= threshold * 0.999)
    alarms = [mark["x"] for mark in chart.data["marks"] if mark["role"] == "alarm"]
    assert chart.data["log"]
    assert crossed in alarms
    assert line["y"][0] > 0


def test_a_chart_and_its_table_say_the_same(desk: Desk) -> None:
    for chart in watch_charts(history_of(desk)):
        assert chart.rows
        assert all(len(row) == len(chart.head) for row in chart.rows)
        assert all(len(series["y"]) == len(chart.data["x"]) for series in chart.data["series"])


def test_the_page_stands_alone_and_lets_no_text_be_code(desk: Desk) -> None:
    history = history_of(desk)
    evil = "</script><script>alert(1)</script>"
    told = [msgspec.structs.replace(each, reason=evil) for each in history.decisions]
    page = render(replace(history, decisions=told))
    assert evil not in page
    assert "&lt;/script&gt;" in page
    assert page.count("<script>") == 2
    assert "Watch &#39;worse&#39; on version 1" in page


def test_of_nothing_judged_the_page_says_so(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", watches={"worse": WATCH})
    assert watch_charts(history_of(desk)) == []
    assert "Nothing was judged yet" in render(history_of(desk))


def test_evidence_beyond_all_numbers_is_drawn_at_the_edge(desk: Desk) -> None:
    history = history_of(desk)
    huge = [msgspec.structs.replace(point, evidence=1e5) for point in history.points]
    charts = watch_charts(replace(history, points=huge))
    text = json.dumps([chart.data for chart in charts], allow_nan=False)
    assert math.isfinite(len(text))


def test_watches_of_rows_keep_steps_by_time_and_not_by_batch(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", watches={"rows": GUARDRAIL})
    for minute in range(30):
        desk.predict(1 + minute / 60, [0.1, 0.3])
        desk.tick(7.5 + minute / 60)
    points = desk.points("rows")
    assert len(points) <= 4
    assert sum(point.rows for point in points) == 60
    assert points[-1].at >= points[0].at


def test_steps_add_up() -> None:
    effect = Interval(estimate=0.3, low=0.1, high=0.5)
    first = Point(at=1, watch="w", version=1, kind="healthy", evidence=0.1, threshold=3.0)
    first = msgspec.structs.replace(first, mean=0.2, rows=10, labelled=5)
    later = msgspec.structs.replace(first, at=2, evidence=0.4, mean=0.5, rows=20, labelled=20, effect=effect)
    both = later.after(first)
    assert (both.rows, both.labelled, both.evidence, both.effect) == (30, 25, 0.4, effect)
    assert both.mean == pytest.approx(0.4)
    assert later.after(None) == later
