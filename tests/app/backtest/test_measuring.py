"""References under another loss, measured on what versions answered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from lossloop.act.policy import read_policy
from lossloop.app.backtest import Candidate, Question, backtest
from lossloop.app.backtest.asking import past_of
from lossloop.app.backtest.measuring import FEWEST_BLOCKS, champion_of, lacks, measured, notes
from lossloop.app.backtest.past import Past
from lossloop.app.books import Books
from lossloop.app.charts.coursecharts import bands
from lossloop.app.commands import Promote
from lossloop.app.judging import Lens
from lossloop.app.references import keep_reference, version_under, with_reference
from lossloop.judges import design_effect
from lossloop.registry import Reference, versions
from tests.app.desk import CALM, DAY, MODEL, WATCH, Desk, asked, external, happened, policy_text, ticked
from tests.app.test_beside import COST

LOSSES = [0.05, 0.2, 0.1, 0.3, 0.15, 0.4, 0.1, 0.2, 0.25, 0.05]
DEAR = Reference(loss=COST, mean=0.5, block="1d", block_means=(0.4, 0.6), rows=9, design_effect=1.0)


def lens(**changes: Any) -> Lens:
    """How the new policy looks at rows."""
    return Lens(policy=read_policy(policy_text(loss=COST, watches={"worse": WATCH}, **changes)))


def lived(path: Path, losses: Sequence[float] = LOSSES, *, known: int = 5) -> Desk:
    """Days of a unit with three rows and two units with one, of which the last may have no outcome."""
    desk = Desk.ready(path / "s", watches={"worse": WATCH})
    frames = []
    for day, loss in enumerate(losses):
        ids, start = desk.ids(5), day * DAY
        mine = [loss, loss, loss, 0.05, 0.9]
        frames.append(asked(start + 8, mine, ids, units=["a", "a", "a", "b", None]))
        frames.append(happened(start + 9, ids[:known]))
    desk.send(*frames, ticked((len(losses) + 1) * DAY))
    return desk


@contextmanager
def past(desk: Desk, **question: Any) -> Iterator[Past]:
    state = desk.home.state()
    try:
        yield past_of(desk.home, state, Books(state), Question(model=MODEL, **question))
    finally:
        state.close()


def cost(loss: float) -> float:
    """Of a warning in vain."""
    return float(loss**0.5 >= 1 / 3)


def test_blocks_are_means_of_units_and_rows_without_an_outcome_are_left_out(tmp_path: Path) -> None:
    for known in (5, 4):
        desk = lived(tmp_path / str(known), known=known)
        with past(desk) as seen:
            found = measured(seen, lens(), versions.find(seen.books.documents, MODEL, 1))
        assert found is not None
        ends = [0.0, 1.0][: known - 3]
        assert found.block_means == pytest.approx([np.mean([cost(each), *ends]) for each in LOSSES])
        rows = [row for each in LOSSES for row in (*[cost(each)] * 3, *ends)]
        assert found.mean == pytest.approx(np.mean(rows))
        assert found.rows == len(rows)
        blocks = np.repeat(np.arange(len(LOSSES)), known)
        assert found.design_effect == pytest.approx(design_effect(np.array(rows), blocks))
        assert (found.loss, found.block, found.row_upper) == (COST, "1d", None)


def test_it_is_measured_before_the_span_that_is_replayed_where_there_is_enough(tmp_path: Path) -> None:
    desk = lived(tmp_path, [0.05] * FEWEST_BLOCKS + [0.9] * 4)
    for since, mean in (("2024-01-09", 1 / 5), ("2024-01-08", 1.0), (None, 1 / 5 + 4 / 12 * 3 / 5)):
        with past(desk, since=since) as seen:
            reference = champion_of(seen, lens(), 1).manifest.reference
            (said,) = notes(seen, lens())
        assert reference is not None
        if since == "2024-01-08":
            assert reference == CALM, "seven blocks before and five behind are too few"
            assert "could be measured of every version" in said
        else:
            assert reference.mean == pytest.approx(mean)
            assert ("before the span" in said) is (since is not None)


def test_nothing_is_measured_where_it_is_not_needed(tmp_path: Path) -> None:
    desk = lived(tmp_path)
    guard = {"watches": {"w": {"kind": "guardrail", "limit": 0.5, "promise": "5% ever"}}}
    bare = Lens(policy=read_policy(policy_text(loss=COST, **guard)))
    with past(desk) as seen:
        own = versions.find(seen.books.documents, MODEL, 1)
        assert lacks(seen, lens(), own)
        assert not lacks(seen, bare, own), "a limit of its own needs no reference"
        assert not lacks(seen, seen.books.lens(MODEL), own), "it has one"
        assert not lacks(seen, lens(), with_reference(own, DEAR))
        assert champion_of(seen, bare, 1) == own
        assert list(notes(seen, bare)) == []


def test_it_is_measured_once_for_each_policy(tmp_path: Path) -> None:
    with past(lived(tmp_path)) as seen:
        first = champion_of(seen, lens(), 1)
        assert champion_of(seen, lens(), 1).manifest.reference is first.manifest.reference
        assert len(seen.measures) == 1
        champion_of(seen, lens(timezone="Asia/Tokyo"), 1)
        assert len(seen.measures) == 2
        assert champion_of(replace(seen, measures={}), lens(), 1) == first


def test_what_was_kept_or_brought_along_comes_before_what_could_be_measured(tmp_path: Path) -> None:
    desk = lived(tmp_path)
    state = desk.home.writable_state()
    with state.transaction():
        keep_reference(state, versions.find(state, MODEL, 1), DEAR)
        assert version_under(state, lens(), 1).manifest.reference == DEAR
        assert version_under(state, Books(state).lens(MODEL), 1).manifest.reference == CALM
    state.close()
    with past(desk) as seen:
        assert champion_of(seen, lens(), 1).manifest.reference == DEAR


def test_a_version_without_outcomes_has_nothing_to_be_measured_on(tmp_path: Path) -> None:
    desk = lived(tmp_path, known=0)
    with past(desk) as seen:
        assert measured(seen, lens(), versions.find(seen.books.documents, MODEL, 1)) is None
    answer = backtest(desk.home, [Candidate(name="new", policy=lens().policy)], Question(model=MODEL))
    (account,) = answer.outcomes[0].accounts
    assert "the reference of m:1 is of brier" in account.replayed.problems[0]


def test_each_version_is_measured_on_its_own_answers(tmp_path: Path) -> None:
    desk = lived(tmp_path, [0.05] * FEWEST_BLOCKS)
    desk.register("two", CALM)
    desk.obey(Promote(model=MODEL, version=2))
    frames = []
    for day in range(FEWEST_BLOCKS + 1, 2 * FEWEST_BLOCKS + 2):
        ids = desk.ids(2)
        frames += [asked(day * DAY + 8, [0.9] * 2, ids, version=2), happened(day * DAY + 9, ids)]
    desk.send(*frames, ticked((2 * FEWEST_BLOCKS + 4) * DAY))
    with past(desk) as seen:
        means = [champion_of(seen, lens(), number).manifest.reference for number in (1, 2)]
        assert seen.champions == [1, 2]
    assert [each and each.mean for each in means] == [pytest.approx(1 / 5), 1.0]


def test_a_manifest_without_references_beside_is_named_as_before() -> None:
    assert external().digest == "972e1facc558bccefc440cb63276c56b47da30fbb7a1611598410e33f8dcfcd3"
    assert len({external().digest, msgspec.structs.replace(external(), beside=(DEAR,)).digest}) == 2


def test_a_band_begins_with_the_fifth_block_and_narrows() -> None:
    found = bands([0.1, 0.2] * 20)
    assert found[:4] == [None] * 4
    widths = [each.high - each.low for each in found if each is not None]
    assert widths[-1] < widths[0] / 3
    assert all(each.low <= 0.15 <= each.high for each in found[9:] if each is not None)
