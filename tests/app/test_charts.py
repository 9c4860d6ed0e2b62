"""Charts of verdicts, drawn from what a replay left behind."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from html import unescape
from itertools import groupby
from pathlib import Path

import msgspec
import pytest

import lossloop as ll
from lossloop.app.books import Point
from lossloop.app.charts import History, read_history, watch_charts
from lossloop.app.charts.page import heading, render
from lossloop.core.errors import UnknownName
from lossloop.core.records import Interval
from tests.app.desk import CALM, DAY, MODEL, ROLLOUT, WATCH, Desk
from tests.app.test_estimates import ready

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


@pytest.fixture(scope="module")
def varied(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A reference whose blocks vary; eight days like it, then four bad ones."""
    means = (0.08, 0.12) * 10
    reference = msgspec.structs.replace(CALM, block_means=means)
    watches = {"worse": {**WATCH, "promise": "1 per 3650 blocks"}, "rows": GUARDRAIL}
    desk = ready(tmp_path_factory.mktemp("varied"), watches["rows"], reference)
    assert desk.policy(watches=watches).ok
    for number, loss in enumerate([*means[:8], 0.3, 0.3, 0.3, 0.3]):
        desk.day(number, loss)
    return desk


def test_what_stands_together_is_about_one_watch_on_one_version(varied: Desk) -> None:
    charts = watch_charts(history_of(varied))
    about = [chart.about for chart in charts]
    assert [name for name, _ in groupby(about)] == list(dict.fromkeys(about)), "no group is torn apart"
    assert all(chart.title.startswith(chart.about) for chart in charts)
    mine = [heading(chart) for chart in charts if chart.about == "Watch 'worse' on version 1"]
    assert mine == ["Mean loss", "Evidence against its threshold", "Control chart", "CUSUM"]
    page = render(history_of(varied))
    assert page.count('<h2 class="about"') == len(set(about))


def test_control_charts_are_drawn_of_blocks_and_decide_nothing(varied: Desk) -> None:
    charts = {chart.title: chart for chart in watch_charts(history_of(varied))}
    level = charts["Watch 'worse' on version 1: control chart"]
    band, steps, smooth, signals = level.data["series"]
    assert steps["y"][:4] == pytest.approx([0.08, 0.12, 0.08, 0.12])
    assert smooth["y"][7] == pytest.approx(0.1, abs=0.01)
    assert all(low < 0.1 < high for low, high in zip(band["lo"], band["hi"], strict=True))
    assert signals["y"][:8] == [None] * 8
    assert signals["y"][8:] == smooth["y"][8:]
    assert level.rows[-1][-1] == "EWMA, Shewhart, Western Electric"
    assert "nothing follows from a control chart" in level.sub
    assert "EWMA signals on 4 of 12 blocks, first on 2024-01-09" in level.says
    assert "once in 500, 370, 92 blocks" in level.says
    sums = charts["Watch 'worse' on version 1: CUSUM"]
    assert sums.data["limits"][0][2] == 5.0
    assert sums.data["series"][0]["y"][-1] > 5.0 >= sums.data["series"][0]["y"][7]
    assert sums.rows[-1][-1] == "yes"
    assert "CUSUM, fall signals on 0 of 12 blocks" in sums.says
    assert not any("'rows'" in title and "control" in title for title in charts), "rows are no blocks"


def test_without_a_deviation_there_is_no_control_chart(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", watches={"worse": WATCH})
    desk.day(0, 0.1)
    titles = [chart.title for chart in watch_charts(history_of(desk))]
    assert titles == ["Watch 'worse' on version 1: mean loss", "Watch 'worse' on version 1"]


def test_behind_an_incident_only_the_last_run_is_told(desk: Desk) -> None:
    """A watch begins anew behind an incident: its band does, and so does what the sentence counts."""
    history = history_of(desk)
    mine = [point for point in history.points if point.watch == "worse"]
    anew = [msgspec.structs.replace(p, effect=None) if n in (0, 7, 8) else p for n, p in enumerate(mine)]
    assert all(point.effect is not None for point in anew[9:])
    (loss, *_) = watch_charts(replace(history, points=anew))
    rows = sum(point.rows for point in mine[7:])
    assert f"over {rows} predictions" in loss.says
    (loss, *_) = watch_charts(replace(history, points=mine))
    assert f"over {sum(point.rows for point in mine)} predictions" in loss.says


def test_differences_to_baselines_and_seasons_have_bands_too(tmp_path: Path) -> None:
    skill = {"kind": "baseline", "tolerance": 0.01, "promise": "1 per 10 blocks"}
    desk = ready(tmp_path, skill)
    for number in range(6):
        desk.day(number, 0.05 + 0.01 * (number % 2), rows=2)
    loss = watch_charts(history_of(desk))[0]
    assert loss.title == "Watch 'w' on version 1: difference to the baseline"
    assert loss.data["limits"][0][2] == 0.01
    assert loss.data["series"][0]["end"] == "difference"
    weekly = {"kind": "seasonal", "season": "month", "limit": 0.2, "promise": "1 per 20 blocks"}
    assert desk.policy(watches={"weekly": weekly}).ok
    for number in range(6, 12):
        desk.day(number, 0.05, rows=2)
    charts = {chart.title: chart for chart in watch_charts(history_of(desk))}
    season = charts["Watch 'weekly' on version 1: loss above its season's limit"]
    assert len(season.data["series"]) == 1, "a step's mean is in another unit"
    assert season.data["series"][0]["y"][-1] < 0.0 == season.data["limits"][0][2]


def test_a_notebook_shows_what_the_command_writes(desk: Desk) -> None:
    drawn = ll.charts(desk.home.path, MODEL)
    assert drawn.page == render(history_of(desk))
    assert [each.title for each in drawn.charts] == [each.title for each in watch_charts(history_of(desk))]
    shown = drawn._repr_html_()
    assert shown.startswith("<iframe")
    assert shown.count("<") == 2, "all of the page is text within its frame"
    assert unescape(shown.split('srcdoc="')[1].split('" width')[0]) == drawn.page
    assert repr(drawn) == "Drawn(model='m')"
    with pytest.raises(UnknownName, match="unknown model 'n'"):
        ll.charts(str(desk.home.path), "n")


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
