"""A chart for each loss and champion: its own unit, axis and band; blocks that are not due are not drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lossloop.app.charts import read_history, watch_charts
from lossloop.app.charts.coursecharts import bands, course_charts
from lossloop.app.charts.courses import read_courses
from lossloop.app.charts.page import render
from lossloop.app.charts.scales import axis, rounded, text
from lossloop.app.charts.spec import Chart
from lossloop.app.commands import Promote
from tests.app.desk import DAY, MODEL, Desk, asked, happened, ticked
from tests.app.test_beside import COST, LOG

DAYS = [0.05, 0.2, 0.05, 0.3, 0.05, 0.4, 0.05]
"""Brier losses of each day; a warning in vain, which costs 1, is one above 1/9."""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A week of version 1, two days of version 2, and a day that is not due yet."""
    desk = Desk.ready(tmp_path_factory.mktemp("courses") / "s", versions=2, beside=[COST, LOG])
    live(desk, 0, DAYS, version=1)
    desk.obey(Promote(model=MODEL, version=2))
    live(desk, len(DAYS), [0.2, 0.2, 0.9], version=2)
    desk.send(ticked((len(DAYS) + 3) * DAY))
    return desk


def live(desk: Desk, first: int, losses: list[float], *, version: int) -> None:
    frames = []
    for day, loss in enumerate(losses, start=first):
        ids = desk.ids(4)
        frames += [
            asked(day * DAY + 8, [loss] * 4, ids, version=version), happened(day * DAY + 9, ids[:3])
        ]  # fmt: skip
    desk.send(*frames)


def charts(desk: Desk, **given: Any) -> dict[str, Chart]:
    with desk.books() as books:
        return {each.title: each for each in course_charts(read_history(books, MODEL), **given)}


def test_there_is_one_for_each_loss_and_champion(desk: Desk) -> None:
    with desk.books() as books:
        courses = read_courses(books, MODEL)
    found = [(each.loss.partition("@")[0], each.unit, each.judges, each.version) for each in courses]
    assert found == [
        ("brier", "", True, 1), ("brier", "", True, 2),
        ("warning_cost", "USD", False, 1), ("warning_cost", "USD", False, 2),
        ("log_loss", "", False, 1), ("log_loss", "", False, 2),
    ]  # fmt: skip


def test_a_block_that_is_not_due_is_not_drawn(desk: Desk) -> None:
    with desk.books() as books:
        days = {each.version: len(each.blocks) for each in read_courses(books, MODEL)}
    assert days == {1: len(DAYS), 2: 2}


def test_it_has_the_means_of_blocks_and_the_band_around_the_mean_of_these(desk: Desk) -> None:
    found = charts(desk)
    for prefix, own in (("brier", DAYS), ("warning_cost", [float(day > 1 / 9) for day in DAYS])):
        chart = next(
            each for title, each in found.items() if title.startswith(f"Loss of version 1 by {prefix}")
        )
        since, each_day = chart.data["series"]
        assert each_day["y"] == pytest.approx(own)
        assert since["y"][:4] == [None] * 4, "four blocks say too little about their spread"
        assert since["y"][-1] == pytest.approx(sum(own) / len(own), rel=1e-5)
        band = bands(own)[-1]
        assert band is not None
        assert (since["lo"][-1], since["hi"][-1]) == (rounded(band.low), rounded(band.high))
        low, high = chart.data["y"]
        assert low < min(own) < max(own) < high
        assert len(chart.rows) == len(own)
        assert chart.rows[0] == ["2024-01-01", text(own[0]), "", "", "", "4", "3"]
        assert [len(row) for row in chart.rows] == [len(chart.head)] * len(own)


def test_each_says_in_a_sentence_what_it_shows(desk: Desk) -> None:
    found = charts(desk)
    first = next(
        each for title, each in found.items() if title.startswith("Loss of version 1 by warning_cost")
    )
    assert first.says.startswith("The mean over 7 blocks is 0.4286, and lies between ")
    assert "at 95%, approximately, however often one looks." in first.says
    assert first.sub == ("In USD. It runs beside, and judges nothing. Outcomes count as they are known now.")
    short = next(each for title, each in found.items() if title.startswith("Loss of version 2 by brier"))
    assert short.says == "6 outcomes so far; too few blocks for a band."
    assert short.sub == "This loss judges. Outcomes count as they are known now."


def test_the_demo_draws_those_beside_only(desk: Desk) -> None:
    both, others = charts(desk), charts(desk, judging=False)
    assert len(both) == 6
    assert [title.split(" by ")[1].partition("@")[0] for title in others] == [
        "warning_cost", "warning_cost", "log_loss", "log_loss",
    ]  # fmt: skip


def test_they_come_behind_the_charts_of_watches_and_the_page_holds_them(desk: Desk) -> None:
    with desk.books() as books:
        history = read_history(books, MODEL)
    assert [each.id for each in watch_charts(history)][-6:] == [f"course-{number}" for number in range(1, 7)]
    page = render(history)
    assert page.count('id="data-course-') == 6
    assert "It runs beside, and judges nothing." in page


def test_a_correction_moves_the_chart(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", beside=[COST])
    live(desk, 0, [0.05] * 5, version=1)
    desk.send(ticked(7 * DAY))
    (chart,) = charts(desk, judging=False).values()
    assert chart.data["series"][1]["y"] == [0.0] * 5
    desk.know(7 * DAY, ["p000000"], 1.0)
    (chart,) = charts(desk, judging=False).values()
    assert chart.data["series"][1]["y"] == pytest.approx([2 / 3, 0, 0, 0, 0], abs=1e-6)


def test_a_model_of_one_loss_or_without_outcomes_has_none(tmp_path: Path) -> None:
    for name, policy in (("one", {}), ("none", {"beside": [COST]})):
        desk = Desk.ready(tmp_path / name, **policy)  # type: ignore[arg-type]
        desk.predict(1, [0.1] * 3)
        desk.tick(3 * DAY)
        assert charts(desk) == {}


def test_an_axis_holds_what_is_drawn_and_cuts_a_band_that_is_still_wide() -> None:
    low, high = axis([1.0, 2.0, -100.0, 100.0], [])
    assert [low, high] == pytest.approx([-0.05, 3.05])
    assert axis([], []) == [-0.05, 1.05]
    assert axis([1.0, 1.0], [3.0])[1] > 3.0


def test_numbers_are_written_short() -> None:
    assert (rounded(None), rounded(1 / 3)) == (None, 0.333333)
    assert (text(None), text(1 / 3), text(12345.678)) == ("", "0.3333", "1.235e+04")
