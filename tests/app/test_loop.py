"""The loop as a whole: its clocks, several models, and facts that nobody should have sent."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from lossloop.app.commands import Promote
from lossloop.app.fold import Folding, fold_until
from lossloop.app.home import init
from lossloop.app.loop import Loop
from lossloop.app.reading import overview, prediction, status
from lossloop.app.rebuilding import rebuild
from lossloop.app.showing import shown
from lossloop.core.clock import HOUR, MINUTE, SECOND, ManualClock
from lossloop.core.errors import InUse
from lossloop.ledger.facts import outcomes, predictions
from lossloop.ledger.frames import Frame, Kind
from lossloop.ledger.joined.keys import Keys
from tests.app.desk import DAY, MODEL, START, Desk, asked, happened, moment, ticked

GUARD = {"cost": {"kind": "guardrail", "limit": 0.1, "promise": "1 per 20 blocks"}}


def anything(
    hour: float, ids: list[str], y_pred: list[Any], *, shadow: list[Any] | None = None, time: int = 0
) -> Frame:
    """Predictions of version 1, whatever they are."""
    count = len(ids)
    columns = {
        "id": ids, "version": [1] * count, "time": [moment(hour)] * count, "unit": [None] * count,
        "role": ["champion"] * count, "propensity": [1.0] * count, "y_pred": y_pred,
        "shadow_version": [None if shadow is None else 2] * count,
        "shadow_y_pred": shadow or [None] * count, "content": [b""] * count, "features": None,
    }  # fmt: skip
    return Frame(kind=Kind.PREDICTION, time=time, batch=predictions(columns, model=MODEL))


def labels(hour: float, ids: list[str], y_true: list[float | None], *, time: int = 0) -> Frame:
    batch = outcomes(ids, y_true, [moment(hour)] * len(ids), model=MODEL)
    return Frame(kind=Kind.OUTCOME, time=time, batch=batch)


# What a loss cannot score must not stop the loop.


def test_losses_beyond_any_sum_alarm_and_are_shown_as_the_greatest_there_is(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", task="regression", loss="squared", watches=GUARD)
    for day, y_pred in enumerate((1e200, 1e160, 1e308)):
        hour, ids = day * DAY + 1, desk.ids(2)
        desk.send(anything(hour, ids, [y_pred, 0.5]), labels(hour + 1, ids, [-y_pred, 0.5]))
        desk.tick((day + 1) * DAY + 7)
    assert [point.kind for point in desk.points("cost")] == ["alarm"] * 3
    with desk.books() as books:
        (told,) = status(books, MODEL)["losses"]
    assert told["outcomes"] == 6
    assert told["mean"] == pytest.approx(5e99)


def test_vectors_of_other_lengths_are_scored_each_by_itself(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", task="multiclass", loss="brier_multiclass", watches=GUARD)
    ids = desk.ids(3)
    desk.send(
        anything(
            1, ids, [[0.5, 0.5], [0.2, 0.2, 0.6], [0.5, 0.5]], shadow=[[1.0, 0.0], [1.0, 0.0, 0.0], None]
        ),
        labels(2, ids, [0.0, 2.0, 2.0]),  # the last label is none of its prediction's classes
        ticked(DAY + 7),
    )
    (point,) = desk.points("cost")
    assert (point.rows, point.labelled) == (3, 2)
    assert point.mean == pytest.approx((0.5 + 0.24 + 0.0) / 3)


def test_a_label_that_says_missing_is_none(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", watches=GUARD)
    ids = desk.predict(1, [0.9, 0.9])
    desk.send(labels(2, ids, [None, 0.0]), ticked(DAY + 7))
    (point,) = desk.points("cost")
    assert (point.labelled, point.rows) == (1, 2)
    assert point.mean == pytest.approx(0.45)


def test_a_loss_that_needs_no_outcome_is_judged_without(tmp_path: Path) -> None:
    desk = Desk.ready(
        tmp_path / "s", task="regression", loss="constraint_violation(high=1)", block="1d", watches=GUARD
    )
    for day in range(4):
        desk.send(anything(day * DAY + 1, desk.ids(2), [3.0, 4.0]), ticked((day + 1) * DAY + 7))
    assert [(point.kind, point.labelled) for point in desk.points("cost")][-1] == ("alarm", 2)


def test_facts_of_nobody_and_facts_of_nothing_change_nothing(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", watches=GUARD)
    desk.send(asked(1, [0.5], ["x"], model="another"), happened(1, ["x"], model="another"))
    desk.send(asked(1, [], []), happened(1, []))
    with desk.books() as books:
        assert books.models() == [MODEL]
        assert books.counts(MODEL).predictions == 0
    desk.day(0, 0.1)
    assert len(desk.points("cost")) == 1


def test_a_version_that_is_unknown_here_is_kept_and_not_judged(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", watches=GUARD)
    desk.day(0, 0.9, version=7)
    assert desk.points("cost") == []
    with desk.books() as books:
        (told,) = status(books, MODEL)["losses"]
    assert (told["version"], told["outcomes"]) == (7, 4)


def test_the_same_prediction_twice_stands_once_and_other_content_is_a_conflict(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s")
    first = asked(1, [0.25], ["p"])
    desk.send(first, first, anything(2, ["p"], [0.1]))
    with desk.books() as books:
        counts = books.counts(MODEL)
        assert (counts.predictions, counts.repeats, counts.conflicts) == (1, 1, 1)
    state, log = desk.home.state(), desk.home.log.reader()
    found = prediction(state, log, Keys(desk.home.settings().secret), MODEL, "p")
    log.close()
    state.close()
    assert found is not None
    assert found["y_pred"] == 0.5


# Clocks.


def test_time_never_goes_back(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", watches=GUARD)
    desk.tick(50)
    desk.tick(20)
    desk.predict(10, [0.1])
    with desk.books() as books:
        assert books.now() == moment(50)


def test_rows_that_come_late_join_the_block_that_is_open(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", watches=GUARD)
    desk.day(0, 0.1)
    desk.predict(DAY + 9, [0.1])
    late = desk.predict(5, [0.9] * 3)  # of a day that was judged
    desk.know(DAY + 10, late)
    desk.tick(2 * DAY + 7)
    assert [(point.block, point.rows) for point in desk.points("cost")] == [
        ("2024-01-01", 4),
        ("2024-01-02", 4),
    ]


def test_in_live_use_a_prediction_matures_by_its_receipt_whatever_it_says(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", settings={"clock": "receipt"}, watches=GUARD)
    with desk.books() as books:
        now = books.now()
    ids = desk.ids(2)
    desk.send(anything(1, ids, [1.0, 1.0], time=now), labels(1, ids, [0.0, 0.0], time=now + HOUR))
    assert desk.points("cost") == []
    desk.send(Frame(kind=Kind.TICK, time=now + 31 * HOUR, batch=ticked(0).batch))
    (point,) = desk.points("cost")
    assert point.labelled == 2
    assert point.at == now + 31 * HOUR


def test_silence_matures_predictions_too(tmp_path: Path) -> None:
    desk = Desk.ready(
        tmp_path / "s",
        settings={"clock": "receipt"},
        block="1h",
        watches=GUARD,
        labels={"mature_after": "1m"},
    )
    with desk.books() as books:
        start = books.now()
    clock = ManualClock(start + MINUTE)
    ids = desk.ids(2)
    desk.send(anything(1, ids, [1.0, 1.0], time=start), labels(1, ids, [0.0, 0.0], time=start))
    folding = Folding(desk.home, clock)
    moments = iter([*([start + 90 * MINUTE] * 3), *([start + 90 * MINUTE + SECOND] * 5)])

    def stop() -> bool:
        found = next(moments, None)
        clock.advance_to(found or 0)
        return found is None

    fold_until(folding, stop)
    folding.close()
    assert [point.labelled for point in desk.points("cost")] == [2]


def test_a_tick_does_not_overtake_what_has_its_time_and_is_not_on_disk_yet(tmp_path: Path) -> None:
    desk = Desk.ready(
        tmp_path / "s", settings={"clock": "receipt"}, watches=GUARD, labels={"mature_after": "1h"}
    )
    with desk.books() as books:
        start = books.now()
    ids, server = desk.ids(4), desk.home.log.writer()
    server.append([anything(1, ids[:3], [1.0] * 3, time=start)])
    desk.fold()
    clock = ManualClock(start)
    folding = Folding(desk.home, clock)
    due = start + 2 * DAY * HOUR
    clock.advance_to(due)
    assert folding.step() == 1, "a tick"
    folding.close()
    stamped = due - SECOND // 10
    server.append(
        [labels(1, ids[:3], [0.0, 1.0, 0.0], time=stamped), anything(1, ids[3:], [1.0], time=stamped)]
    )
    server.close()
    desk.fold()
    before = desk.everything()
    assert rebuild(desk.home).agrees
    assert desk.everything() == before


def test_nothing_is_written_while_nothing_is_due(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", settings={"clock": "receipt"}, watches=GUARD)
    size = sum(path.stat().st_size for path in desk.home.segments.directory.iterdir())
    clock = ManualClock(START * 2)
    folding = Folding(desk.home, clock)
    turns = iter(range(20))

    def stop() -> bool:
        clock.advance_to(clock.now() + SECOND)
        return next(turns, None) is None

    fold_until(folding, stop)
    folding.close()
    assert sum(path.stat().st_size for path in desk.home.segments.directory.iterdir()) == size


def test_silence_prepares_what_a_later_fact_needs(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", watches=GUARD)
    desk.policy(model="n", watches=GUARD)
    ids = desk.ids(3)
    desk.send(anything(1, ids, [0.1, 0.2, 0.3]))
    state = desk.home.writable_state()
    loop = Loop(state, desk.home.settings())
    assert [loop.prepare() for _ in range(4)] == [True, True, True, False], "two models, and the rows of one"
    state.close()
    folding = Folding(desk.home)
    assert [folding.step() for _ in range(5)] == [0] * 5, "preparing folds nothing"
    folding.close()
    desk.send(labels(2, ids, [0.0, 0.0, 0.0]))
    with desk.books() as books:
        assert status(books, MODEL)["losses"][0]["outcomes"] == 3


def test_what_is_due_is_known_without_folding(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", versions=2, watches=GUARD, rollout={
        "promote_if_within": 0.1, "roll_back_if_worse_by": 0.1, "step_for": "1d", "steps": ["10%", "20%"],
    })  # fmt: skip
    state = desk.home.writable_state()
    loop = Loop(state, desk.home.settings())
    assert not loop.something_is_due(moment(9999))
    state.close()
    desk.predict(1, [0.1], propensity=0.9)
    state = desk.home.writable_state()
    loop = Loop(state, desk.home.settings())
    assert [loop.something_is_due(moment(hour)) for hour in (29.9, 30)] == [False, True]
    state.close()
    desk.rollout(2)
    desk.arms(2, 0.1, 0.1, share=0.1, rows=9)
    state = desk.home.writable_state()
    loop = Loop(state, desk.home.settings())
    assert loop.something_is_due(moment(26)), "a step has had its time"
    state.close()


# Several models, one loop.


def test_models_do_not_disturb_each_other(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", watches=GUARD)
    desk.policy(model="n", watches=GUARD)
    desk.register("n's own", model="n")
    desk.obey(Promote(model="n", version=1))
    for day in range(4):
        ids = desk.ids(4)
        desk.send(
            asked(day * DAY + 1, [0.9] * 4, ids, model="n"), happened(day * DAY + 2, ids, model="n"),
            asked(day * DAY + 1, [0.1] * 4, ids), happened(day * DAY + 2, ids), ticked((day + 1) * DAY + 7),
        )  # fmt: skip
    with desk.books() as books:
        kinds = {model: books.points(model)[-1].kind for model in books.models()}
        assert kinds == {"m": "healthy", "n": "alarm"}
        assert {part.version for part in shown(books.documents, "n")} == {1}
    state = desk.home.state()
    assert overview(state)["models"] == 2
    state.close()


def test_one_process_folds_at_a_time(tmp_path: Path) -> None:
    home = init(tmp_path / "s")
    folding = Folding(home)
    with pytest.raises(InUse, match="another process writes"):
        Folding(home)
    folding.close()
    Folding(home).close()


def test_figures_by_block_add_up(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s")
    for day in range(3):
        desk.day(day, 0.25 * day)
    with desk.books() as books:
        parts = shown(books.documents, MODEL)
    assert [part.predictions for part in parts] == [4, 4, 4]
    assert [part.losses.mean for part in parts] == pytest.approx([0.0, 0.25, 0.5])
    assert math.fsum(part.losses.total for part in parts) == pytest.approx(3.0)
