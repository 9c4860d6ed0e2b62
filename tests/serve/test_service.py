"""The service over a real state directory: predicted, logged, folded, and asked again."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from lossloop.act.settings import Settings
from lossloop.app import operate
from lossloop.app.books import Books, Counts
from lossloop.app.commands import Promote, StartRollout
from lossloop.app.fold import Folding
from lossloop.app.home import Home, init
from lossloop.app.running import Running, open_home
from lossloop.core.clock import DAY, ManualClock, Micros, format_time, parse_time
from lossloop.core.errors import Conflict, InputError, StorageFull, UnknownName, VersionFailed
from lossloop.core.thresholds import Thresholds
from lossloop.ledger.files.segments import SegmentWriter
from lossloop.ledger.frames import Frame
from lossloop.ledger.joined.keys import Keys
from lossloop.ledger.joined.table import Rows, Table
from lossloop.serve import batch as batches
from lossloop.serve.batch import of_rows
from lossloop.serve.given import Given
from lossloop.serve.lanes import Lane
from lossloop.serve.rowwise import OUTCOME_KEYS, OUTCOME_NEEDS, PREDICTION_KEYS, PREDICTION_NEEDS
from lossloop.serve.service import Answer, Outcome, Receipt
from tests.serve.models import Scripted, additive, manifest

POLICY = """\
model: {model}
task: {task}
loss: squared.clip(100)
mode: act
labels: {{mature_after: 1h, missing: same_in_both_arms}}
rollout: {{steps: [50%], promote_if_within: 1, roll_back_if_worse_by: 2}}
"""
NOW = parse_time("2024-01-01T12:00:00Z")
_numbers = itertools.count()


class Place:
    """A state directory and a server's parts over it, in one process."""

    def __init__(self, path: Path, clock: str = "receipt") -> None:
        self.home: Home = init(path / "state", Settings(clock=clock, salt="s"))
        self.clock = ManualClock(NOW)
        self.running: Running = open_home(self.home, self.clock)

    def close(self) -> None:
        self.running.recorder.close()
        self.running.log.close()
        self.running.state.close()

    def model(self, *biases: float, task: str = "regression", runtime: str = "onnx") -> str:
        """A model with one version per bias, the first of them its champion."""
        name = f"m{next(_numbers)}"
        operate.set_policy(self.home, POLICY.format(model=name, task=task))
        for bias in biases:
            artifact = additive(bias) if runtime == "onnx" else None
            operate.register(self.home, name, manifest(str(bias), runtime), artifact)
        if biases:
            self.obey(Promote(model=name, version=1))
        return name

    def obey(self, command: Promote | StartRollout) -> None:
        operate.obey(self.home, command, self.clock)

    def fold(self) -> None:
        folding = Folding(self.home, self.clock)
        try:
            folding.drain()
        finally:
            folding.close()

    def follow(self) -> None:
        fleet = self.running.service.fleet  # what the follower does, without its loop
        wanted = fleet.wanted()
        fleet.load(fleet.missing(wanted))
        fleet.swap(wanted)

    def lane(self, model: str) -> Lane:
        """Where the champion runs."""
        self.follow()
        arms = self.running.service.fleet.arms(model)
        return arms.lanes[arms.traffic.champion or 0]

    def predict(self, model: str, *rows: Any) -> Outcome:
        self.follow()
        return asyncio.run(self.running.service.predict(model, list(rows)))

    def record(self, model: str, *rows: Any) -> Receipt:
        self.follow()
        batch = of_rows(list(rows), PREDICTION_KEYS, PREDICTION_NEEDS)
        return asyncio.run(self.running.service.record_predictions(model, batch))

    def happened(self, model: str, *rows: Any) -> Receipt:
        self.follow()
        batch = of_rows(list(rows), OUTCOME_KEYS, OUTCOME_NEEDS)
        return asyncio.run(self.running.service.record_outcomes(model, batch))

    def restart(self) -> None:
        """Another server over the same directory."""
        self.close()
        self.running = open_home(self.home, self.clock)
        self.running.service.recall(self.running.log)

    def counted(self, name: str, **labels: str) -> int:
        return self.running.service.counters.get(name, **labels)

    def rows(self, model: str) -> Rows:
        """What the state holds of a model, once all is folded."""
        self.fold()
        table = Table(self.running.state, model)
        return table.slice(0, len(table))

    def counts(self, model: str) -> Counts:
        self.fold()
        return Books(self.running.state).counts(model)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = Place(tmp_path_factory.mktemp("place"))
    yield made
    made.close()


def row(x: float, **more: Any) -> dict[str, Any]:
    """A row to which the version with bias b answers x + 1.5 + b: y and colour are absent."""
    return {"features": {"x": x}, **more}


def answers(outcome: Outcome) -> list[float | list[float]]:
    return [outcome.answers[place].y_pred for place in sorted(outcome.answers)]


def problems(outcome: Outcome | Receipt) -> list[tuple[int | None, str | None]]:
    return [(each.row, each.field) for each in outcome.problems]


def test_columns_are_answered_like_rows(place: Place) -> None:
    model = place.model(0.5)
    place.follow()
    given = Given(count=2, features={"x": np.array([1.0, 2.0]), "colour": ["red", None]}, ids=["a", None])
    outcome = asyncio.run(place.running.service.predict(model, given))
    assert answers(outcome) == [12.5, 4.0]
    assert outcome.answers[0].id == "a"
    again = place.predict(model, {"id": "a", "features": {"x": 1.0, "colour": "red"}})
    assert again.answers[0] == outcome.answers[0]


def test_what_is_predicted_is_logged_and_meets_its_outcome(place: Place) -> None:
    model = place.model(0.0)
    outcome = place.predict(model, row(1, id="a", unit="ann"), row(2, id="b"))
    assert answers(outcome) == [2.5, 3.5]
    assert outcome.position is not None
    place.happened(model, {"id": "a", "y_true": 2})
    rows = place.rows(model)
    assert outcome.position.reached_by(place.running.state.offsets())
    assert rows.y_pred.tolist() == [2.5, 3.5]
    assert rows.labels_by(DAY)[0] == 2.0
    assert rows.unit.tolist() == [Keys(place.home.settings().secret).unit("ann"), 0]


def test_good_rows_are_answered_beside_bad_ones(place: Place) -> None:
    model = place.model(0.0)
    outcome = place.predict(
        model, row(1), {"features": {}}, "x", row(2), row(1e300), {"id": [1], "features": {"x": 1}}
    )
    assert answers(outcome) == [2.5, 3.5]
    assert sorted(outcome.answers) == [0, 3]
    assert sorted(problems(outcome)) == [(1, "features.x"), (2, None), (4, "features"), (5, "id")]
    assert len(place.rows(model)) == 2


def test_only_bad_rows_log_nothing(place: Place) -> None:
    model = place.model(0.0)
    outcome = place.predict(model, {"features": {}}, row(1e300))
    assert outcome.position is None
    assert len(outcome.problems) == 2
    assert "no version has a valid answer to this row" in str(outcome.problems[1])


@pytest.mark.parametrize("folded", [True, False])
def test_a_row_asked_again_is_answered_as_the_first_time(place: Place, folded: bool) -> None:
    model = place.model(0.0, 5.0)
    first = place.predict(model, row(1, id="a"))
    if folded:
        place.fold()
    place.obey(Promote(model=model, version=2))
    again = place.predict(model, row(1, id="a"), row(1, id="b"))
    assert again.answers[0] == first.answers[0]
    assert again.answers[1] == Answer(id="b", version=2, role="champion", y_pred=7.5)
    other = place.predict(model, row(2, id="a"))
    assert [type(each) for each in other.problems] == [Conflict]
    assert len(place.rows(model)) == 2


def test_a_rollout_splits_the_units_and_logs_the_chance_of_each_arm(place: Place) -> None:
    model = place.model(0.0, 100.0)
    place.obey(StartRollout(model=model, version=2))
    outcome = place.predict(model, *(row(0, id=str(i), unit=f"u{i % 20}") for i in range(60)))
    by_unit: dict[int, set[int]] = {}
    for index, each in outcome.answers.items():
        by_unit.setdefault(index % 20, set()).add(each.version)
        assert each.y_pred == (101.5 if each.version == 2 else 1.5)
        assert each.role == ("challenger" if each.version == 2 else "champion")
    assert all(len(versions) == 1 for versions in by_unit.values())
    assert set.union(*by_unit.values()) == {1, 2}
    assert set(place.rows(model).propensity.tolist()) == {0.5}


def test_records_of_another_system_are_kept_with_their_version(place: Place) -> None:
    model = place.model(0.0, runtime="external")
    with pytest.raises(Conflict, match="is served by another system"):
        place.predict(model, row(1))
    receipt = place.record(
        model,
        {"id": "a", "version": 1, "y_pred": 3},
        {"version": 9, "y_pred": 3},
        {"version": 1, "y_pred": 5},
    )
    assert (receipt.accepted, problems(receipt)) == (2, [(1, "version")])
    assert receipt.ids is not None
    assert receipt.ids[:2] == ["a", None]
    assert receipt.ids[2], "one was made for the row that had none"
    assert place.rows(model).y_pred.tolist() == [3.0, 5.0]


def test_what_another_system_sends_again_is_counted_and_the_first_stands(place: Place) -> None:
    model = place.model(0.0, runtime="external")
    for y_pred in (3, 3, 4):
        assert place.record(model, {"id": "a", "version": 1, "y_pred": y_pred}).accepted == 1
    counts = place.counts(model)
    assert (counts.predictions, counts.repeats, counts.conflicts) == (1, 1, 1)
    assert place.rows(model).y_pred.tolist() == [3.0]


def test_an_outcome_may_come_before_its_prediction(place: Place) -> None:
    model = place.model(0.0)
    outcome = place.happened(
        model, {"id": "early", "y_true": 1}, {"id": "never", "y_true": "x"}, {"y_true": 1}
    )
    assert problems(outcome) == [(1, "y_true"), (2, "id")]
    place.predict(model, row(1, id="early"))
    assert place.rows(model).y_true.tolist() == [1.0]


def test_an_unknown_model_is_told(place: Place) -> None:
    for call in (place.predict, place.record, place.happened):
        with pytest.raises(UnknownName, match="unknown model 'no-such'"):
            call("no-such", {"id": "a", "version": 1, "y_pred": 1, "y_true": 1})


@pytest.mark.parametrize("rows", [[], {}, "rows", None])
def test_what_is_no_batch_is_refused(place: Place, rows: Any) -> None:
    model = place.model(0.0)
    service = place.running.service
    place.follow()
    with pytest.raises(InputError, match="send a list of one row or more"):
        asyncio.run(service.predict(model, rows))
    with pytest.raises(InputError, match="send a list of one row or more"):
        of_rows(rows, OUTCOME_KEYS, OUTCOME_NEEDS)


def test_a_batch_has_a_limit(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    model = place.model(0.0)
    monkeypatch.setattr(batches, "MOST_ROWS", 2)
    for send, sent in ((place.predict, row(1)), (place.happened, {"id": "a", "y_true": 1})):
        with pytest.raises(InputError, match="3 rows in one request; at most 2 are taken"):
            send(model, sent, sent, sent)


def test_live_the_future_is_refused_and_receipt_is_what_counts(place: Place) -> None:
    model = place.model(0.0)
    outcome = place.predict(
        model, row(1, time=format_time(NOW + DAY)), row(2, time="2001-01-01T00:00:00Z"), row(3)
    )
    assert problems(outcome) == [(0, "time")]
    (at,) = set(place.rows(model).at.tolist())
    assert at >= NOW, "both were received at the same moment, whatever the one says"


def test_a_full_disk_acknowledges_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    model = place.model(0.0)
    before = len(place.rows(model))

    def full(self: SegmentWriter, frames: list[Frame]) -> None:
        raise StorageFull("no room")

    with monkeypatch.context() as patched:
        patched.setattr(SegmentWriter, "append", full)
        for call, sent in (
            (place.predict, row(1, id="a")),
            (place.record, {"id": "b", "version": 1, "y_pred": 1}),
            (place.happened, {"id": "a", "y_true": 1}),
        ):
            with pytest.raises(StorageFull):
                call(model, sent)
    assert len(place.rows(model)) == before
    assert answers(place.predict(model, row(2, id="a"))) == [3.5], "what was refused does not hold its id"


def test_a_replay_believes_the_events(tmp_path: Path) -> None:
    place = Place(tmp_path, clock="event")
    try:
        model, moment = place.model(0.0), _hour(2031)
        place.predict(model, row(1, id="a", time=format_time(moment)))
        assert place.rows(model).at.tolist() == [moment]
    finally:
        place.close()


def _hour(year: int) -> Micros:
    return parse_time(f"{year}-03-01T07:00:00Z")


def test_requests_at_once_are_each_answered_by_one_traffic(place: Place) -> None:
    model = place.model(0.0)
    place.follow()
    service = place.running.service

    async def ask() -> list[Outcome]:
        return await asyncio.gather(*(service.predict(model, [row(i, id=str(i))]) for i in range(100)))

    found = asyncio.run(ask())
    assert [answers(outcome) for outcome in found] == [[i + 1.5] for i in range(100)]
    assert sorted(place.rows(model).y_pred.tolist()) == [i + 1.5 for i in range(100)]


def test_of_two_requests_at_once_with_one_id_and_other_content_one_is_refused(place: Place) -> None:
    """Both were acknowledged, and the fold kept one."""
    model = place.model(0.0)
    place.follow()
    service = place.running.service

    async def ask(xs: list[float]) -> list[list[str]]:
        found = await asyncio.gather(*(service.predict(model, [row(x, id="a")]) for x in xs))
        return [[str(problem) for problem in outcome.problems] for outcome in found]

    refused = ["the id 'a' was recorded with other content; use a new id"]
    assert asyncio.run(ask([1, 2, 1])) == [[], refused, []]
    assert asyncio.run(ask([2, 1])) == [refused, []]


@pytest.mark.parametrize("folded", [True, False])
def test_a_server_that_was_restarted_answers_as_the_one_before(tmp_path: Path, folded: bool) -> None:
    place = Place(tmp_path)
    try:
        model = place.model(0.0, 5.0)
        first = place.predict(model, row(1, id="a"))
        place.record(model, {"id": "b", "version": 1, "y_pred": 3})
        if folded:
            place.fold()
        place.obey(Promote(model=model, version=2))
        place.restart()
        again = place.predict(model, row(1, id="a"), row(1, id="b"), row(2, id="a"))
        assert again.answers[0] == first.answers[0]
        assert again.answers[1].version == 2, "what another system predicted is not ours to repeat"
        assert problems(again) == [(2, "id")]
    finally:
        place.close()


def test_a_version_is_known_as_soon_as_it_is_registered(place: Place) -> None:
    model = place.model(0.0, runtime="external")
    assert problems(place.record(model, {"version": 2, "y_pred": 1})) == [(0, "version")]
    operate.register(place.home, model, manifest("another", "external"), None)
    rows = [{"id": str(number), "version": 1 + number % 2, "y_pred": 1} for number in range(40)]
    assert place.record(model, *rows).accepted == 40
    assert place.rows(model).version.tolist() == [1, 2] * 20


def test_many_rows_are_kept_like_few(place: Place) -> None:
    few, many = place.model(0.0, runtime="external"), place.model(0.0, runtime="external")
    rows: list[Any] = [
        {"id": str(i), "version": 1, "y_pred": i / 7, "unit": f"u{i % 3}", "propensity": 0.5}
        for i in range(40)
    ]
    for each in [*rows, {"version": 9}, 7]:
        place.record(few, each)
    receipt = place.record(many, *rows, {"version": 9}, 7)
    assert (receipt.accepted, problems(receipt)) == (40, [(40, "version"), (41, None)])
    one, other = place.rows(few), place.rows(many)
    for name in ("version", "unit", "y_pred", "propensity", "role"):
        assert getattr(one, name).tolist() == getattr(other, name).tolist()


def test_what_is_missing_may_say_why(place: Place) -> None:
    model = place.model(0.0, runtime="external")
    place.record(model, {"id": "a", "version": 1, "y_pred": 1})
    receipt = place.happened(
        model, {"id": "a", "y_true": None, "reason": "lost"}, {"id": "b", "y_true": 1, "reason": "no"}
    )
    assert (receipt.accepted, problems(receipt)) == (1, [(1, "reason")])
    place.fold()
    logged = [entry.frame for entry in place.running.log.read({})]
    reasons = [
        frame.batch.column("reason").to_pylist()
        for frame in logged
        if isinstance(frame, Frame) and "reason" in frame.batch.schema.names
    ]
    assert reasons == [["lost"]]


def test_rows_are_counted_by_what_became_of_them(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    model = place.model(0.0)
    before = [place.counted("rows", kind=kind) for kind in ("prediction", "outcome", "predict")]
    refused = [place.counted("rows_refused", kind=kind, reason="bad_row") for kind in ("outcome", "predict")]
    place.record(model, {"version": 1, "y_pred": 1}, {"version": 1, "y_pred": 1})
    place.happened(model, {"id": "a", "y_true": 1}, {"y_true": 1})
    place.predict(model, row(1), {"features": {}})
    place.predict(model, {"features": {}})
    assert [place.counted("rows", kind=kind) for kind in ("prediction", "outcome", "predict")] == [
        before[0] + 2, before[1] + 1, before[2] + 1
    ]  # fmt: skip
    assert [
        place.counted("rows_refused", kind=kind, reason="bad_row") for kind in ("outcome", "predict")
    ] == [refused[0] + 1, refused[1] + 2]

    def full(self: SegmentWriter, frames: list[Frame]) -> None:
        raise StorageFull("no room")

    full_before = place.counted("rows_refused", kind="outcome", reason="storage_full")
    with monkeypatch.context() as patched:
        patched.setattr(SegmentWriter, "append", full)
        with pytest.raises(StorageFull):
            place.happened(model, {"id": "a", "y_true": 1})
    assert place.counted("rows_refused", kind="outcome", reason="storage_full") == full_before + 1


def test_a_version_with_thresholds_says_what_is_done_also_of_what_it_answered_before(place: Place) -> None:
    model = place.model(task="binary")
    cut = Thresholds(actions=("pass", "review", "block"), least=(0.3, 0.8))
    made = msgspec.structs.replace(manifest("0"), thresholds=cut)
    operate.register(place.home, model, made, additive(0.0))
    place.obey(Promote(model=model, version=1))
    rows = [{"id": f"t{x}", "features": {"x": x, "y": 0.0, "colour": "green"}} for x in (0.1, 0.5, 0.9, 2.0)]
    found = place.predict(model, *rows)
    assert found.actions == {0: "pass", 1: "review", 2: "block"}
    assert len(found.problems) == 1, "2 is no probability"
    place.fold()
    place.restart()
    assert place.predict(model, *rows[:2]).actions == {0: "pass", 1: "review"}
    assert place.predict(model, rows[2]).actions == {0: "block"}


def test_what_a_champion_raises_is_a_failure_of_each_row_and_goes_on(place: Place) -> None:
    model = place.model(1.0)
    place.follow()
    lane = place.lane(model)
    runtime, lane._runtime = lane._runtime, Scripted(lambda xs: [1 / 0 for _ in xs])
    with pytest.raises(VersionFailed, match=r"no version could answer: m\d+:1: ZeroDivisionError; send"):
        place.predict(model, {"id": "a", "features": {"x": 1.0}}, {"features": {"x": 2.0}})
    rows = place.rows(model)
    assert rows.failed.tolist() == [True, True]
    assert place.counted("rows", kind="predict") == 0
    lane._runtime = runtime
    found = place.predict(model, {"id": "a", "features": {"x": 1.0}})
    assert found.answers[0].id == "a", "what failed is asked for again under its id"
    rows = place.rows(model)
    assert rows.failed.tolist() == [True, True, False]
