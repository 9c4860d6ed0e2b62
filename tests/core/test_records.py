from __future__ import annotations

import json
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.records import Decision, Interval, Record, Role, Verdict, VerdictKind
from lossloop.core.tasks import Task
from lossloop.core.traffic import Arm, Traffic

numbers = st.floats(allow_nan=False, allow_infinity=False)
intervals = st.builds(
    lambda estimate, low, high, approximate: Interval(
        estimate=estimate, low=low, high=high, approximate=approximate
    ),
    numbers, numbers, numbers, st.booleans(),
)  # fmt: skip
verdicts = st.builds(
    lambda kind, evidence, count, effect, reason: Verdict(
        kind=kind, evidence=evidence, threshold=3.0, count=count, effect=effect, reason=reason
    ),
    st.sampled_from(VerdictKind), numbers, st.integers(0, 1 << 40), st.none() | intervals, st.text(),
)  # fmt: skip


def decision(**changes: object) -> Decision:
    made = Decision(id="m/0", at=0, model="m", action="promote", status="done", reason="")
    return msgspec.structs.replace(made, **changes)


@given(verdicts, st.none() | st.floats(0, 1))
def test_a_record_is_the_same_behind_json(verdict: Verdict, share: float | None) -> None:
    made = decision(verdict=verdict, share=share)
    assert msgspec.json.decode(msgspec.json.encode(made), type=Decision) == made


def test_records_are_frozen_and_refuse_what_they_do_not_know() -> None:
    with pytest.raises(AttributeError):
        decision().status = "undone"  # type: ignore[misc]  # that is the mistake
    raw = json.dumps({**json.loads(msgspec.json.encode(decision())), "statuss": "done"})
    with pytest.raises(msgspec.ValidationError, match="statuss"):
        msgspec.json.decode(raw, type=Decision)
    with pytest.raises(TypeError):
        Record(1)


def test_what_is_not_said_takes_no_room() -> None:
    assert set(json.loads(msgspec.json.encode(decision()))) == {
        "id", "at", "model", "action", "status", "reason"
    }  # fmt: skip


def test_an_interval_that_is_still_open_is_no_number_in_json() -> None:
    """JSON has no infinity; who writes intervals for people has to say so."""
    open_ended = Interval(estimate=0.0, low=-math.inf, high=math.inf)
    assert json.loads(msgspec.json.encode(open_ended))["low"] is None


def test_verdicts_are_listed_worst_first() -> None:
    assert list(VerdictKind) == ["alarm", "error", "no_data", "inconclusive", "better", "healthy"]
    assert list(Role) == ["champion", "challenger", "holdout", "override"]


@pytest.mark.parametrize(
    ("champion", "challenger", "versions"), [(None, None, ()), (1, None, (1,)), (1, 2, (1, 2))]
)
def test_traffic_names_the_versions_that_answer(
    champion: int | None, challenger: int | None, versions: tuple[int, ...]
) -> None:
    arms = () if challenger is None else (Arm(version=challenger),)
    traffic = Traffic(model="m", task=Task.BINARY, champion=champion, arms=arms)
    assert traffic.versions == versions
    assert (traffic.share, traffic.shadow) == (0.0, False)
