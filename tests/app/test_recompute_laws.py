"""What must hold of any recomputation: every loss of the library, real folds, readers meanwhile."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lossloop import losses
from lossloop.app.books import Books
from lossloop.app.reading import status
from lossloop.app.recompute import Answer, Question, recompute
from lossloop.app.recompute.history import Slab, Span, read_history
from lossloop.app.recompute.scoring import Scoring, score
from lossloop.core.clock import DAY
from lossloop.losses.checks import sample
from lossloop.pipelines.executors import EmbeddedExecutor, Piece
from tests.app.desk import MODEL, START, WATCH, Desk
from tests.app.past import Past, labels, rows

ROWS = 300
PLAIN = [loss for loss in losses.LIBRARY if not loss.needs_features and loss.kind != "set"]
"""Sets are not among what a model's task can predict."""


def ask(home: Any, loss: str | None = None, **given: Any) -> Answer:
    with EmbeddedExecutor(workers=2) as executor:
        return recompute(home, Question(model=MODEL, loss=loss, **given), executor)


def slab_of(loss: losses.Loss) -> tuple[Slab, np.ndarray[Any, Any]]:
    """A clean batch of the loss's kind as it would be kept, over six days, and each row's cost."""
    batch = sample(loss, rows=ROWS)
    y_pred = np.asarray(batch.y_pred, dtype=np.float64)
    columns = rows(y_pred, day=np.arange(ROWS) // 50)
    y_true = np.zeros(ROWS) if batch.y_true is None else np.asarray(batch.y_true, dtype=np.float64)
    return Slab(parts=({**columns, "y_true": y_true},)), np.asarray(batch.costs(loss))


# Every loss.


@pytest.mark.parametrize("loss", PLAIN, ids=lambda loss: loss.name)
def test_every_loss_of_the_library_gives_the_costs_that_it_gives_alone(loss: losses.Loss) -> None:
    slab, costs = slab_of(loss)
    found = score(slab, scoring=Scoring(losses=(loss,), digests=(loss.digest,), span=Span()))
    assert found.problem == ""
    assert found.counts[0].tolist() == [50] * 6
    np.testing.assert_allclose(found.totals[0], costs.reshape(6, 50).sum(axis=1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("loss", [each for each in PLAIN if each.needs_outcome], ids=lambda loss: loss.name)
def test_of_every_loss_a_row_without_outcome_is_left_out(loss: losses.Loss) -> None:
    slab, costs = slab_of(loss)
    (part,) = slab.parts
    y_true = part["y_true"].copy()
    y_true[::3] = np.nan
    slab = Slab(parts=({**part, "y_true": y_true},))
    found = score(slab, scoring=Scoring(losses=(loss,), digests=(loss.digest,), span=Span()))
    known = np.arange(ROWS) % 3 != 0
    assert (int(found.rows.sum()), int(found.labelled.sum())) == (ROWS, int(known.sum()))
    assert found.totals.sum() == pytest.approx(costs[known].sum())


@pytest.mark.parametrize(
    ("task", "loss", "y_pred", "y_true"),
    [
        ("binary", "0.5*log_loss(cap=5) + 0.5*brier", [0.5, 1.0], [1.0, 1.0]),
        ("regression", "squared.clip(2)", [0.0, 5.0], [1.0, 1.0]),
        ("regression", "pinball(level=0.9)", [0.0, 5.0], [1.0, 1.0]),
        ("multiclass", "log_loss_multiclass", [[0.5, 0.5], [0.0, 1.0]], [0.0, 1.0]),
    ],
)
def test_what_a_policy_can_write_can_be_recomputed(
    tmp_path: Path, task: str, loss: str, y_pred: Any, y_true: Any
) -> None:
    past = Past.at(tmp_path / "s", task=task, loss=loss).predicted(rows(y_pred)).told(labels([1, 2], y_true))
    expected = losses.parse(loss)(np.array(y_true), np.array(y_pred)).mean()
    assert ask(past.home, loss).whole.mean == pytest.approx(expected)


# Real folds.


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Five days of a champion, and an hour of randomised traffic."""
    desk = Desk.ready(tmp_path / "s", versions=2, watches={"worse": WATCH})
    for day in range(5):
        desk.day(day, 0.1 + 0.1 * day, rows=6)
    desk.arms(130, 0.2, 0.3, share=0.25)
    return desk


def told(answer: Answer) -> list[tuple[Any, ...]]:
    return [(each.version, each.role, each.rows, each.labelled) for each in answer.figures]


def test_the_loss_in_force_comes_to_what_dashboards_show(desk: Desk) -> None:
    with desk.books() as books:
        shown = status(books, MODEL)["losses"]
    found = ask(desk.home)
    assert told(found) == [
        (each["version"], each["role"], each["predictions"], each["outcomes"]) for each in shown
    ]
    assert [each.mean for each in found.figures] == pytest.approx([each["mean"] for each in shown])


def test_a_correction_moves_the_mean_by_its_difference(desk: Desk) -> None:
    (id,) = desk.predict(200, [0.04])
    desk.know(201, [id], 0.0)
    before = ask(desk.home).whole
    desk.know(202, [id], 1.0)
    after = ask(desk.home).whole
    assert before.mean is not None
    assert after.mean is not None
    assert (after.mean - before.mean) * after.labelled == pytest.approx(0.64 - 0.04)
    desk.know(203, [id], None)
    assert ask(desk.home).whole.labelled == after.labelled - 1


def test_a_state_that_is_folded_anew_gives_the_same_figures(desk: Desk) -> None:
    before = ask(desk.home, "log_loss(cap=5)", by=("version", "role", "block")).plain()
    for path in desk.home.path.glob("state.*"):
        if path.is_file():
            path.unlink()
    desk.fold()
    after = ask(desk.home, "log_loss(cap=5)", by=("version", "role", "block")).plain()
    assert {**after, "seconds": 0} == {**before, "seconds": 0}


def test_nothing_is_written(desk: Desk) -> None:
    before = desk.everything()
    ask(desk.home, "log_loss(cap=5)")
    assert desk.everything() == before
    with desk.books() as books:
        assert Books(books.documents).counts(MODEL).predictions == ask(desk.home).whole.rows


# Meanwhile.


def test_whoever_writes_meanwhile_is_seen_in_whole_chunks_or_not_at_all(tmp_path: Path) -> None:
    """Predictions of 0 with an outcome of 0, committed before it: any other mean is torn."""
    past = Past.at(tmp_path / "s").predicted(rows([0.0] * 50)).told(labels(range(1, 51), [0.0] * 50))
    stop = threading.Event()

    def write() -> None:
        first = 50
        while not stop.is_set() and first < 5_000:
            past.predicted(rows([0.0] * 50)).told(labels(range(first + 1, first + 51), [0.0] * 50))
            first += 50

    writer = threading.Thread(target=write)
    writer.start()
    try:
        sizes = []
        for _ in range(10):
            found = ask(past.home).whole
            assert (found.mean, found.unscored, found.rows % 50) == (0.0, 0, 0)
            assert found.labelled % 50 == 0
            sizes.append(found.rows)
    finally:
        stop.set()
        writer.join(60)
    assert sizes == sorted(sizes)


def test_history_that_was_read_stays_as_it_was(tmp_path: Path) -> None:
    past = Past.at(tmp_path / "s").predicted(rows([0.0] * 10)).told(labels([1], [1.0]))
    state = past.home.state()
    _, history = read_history(state, MODEL)
    past.predicted(rows([1.0] * 10)).told(labels([2], [1.0]))
    pieces: list[Piece[Slab]] = history.pieces(Span())
    state.close()
    assert [(piece.name, len(piece.work)) for piece in pieces] == [("predictions 1 to 10", 10)]
    assert np.isnan(history.y_true).sum() == 9


def test_pieces_outside_the_span_are_not_sent_anywhere(tmp_path: Path) -> None:
    past = Past.at(tmp_path / "s").predicted(rows([0.0] * 10, day=np.arange(10)))
    past.imported(rows([0.0] * 10, day=-50), labels([], []))
    state = past.home.state()
    imported, history = read_history(state, MODEL)
    span = Span(since=START + 3 * DAY, until=START + 5 * DAY)
    assert [len(each.pieces(span)) for each in (imported, history)] == [0, 1]
    assert [piece.name for piece in imported.pieces(Span())] == ["imported predictions 1 to 10"]
    state.close()
