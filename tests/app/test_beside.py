"""Losses beside the one that judges: computed of every outcome as it comes, and judging nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossloop.app.books import Books
from lossloop.app.reading import status
from lossloop.app.rebuilding import rebuild
from lossloop.app.showing import beside, shelves, shown
from lossloop.core.errors import PolicyError
from lossloop.ledger.frames import Frame
from tests.app.desk import DAY, MODEL, WATCH, Desk, asked, happened, ticked
from tests.app.test_forgetting import erase

COST = "warning_cost(missed=2, false_alarm=1)"
"""Warns from 1/3 on: 1 for a warning where nothing happened, 2 where it happened without one."""
LOG = "log_loss(cap=5)"
Places = pytest.TempPathFactory


def figures(books: Books, loss: str) -> dict[tuple[int, str, int], tuple[int, int, float]]:
    """Predictions, outcomes and the sum of a loss beside, by version, role and block."""
    return {
        (each.version, each.role, each.block): (each.predictions, each.losses.count, each.losses.total)
        for each in shown(books.documents, MODEL, beside(MODEL, loss))
    }


def close(found: dict[Any, tuple[int, int, float]]) -> dict[Any, tuple[int, int, Any]]:
    return {place: (sent, came, pytest.approx(total)) for place, (sent, came, total) in found.items()}


def of(desk: Desk, loss: str = COST) -> dict[tuple[int, str, int], tuple[int, int, float]]:
    with desk.books() as books:
        return figures(books, loss)


def cost_of(loss: float, y_true: float) -> float:
    """What COST makes of a prediction that the desk sends for a Brier loss, without any code of ours."""
    warned = math.sqrt(loss) >= 1 / 3
    return (0.0 if warned else 2.0) if y_true else (1.0 if warned else 0.0)


def recounted(desk: Desk, loss: str = COST) -> tuple[int, int, float]:
    """All of a loss beside, added up."""
    sent, came, total = 0, 0, 0.0
    for each in of(desk, loss).values():
        sent, came, total = sent + each[0], came + each[1], total + each[2]
    return sent, came, total


def test_it_is_computed_as_outcomes_come_and_shown_beside(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", beside=[COST, LOG])
    desk.know(3, desk.predict(1, [0.09, 0.16, 0.9, 0.5])[:3])
    assert recounted(desk) == (4, 3, 2.0)
    with desk.books() as books:
        found = status(books, MODEL)
    cost, log = found["beside"]
    assert cost["loss"].startswith("warning_cost@")
    assert (cost["unit"], log["unit"]) == ("USD", "")
    assert cost["losses"] == [
        {"version": 1, "role": "champion", "predictions": 4, "outcomes": 3, "mean": pytest.approx(2 / 3)}
    ]
    assert log["losses"][0]["mean"] == pytest.approx(-sum(map(math.log, (0.7, 0.6, 1 - 0.9**0.5))) / 3)
    assert found["switches"] == []


def test_a_correction_changes_it_by_exactly_the_difference(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", beside=[COST])
    (id,) = desk.predict(1, [0.09])
    desk.know(2, [id])
    assert recounted(desk)[1:] == (1, 0.0)
    desk.know(3, [id], 1.0)
    assert recounted(desk)[1:] == (1, 2.0)
    desk.know(4, [id], 1.0)
    assert recounted(desk)[1:] == (1, 2.0), "the same again changes nothing"
    desk.know(5, [id], None)
    assert recounted(desk)[1:] == (0, 0.0), "it will never be known after all"


def frames(story: Sequence[tuple[str, int, float]]) -> Iterator[Frame]:
    """Predictions, outcomes before and after them, corrections and silence, an hour apart."""
    made: list[str] = []
    for hour, (what, pick, value) in enumerate(story, start=1):
        if what == "ask":
            ids = [f"p{len(made) + number}" for number in range(1 + pick % 3)]
            made += ids
            yield asked(hour * 5, [value] * len(ids), ids)
        elif what == "know":
            yield happened(hour * 5, [f"p{pick}"], float(value > 0.5))
        else:
            yield ticked(hour * 5)


STORIES = st.lists(
    st.tuples(st.sampled_from(["ask", "ask", "know", "know", "wait"]), st.integers(0, 8), st.floats(0, 1)),
    max_size=14,
)
ABSENT = {"mature_after": "6h", "absent_means": 1, "after": "6h"}


@settings(max_examples=6, deadline=None)
@given(story=STORIES, late=st.integers(0, 14), absent=st.booleans())
def test_one_that_was_added_later_is_as_if_it_had_been_there_from_the_beginning(
    tmp_path_factory: Places, story: list[tuple[str, int, float]], late: int, absent: bool
) -> None:
    labels: Any = {"labels": ABSENT} if absent else {}
    sent = list(frames(story))
    desk = Desk.ready(tmp_path_factory.mktemp("s") / "s", beside=[LOG], **labels)
    desk.send(*sent[:late])
    desk.policy(beside=[LOG, COST], **labels)
    desk.send(*sent[late:])
    with desk.books() as books:
        known = {
            place: (each.predictions, each.losses.count)
            for each in shown(books.documents, MODEL)
            for place in [(each.version, each.role, each.block)]
        }
    assert {place: each[:2] for place, each in of(desk).items()} == known
    before = desk.everything()
    assert rebuild(desk.home).agrees
    assert desk.everything() == before, "to the last bit"


@settings(max_examples=6, deadline=None)
@given(story=STORIES)
def test_what_is_recomputed_is_what_came_as_it_happened(
    tmp_path_factory: Places, story: list[tuple[str, int, float]]
) -> None:
    desk = Desk.ready(tmp_path_factory.mktemp("s") / "s", beside=[COST])
    desk.send(*frames(story))
    lived = of(desk)
    desk.policy()
    assert of(desk) == {}, "a loss that the policy names no more is forgotten"
    desk.policy(beside=[COST])
    assert of(desk) == close(lived)


def test_it_is_what_an_independent_count_says(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", beside=[COST])
    losses = [0.05 * number for number in range(20)]
    ids = desk.predict(1, losses)
    for place, id in enumerate(ids):
        desk.know(2, [id], float(place % 3 == 0))
    assert recounted(desk)[2] == sum(cost_of(each, float(n % 3 == 0)) for n, each in enumerate(losses))


def test_it_judges_nothing(tmp_path: Path) -> None:
    """The same days end in the same decisions, verdicts and points, to the last bit."""
    found = []
    several: list[tuple[str, list[str]]] = [("one", []), ("other", [COST, LOG])]
    for name, others in several:
        desk = Desk.ready(
            tmp_path / name, watches={"worse": WATCH}, on={"worse": [{"notify": "log"}]}, beside=others
        )
        for day, loss in enumerate([0.1, 0.1, 0.9, 0.9, 0.9]):
            desk.day(day, loss)
        with desk.books() as books:
            found.append((books.decisions(MODEL), books.points(MODEL), books.watch(MODEL, "worse")))
    assert found[0] == found[1]
    assert "notify" in {each.action for each in found[0][0]}


def test_imported_predictions_and_those_that_wait_count_too(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s")
    desk.know(1, ["early"], 1.0)
    desk.send(asked(2, [0.04], ["early"]))
    desk.policy(beside=[COST])
    assert recounted(desk) == (1, 1, 2.0)


def test_what_was_erased_goes_on_counting_also_in_a_state_made_anew(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", beside=[COST])
    for day in range(2):
        ids = desk.predict(day * DAY + 1, [0.09, 0.9, 0.5], units=["ann", "bob", "ann"])
        desk.know(day * DAY + 2, ids)
    before = of(desk)
    assert erase(desk, "ann") == 4
    desk.fold()
    assert of(desk) == before
    rebuild(desk.home, accept=True)
    assert of(desk) == close(before)


def test_of_rows_that_were_erased_before_it_only_the_number_is_known(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s")
    desk.know(2, desk.predict(1, [0.09, 0.9], units=["ann", "bob"]))
    erase(desk, "ann")
    desk.fold()
    desk.policy(beside=[COST])
    assert recounted(desk) == (2, 1, 1.0)
    rebuild(desk.home, accept=True)
    assert recounted(desk) == (2, 1, 1.0)


def test_each_loss_has_its_own_shelf_and_the_one_that_judges_comes_first(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", beside=[COST, LOG])
    with desk.books() as books:
        found = [(shelf.kind, lens.policy.loss) for shelf, lens in shelves(MODEL, books.lens(MODEL))]
    assert found == [("summary", "brier"), ("beside", COST), ("beside", LOG)]


def test_a_table_of_several_parts_is_gone_through_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lossloop.app.showing._AT_ONCE", 3)
    desk = Desk.ready(tmp_path / "s")
    desk.know(2, desk.predict(1, [0.9] * 10))
    desk.policy(beside=[COST])
    assert recounted(desk) == (10, 10, 10.0)


@pytest.mark.parametrize(
    ("beside", "words"),
    [
        (["brier"], "names a loss twice, or the one that judges"),
        ([COST, COST], "names a loss twice"),
        ([f"log_loss(cap={cap})" for cap in range(1, 6)], "at most 4 losses run beside, not 5"),
        (["nope"], "unknown loss 'nope'"),
        (["brier_multiclass"], "beside: brier_multiclass takes class probabilities"),
        (["brier "], "brier  is the same loss as brier"),
        (["brier.where(user='a')"], "needs features, which the loop does not judge by yet"),
        ("brier", "beside"),
    ],
)
def test_one_that_could_not_judge_is_refused_with_its_line(tmp_path: Path, beside: Any, words: str) -> None:
    with pytest.raises(PolicyError, match=words.replace("(", r"\(")) as found:
        Desk.at(tmp_path / "s").policy(beside=beside)
    assert found.value.line == 1
