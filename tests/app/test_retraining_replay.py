"""How often to retrain, on streams where the answer is known: drift, jumps, rest; and nothing looks ahead."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossloop.act.policy import read_policy
from lossloop.app.judging import Lens
from lossloop.app.retraining.alarms import not_replayed, retraining_watches
from lossloop.app.retraining.asking import Question, schedules_of
from lossloop.app.retraining.base import Course, Made, Replayed, Schedule, Stream
from lossloop.app.retraining.replay import FEWEST_BLOCKS, replay, timed
from lossloop.core.clock import DAY, HOUR
from lossloop.core.errors import InputError
from lossloop.ledger.joined.columns import NEVER
from lossloop.ledger.joined.table import Rows
from lossloop.registry import Manifest, Reference
from tests.app.desk import START, policy_text

Array = np.ndarray[Any, Any]
ROWS, FIRST = 60, 10
WATCH = {"kind": "regression", "tolerance": 0.05, "promise": "1 per 100 blocks"}
RETRAINS = {"worse": [{"retrain": "t"}]}
SCHEDULES = schedules_of(Question(model="m", every=(5, 20)), alarms=True)


def stream_of(
    rates: Array, *, rows: int = ROWS, seed: int = 1, delay: int = HOUR, lost: float = 0.0
) -> Stream:
    """Days of rows that are 1 at a rate of their own, with labels that come later or not at all."""
    draw, count = np.random.default_rng(seed), len(rates) * rows
    at = (
        START
        + np.repeat(np.arange(len(rates)) * DAY, rows)
        + np.tile(np.arange(rows) * (DAY // rows), len(rates))
    )
    labels = (draw.random(count) < np.repeat(rates, rows)).astype(np.float64)
    labels[draw.random(count) < lost] = np.nan
    nothing = np.full(count, np.nan)
    made = Rows(
        seq=np.arange(1, count + 1), key_low=np.arange(count, dtype=np.uint64),
        version=np.ones(count, np.int64),
        role=np.zeros(count, np.int8), propensity=np.ones(count), at=at, block=at // DAY * DAY,
        unit=np.zeros(count, np.int64), y_pred=np.full(count, 0.5), shadow_version=np.zeros(count, np.int64),
        shadow_y_pred=nothing, y_true=labels, judged=labels,
        labelled_at=np.where(np.isnan(labels), NEVER, at + delay),
    )  # fmt: skip
    asked = pa.table(
        {"id": [f"r{row}" for row in range(count)], "time": pa.array(at), "x": draw.random(count)}
    )
    return Stream(rows=made, asked=asked)


@dataclass
class Recent:
    """Predicts the share of 1 among the rows of the last days that it is shown; notes what it is shown."""

    days: int = 5
    seen: list[tuple[int, pa.Table, bytes | None]] = field(default_factory=list)

    def __call__(self, rows: pa.Table, at: int, previous: bytes | None) -> Made:
        self.seen.append((at, rows, previous))
        late = rows["y_true"].to_numpy()
        last = late[rows["time"].to_numpy() > at - self.days * DAY] if len(late) else late
        rate = float(last.mean()) if len(last) else float(late.mean())
        return Made(
            manifest=Manifest(runtime="onnx", artifact=f"{rate:.6f}", reference=_reference(rate)),
            artifact=f"{rate}".encode(), predict=lambda asked: np.full(len(asked), rate), cpu=1.0,
        )  # fmt: skip


def _reference(rate: float) -> Reference:
    mean = rate * (1 - rate)
    return Reference(
        loss="brier", mean=mean, block="1d", block_means=(mean,) * 8, rows=480, design_effect=1.0
    )


def lens(**policy: Any) -> Lens:
    return Lens(policy=read_policy(policy_text(**{"watches": {"worse": WATCH}, "on": RETRAINS, **policy})))


def replayed(rates: Array, *, train: Any = None, schedules: Any = SCHEDULES, **given_: Any) -> Replayed:
    policy = given_.pop("policy", {})
    return replay(stream_of(rates, **given_), lens(**policy), schedules, train or Recent(), first=FIRST)


def by_name(found: Replayed) -> dict[str, Course]:
    return {course.schedule.name: course for course in found.courses}


REST, JUMP = np.full(70, 0.3), np.where(np.arange(70) < 40, 0.2, 0.8)
DRIFT = np.linspace(0.1, 0.9, 70)


# The right answer is known.


def test_at_rest_nobody_gains_by_training() -> None:
    found = by_name(replayed(REST))
    assert {name: len(course.trainings) for name, course in found.items()} == {
        "never": 0, "every 20": 2, "every 5": 11, "on alarm": 0,
    }  # fmt: skip
    for course in found.values():
        assert course.loss.estimate == pytest.approx(0.21, abs=0.01)
        assert course.change.low <= 0.003
    assert found["never"].change.estimate == 0.0
    assert found["on alarm"].change == found["never"].change, "the same model all along"


def test_after_a_jump_one_training_on_alarm_is_worth_many_by_the_calendar() -> None:
    found = by_name(replayed(JUMP))
    alarm, often, rarely, never = (found[name] for name in ("on alarm", "every 5", "every 20", "never"))
    assert never.loss.estimate == pytest.approx((30 * 0.16 + 30 * 0.52) / 60, abs=0.02)
    assert 1 <= len(alarm.trainings) <= 4
    assert alarm.change.high < 0.0, "shown to be better than never"
    assert alarm.loss.estimate < rarely.loss.estimate + 0.02
    assert alarm.loss.estimate < often.loss.estimate + 0.04, "with a fraction of the trainings"
    (first, *_) = alarm.trainings
    assert START + 40 * DAY < first.at <= START + 48 * DAY
    assert first.why == "alarm of worse"


def test_under_steady_drift_the_oftener_the_better() -> None:
    found = by_name(replayed(DRIFT))
    losses = [found[name].loss.estimate for name in ("every 5", "every 20", "never")]
    assert losses == sorted(losses)
    assert found["every 5"].change.high < 0.0
    assert found["every 5"].cpu == 11.0, "each training cost 1"


def test_the_interval_holds_the_loss_that_theory_has() -> None:
    """Of a model that knows the rate of the first days: at rest r (1 - r), for many seeds."""
    held = 0
    for seed in range(20):
        course = replayed(REST, seed=seed, schedules=[], rows=20, train=Recent(days=10)).courses[0]
        rate = float(np.mean(course.blocks)) - 0.21
        held += course.loss.low - 0.01 <= 0.21 <= course.loss.high + 0.01
        assert abs(rate) < 0.05
    assert held >= 18


# Nothing looks ahead.


@settings(max_examples=25)
@given(
    delay=st.integers(0, 40).map(lambda hours: hours * HOUR), age=st.sampled_from(["1h", "12h", "36h"]),
    every=st.integers(1, 9), lost=st.sampled_from([0.0, 0.3]), seed=st.integers(0, 99),
)  # fmt: skip
def test_a_training_never_sees_a_row_before_its_label_or_its_age(
    delay: int, age: str, every: int, lost: float, seed: int
) -> None:
    train = Recent()
    stream = stream_of(DRIFT[:30], rows=6, seed=seed, delay=delay, lost=lost)
    view = lens(labels={"mature_after": age}, watches={}, on={})
    replay(stream, view, [Schedule(name="often", every=every)], train, first=FIRST)
    came = dict(zip(stream.asked["id"].to_pylist(), stream.rows.labelled_at.tolist(), strict=True))
    for at, rows, _ in train.seen:
        assert max(came[id] for id in rows["id"].to_pylist()) <= at
        assert max(rows["time"].to_pylist()) + view.policy.labels.mature_after <= at
        assert not np.isnan(rows["y_true"].to_numpy()).any()


@settings(max_examples=10)
@given(turned=st.integers(FIRST + 1, 28), seed=st.integers(0, 20))
def test_what_comes_later_changes_nothing_before(turned: int, seed: int) -> None:
    """Turn every outcome behind a block round: trainings up to then see the same, and course for course."""
    courses = []
    for rates in (JUMP[:30], np.where(np.arange(30) < turned, JUMP[:30], 1.0)):
        train = Recent()
        found = replay(
            stream_of(rates, rows=6, seed=seed),
            lens(labels={"mature_after": "12h"}),
            SCHEDULES,
            train,
            first=FIRST,
        )
        before = [rows.drop_columns("x") for at, rows, _ in train.seen if at <= START + turned * DAY]
        courses.append((before, [course.blocks[: turned - FIRST] for course in found.courses]))
    assert courses[0] == courses[1]


def test_late_labels_make_alarms_late() -> None:
    soon, late = (
        by_name(replayed(JUMP, delay=delay, policy={"labels": {"mature_after": age}}))["on alarm"]
        for delay, age in ((HOUR, "6h"), (5 * DAY, "6d"))
    )
    assert late.trainings[0].at >= soon.trainings[0].at + 4 * DAY
    assert soon.loss.estimate < late.loss.estimate


def test_labels_that_miss_the_judging_age_raise_no_alarm() -> None:
    """Nothing is known at the judging age: no data is never a reason to act."""
    found = by_name(replayed(JUMP, delay=2 * DAY, policy={"labels": {"mature_after": "6h"}}))
    assert len(found["on alarm"].trainings) == 0
    assert found["every 5"].change.high < 0.0, "a schedule trains on what has come since"


# Warm and cold.


def test_a_warm_start_is_given_the_artifact_of_the_one_before() -> None:
    train = Recent()
    replayed(DRIFT, train=train, schedules=[Schedule(name="w", every=20, warm=True)])
    given_ = [previous for _, _, previous in train.seen]
    assert given_[0] is None
    assert all(each is not None for each in given_[1:])
    assert given_[1] != given_[2], "each from the last"


def test_a_cold_training_of_a_moment_is_made_once_for_all_courses() -> None:
    train = Recent()
    found = by_name(
        replayed(DRIFT, train=train, schedules=schedules_of(Question(model="m", every=(5, 20)), alarms=False))
    )
    assert len(train.seen) == 1 + 11, "the first, and every five; those of every twenty are among them"
    assert found["every 20"].cpu == 2.0, "and are charged all the same"


def test_warm_schedules_stand_beside_cold_ones() -> None:
    names = [
        each.name for each in schedules_of(Question(model="m", every=(7, 28, 7), warm=True), alarms=True)
    ]
    assert names == ["every 28", "every 7", "on alarm", "every 28, warm", "every 7, warm", "on alarm, warm"]


# Which watches lead to a training.


def test_the_watches_whose_alarm_retrains_are_asked_and_all_where_none_does() -> None:
    both = {"worse": WATCH, "limit": {"kind": "guardrail", "limit": 0.5, "promise": "1 per 100 blocks"}}
    drift = {"inputs": {"kind": "drift", "promise": "1 per 100 blocks"}}
    policy = lens(watches={**both, **drift}, on={"limit": [{"retrain": "t"}, {"notify": "n"}]}).policy
    assert retraining_watches(policy) == ["limit"]
    assert [name for name, _ in not_replayed(policy)] == ["inputs"]
    assert retraining_watches(lens(watches=both, on={}).policy) == ["worse", "limit"]


def test_a_watch_that_cannot_judge_says_why_and_never_alarms() -> None:
    class Bare(Recent):
        def __call__(self, rows: pa.Table, at: int, previous: bytes | None) -> Made:
            made = super().__call__(rows, at, previous)
            return Made(manifest=Manifest(runtime="onnx"), artifact=b"", predict=made.predict, cpu=0.0)

    found = by_name(replayed(JUMP, train=Bare()))["on alarm"]
    assert not found.trainings
    assert "worse: " in found.unjudged[0]
    assert "reference" in found.unjudged[0]


def test_a_watch_of_rows_is_asked_too() -> None:
    rows = {"worse": {"kind": "guardrail", "limit": 0.25, "promise": "1 per 10000 outcomes"}}
    found = by_name(replayed(JUMP, policy={"watches": rows}))["on alarm"]
    assert found.trainings
    assert found.trainings[0].at > START + 40 * DAY


# What is refused, and what is left out.


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"rates": REST[:15]},
            "10 to be charged for are needed; there are 15",
        ),
        ({"rates": REST[:25], "lost": 1.0}, "no outcome had come by the first training"),
        ({"rates": REST[:25], "delay": 30 * DAY}, "no outcome had come by the first training"),
    ],
)
def test_a_past_that_is_too_short_says_how_long_it_must_be(change: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        replayed(change.pop("rates"), **change)


@pytest.mark.parametrize("every", [0, -3])
def test_a_schedule_needs_a_block(every: int) -> None:
    with pytest.raises(InputError, match="1 or more"):
        schedules_of(Question(model="m", every=(every,)), alarms=True)


def test_rows_without_an_outcome_are_charged_to_nobody() -> None:
    found = replayed(REST, lost=0.5)
    assert 0.4 < found.rows / (60 * ROWS) < 0.6
    assert len(found.courses[0].blocks) == 60


def test_progress_is_told_to_its_end() -> None:
    told: list[tuple[int, int]] = []
    replay(
        stream_of(REST[: FIRST + FEWEST_BLOCKS]), lens(), SCHEDULES, Recent(), first=FIRST,
        tell=lambda done, of: told.append((done, of)),
    )  # fmt: skip
    assert told == [(done, 40) for done in range(1, 41)]


def test_the_same_past_gives_the_same_answer() -> None:
    assert replayed(JUMP) == replayed(JUMP)


def test_cpu_seconds_are_those_of_this_process() -> None:
    def busy() -> Made:
        sum(range(200_000))
        return Made(manifest=Manifest(runtime="onnx"), artifact=b"", predict=_half, cpu=-1.0)

    assert timed(busy).cpu > 0.0


def _half(asked: pa.Table) -> Array:
    return np.full(len(asked), 0.5)
