"""The parts of metrics over history: how rows are dealt into clusters, and what pieces make together."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossloop.app.metrics import Question, measure, measure_at
from lossloop.app.metrics.counting import CLUSTERS, Counting, Part, Place, blocks_of, count, merge_into
from lossloop.app.metrics.figures import Telling
from lossloop.app.recompute.history import Slab, Span
from lossloop.core.clock import DAY
from lossloop.core.tasks import Task
from lossloop.pipelines.executors import EmbeddedExecutor
from lossloop.summaries import Scores
from tests.app.desk import MODEL, START
from tests.app.past import Past, labels, rows

EVERY = Span()
BY = ("version", "role")


def slab(count: int, *, days: Any = 0, version: Any = 1, slice: Any = None) -> Slab:
    draw = np.random.default_rng(count)
    chance = draw.random(count)
    columns = {**rows(chance, version=version, day=days), "y_true": (draw.random(count) < chance) * 1.0}
    if slice is not None:
        columns["slice"] = np.asarray(slice)
    return Slab(parts=(columns,))


def counting(blocks: Any, by: Any = BY) -> Counting:
    return Counting(task=Task.BINARY, empty=Scores(), span=EVERY, by=by, blocks=blocks)


# Clusters.


def test_few_blocks_are_a_cluster_each_and_many_are_runs_of_neighbours() -> None:
    parent = (1, 0, 0)
    for days in (5, 30, 31, 365):
        blocks = START // DAY * DAY + np.arange(days) * DAY
        found = counting({parent: blocks}).clusters(parent, blocks)
        assert found[0] == 0
        assert len(np.unique(found)) == min(days, CLUSTERS)
        assert (np.diff(found) >= 0).all()
        sizes = np.bincount(found)
        assert sizes.max() - sizes.min() <= 1


def test_rows_of_a_parent_with_few_blocks_are_dealt_out_in_turn() -> None:
    found = counting({}).clusters((1, 0, 0), np.zeros(65, np.int64))
    assert found[:31].tolist() == [*range(30), 0]
    assert np.bincount(found).max() == 3


def test_only_parents_with_enough_blocks_have_theirs() -> None:
    days = np.array([0, 0, 1, 2, 3, 4, 0, 1])
    version = np.array([1, 1, 1, 1, 1, 1, 2, 2])
    found = blocks_of([slab(8, days=days, version=version)], EVERY, ("version",))
    assert list(found) == [(1, 0, 0)]
    assert len(found[1, 0, 0]) == 5
    assert blocks_of([slab(8, days=days, version=version)], EVERY, ("block",)) == {}
    assert list(blocks_of([slab(8, days=days, version=version)], EVERY, ())) == [(0, 0, 0)]


def test_a_span_leaves_blocks_out() -> None:
    days = np.arange(8)
    whole, half = (blocks_of([slab(8, days=days)], span, ()) for span in (EVERY, Span(until=START + 6 * DAY)))
    assert (len(whole[0, 0, 0]), len(half[0, 0, 0])) == (8, 6)


# Pieces.


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 79), max_size=3), st.sampled_from([BY, ("block",), ()]))
def test_pieces_make_what_one_piece_makes(cuts: list[int], by: tuple[str, ...]) -> None:
    """Where rows are dealt out in turn a cut deals them anew, but the metrics of a group are the same."""
    draw = np.random.default_rng(5)
    one = slab(80, days=np.arange(80) // 12, version=1 + np.arange(80) % 2, slice=draw.integers(0, 3, 80))
    borders = [0, *sorted(cuts), 80]
    pieces = [
        Slab(parts=({name: values[start:end] for name, values in one.parts[0].items()},))
        for start, end in itertools.pairwise(borders)
        if end > start
    ]
    blocks = blocks_of([one], EVERY, by)
    assert {key: each.tolist() for key, each in blocks_of(pieces, EVERY, by).items()} == {
        key: each.tolist() for key, each in blocks.items()
    }
    whole, parts = count(one, counting=counting(blocks, by)), dict[Place, Part]()
    for piece in pieces:
        for place, part in count(piece, counting=counting(blocks, by)).items():
            merge_into(parts, place, part)
    told, again = (Telling(each, blocks, 0) for each in (whole, parts))
    assert told.keys == again.keys
    for key in told.keys:
        mine, theirs = told.figure(key, {}), again.figure(key, {})
        assert (mine.rows, mine.labelled) == (theirs.rows, theirs.labelled)
        for name, estimate in mine.metrics.items():
            value = theirs.metrics[name].value
            assert estimate.value == (None if value is None else pytest.approx(value))


def test_gaps_are_told_at_a_level_that_holds_for_all_slices() -> None:
    one = slab(300, days=np.arange(300) // 50, slice=np.arange(300) % 5)
    blocks = blocks_of([one], EVERY, ())
    telling = Telling(count(one, counting=counting(blocks, ())), blocks, 0)
    assert telling.level == pytest.approx(1 - 0.05 / 4)
    gap = telling.figure((0, 0, 0, 3), {}).metrics["accuracy"].gap
    assert gap is not None
    assert gap.level == telling.level
    alone = Telling(count(one, counting=counting(blocks, ())), blocks, None)
    assert alone.level is None
    assert alone.figure((0, 0, 0, 3), {}).metrics["accuracy"].gap is None


def test_a_version_without_the_slice_to_compare_with_has_no_gaps() -> None:
    version = 1 + np.arange(200) % 2
    one = slab(200, days=np.arange(200) // 25, version=version, slice=np.where(version == 1, 0, 1))
    blocks = blocks_of([one], EVERY, ("version",))
    telling = Telling(count(one, counting=counting(blocks, ("version",))), blocks, 0)
    assert telling.keys == [(1, 0, 0, 0), (2, 0, 0, 1)]
    assert {each.gap for each in telling.figure((2, 0, 0, 1), {}).metrics.values()} == {None}


# From a store.


def test_what_was_imported_counts_as_well(tmp_path: Path) -> None:
    past = Past.at(tmp_path / "s").predicted(rows([0.9])).told(labels([1], [1.0]))
    past.imported(rows([0.9, 0.2, 0.9], version=9, day=-30), labels([1, 2], [1.0, 1.0]))
    found = measure_at(past.home, MODEL)["figures"]
    assert [(each["version"], each["rows"], each["labelled"]) for each in found] == [(1, 1, 1), (9, 3, 2)]
    assert [each["metrics"]["recall"]["value"] for each in found] == [1.0, 0.5]


@pytest.mark.parametrize("workers", [1, 3])
def test_the_number_of_workers_changes_nothing(tmp_path: Path, workers: int) -> None:
    draw = np.random.default_rng(1)
    past = Past.at(tmp_path / "s")
    past.predicted(rows(draw.random(900), day=np.arange(900) // 90), [100, 500])
    past.told(labels(np.arange(1, 901), draw.integers(0, 2, 900)))
    with EmbeddedExecutor(workers=workers) as executor:
        found = measure(past.home, Question(model=MODEL), executor).plain()
    assert {**found, "seconds": 0} == {**measure_at(past.home, MODEL), "seconds": 0}
