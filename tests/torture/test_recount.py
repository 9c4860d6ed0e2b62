"""The recount finds what it is there to find: rows that are lost, doubled, changed, or counted wrong."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lossloop.app.books import Books
from lossloop.app.commands import Promote
from lossloop.app.home import init
from lossloop.app.operate import obey, register, set_policy
from lossloop.core.clock import SECOND, SystemClock
from lossloop.ledger.facts import outcomes, predictions
from lossloop.ledger.frames import Frame, Kind
from lossloop.ledger.sqlite.state import State
from lossloop.registry import Manifest
from tests.torture.begin import POLICY
from tests.torture.events import FIRST, MODELS, PREDICTIONS, Batch, Maker, Outcome, Prediction
from tests.torture.figures import differences
from tests.torture.recount import Recount, out_of_force
from tests.torture.rounds import folded_anew


def frame_of(batch: Batch, received: int) -> Frame:
    """A batch as a server logs it."""
    columns = batch.columns()
    times = [FIRST + batch.number] * len(batch.rows)
    if batch.kind == PREDICTIONS:
        made = predictions({**columns, "time": times}, model=batch.model)
        return Frame(kind=Kind.PREDICTION, time=received, batch=made)
    made = outcomes(columns["id"], columns["y_true"], times, columns.get("reason"), model=batch.model)
    return Frame(kind=Kind.OUTCOME, time=received, batch=made)


class Desk:
    """A ledger that batches are written to by hand."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.home = init(path / "s")
        for model in MODELS:
            set_policy(self.home, POLICY.format(model=model))
            register(self.home, model, Manifest(runtime="external"))
            obey(self.home, Promote(model=model, version=1))
        maker = Maker(0, 1, random.Random(7))
        self.batches = {batch.number: batch for batch in (replace(maker.batch(), bad=0) for _ in range(60))}
        for batch in self.batches.values():
            batch.acknowledged = 1
        start = SystemClock().now() + SECOND  # behind the policies
        self.frames = [frame_of(batch, start + 7 * SECOND * batch.number) for batch in self.batches.values()]

    def write(self, frames: list[Frame]) -> tuple[Recount, State]:
        """The recount of these frames, and the state that is folded of them."""
        writer = self.home.log.writer()
        writer.append(frames)
        writer.close()
        recount, reader = Recount(self.batches), self.home.log.reader()
        recount.go_on(reader)
        reader.close()
        return recount, folded_anew(self.home, self._path / "anew.db")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_what_is_sent_is_of_every_kind(desk: Desk) -> None:
    recount, state = desk.write(desk.frames)
    state.close()
    kinds = {name for model in recount.models.values() for name, count in model.counts.items() if count}
    assert kinds == {"predictions", "outcomes", "corrections", "waiting", "repeats", "conflicts"}
    assert any(model.missing for model in recount.models.values())
    sizes = {len(batch.rows) for batch in desk.batches.values()}
    assert min(sizes) == 1
    assert max(sizes) > 200


def test_what_is_right_is_not_complained_about(desk: Desk) -> None:
    recount, state = desk.write([*desk.frames, *desk.frames[:20]])
    for batch in list(desk.batches.values())[:20]:
        batch.unanswered = 1
    assert recount.delivery() == []
    assert differences(recount, desk.home, state) == []
    assert recount.unsaid() == sum(len(batch.rows) for batch in list(desk.batches.values())[:20])
    state.close()


def lost(frames: list[Frame]) -> list[Frame]:
    return frames[:30] + frames[31:]


def doubled(frames: list[Frame]) -> list[Frame]:
    return [*frames, frames[30]]


def cut(frames: list[Frame]) -> list[Frame]:
    """One row of one batch is not there."""
    largest = max(frames, key=lambda frame: int(frame.batch.num_rows))
    rest = replace(largest, batch=largest.batch.slice(1))
    return [rest if frame is largest else frame for frame in frames]


@pytest.mark.parametrize("spoil", [lost, doubled, cut])
def test_what_is_lost_or_doubled_is_found(desk: Desk, spoil: Callable[[list[Frame]], list[Frame]]) -> None:
    recount, state = desk.write(spoil(desk.frames))
    state.close()
    found = recount.delivery()
    assert found
    assert all("it was acknowledged 1 times and sent without an answer 0 times" in each for each in found)


def test_what_nobody_sent_is_found(desk: Desk) -> None:
    row = Prediction(version=1, role="champion", propensity=1.0, unit=None, y_pred=0.25)
    foreign = Batch(12_345, MODELS[0], PREDICTIONS, {"x": row})
    recount, state = desk.write([*desk.frames, frame_of(foreign, desk.frames[-1].time)])
    state.close()
    assert len(recount.delivery()) == 1
    assert "nobody sent: x, batch 12345" in recount.delivery()[0]


def with_counts(state: State) -> None:
    Books(state).add_counts(MODELS[0], repeats=1)


def with_a_loss(state: State) -> None:
    key, summary = next(iter(state.all("summary", dict).items()))
    summary["losses"]["total"] += 0.01
    state.put("summary", key, summary)


def without_rows(state: State) -> None:
    state.drop_stream(f"rows/{MODELS[0]}")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (with_counts, "repeats are"),
        (with_a_loss, "the recount has Sum"),
        (without_rows, "the store has rows of 0 predictions"),
    ],
)
def test_a_wrong_figure_is_found(desk: Desk, spoil: Callable[[State], None], said: str) -> None:
    recount, state = desk.write(desk.frames)
    with state.transaction():
        spoil(state)
    found = differences(recount, desk.home, state)
    state.close()
    assert found
    assert all(words.startswith(f"{MODELS[0]}: ") for words in found)
    assert any(said in words for words in found)


def test_an_outcome_that_is_not_in_force_is_found(desk: Desk) -> None:
    recount, state = desk.write(desk.frames)
    state.close()
    in_force = {
        (batch.model, id): row
        for batch in desk.batches.values()
        for id, row in batch.rows.items()
        if isinstance(row, Outcome)
    }
    assert list(out_of_force(recount, in_force, doubtful=False)) == []
    (model, id), row = next(each for each in in_force.items() if each[1].y_true == 1.0)
    in_force[model, id] = row._replace(y_true=0.0)
    assert len(list(out_of_force(recount, in_force, doubtful=False))) == 1
    for batch in desk.batches.values():
        if isinstance(batch.rows.get(id), Outcome):
            batch.unanswered = 1
    assert list(out_of_force(recount, in_force, doubtful=True)) == []
