"""A row that comes again is answered as the first time, also by a server that was started anew."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pyarrow as pa
import pytest

from lossloop.core.errors import Conflict, InputError
from lossloop.ledger.base import Offsets
from lossloop.ledger.facts import predictions
from lossloop.ledger.files.segments import SegmentLog, SegmentReader
from lossloop.ledger.frames import Frame, Kind
from lossloop.ledger.memory import MemoryLog
from lossloop.serve import repeats as repeating
from lossloop.serve.repeats import Answer, Repeats, Sent
from tests.ledger.samples import outcome_frame, prediction_frame


def sent(id: str, content: bytes = b"one") -> Sent:
    return Sent(id=id, content=content)


def answered(id: str) -> Answer:
    return Answer(id=id, version=1, role="champion", y_pred=0.5)


def sort(repeats: Repeats, *rows: Sent) -> tuple[dict[int, Answer], set[int], list[InputError]]:
    problems: list[InputError] = []
    answers, fresh = repeats.sort("m", list(enumerate(rows)), problems)
    return answers, fresh, problems


def recalled(log: SegmentLog, folded: Offsets | None = None) -> Repeats:
    """What a server knows that has just been started."""
    repeats = Repeats()
    with contextlib.closing(log.reader()) as reader:
        repeats.recall(reader, folded or {})
    return repeats


def write(log: SegmentLog, *frames: Frame) -> dict[str, int]:
    """Append each frame by itself; return where the log ends."""
    with contextlib.closing(log.writer()) as writer:
        position = [writer.append([frame]) for frame in frames][-1]
    return {position.segment: position.offset}


def test_what_never_came_is_new() -> None:
    assert sort(Repeats(), sent("a"), sent("b")) == ({}, {0, 1}, [])


def test_what_was_just_answered_is_answered_the_same() -> None:
    repeats = Repeats()
    repeats.remember("m", b"one", answered("a"))
    assert sort(repeats, sent("b"), sent("a")) == ({1: answered("a")}, {0}, [])


def test_the_first_answer_stands() -> None:
    repeats = Repeats()
    repeats.remember("m", b"one", answered("a"))
    repeats.remember("m", b"one", Answer(id="a", version=2, role="champion", y_pred=0.75))
    assert sort(repeats, sent("a"))[0] == {0: answered("a")}


def test_other_content_under_the_same_id_is_a_conflict_of_that_row() -> None:
    repeats = Repeats()
    repeats.remember("m", b"one", answered("a"))
    answers, fresh, problems = sort(repeats, sent("new"), sent("a", b"two"))
    assert (answers, fresh) == ({}, {0})
    assert [(type(each), str(each), each.field, each.row) for each in problems] == [
        (Conflict, "the id 'a' was recorded with other content; use a new id", "id", 1)
    ]


def test_ids_of_other_models_do_not_matter() -> None:
    repeats = Repeats()
    repeats.remember("other", b"two", answered("a"))
    assert sort(repeats, sent("a")) == ({}, {0}, [])


def test_ids_under_way_cannot_be_given_other_content() -> None:
    repeats = Repeats()
    with repeats.held("m", [sent("a")]):
        assert sort(repeats, sent("a"))[1] == {0}, (
            "the same again may go: the log is told apart by its content"
        )
        assert [type(each) for each in sort(repeats, sent("a", b"two"))[2]] == [Conflict]
        with repeats.held("m", [sent("a")]):
            pass
        assert sort(repeats, sent("a", b"two"))[2], "it is held until the last request with it is through"
    assert sort(repeats, sent("a", b"two")) == ({}, {0}, []), "what was not taken leaves no trace"


def test_an_id_is_let_go_also_where_the_disk_was_full() -> None:
    repeats = Repeats()

    def fails() -> None:
        with repeats.held("m", [sent("a")]):
            raise OSError

    with pytest.raises(OSError):  # noqa: PT011 - it is the one raised above
        fails()
    assert sort(repeats, sent("a", b"two")) == ({}, {0}, [])


def test_memory_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeating, "REMEMBERED", 2)
    repeats = Repeats()
    for id in "abc":
        repeats.remember("m", b"one", answered(id))
    assert sort(repeats, sent("a"), sent("b"), sent("c"))[1] == {0}


# After a restart.


@pytest.mark.parametrize("y_pred", [0.25, [0.25, 0.75]])
@pytest.mark.parametrize("folded", [True, False])
def test_answers_are_read_back_from_the_log(
    tmp_path: Path, y_pred: float | list[float], folded: bool
) -> None:
    log = SegmentLog(tmp_path)
    end = write(
        log,
        prediction_frame(["a"], [y_pred], content=b"one", version=[3], role=["challenger"]),
        outcome_frame({"a": 1.0}),
        prediction_frame(["b"], [y_pred], content=b"one"),
    )
    repeats = recalled(log, end if folded else {})
    wanted = Answer(id="a", version=3, role="challenger", y_pred=y_pred)
    default = Answer(id="b", version=1, role="champion", y_pred=y_pred)
    assert sort(repeats, sent("a"), sent("b"), sent("c")) == ({0: wanted, 1: default}, {2}, [])


def test_what_another_system_predicted_is_not_remembered(tmp_path: Path) -> None:
    log = SegmentLog(tmp_path)
    columns = {"id": ["a", "b"], "version": [1, 1], "time": [0, 0], "y_pred": [0.5, 0.5]}
    recorded = predictions(columns, model="m")
    mixed = predictions({**columns, "id": ["c", "d"], "content": [None, b"one"]}, model="m")
    write(log, *(Frame(kind=Kind.PREDICTION, time=0, batch=batch) for batch in (recorded, mixed)))
    assert sort(recalled(log), *map(sent, "abcd")) == ({3: answered("d")}, {0, 1, 2}, [])


def batches(log: SegmentLog, name: str, count: int = 50) -> dict[str, int]:
    """Some frames of a kilobyte; return where they end."""
    features = pa.array([{"x": "y" * 1000}])
    return write(log, *(prediction_frame([f"{name}{i}"], features=features) for i in range(count)))


def asked(*names: str, count: int = 50) -> list[Sent]:
    return [sent(f"{name}{i}", b"sent") for name in names for i in range(count)]


def test_no_more_than_the_tail_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = SegmentLog(tmp_path)
    folded = {**batches(log, "a"), **batches(log, "b")}
    monkeypatch.setattr(repeating, "TAIL", 20_000)
    fresh = sort(recalled(log, folded), *asked("a", "b"))[1]
    assert 20 < len(fresh) < 90
    assert fresh == set(range(len(fresh))), (
        "the newest are known, and from the midst of a frame on none is lost"
    )


def test_segments_are_gone_back_over(tmp_path: Path) -> None:
    log = SegmentLog(tmp_path)
    folded = {**batches(log, "a", 3), **batches(log, "b", 3), **batches(log, "c", 3)}
    assert not sort(recalled(log, folded), *asked("a", "b", "c", count=3))[1]


def test_a_log_whose_offsets_count_frames_is_gone_back_over_too() -> None:
    log = MemoryLog()
    with contextlib.closing(log.writer()) as writer:
        last = [writer.append([prediction_frame([f"a{i}"])]) for i in range(50)][-1]
    repeats = Repeats()
    with contextlib.closing(log.reader()) as reader:
        repeats.recall(reader, {last.segment: last.offset})
    assert not sort(repeats, *asked("a"))[1]


def test_what_is_not_folded_yet_is_read_up_to_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = SegmentLog(tmp_path)
    folded = batches(log, "a")
    for name in "bcdefgh":
        batches(log, name)
    assert not sort(recalled(log, folded), *asked("b", "h"))[1]
    monkeypatch.setattr(repeating, "TAIL", 1)
    monkeypatch.setattr(SegmentReader.read, "__kwdefaults__", {"most": 20_000})
    assert 0 < len(sort(recalled(log, folded), *asked("b", "h"))[1]) < 100
