"""A frame is whole or not there, whatever happens to its bytes."""

from __future__ import annotations

import struct
import zlib
from itertools import accumulate

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import NewerFormat, TooLarge
from lossloop.ledger import frames
from lossloop.ledger.frames import (
    HEADER_SIZE,
    MAGIC,
    MAX_PAYLOAD,
    Damage,
    Frame,
    Kind,
    decode,
    encode,
    is_whole,
    seed_of,
    size_of,
)
from tests.ledger.samples import outcome_frame, tick_frame

SEED = seed_of("segment")
OTHER_SEED = seed_of("other")

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
labels = st.dictionaries(texts, st.none() | st.floats(-1e9, 1e9), min_size=1, max_size=4)
micros = st.integers(-(1 << 62), 1 << 62)
any_frame = st.builds(lambda found, time: outcome_frame(found, time=time), labels, micros) | st.builds(
    tick_frame, micros
)
some_frames = st.lists(any_frame, min_size=1, max_size=4)


def header(
    *,
    kind: int = 5,
    flags: int = 0,
    zero: int = 0,
    count: int = 1,
    payload: bytes = b"",
    length: int | None = None,
) -> bytes:
    """A header written by the description in the module's docstring, with checksums that hold."""
    said = len(payload) if length is None else length
    head = struct.pack("<4sBBHIIqI", MAGIC, kind, flags, zero, count, said, 0, zlib.crc32(payload, SEED))
    return head + struct.pack("<I", zlib.crc32(head, SEED))


def found(data: bytes, seed: int = SEED) -> list[tuple[int, Frame | Damage]]:
    return list(decode(data, seed))


def same(one: object, other: Frame) -> bool:
    return (
        isinstance(one, Frame)
        and (one.kind, one.time) == (other.kind, other.time)
        and bool(one.batch.equals(other.batch, check_metadata=True))
    )


def all_same(data: bytes, wanted: list[Frame]) -> bool:
    got = [frame for _, frame in found(data) if isinstance(frame, Frame)]
    return len(got) == len(wanted) and all(map(same, got, wanted))


@given(some_frames)
def test_frames_come_back_and_end_where_they_end(sent: list[Frame]) -> None:
    parts = [encode(frame, SEED) for frame in sent]
    got = found(b"".join(parts))
    assert [end for end, _ in got] == list(accumulate(map(len, parts)))
    assert all(same(frame, wanted) for (_, frame), wanted in zip(got, sent, strict=True))


def test_the_header_is_laid_out_as_documented() -> None:
    raw = encode(tick_frame(7), SEED)
    magic, kind, flags, zero, count, length, time, crc = struct.unpack_from("<4sBBHIIqI", raw)
    assert (magic, kind, flags, zero, count, time) == (b"LLF1", 5, 0, 0, 1, 7)
    assert (length, HEADER_SIZE) == (len(raw) - 32, 32)
    assert crc == zlib.crc32(raw[32:], SEED)
    assert struct.unpack_from("<I", raw, 28)[0] == zlib.crc32(raw[:28], SEED)
    assert pa.ipc.open_stream(raw[32:]).read_all().num_rows == 1


@given(some_frames, st.data())
def test_any_flipped_bits_are_found_and_cost_only_their_frame(sent: list[Frame], data: st.DataObject) -> None:
    parts = [encode(frame, SEED) for frame in sent]
    raw = bytearray(b"".join(parts))
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    ends = list(accumulate(map(len, parts)))
    hit = next(index for index, end in enumerate(ends) if place < end)
    assert all_same(bytes(raw), [frame for index, frame in enumerate(sent) if index != hit])
    damage = [each for _, each in found(bytes(raw)) if isinstance(each, Damage)]
    in_header = place - (ends[hit] - len(parts[hit])) < HEADER_SIZE
    if hit == len(sent) - 1 and in_header:
        assert not damage, "what begins with no header may be the beginning of one that is still written"
    else:
        assert damage == [Damage(start=ends[hit] - len(parts[hit]), end=ends[hit])]


@given(some_frames, st.data())
def test_a_torn_tail_is_left_until_it_is_whole(sent: list[Frame], data: st.DataObject) -> None:
    raw = b"".join(encode(frame, SEED) for frame in sent)
    cut = data.draw(st.integers(0, len(raw)))
    first = found(raw[:cut])
    reached = first[-1][0] if first else 0
    assert not [each for _, each in first if isinstance(each, Damage)]
    assert is_whole(raw[reached:cut], SEED) is False
    rest = found(raw[reached:])
    got = [frame for _, frame in (*first, *rest)]
    assert len(got) == len(sent)
    assert all(map(same, got, sent))


@given(some_frames, some_frames, st.binary(min_size=1, max_size=200) | st.just(MAGIC * 20))
def test_foreign_bytes_in_the_middle_cost_nothing_behind_them(
    before: list[Frame], after: list[Frame], foreign: bytes
) -> None:
    start = b"".join(encode(frame, SEED) for frame in before)
    data = start + foreign + b"".join(encode(frame, SEED) for frame in after)
    assert all_same(data, [*before, *after])
    damage = [each for _, each in found(data) if isinstance(each, Damage)]
    assert damage == [Damage(start=len(start), end=len(start) + len(foreign))]


@given(any_frame, any_frame)
def test_a_frame_of_another_segment_is_no_frame_here(theirs: Frame, ours: Frame) -> None:
    data = encode(theirs, OTHER_SEED) + encode(ours, SEED)
    assert all_same(data, [ours])
    assert not found(encode(theirs, OTHER_SEED))


@pytest.mark.parametrize("seed", [0, 1, OTHER_SEED])
def test_a_frame_that_somebody_sent_as_a_feature_is_not_read(seed: int) -> None:
    """Even where the frame around it is damaged, so that readers look for the next header inside of it."""
    forged = encode(tick_frame(666), seed).decode("latin-1")
    raw = bytearray(encode(outcome_frame({forged: 1.0}), SEED))
    raw[0] ^= 1
    last = tick_frame(1)
    assert all_same(bytes(raw) + encode(last, SEED), [last])


@pytest.mark.parametrize("length", [MAX_PAYLOAD + 1, 0xFFFFFFFF])
def test_a_length_that_no_frame_can_have_is_damage(length: int) -> None:
    assert size_of(header(length=length), SEED) is None
    assert all_same(header(length=length) + encode(tick_frame(1), SEED), [tick_frame(1)])


def test_the_largest_length_is_waited_for() -> None:
    raw = header(length=MAX_PAYLOAD) + encode(tick_frame(1), SEED)
    assert size_of(raw, SEED) == HEADER_SIZE + MAX_PAYLOAD
    assert not is_whole(raw, SEED)
    assert not found(raw)


def test_a_payload_that_is_longer_than_its_header_says_is_damage() -> None:
    payload = encode(tick_frame(3), SEED)[HEADER_SIZE:]
    raw = header(payload=payload, length=len(payload) - 1) + payload
    assert all_same(raw + encode(tick_frame(1), SEED), [tick_frame(1)])


def test_a_count_that_is_not_the_number_of_rows_is_damage() -> None:
    payload = encode(tick_frame(3), SEED)[HEADER_SIZE:]
    raw = header(payload=payload, count=2) + payload
    assert found(raw) == [(len(raw), Damage(start=0, end=len(raw)))]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": 8}, "kind 8, flags 0"),
        ({"kind": 0}, "kind 0"),
        ({"flags": 1}, "flags 1"),
        ({"zero": 1}, "kind 5"),
    ],
)
def test_a_frame_of_a_newer_release_is_not_passed_over(changes: dict[str, int], said: str) -> None:
    payload = encode(tick_frame(3), SEED)[HEADER_SIZE:]
    raw = header(payload=payload, **changes) + payload
    with pytest.raises(NewerFormat, match=f"{said}.*; install a newer lossloop"):
        found(raw)


def test_a_frame_that_no_reader_would_take_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(encode(tick_frame(1), SEED)) - HEADER_SIZE
    monkeypatch.setattr(frames, "MAX_PAYLOAD", size)
    assert encode(tick_frame(1), SEED)
    monkeypatch.setattr(frames, "MAX_PAYLOAD", size - 1)
    with pytest.raises(
        TooLarge, match=f"{size} bytes in one batch; at most {size - 1} are taken: send it in"
    ):
        encode(tick_frame(1), SEED)


@given(st.binary(max_size=400))
def test_noise_is_never_a_frame(noise: bytes) -> None:
    assert not found(noise)
    assert not is_whole(noise, SEED)
    assert size_of(noise, SEED) is None


def test_every_kind_of_fact_has_its_number_for_ever() -> None:
    assert {kind.name: int(kind) for kind in Kind} == {
        "PREDICTION": 1, "OUTCOME": 2, "COMMAND": 3, "DECISION": 4, "TICK": 5,
        "EXPIRED_PREDICTION": 6, "EXPIRED_OUTCOME": 7,
    }  # fmt: skip
