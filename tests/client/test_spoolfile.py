"""A file of the spool: torn, flipped, taken over, and never read for more than was written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.client.spoolfile import HEADER_SIZE, SpoolFile, frame, frames, length_at

SEED = 12345
payloads = st.lists(st.binary(max_size=60), min_size=1, max_size=8)


def found(data: bytes, seed: int = SEED) -> list[bytes]:
    return [bytes(payload) for _, _, payload in frames(data, seed) if payload is not None]


def waiting(file: SpoolFile, most: int = 1 << 20) -> list[bytes]:
    return [bytes(payload) for _, _, payload in file.read(file.taken, most) if payload is not None]


@given(payloads)
def test_what_was_written_is_read(sent: list[bytes]) -> None:
    data = b"".join(frame(each, SEED) for each in sent)
    assert found(data) == sent
    ends = [end for _, end, _ in frames(data, SEED)]
    assert ends[-1] == len(data)


@given(payloads, st.data())
def test_a_torn_tail_costs_only_the_torn_frame(sent: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(frame(each, SEED) for each in sent)
    cut = data.draw(st.integers(0, len(whole)))
    read = found(whole[:cut])
    assert read == sent[: len(read)]
    assert sum(len(frame(each, SEED)) for each in sent[: len(read) + 1]) > cut or read == sent


@given(payloads, st.data())
def test_a_flipped_byte_costs_only_its_frame(sent: list[bytes], data: st.DataObject) -> None:
    parts = [frame(each, SEED) for each in sent]
    hit = data.draw(st.integers(0, len(parts) - 1))
    broken = bytearray(parts[hit])
    broken[data.draw(st.integers(0, len(broken) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    parts[hit] = bytes(broken)
    left = [each for place, each in enumerate(sent) if place != hit]
    whole = b"".join(parts)
    assert found(whole) == left
    damage = sum(end - start for start, end, payload in frames(whole, SEED) if payload is None)
    assert damage == (len(broken) if hit < len(sent) - 1 else 0)  # behind the last there is nothing to find


@given(st.binary(max_size=200))
def test_noise_is_no_frame(noise: bytes) -> None:
    assert found(noise) == []
    assert found(noise + frame(b"x", SEED)) == [b"x"]


def test_a_frame_that_somebody_sent_as_a_feature_is_none() -> None:
    """They do not know the seed; and a frame is never looked for inside another."""
    inner = frame(b"forged", 0)
    torn = frame(inner, SEED)[:-1]
    assert found(torn + frame(b"next", SEED)) == [b"next"]


def test_a_length_beyond_reason_is_damage() -> None:
    assert length_at(b"LLS1" + b"\xff" * 8) is None
    assert length_at(b"LLS1") is None
    assert length_at(frame(b"abc", SEED)) == len(frame(b"abc", SEED))


def test_a_file_is_adopted_only_once_its_process_has_given_it_up(tmp_path: Path) -> None:
    file = SpoolFile.begin(tmp_path)
    file.append([b"one", b"two"], sync=False)
    assert SpoolFile.adopt(file.path) is None
    file.close()
    adopted = SpoolFile.adopt(file.path)
    assert adopted is not None
    assert (adopted.rows, waiting(adopted)) == (2, [b"one", b"two"])
    assert SpoolFile.adopt(file.path) is None
    adopted.remove()
    assert SpoolFile.adopt(file.path) is None
    assert list(tmp_path.iterdir()) == []


def test_what_was_taken_is_not_read_again(tmp_path: Path) -> None:
    file = SpoolFile.begin(tmp_path, sync=True)
    file.append([b"one", b"two", b"three"], sync=True)
    (_, end, _), *_ = file.read(file.taken, 1 << 20)
    file.take(end, 1)
    file.close()
    adopted = SpoolFile.adopt(file.path)
    assert adopted is not None
    assert (adopted.rows, waiting(adopted)) == (2, [b"two", b"three"])
    adopted.close()


@pytest.mark.parametrize("at", range(20))
def test_a_damaged_header_sends_more_and_never_less(tmp_path: Path, at: int) -> None:
    file = SpoolFile.begin(tmp_path)
    file.append([b"one", b"two"], sync=False)
    file.take(HEADER_SIZE + len(frame(b"one", 0)), 1)
    file.close()
    raw = bytearray(file.path.read_bytes())
    raw[at] ^= 0xFF
    file.path.write_bytes(raw)
    adopted = SpoolFile.adopt(file.path)
    assert adopted is not None
    assert waiting(adopted) == [b"one", b"two"]
    adopted.close()


@pytest.mark.parametrize("kept", [0, 10, HEADER_SIZE])
def test_a_file_of_which_next_to_nothing_is_left_is_empty(tmp_path: Path, kept: int) -> None:
    file = SpoolFile.begin(tmp_path)
    file.append([b"one"], sync=False)
    file.close()
    os.truncate(file.path, kept)
    adopted = SpoolFile.adopt(file.path)
    assert adopted is not None
    assert (adopted.rows, adopted.taken == adopted.end) == (0, True)
    adopted.remove()


def test_an_adopted_file_ends_behind_its_last_whole_frame(tmp_path: Path) -> None:
    file = SpoolFile.begin(tmp_path)
    file.append([b"one", b"x" * 100], sync=False)
    end = file.end
    file.close()
    os.truncate(file.path, end - 1)
    adopted = SpoolFile.adopt(file.path)
    assert adopted is not None
    assert (adopted.rows, waiting(adopted)) == (1, [b"one"])
    adopted.append([b"two"], sync=False)
    assert waiting(adopted) == [b"one", b"two"]
    adopted.close()


def test_a_row_larger_than_what_is_read_at_once_is_read(tmp_path: Path) -> None:
    file = SpoolFile.begin(tmp_path)
    file.append([b"a", b"b" * 5000, b"c"], sync=False)
    reached, read = file.taken, []
    while reached < file.end:
        for _, behind, payload in file.read(reached, 100):
            assert payload is not None
            read.append(bytes(payload))
            reached = behind
    assert read == [b"a", b"b" * 5000, b"c"]
    file.remove()


def test_a_closed_file_is_never_written_to(tmp_path: Path) -> None:
    """The number of its descriptor may be another file's by now."""
    file = SpoolFile.begin(tmp_path)
    file.close()
    file.close()
    with (tmp_path / "other").open("wb"), pytest.raises(OSError, match="Bad file descriptor"):
        file.append([b"one"], sync=False)
    assert (tmp_path / "other").read_bytes() == b""
