"""Each row is answered by the version that its unit meets; a challenger's failure costs nobody theirs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import InputError
from lossloop.core.tasks import Task
from lossloop.core.traffic import Arm, Traffic
from lossloop.serve.assign import goes_to_challenger
from lossloop.serve.predicting import Arms, Asked, answer, failures, read_asked
from lossloop.serve.repeats import Sent
from tests.serve.models import Scripted, version


def doubled(xs: list[float]) -> list[float]:
    return [2 * x for x in xs]


def negated(xs: list[float]) -> list[float]:
    return [-x for x in xs]


def raises(xs: list[float]) -> list[float]:
    raise RuntimeError("never thought of")


def arms(
    champion: Callable[[list[float]], Sequence[Any]] = doubled,
    challenger: Callable[[list[float]], Sequence[Any]] | None = negated,
    **traffic: Any,
) -> Arms:
    usual = {"task": Task.REGRESSION, "salt": "s"}
    arm = Arm(version=2, share=traffic.pop("share", 0.5))
    split = Traffic(model="m", champion=1, arms=(arm,), **{**usual, **traffic})
    return Arms(
        traffic=split,
        champion=(version(1), Scripted(champion)),
        challenger=None if challenger is None else (version(2), Scripted(challenger)),
    )


def asked(count: int, units: Sequence[str | None] | None = None) -> list[Asked]:
    """Rows with x = 1, 2, ... that are ids too."""
    return [
        Asked(
            sent=Sent(id=str(i + 1), unit=None if units is None else units[i], content=b"c", time=7),
            features={"x": float(i + 1)},
        )
        for i in range(count)
    ]


def rows(found: Arms, sent: Sequence[Asked]) -> list[dict[str, Any]]:
    """The facts that were made."""
    _, batch = answer(found, sent)
    return [] if batch is None else said(batch)


def said(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Facts, with what they mean by what they leave out."""
    unsaid = {
        "role": "champion", "propensity": 1.0, "shadow_version": None, "shadow_y_pred": None, "error": None
    }  # fmt: skip
    return [{**unsaid, **row} for row in batch.to_pylist()]


def test_without_a_challenger_all_is_the_champions() -> None:
    facts = rows(arms(challenger=None, share=0.0), asked(3))
    assert [(fact["version"], fact["role"], fact["propensity"]) for fact in facts] == [
        (1, "champion", 1.0)
    ] * 3
    assert [fact["y_pred"] for fact in facts] == [2.0, 4.0, 6.0]
    assert [fact["shadow_version"] for fact in facts] == [None] * 3


@given(st.floats(0.01, 0.99))
def test_every_row_is_answered_by_its_arm_and_says_the_chance_of_it(share: float) -> None:
    sent = asked(50)
    answers, batch = answer(arms(share=share), sent)
    assert batch is not None
    for row, given_, fact in zip(sent, answers, said(batch), strict=True):
        assert given_ is not None
        meets = goes_to_challenger("s", row.sent.id, share)
        x = row.features["x"]
        assert (fact["version"], fact["role"]) == ((2, "challenger") if meets else (1, "champion"))
        assert fact["propensity"] == (share if meets else 1 - share)
        assert fact["y_pred"] == given_.y_pred == (-x if meets else 2 * x)
        assert (given_.id, given_.version, given_.role) == (fact["id"], fact["version"], fact["role"])


def test_a_unit_keeps_its_arm_whatever_its_rows_are_called() -> None:
    facts = rows(arms(), asked(40, ["ann", "bob"] * 20))
    assert len({fact["version"] for fact in facts if fact["unit"] == "ann"}) == 1
    assert len({fact["version"] for fact in facts if fact["unit"] == "bob"}) == 1


def test_the_challenger_is_asked_only_for_its_own_rows() -> None:
    found = arms(share=0.3)
    facts = rows(found, asked(200))
    assert found.challenger is not None
    runtime = found.challenger[1]
    assert isinstance(runtime, Scripted)
    assert runtime.asked == sum(fact["version"] == 2 for fact in facts)


def test_in_shadow_both_answer_and_nobody_gets_the_challengers() -> None:
    answers, batch = answer(arms(shadow=True, share=0.0), asked(3))
    assert batch is not None
    facts = said(batch)
    assert [each.y_pred for each in answers if each] == [2.0, 4.0, 6.0]
    assert [(fact["shadow_version"], fact["shadow_y_pred"]) for fact in facts] == [
        (2, -1.0),
        (2, -2.0),
        (2, -3.0),
    ]
    assert {(fact["version"], fact["role"], fact["propensity"]) for fact in facts} == {(1, "champion", 1.0)}


def nan_at(place: float) -> Callable[[list[float]], list[float]]:
    return lambda xs: [math.nan if x == place else -x for x in xs]


@pytest.mark.parametrize("challenger", [raises, None, lambda xs: [], lambda xs: [math.nan] * len(xs)])
@pytest.mark.parametrize("shadow", [True, False])
def test_a_challenger_that_fails_costs_nobody_an_answer_and_is_no_evidence(
    challenger: Callable[[list[float]], list[float]] | None, shadow: bool
) -> None:
    found = arms(challenger=challenger, shadow=shadow)
    sent = asked(40)
    answers, batch = answer(found, sent)
    assert batch is not None
    assert [each.y_pred for each in answers if each] == doubled([row.features["x"] for row in sent])
    facts = said(batch)
    for row, fact in zip(sent, facts[:40], strict=True):
        assert (fact["version"], fact["role"], fact["shadow_version"]) == (1, "champion", None)
        if not shadow:
            drawn = goes_to_challenger("s", row.sent.id, 0.5)
            assert fact["propensity"] == (1.0 if drawn else 0.5), (
                "who went where it was not drawn to is not judged"
            )
    drawn_there = [row for row in sent if goes_to_challenger("s", row.sent.id, 0.5)]
    failed = [] if shadow or challenger is None else drawn_there
    assert len(facts) == 40 + len(failed), "what failed is evidence of its own"
    for row, fact in zip(failed, facts[40:], strict=True):
        assert (fact["version"], fact["role"], fact["propensity"]) == (2, "challenger", 0.5)
        assert (fact["y_pred"], fact["content"], fact["features"]["x"]) == (None, None, row.features["x"])
        assert fact["error"] in ("RuntimeError", "InputError", "no valid answer")
        assert fact["id"] != row.sent.id, "the caller's id was answered"


def test_one_bad_answer_of_a_challenger_is_one_row() -> None:
    facts = rows(arms(challenger=nan_at(2.0), shadow=True), asked(3))
    assert [fact["shadow_y_pred"] for fact in facts] == [-1.0, None, -3.0]
    assert [fact["shadow_version"] for fact in facts] == [2, None, 2]


def test_what_each_version_took_is_said_of_its_own_rows() -> None:
    def slow(xs: list[float]) -> list[float]:
        time.sleep(0.02)
        return [-x for x in xs]

    facts = rows(arms(challenger=slow), asked(40))
    took = {number: {fact["latency_ms"] for fact in facts if fact["version"] == number} for number in (1, 2)}
    (mine,), (theirs,) = took[1], took[2]
    assert 0 <= mine < theirs
    assert theirs >= 20


def test_one_bad_answer_of_a_canary_is_one_failure() -> None:
    found = arms(challenger=nan_at(1.0), share=0.999999)
    facts = rows(found, asked(3))
    assert [(fact["version"], fact["y_pred"]) for fact in facts] == [
        (1, 2.0),
        (2, -2.0),
        (2, -3.0),
        (2, None),
    ]
    assert facts[-1]["error"] == "no valid answer"


def test_a_champion_that_raises_has_failed_all_rows() -> None:
    batch = failures(arms(), asked(4), "RuntimeError", 3.5)
    facts = said(batch)
    assert [(fact["version"], fact["role"], fact["y_pred"], fact["error"]) for fact in facts] == [
        (1, "champion", None, "RuntimeError")
    ] * 4
    assert {fact["latency_ms"] for fact in facts} == {3.5}
    drawn = [goes_to_challenger("s", str(number + 1), 0.5) for number in range(4)]
    assert [fact["propensity"] for fact in facts] == [1.0 if each else 0.5 for each in drawn]


def test_a_failing_challenger_is_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    answer(arms(challenger=raises, shadow=True), asked(1))
    assert capsys.readouterr().err == "m:2 failed: never thought of\n"


def test_a_row_that_the_champion_cannot_answer_is_left_out_and_the_others_are_not() -> None:
    answers, batch = answer(arms(champion=nan_at(2.0), challenger=None, share=0.0), asked(3))
    assert [each and each.y_pred for each in answers] == [-1.0, None, -3.0]
    assert batch is not None
    assert batch.column("id").to_pylist() == ["1", "3"]


def test_where_no_row_can_be_answered_nothing_is_logged() -> None:
    assert answer(arms(champion=nan_at(1.0), challenger=None), asked(1)) == ([None], None)


def test_a_champion_that_loses_rows_answers_none() -> None:
    with pytest.raises(InputError, match="m:1 gave 1 answers to 3 rows"):
        answer(arms(champion=lambda xs: [0.0]), asked(3))


def test_a_champion_that_fails_is_not_hidden() -> None:
    with pytest.raises(RuntimeError, match="never thought of"):
        answer(arms(champion=raises), asked(1))


def test_vectors_are_answered_as_lists() -> None:
    split = arms(lambda xs: [[0.25, 0.75]] * len(xs), None, task=Task.MULTICLASS, share=0.0)
    answers, batch = answer(split, asked(2))
    assert [each and each.y_pred for each in answers] == [[0.25, 0.75]] * 2
    assert batch is not None
    assert batch.column("y_pred").to_pylist() == [[0.25, 0.75]] * 2


# What is asked.


def read(row: dict[str, Any]) -> Asked:
    return read_asked(version(1), row, 4, now=9, replays=False)


def test_a_row_without_an_id_gets_one() -> None:
    one, other = read({"features": {"x": 1}}), read({"features": {"x": 1}})
    assert one.sent.id != other.sent.id
    assert (one.sent.unit, one.sent.time) == (None, 9)
    assert one.sent.content == other.sent.content


@pytest.mark.parametrize(
    ("row", "field", "message"),
    [
        ({}, "features", "features must be an object of names to values"),
        ({"features": [1]}, "features", "features must be an object of names to values"),
        ({"features": {}}, "features.x", "feature 'x' is missing"),
        ({"features": {"x": 1}, "id": 5}, "id", "id must be text, not 5"),
        ({"features": {"x": 1}, "time": "soon"}, "time", "'soon' is not an ISO 8601 time, such as"),
    ],
)
def test_a_bad_row_is_told(row: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read(row)
    assert str(caught.value).startswith(message)
    assert (caught.value.field, caught.value.row) == (field, 4)
