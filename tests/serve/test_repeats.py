"""A row that comes again is answered as the first time, from memory or from the state."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lossloop.core.calendar import Calendar
from lossloop.core.clock import DAY
from lossloop.core.errors import Conflict, InputError
from lossloop.ledger.join import take_predictions
from lossloop.ledger.state import State
from lossloop.serve import repeats as repeating
from lossloop.serve.repeats import Answer, Repeats, Sent
from tests.ledger.samples import prediction_frame


@pytest.fixture
def state() -> Iterator[State]:
    made = State(Path(":memory:"))
    yield made
    made.close()


def sent(id: str, content: bytes = b"one") -> Sent:
    return Sent(id=id, unit=None, time=0, content=content)


def answered(id: str) -> Answer:
    return Answer(id=id, version=1, role="champion", y_pred=0.5)


def sort(repeats: Repeats, *rows: Sent) -> tuple[dict[int, Answer], set[int], list[InputError]]:
    problems: list[InputError] = []
    answers, fresh = repeats.sort("m", list(enumerate(rows)), problems)
    return answers, fresh, problems


def fold(state: State, id: str, y_pred: float | list[float], content: bytes = b"one") -> None:
    batch = prediction_frame([id], [y_pred], content=content, version=[3], role=["challenger"]).batch
    take_predictions(state, batch, model="m", at=np.array([0]), calendar=Calendar(span=DAY))


def test_what_never_came_is_new(state: State) -> None:
    assert sort(Repeats(state), sent("a"), sent("b")) == ({}, {0, 1}, [])


def test_what_was_just_answered_is_answered_the_same(state: State) -> None:
    repeats = Repeats(state)
    repeats.remember("m", b"one", answered("a"))
    assert sort(repeats, sent("b"), sent("a")) == ({1: answered("a")}, {0}, [])


@pytest.mark.parametrize("y_pred", [0.25, [0.25, 0.75]])
def test_what_was_folded_is_answered_from_the_state(state: State, y_pred: float | list[float]) -> None:
    fold(state, "a", y_pred)
    wanted = Answer(id="a", version=3, role="challenger", y_pred=y_pred)
    assert sort(Repeats(state), sent("a")) == ({0: wanted}, set(), [])


def test_other_content_under_the_same_id_is_a_conflict_of_that_row(state: State) -> None:
    fold(state, "folded", 0.5)
    repeats = Repeats(state)
    repeats.remember("m", b"one", answered("recent"))
    answers, fresh, problems = sort(repeats, sent("folded", b"two"), sent("recent", b"two"), sent("new"))
    assert (answers, fresh) == ({}, {2})
    assert [(type(each), str(each), each.field, each.row) for each in problems] == [
        (Conflict, f"the id {id!r} was recorded with other content; use a new id", "id", row)
        for row, id in enumerate(("folded", "recent"))
    ]


def test_ids_of_other_models_do_not_matter(state: State) -> None:
    repeats = Repeats(state)
    repeats.remember("other", b"two", answered("a"))
    assert sort(repeats, sent("a")) == ({}, {0}, [])


def test_ids_under_way_cannot_be_given_other_content(state: State) -> None:
    repeats = Repeats(state)
    with repeats.held("m", [sent("a")]):
        assert sort(repeats, sent("a"))[1] == {0}, (
            "the same again may go: the log is told apart by its content"
        )
        assert [type(each) for each in sort(repeats, sent("a", b"two"))[2]] == [Conflict]
        with repeats.held("m", [sent("a")]):
            pass
        assert sort(repeats, sent("a", b"two"))[2], "it is held until the last request with it is through"
    assert sort(repeats, sent("a", b"two")) == ({}, {0}, []), "what was not taken leaves no trace"


def test_an_id_is_let_go_also_where_the_disk_was_full(state: State) -> None:
    repeats = Repeats(state)

    def fails() -> None:
        with repeats.held("m", [sent("a")]):
            raise OSError

    with pytest.raises(OSError):  # noqa: PT011 - it is the one raised above
        fails()
    assert sort(repeats, sent("a", b"two")) == ({}, {0}, [])


def test_memory_has_an_end(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeating, "REMEMBERED", 2)
    repeats = Repeats(state)
    for id in "abc":
        repeats.remember("m", b"one", answered(id))
    assert sort(repeats, sent("a"), sent("b"), sent("c"))[1] == {0}
