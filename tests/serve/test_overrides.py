"""A version asked for by its number: it answers and nobody else does, and nothing is ever judged on it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lossloop.app.home import Home
from lossloop.app.metrics.asking import measure_at
from lossloop.app.reading import prediction, status
from lossloop.app.recompute.history import Span, read_history
from lossloop.app.recompute.scoring import inside
from lossloop.app.thresholds.rows import _of_table
from lossloop.core.errors import UnknownName, VersionFailed
from lossloop.core.records import Role
from lossloop.ledger.joined.table import ROLES, Table
from lossloop.registry import versions
from lossloop.serve.lanes import Lane
from lossloop.serve.service import Outcome
from lossloop.serve.wishes import Wish
from tests.app.desk import DAY, MODEL, ROLLOUT, WATCH, Desk, asked, happened, ticked
from tests.serve.models import Scripted
from tests.serve.test_service import Place

OVERRIDE = ROLES.index(Role.OVERRIDE)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.close()


def by_tester(place: Place, model: str, version: int, *rows: Any) -> Outcome:
    """What a tester is answered."""
    place.follow()
    return asyncio.run(place.running.service.predict(model, list(rows), Wish(version=version)))


def aside(place: Place, model: str, number: int) -> None:
    """Load a version that has no traffic, as a server is told to."""
    place.follow()
    fleet = place.running.service.fleet
    found = versions.find(place.running.state, model, number)
    fleet.keep(fleet.make(found, fleet.traffic(model).task))


def test_a_version_without_traffic_answers_whom_asks_for_it(place: Place) -> None:
    model = place.model(0.0, 100.0)
    aside(place, model, 2)
    outcome = by_tester(place, model, 2, {"id": "a", "unit": "ann", "features": {"x": 1.0}})
    answer = outcome.answers[0]
    assert (answer.version, answer.role) == (2, Role.OVERRIDE)
    assert isinstance(answer.y_pred, float)
    assert answer.y_pred > 100
    rows = place.rows(model)
    assert rows.role.tolist() == [OVERRIDE]
    assert rows.propensity.tolist() == [1.0]
    assert rows.version.tolist() == [2]


def test_so_does_the_champion_and_is_no_evidence_of_it(place: Place) -> None:
    model = place.model(5.0)
    answer = by_tester(place, model, 1, {"id": "a", "features": {"x": 1.0}}).answers[0]
    assert (answer.version, answer.role) == (1, Role.OVERRIDE)
    usual = place.predict(model, {"id": "b", "features": {"x": 1.0}}).answers[0]
    assert (usual.version, usual.role) == (1, Role.CHAMPION)


def test_a_trace_says_how_it_was_answered(place: Place) -> None:
    model = place.model(5.0)
    by_tester(place, model, 1, {"id": "a", "unit": "ann", "features": {"x": 1.0}})
    place.fold()
    running = place.running
    found = prediction(running.state, running.log, running.keys, model, "a")
    assert found is not None
    assert (found["role"], found["version"], found["propensity"]) == ("override", 1, 1.0)


@pytest.mark.parametrize("version", [2, 9])
def test_one_that_is_not_loaded_is_told_with_those_that_are(place: Place, version: int) -> None:
    model = place.model(0.0, 1.0)
    with pytest.raises(
        UnknownName, match=f"unknown loaded version of {model} '{version}'; there are: 1"
    ) as told:
        by_tester(place, model, version, {"features": {"x": 1.0}})
    assert told.value.field == "version"
    assert place.rows(model).seq.tolist() == []


def test_nobody_answers_in_its_place(place: Place) -> None:
    """A tester wants to know that it fails."""
    model = place.model(0.0, 1.0)
    place.follow()
    fleet = place.running.service.fleet
    found = versions.find(place.running.state, model, 2)

    def raises(xs: list[float]) -> list[float]:
        raise RuntimeError("never thought of")

    made = fleet.make(found, fleet.traffic(model).task)
    assert made.lane is not None
    lane = Lane(found, Scripted(raises), fleet.traffic(model).task, inline=1000)
    fleet.keep(type(made)(version=found, lane=lane))
    with pytest.raises(VersionFailed, match=f"no version could answer: {model}:2: RuntimeError"):
        asyncio.run(place.running.service.predict(model, [{"features": {"x": 1.0}}], Wish(version=2)))
    rows = place.rows(model)
    assert (rows.role.tolist(), rows.version.tolist(), rows.propensity.tolist()) == ([OVERRIDE], [2], [1.0])
    assert math.isnan(rows.y_pred[0])


def test_a_row_that_was_answered_before_is_answered_the_same(place: Place) -> None:
    model = place.model(0.0, 100.0)
    aside(place, model, 2)
    row = {"id": "a", "features": {"x": 1.0}}
    first = place.predict(model, row).answers[0]
    assert by_tester(place, model, 2, row).answers[0] == first


# Nobody judges it.


def watched(path: Path) -> Desk:
    """A champion under a watch, a canary with gates, and a fifth of the units held out."""
    plan = {**ROLLOUT, "gates": {"failing": {"kind": "errors", "worse_by": "5%"}}}
    watches = {
        "worse": WATCH, "failures": {"kind": "errors", "tolerance": "1%", "promise": "1 per 20 blocks"},
    }  # fmt: skip
    given: dict[str, Any] = {"rollout": plan, "watches": watches}
    desk = Desk.ready(path / "s", versions=3, **given)
    desk.policy(serving={"holdout": {"share": "20%", "version": 3}}, **given)
    desk.rollout(2)
    return desk


@pytest.mark.parametrize("propensity", [1.0, 0.5, 0.2, 0.8 * 0.2, 0.8 * 0.8])
def test_no_watch_no_rollout_no_gate_and_no_holdout_sees_it(tmp_path: Path, propensity: float) -> None:
    desk = watched(tmp_path)
    frames, every = [], []
    for day in range(6):
        for version in (1, 2, 3):
            ids = desk.ids(30)
            losses = [math.nan if place % 3 == 0 else 1.0 for place in range(30)]
            frames.append(asked(
                day * DAY + version, losses, ids, version=version, role="override", propensity=propensity
            ))  # fmt: skip
            frames.append(happened(day * DAY + 5, ids))
            every += ids
    desk.send(*frames, ticked(7 * DAY))
    with desk.books() as books:
        assert books.points(MODEL) == []
        found = status(books, MODEL)
    assert desk.told() == []
    assert (found["holdout"]["held"], found["holdout"]["others"], found["rollout"].get("seen", 0)) == (
        0,
        0,
        0,
    )
    assert {watch["kind"] for watch in found["watches"].values()} == {"no_data"}
    assert {row["role"] for row in found["losses"]} == {"override"}, "it is shown, under its own name"
    assert {row["role"] for row in found["answers"]} <= {"override"}


def test_no_figure_of_history_counts_it(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", versions=2)
    desk.day(0, 0.1, rows=40)
    before = measured(desk.home)
    ids = desk.ids(30)
    desk.send(
        asked(DAY + 1, [0.9] * 30, ids, version=1, role="override"), happened(DAY + 2, ids),
        ticked(3 * DAY),
    )  # fmt: skip
    assert measured(desk.home) == before
    state = desk.home.state()
    try:
        history = read_history(state, MODEL)
        rows = sum(
            len(part["version"])
            for each in history
            for piece in each.pieces(Span())
            for part in inside(piece.work.batches(1000), Span(since=0))
        )
        assert rows == 40
        champion = [versions.find(state, MODEL, 1)]
        learned = [
            len(score) for score, *_ in _of_table(Table(state, MODEL), champion, Span(), 1 << 62, 1 << 62)
        ]
        assert learned == [40]
    finally:
        state.close()


def measured(home: Home) -> dict[str, Any]:
    found = measure_at(home, MODEL)
    return {name: value for name, value in found.items() if name != "seconds"}


def test_its_units_are_drawn_as_if_it_had_not_been(tmp_path: Path) -> None:
    """A unit that a tester has used counts the first time that it is drawn."""
    desk = watched(tmp_path)
    tried, drawn = desk.ids(2), desk.ids(2)
    desk.send(
        asked(1, [0.5] * 2, tried, version=2, role="override", propensity=0.16, units=["ann", "bob"]),
        asked(2, [0.5] * 2, drawn, version=2, role="challenger", propensity=0.8 * 0.2, units=["ann", "bob"]),
        happened(3, tried + drawn), ticked(10),
    )  # fmt: skip
    with desk.books() as books:
        rollout = books.rollout(MODEL)
    assert rollout is not None
    assert rollout.seen == 2
