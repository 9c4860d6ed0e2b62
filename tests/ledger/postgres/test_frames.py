from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import NewerFormat
from lossloop.ledger import facts
from lossloop.ledger.base import Entry, Position, merged
from lossloop.ledger.frames import Damage, Frame, Kind
from lossloop.ledger.postgres.frames import frame_of, model_in, partition_of, row_of
from lossloop.ledger.postgres.heads import Head, Heads, in_order, up_to
from tests.ledger.samples import outcome_frame, prediction_frame, tick_frame


def stored(frame: Frame) -> list[Any]:
    row = row_of(frame)
    return [row[name] for name in ("kind", "time", "rows", "crc", "payload")]


# Whose frames.


@given(st.text(max_size=10), st.integers(1, 64))
def test_a_model_is_in_one_partition_for_ever(model: str, partitions: int) -> None:
    assert 0 <= partition_of(model, partitions) < partitions
    assert partition_of(model, partitions) == partition_of(model, partitions)


def test_partitions_do_not_depend_on_the_release() -> None:
    """Where a model's facts are is written nowhere: another function would lose them."""
    models = ("m", "flight-delay", "a.b_c-9")
    assert [partition_of(model, 8) for model in models] == [0, 7, 6]


def test_rows_say_whose_they_are() -> None:
    assert model_in(outcome_frame({"a": 1.0}, model="late")) == "late"
    assert model_in(prediction_frame(["a"], model="late")) == "late"
    assert model_in(tick_frame(1)) is None
    assert model_in(facts.decisions([("m/000001", "{}")], now=1)) is None


@pytest.mark.parametrize(
    ("body", "model"),
    [
        ({"model": "late", "version": 3}, "late"),
        ({"model": "late", "key": "other/000001"}, "late"),
        ({"key": "late/000007", "ok": True}, "late"),
        ({"text": "model: late\ntask: binary\n"}, "late"),
        ({"text": "# a policy\n\nmodel:  'late'  # of flights\n"}, "late"),
        ({"text": '"model": "late"'}, "late"),
        ({"text": '{"model": "late", "task": "binary"}'}, "late"),
        ({"text": "task: binary\nwatches:\n  worse: {model: no}\nmodel: late\n"}, "late"),
        ({"text": "watches:\n  model: no\nmodel: late"}, "late"),
        ({"text": '{"on": {"model": "no"}, "task": "binary",\n "model": "late"}'}, "late"),
        ({"text": "{task: binary, on: {model: no}, model: late}"}, "late"),
        ({"text": "nothing of the kind"}, None),
        ({"text": 3, "model": None}, None),
        ({"on": True, "reason": "model: late"}, None),
        ([1], None),
    ],
)
def test_commands_belong_to_the_model_that_they_name(body: Any, model: str | None) -> None:
    assert model_in(facts.command("id", "name", body, now=1)) == model


def test_commands_on_several_models_belong_to_all() -> None:
    columns = {"id": ["1", "2"], "name": ["n", "n"], "body": [json.dumps({"model": m}) for m in "ab"]}
    batch = pa.RecordBatch.from_pydict(columns, schema=facts.COMMANDS)
    assert model_in(Frame(kind=Kind.COMMAND, time=1, batch=batch)) is None


# Frames as rows.


@given(st.integers(-(1 << 62), 1 << 62), st.lists(st.text(max_size=5), max_size=5, unique=True))
def test_a_frame_is_what_its_row_was_made_of(time: int, ids: list[str]) -> None:
    frame = outcome_frame(dict.fromkeys(ids, 1.0), time=0)
    frame = Frame(kind=frame.kind, time=time, batch=frame.batch)
    found = frame_of(1, *stored(frame))
    assert isinstance(found, Frame)
    assert (found.kind, found.time) == (frame.kind, time)
    assert found.batch.equals(frame.batch, check_metadata=True)


@given(st.integers(0, 4), st.integers(0, 1 << 16))
def test_whatever_was_changed_in_a_row_is_damage(column: int, bit: int) -> None:
    row = stored(outcome_frame({"a": 1.0}, time=3))
    value = row[column]
    if isinstance(value, bytes):
        place = bit % (8 * len(value))
        flipped = bytearray(value)
        flipped[place // 8] ^= 1 << place % 8
        row[column] = bytes(flipped)
    else:
        row[column] = value ^ (1 << bit % (7 if column == 0 else 31))
    assert frame_of(9, *row) == Damage(start=8, end=9)


def test_a_kind_of_a_newer_release_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    row = stored(tick_frame(1))
    monkeypatch.setattr("lossloop.ledger.postgres.frames._KINDS", frozenset({Kind.COMMAND}))
    with pytest.raises(NewerFormat, match="the log holds a frame of kind 5; install a newer lossloop"):
        frame_of(1, *row)


# The order of heads.


@given(
    st.dictionaries(st.sampled_from("abcd"), st.lists(st.integers(0, 20), max_size=6)),
    st.sets(st.sampled_from("abcd")),
)
def test_heads_come_in_the_order_in_which_frames_are_merged(
    times: dict[str, list[int]], cut: set[str]
) -> None:
    heads = {
        name: [Head(name, number, time, 1) for number, time in enumerate(found, 1)]
        for name, found in times.items()
    }
    entries = {
        name: [
            Entry(position=Position(segment=name, offset=number), frame=tick_frame(time))
            for number, time in enumerate(found, 1)
        ]
        for name, found in times.items()
    }
    wanted = [(entry.position.segment, entry.position.offset) for entry in merged(entries, cut)]
    assert [(head.segment, head.number) for head in in_order(heads, cut)] == wanted


@given(st.lists(st.integers(0, 100)), st.integers(0, 300))
def test_so_many_heads_are_taken_as_their_bytes_allow(sizes: list[int], most: int) -> None:
    heads = [Head("a", number, 0, size) for number, size in enumerate(sizes, 1)]
    taken = up_to(heads, most)
    assert list(taken) == heads[: len(taken)]
    assert taken or not heads
    assert sum(head.size for head in taken[1:]) + (taken[0].size if len(taken) > 1 else 0) <= most
    if len(taken) < len(heads):
        assert sum(head.size for head in heads[: len(taken) + 1]) > most


def test_what_is_known_of_a_segment_is_used_only_where_it_reaches() -> None:
    known = Heads(4, [Head("a", number, 0, 1) for number in (5, 6, 7)])
    assert [head.number for head in known.behind(5).heads] == [6, 7]
    assert [head.number for head in known.behind(4).heads] == [5, 6, 7]
    assert known.behind(3) == Heads(3), "what lies between was not read"
