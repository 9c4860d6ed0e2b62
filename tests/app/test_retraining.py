"""How often to retrain, over a real ledger: the user's own target in child processes, and what is printed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from rich.table import Table

from lossloop.act.policy import read_policy
from lossloop.app import operate
from lossloop.app.books import Books
from lossloop.app.cli import main
from lossloop.app.cli.retraining import lines, picture, plain
from lossloop.app.commands import Promote
from lossloop.app.home import Home
from lossloop.app.retraining.asking import (
    Question,
    child_of,
    how_often,
    predictor,
    read_stream,
    target_of,
)
from lossloop.app.retraining.base import Course, Replayed, Schedule, Training
from lossloop.core.errors import InputError, LossloopError, UnknownName
from lossloop.core.records import Interval
from lossloop.registry import Feature, FeatureKind, Manifest
from tests.app.desk import DAY, MODEL, START, Desk, asked, happened, policy_text, ticked
from tests.app.targets import constant
from tests.house.repository import ROOT

DAYS, ROWS, TURN = 30, 40, 16
TARGETS = {
    "rate": "tests.app.targets:rate_of_late",
    "elsewhere": "tests.app.targets:train",
    "broken": "tests.app.targets:fail",
}
WATCH = {"kind": "regression", "tolerance": 0.1, "promise": "1 per 100 blocks"}
POLICY: dict[str, Any] = {"watches": {"worse": WATCH}, "on": {"worse": [{"retrain": "rate"}]}}


@pytest.fixture(scope="module", autouse=True)
def _targets_can_be_imported() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        yield


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Thirty days; from the seventeenth on what was rare is common."""
    desk = Desk.at(tmp_path_factory.mktemp("often") / "s", retrain=TARGETS)
    desk.send(ticked(0))
    desk.policy(**POLICY)
    operate.register(desk.home, MODEL, Manifest(runtime="external"))
    with pytest.raises(InputError):  # the watch wants a reference; the policy is set without one
        desk.obey(Promote(model=MODEL, version=1))
    desk.policy(watches={}, on={})
    desk.obey(Promote(model=MODEL, version=1))
    draw, frames = np.random.default_rng(2), []
    for day in range(DAYS):
        late = draw.random(ROWS) < (0.1 if day < TURN else 0.9)
        ids = [f"d{day}r{row}" for row in range(ROWS)]
        features = [{"x": float(row)} for row in range(ROWS)]
        frames.append(asked(day * DAY + 8, [0.25] * ROWS, ids, features=features))
        for label in (False, True):
            mine = [id for id, one in zip(ids, late.tolist(), strict=True) if one == label]
            frames.append(happened(day * DAY + 9, mine, float(label)))
        frames.append(ticked(day * DAY + DAY + 7))
    desk.send(*frames)
    desk.policy(watches={"limit": {"kind": "guardrail", "limit": 0.2, "promise": "1 per 100 blocks"}},
                on={"limit": [{"retrain": "rate"}]})  # fmt: skip
    return desk.home


@pytest.fixture(scope="module")
def found(home: Home) -> Replayed:
    return how_often(home, Question(model=MODEL, every=(10,), first=10, warm=True))


def by_name(found: Replayed) -> dict[str, Course]:
    return {course.schedule.name: course for course in found.courses}


# From end to end.


def test_the_users_own_target_is_replayed_by_schedule_and_on_alarm(found: Replayed) -> None:
    courses = by_name(found)
    assert list(courses) == ["never", "every 10", "on alarm", "every 10, warm", "on alarm, warm"]
    assert courses["never"].trainings == ()
    assert [each.why for each in courses["every 10"].trainings] == ["after 10 blocks"]
    (alarm, *_) = courses["on alarm"].trainings
    assert alarm.why == "alarm of limit"
    assert START + (TURN + 1) * DAY * 3_600_000_000 <= alarm.at <= START + (TURN + 6) * DAY * 3_600_000_000
    assert courses["on alarm"].change.high < 0.0
    assert courses["on alarm"].loss.estimate < courses["never"].loss.estimate
    assert (found.rows, found.first.rows) == ((DAYS - 10) * ROWS, 10 * ROWS)
    assert found.notes == ()


def test_trainings_cost_the_cpu_seconds_of_their_processes(found: Replayed) -> None:
    spent = [each.cpu for course in found.courses for each in course.trainings]
    assert min(spent) > 0.0
    for course in found.courses:
        assert course.cpu == pytest.approx(sum(each.cpu for each in course.trainings))


def test_a_warm_start_goes_on_from_the_one_before(found: Replayed) -> None:
    """This target goes half the way from the one before, which after a jump is worse than anew."""
    courses = by_name(found)
    cold, warm = courses["on alarm"], courses["on alarm, warm"]
    assert cold.trainings[0].at == warm.trainings[0].at, "the first model is the same"
    assert cold.loss.estimate < warm.loss.estimate


def test_the_ledger_is_not_changed(home: Home, found: Replayed) -> None:
    assert found.courses
    store = home.state()
    try:
        books = Books(store)
        assert len(books.decisions(MODEL)) == 1, "the promotion by hand"
        assert not list(home.artifacts.directory.glob("*")) if home.artifacts.directory.exists() else True
    finally:
        store.close()


# What trains.


def test_the_target_is_the_policys_own_or_a_named_one(home: Home) -> None:
    policy = read_policy(policy_text(**POLICY))
    assert target_of(home, policy, "") == TARGETS["rate"]
    assert target_of(home, policy, "elsewhere") == TARGETS["elsewhere"]
    with pytest.raises(UnknownName, match="did you mean 'rate'"):
        target_of(home, policy, "rat")
    with pytest.raises(InputError, match="retrains with nothing; choose a target"):
        target_of(home, read_policy(policy_text()), "")
    two = {**POLICY, "on": {"worse": [{"retrain": "rate"}, {"retrain": "broken"}]}}
    with pytest.raises(InputError, match="retrains with broken, rate; choose"):
        target_of(home, read_policy(policy_text(**two)), "")


def test_a_target_that_fails_or_is_served_elsewhere_says_so(home: Home) -> None:
    with pytest.raises(LossloopError, match="found no disk"):
        how_often(home, Question(model=MODEL, target="broken", first=10))
    with pytest.raises(InputError, match="runtime 'external' is served elsewhere"):
        how_often(home, Question(model=MODEL, target="elsewhere", first=10))


def test_a_child_is_given_rows_and_the_artifact_to_start_from(tmp_path: Path) -> None:
    rows = pa.table({"id": ["a", "b"], "x": [1.0, 2.0], "y_true": [0.0, 1.0]})
    train = child_of(TARGETS["rate"], read_policy(policy_text(**POLICY)), tmp_path)
    made = train(rows, START, constant(0.1))
    assert made.manifest.lineage["warm"] is True
    assert made.manifest.lineage["rate"] == pytest.approx(0.3)
    assert made.predict(rows).tolist() == pytest.approx([0.3, 0.3])


def test_predictions_take_columns_as_the_features_say() -> None:
    manifest = Manifest(runtime="onnx", features=(Feature(name="x"),))
    predict = predictor(manifest, constant(0.25))
    assert predict(pa.table({"x": [1, 2, None]})).tolist()[:2] == pytest.approx([0.25, 0.25])
    assert predict(pa.table({"features.x": [1.0]})).tolist() == pytest.approx([0.25])
    with pytest.raises(UnknownName, match="unknown feature 'x'"):
        predict(pa.table({"y": [1.0]}))
    sent = pa.table({"features": ['{"x": 1.5}', '{"z": 2}', None]})
    assert predict(sent).tolist()[0] == pytest.approx(0.25), "as another system sent them"
    with pytest.raises(UnknownName, match="unknown feature 'x'"):
        predict(pa.table({"features": ['{"z": 2}']}))
    text = Manifest(runtime="onnx", features=(Feature(name="x", kind=FeatureKind.CATEGORY),))
    with pytest.raises(InputError, match="feature 'x' is a category, and the model takes numbers"):
        predictor(text, constant(0.25))


# Which past.


def test_a_past_begins_with_a_whole_block(home: Home) -> None:
    store = home.state()
    try:
        books = Books(store)
        whole = read_stream(home, store, books, Question(model=MODEL))
        assert len(whole.rows) == DAYS * ROWS
        cut = read_stream(home, store, books, Question(model=MODEL, since="2024-01-06"))
        assert len(cut.rows) == (DAYS - 5) * ROWS
        midday = read_stream(home, store, books, Question(model=MODEL, since="2024-01-06T12:00:00Z"))
        assert len(midday.rows) == (DAYS - 6) * ROWS
        assert cut.asked["id"].to_pylist()[:2] == ["d5r0", "d5r1"]
    finally:
        store.close()
    with pytest.raises(InputError, match="no predictions with features in that time"):
        how_often(home, Question(model=MODEL, since="2030-01-01"))
    with pytest.raises(UnknownName):
        how_often(home, Question(model="other"))


# What is printed.


def interval(estimate: float) -> Interval:
    return Interval(estimate=estimate, low=estimate - 0.01, high=estimate + 0.01, approximate=True)


def course(name: str, trainings: int, loss: float) -> Course:
    made = tuple(Training(at=START, rows=10, cpu=2.0, why="x") for _ in range(trainings))
    return Course(
        schedule=Schedule(name=name), trainings=made, loss=interval(loss), change=interval(loss - 0.4),
        cpu=2.0 * trainings, blocks=(loss,) * 3,
    )  # fmt: skip


def drawn(*courses: Course, notes: tuple[str, ...] = ()) -> Replayed:
    return Replayed(
        model="m", loss="brier@0", unit="USD", since=START, until=START, rows=100,
        first=Training(at=START, rows=10, cpu=2.0, why="first"), courses=courses, notes=notes,
    )  # fmt: skip


def test_a_picture_has_loss_upwards_and_trainings_to_the_right() -> None:
    shown = picture(drawn(course("never", 0, 0.4), course("often", 10, 0.1), course("some", 5, 0.25))).plain
    rows = shown.splitlines()
    assert rows[1].startswith("    0.4000 |a")
    assert rows[8].rstrip().endswith("b")
    assert rows[8].startswith("    0.1000 |")
    assert "c" in rows[4] + rows[5]
    assert "trainings" in rows[-1]


def test_courses_on_one_place_are_a_star_and_equal_ones_a_line() -> None:
    shown = picture(drawn(course("never", 0, 0.4), course("on alarm", 0, 0.4))).plain
    assert "|*" in shown


def test_a_price_is_a_column_and_notes_are_told() -> None:
    told = list(lines(drawn(course("never", 0, 0.4), course("often", 3, 0.2), notes=("beware",)), 12.5))
    table = next(each for each in told if isinstance(each, Table))
    headings = [column.header for column in table.columns]
    assert "price" in headings
    cells = list(table.columns[headings.index("price")].cells)
    assert cells == ["0", "37.5"]
    assert any("beware" in str(each) for each in told)


def test_as_json_times_are_words_and_prices_are_summed(found: Replayed) -> None:
    answer = json.loads(json.dumps(plain(found, 5.0)))
    paid = [5.0 * len(each["trainings"]) for each in answer["courses"]]
    assert [each["price"] for each in answer["courses"]] == paid
    assert answer["courses"][1]["trainings"][0]["at"] == "2024-01-21T00:00:00Z"
    assert answer["first"]["at"] == answer["since"] == "2024-01-11T00:00:00Z"
    assert len(answer["courses"][0]["blocks"]) == DAYS - 10
    assert {each["price"] for each in plain(found, None)["courses"]} == {None}


def test_the_terminal_refuses_what_is_no_schedule(
    home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["lossloop", "check", "retraining", MODEL, "--state", str(home.path)]
    monkeypatch.setattr("sys.argv", [*words, "--first", "10", "--every", "0"])
    with pytest.raises(SystemExit, match="1"):
        main()
    assert "1 or more" in capsys.readouterr().err
    monkeypatch.setattr("sys.argv", [*words, "--first", "25"])
    with pytest.raises(SystemExit, match="1"):
        main()
    assert "10 to be charged for are needed; there are 30" in capsys.readouterr().err


def test_the_terminal_draws_the_whole_answer(found: Replayed) -> None:
    told = list(lines(found, None))
    assert str(told[0]).startswith("[bold]m[/]  800 outcomes from 2024-01-11 to 2024-01-31")
    table = next(each for each in told if isinstance(each, Table))
    assert list(table.columns[1].cells) == [course.schedule.name for course in found.courses]
    assert next(iter(table.columns[2].cells)) == "0"
