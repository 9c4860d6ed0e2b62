"""Predictions that failed, and what answers took: counted, judged on arrival, never part of a loss."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lossloop.app.alone import stopped
from lossloop.app.answers import answered
from lossloop.app.cli.views import status as show_status
from lossloop.app.commands import Promote
from lossloop.app.erasing import erase_unit
from lossloop.app.metrics import Question as Metrics
from lossloop.app.metrics import measure
from lossloop.app.reading import prediction, status
from lossloop.app.rebuilding import rebuild
from lossloop.app.recompute import Question as Losses
from lossloop.app.recompute import recompute
from lossloop.app.why import Question as Moved
from lossloop.app.why import why
from lossloop.core.tasks import Task
from lossloop.ledger.facts import outcomes, predictions
from lossloop.ledger.frames import Frame, Kind
from lossloop.ledger.history import labelled
from lossloop.ledger.joined.keys import Keys
from lossloop.pipelines.executors import EmbeddedExecutor
from tests.app.desk import DAY, MODEL, WATCH, Desk, asked, happened, moment, ticked

NONE = math.nan
ERRORS = {"kind": "errors", "tolerance": "10%", "promise": "1 per 20 blocks"}
SLOW = {"kind": "latency", "slower_than": "200ms", "tolerance": "5%", "promise": "1 per 1,000 outcomes"}


def ready(path: Path, **watches: Any) -> Desk:
    return Desk.ready(path / "s", watches=watches or {"worse": WATCH, "errors": ERRORS, "slow": SLOW})


def told(desk: Desk) -> dict[str, Any]:
    with desk.books() as books:
        return status(books, MODEL)


def test_what_failed_has_no_loss_and_is_counted(tmp_path: Path) -> None:
    desk = ready(tmp_path)
    losses = [0.1, NONE, 0.1, NONE, 0.1]
    ids = desk.predict(8, losses, latency=[10.0, 999.0, 20.0, None, None])
    desk.know(9, ids)
    desk.tick(DAY + 7)
    (point,) = desk.points("worse")
    assert (point.rows, point.labelled) == (3, 3)
    assert point.mean == pytest.approx(0.1)
    (errors,) = desk.points("errors")
    assert (errors.rows, errors.mean) == (5, 0.4)
    found = told(desk)
    (answer,) = found["answers"]
    assert (answer["predictions"], answer["failed"]) == (5, 2)
    assert answer["latency_ms"]["count"] == 2, "what a failure took is no latency of an answer"
    assert 20.0 <= answer["latency_ms"]["p99"] <= 20.9
    assert found["errors"] == {"TimeoutError": 2}
    assert found["losses"][0]["mean"] == pytest.approx(0.1)


def test_the_same_failure_again_is_a_repeat_and_an_answer_under_its_id_a_conflict(tmp_path: Path) -> None:
    desk = ready(tmp_path)
    for _ in range(2):
        desk.send(_sent(["a"], [None]))
    assert told(desk)["counts"]["repeats"] == 1
    desk.send(_sent(["a"], [0.5]), _sent(["b"], [0.5]), _sent(["b"], [None]))
    found = told(desk)
    assert (found["counts"]["predictions"], found["counts"]["conflicts"]) == (2, 2)
    assert found["answers"][0]["failed"] == 1


def _sent(ids: list[str], answers: list[Any], hour: float = 8, **more: Any) -> Frame:
    columns = {
        "id": ids, "version": [1] * len(ids), "time": [moment(hour)] * len(ids), "y_pred": answers,
        "error": ["e" if answer is None else None for answer in answers], **more,
    }  # fmt: skip
    return Frame(kind=Kind.PREDICTION, time=0, batch=predictions(columns, model=MODEL))


@pytest.mark.parametrize(
    ("task", "loss", "good", "label"),
    [
        (Task.MULTICLASS, "log_loss_multiclass(cap=5)", [0.5, 0.3, 0.2], 1.0),
        (Task.VECTOR, "vector_squared", [1.0], [2.0]),
    ],
)
def test_failures_among_lists_are_failures_too(
    tmp_path: Path, task: Task, loss: str, good: list[float], label: Any
) -> None:
    desk = Desk.at(tmp_path / "s")
    desk.send(ticked(0))
    guard = {"kind": "guardrail", "limit": 50.0, "promise": "1 per 20 blocks"}
    assert desk.policy(task=str(task), loss=loss, watches={"errors": ERRORS, "guard": guard}).ok
    desk.register("one", None)
    desk.obey(Promote(model=MODEL, version=1))
    desk.send(_sent(["a"], [None]), _sent(["b", "c", "d"], [good, None, good]), _sent(["a"], [None]))
    desk.send(_sent(["a", "b"], [None, good]))
    ids = ["a", "b", "c", "d"]
    batch = outcomes(ids, [label] * 4, [moment(9)] * 4, model=MODEL)
    desk.send(Frame(kind=Kind.OUTCOME, time=0, batch=batch), ticked(DAY + 7))
    found = told(desk)
    assert found["answers"][0]["failed"] == 2
    assert (found["counts"]["predictions"], found["counts"]["repeats"]) == (4, 3)
    assert [(point.rows, point.labelled) for point in desk.points("guard")] == [(2, 2)]
    assert found["losses"][0]["outcomes"] == 2
    assert rebuild(desk.home).agrees


def test_history_is_asked_without_what_failed(tmp_path: Path) -> None:
    """Recomputing a loss, metrics and why the loss moved: a failure is a row that nothing can be said of."""
    desk = ready(tmp_path)
    for day in range(12):
        loss = 0.1 if day < 6 else 0.3
        ids = desk.predict(day * DAY + 8, [loss, NONE, loss, loss], features=[{"x": day % 3}] * 4)
        desk.know(day * DAY + 9, ids)
        desk.tick(day * DAY + DAY + 7)
    with EmbeddedExecutor() as executor:
        again = recompute(desk.home, Losses(model=MODEL), executor)
        found = measure(desk.home, Metrics(model=MODEL), executor)
    assert again.whole.rows == 48
    assert again.whole.mean == pytest.approx(0.2)
    assert (again.whole.labelled, again.whole.unscored) == (48, 12)
    (figure,) = found.figures
    assert figure.unmeasured == 12
    assert figure.metrics["brier"].value == pytest.approx(0.2)
    moved = why(desk.home, Moved(model=MODEL, since="2024-01-07"))
    assert (moved.rows, moved.unlabelled) == ((18, 18), 12)


def test_a_failure_is_shown_with_its_reason(tmp_path: Path) -> None:
    desk = ready(tmp_path)
    desk.send(_sent(["a", "b"], [None, 0.5], latency_ms=[3.0, None]))
    desk.know(9, ["a"])
    state, log = desk.home.state(), desk.home.log.reader()
    keys = Keys(desk.home.settings().secret)
    one, other = (prediction(state, log, keys, MODEL, id) or {} for id in "ab")
    assert (one["y_pred"], one["error"], one["latency_ms"], one["y_true"]) == (None, "e", 3.0, 0.0)
    assert (other["y_pred"], other["error"], other["latency_ms"]) == (0.5, None, None)
    desk.know(9, ["b"])
    rows = labelled(log, state, keys, MODEL, until=moment(99), age=0)
    assert rows["id"].to_pylist() == ["b"], "a failure is nothing to learn from"
    log.close()
    state.close()


def test_latency_alarms_when_more_than_allowed_are_slow(tmp_path: Path) -> None:
    desk = ready(tmp_path, slow=SLOW)
    rng = np.random.default_rng(1)
    desk.predict(8, [0.1] * 400, latency=rng.exponential(40.0, 400).tolist())
    assert {point.kind for point in desk.points("slow")} == {"healthy"}
    desk.predict(9, [0.1] * 400, latency=rng.exponential(200.0, 400).tolist())
    point = desk.points("slow")[-1]
    assert point.kind == "alarm"
    assert "slower than 200ms" in told(desk)["watches"]["slow"]["reason"]


def test_a_service_that_sends_neither_is_no_data_of_latency(tmp_path: Path) -> None:
    desk = ready(tmp_path)
    ids = desk.ids(20)
    columns = {"id": ids, "version": [1] * 20, "time": [moment(8)] * 20, "y_pred": [0.5] * 20}
    desk.send(Frame(kind=Kind.PREDICTION, time=0, batch=predictions(columns, model=MODEL)), ticked(DAY + 7))
    found = told(desk)
    assert found["watches"]["slow"]["kind"] == "no_data"
    assert found["watches"]["errors"]["kind"] == "healthy"
    assert (found["answers"], found["errors"]) == ([], {})
    with desk.books() as books:
        assert answered(books.documents, MODEL) == []


def test_reasons_are_told_apart_up_to_a_number(tmp_path: Path) -> None:
    desk = ready(tmp_path)
    ids = desk.ids(150)
    batch = _sent(ids, [None] * 150).batch
    at = batch.schema.get_field_index("error")
    batch = batch.set_column(at, "error", pa.array([f"reason {number:03d}" for number in range(150)]))
    desk.send(Frame(kind=Kind.PREDICTION, time=0, batch=batch))
    errors = told(desk)["errors"]
    assert len(errors) == 101
    assert errors["other reasons"] == 50


def test_reasons_are_told_apart_whatever_characters_they_have(tmp_path: Path) -> None:
    """Once, those that begin with the last character of all were not found again: each was the first."""
    desk = ready(tmp_path)
    odd = ["\x00", "a\x00b", "\x01", "\U0010ffff", "\U0010ffff x", "a/b", " ", "\x1b[31m"]
    for turn in range(2):
        ids = desk.ids(len(odd))
        batch = _sent(ids, [None] * len(odd)).batch
        batch = batch.set_column(batch.schema.get_field_index("error"), "error", pa.array(odd))
        missing = outcomes(ids, [None] * len(odd), [moment(9 + turn)] * len(odd), odd, model=MODEL)
        desk.send(
            *(
                Frame(kind=kind, time=0, batch=each)
                for kind, each in ((Kind.PREDICTION, batch), (Kind.OUTCOME, missing))
            )
        )
    found = told(desk)
    assert found["errors"] == dict.fromkeys(odd, 2)
    assert found["missing"] == dict.fromkeys(odd, 2)
    assert rebuild(desk.home).agrees
    assert told(desk) == found


def test_a_canary_that_fails_is_judged_as_one_whose_outcomes_are_missing(tmp_path: Path) -> None:
    plan = {"steps": ["50%"], "step_for": "1d", "promote_if_within": 0.1, "roll_back_if_worse_by": 0.1}
    labels = {"mature_after": "6h", "missing": "worst_case"}
    desk = Desk.ready(tmp_path / "s", versions=2, rollout=plan, labels=labels)
    desk.rollout(2)
    ids, frames = desk.ids(400), []
    for place in range(0, 400, 20):  # one arm after the other would be no random order
        mine, theirs = ids[place : place + 10], ids[place + 10 : place + 20]
        frames += [
            asked(1, [0.1] * 10, mine, propensity=0.5),
            asked(1, [0.1, NONE] * 5, theirs, version=2, role="challenger", propensity=0.5),
        ]
    desk.send(*frames, happened(1.2, ids), ticked(8), ticked(30))
    roll_back, promote = (desk.points(f"rollout: {name}")[-1] for name in ("roll back", "promote"))
    assert (roll_back.kind, promote.kind) == ("inconclusive", "inconclusive")
    assert (roll_back.rows, roll_back.labelled) == (400, 300)


def test_the_terminal_shows_how_answers_came(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    desk = ready(tmp_path)
    desk.predict(8, [0.1, NONE, 0.1], latency=[10.0, None, 1500.0])
    show_status(MODEL, state=desk.home.path)
    shown = capsys.readouterr().out
    assert "failed: TimeoutError: 1" in shown
    (row,) = [line.split() for line in shown.splitlines() if "1.5e+03" in line or "1,500" in line]
    assert row[:4] == ["1", "champion", "3", "1"]


def test_who_was_erased_is_in_no_figure_of_a_state_made_anew(tmp_path: Path) -> None:
    desk = ready(tmp_path)
    desk.predict(8, [0.1, NONE, 0.1, NONE], latency=[5.0, None, 7.0, None], units=["ann", "ann", "bob", None])
    desk.tick(DAY + 7)
    with stopped(desk.home) as alone:
        assert erase_unit(alone, "ann").models[MODEL].predictions == 2
    assert told(desk)["answers"][0]["failed"] == 2, "what was counted stays counted"
    rebuild(desk.home, accept=True)
    (answer,) = told(desk)["answers"]
    assert (answer["failed"], answer["latency_ms"]["count"]) == (1, 1)


def test_an_old_ledger_goes_on_and_a_new_one_can_be_made_anew(tmp_path: Path) -> None:
    """Frames without the columns, as every earlier release wrote them, among frames with them."""
    desk = ready(tmp_path)
    for day in range(6):
        ids = desk.ids(10)
        old = {"id": ids, "version": [1] * 10, "time": [moment(day * DAY + 8)] * 10, "y_pred": [0.3] * 10}
        frame = Frame(kind=Kind.PREDICTION, time=0, batch=predictions(old, model=MODEL))
        assert not {"latency_ms", "error"} & set(frame.batch.schema.names)
        desk.send(frame, happened(day * DAY + 9, ids))
        if day % 2:
            more = desk.ids(4)
            desk.send(asked(day * DAY + 10, [0.1, NONE, 0.1, 0.1], more, latency=[5.0, None, 300.0, None]))
            desk.send(happened(day * DAY + 11, more))
        desk.send(ticked(day * DAY + DAY + 7))
    before, state = {name: desk.points(name) for name in ("worse", "errors", "slow")}, desk.everything()
    assert all(before.values())
    assert rebuild(desk.home).agrees
    assert {name: desk.points(name) for name in before} == before
    assert desk.everything() == state


def test_a_policy_needs_a_limit_in_time(tmp_path: Path) -> None:
    desk = Desk.at(tmp_path / "s")
    for watch, words in (
        ({**SLOW, "slower_than": "0s"}, "must be longer than nothing, such as 200ms"),
        ({**SLOW, "slower_than": "200"}, "is not a duration"),
        ({**SLOW, "tolerance": "0%"}, "a share lies between 0 and 1"),
        ({"kind": "errors", "promise": "5% ever"}, "'tolerance'"),
        ({**ERRORS, "promise": "5% false among alarms"}, "is promised of many slices"),
    ):
        with pytest.raises(Exception, match=words):
            desk.policy(watches={"w": watch})
