"""A loss over history: counted anew by other means, at any cut, and told as it is."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossloop.app.books import Books
from lossloop.app.recompute import Answer, Question, plain_pass, recompute
from lossloop.app.recompute.history import PIECE_ROWS
from lossloop.core.clock import DAY, HOUR, format_time
from lossloop.core.errors import InputError, UnknownName
from lossloop.pipelines.executors import EmbeddedExecutor
from tests.app.desk import MODEL, START
from tests.app.past import Past, labels, recount, rows


def ask(past: Past, loss: str | None = None, **given: Any) -> Answer:
    with EmbeddedExecutor(workers=2) as executor:
        return recompute(past.home, Question(model=MODEL, loss=loss, **given), executor)


def still(answer: Answer) -> dict[str, Any]:
    """An answer without how long it took."""
    return {**answer.plain(), "seconds": None}


def means(answer: Answer) -> dict[tuple[Any, ...], float | None]:
    return {(each.version, each.role): each.mean for each in answer.figures}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Past:
    """A state directory for many histories, one after the other."""
    return Past.at(tmp_path_factory.mktemp("shared") / "s")


# Against a recount.


@st.composite
def histories(draw: st.DrawFn) -> tuple[Any, Any]:
    """Some predictions of a few versions over a few days, and outcomes: repeated, corrected, missing."""
    count = draw(st.integers(1, 40))
    some = st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0]), min_size=count, max_size=count)
    predicted = rows(
        draw(some),
        version=draw(st.lists(st.sampled_from([1, 2, 70_000]), min_size=count, max_size=count)),
        role=draw(st.lists(st.integers(0, 1), min_size=count, max_size=count)),
        day=sorted(draw(st.lists(st.integers(0, 8), min_size=count, max_size=count))),
    )
    seqs = draw(st.lists(st.integers(1, count), max_size=60))
    outcomes = draw(st.lists(st.sampled_from([0.0, 1.0, math.nan]), min_size=len(seqs), max_size=len(seqs)))
    return predicted, labels(seqs, outcomes)


@settings(max_examples=40)
@given(histories(), st.lists(st.integers(1, 59)), st.lists(st.integers(1, 59)))
def test_figures_are_those_of_a_recount_however_a_store_is_cut(
    shared: Past, history: tuple[Any, Any], cuts: list[int], others: list[int]
) -> None:
    predicted, told = history
    one = ask(shared.clear().predicted(predicted, cuts).told(told, others))
    other = ask(shared.clear().predicted(predicted, others).told(told))
    assert still(one) == still(other)
    expected = recount(predicted, told)
    assert [(each.version, each.role, each.rows, each.labelled) for each in one.figures] == [
        (version, ("champion", "challenger")[role], count.rows, len(count.costs))
        for (version, role), count in sorted(expected.items())
    ]
    for figure, (_, count) in zip(one.figures, sorted(expected.items()), strict=True):
        assert figure.missing == pytest.approx(1 - len(count.costs) / count.rows)
        assert figure.mean == (None if count.mean is None else pytest.approx(count.mean, abs=1e-12))
    assert one.whole.rows == len(predicted["version"])
    assert one.whole.labelled == sum(len(count.costs) for count in expected.values())


@settings(max_examples=40)
@given(histories(), st.integers(0, 8), st.integers(1, 9))
def test_a_span_is_of_the_predictions_own_times(
    shared: Past, history: tuple[Any, Any], first: int, days: int
) -> None:
    predicted, told = history
    since, until = START + first * DAY, START + (first + days) * DAY
    past = shared.clear().predicted(predicted).told(told)
    expected = recount(predicted, told, since=since, until=until)
    span = {"since": format_time(since), "until": format_time(until)}
    if not expected:
        with pytest.raises(InputError, match=f"m has no predictions from {span['since']} until"):
            ask(past, **span)
        return
    found = ask(past, **span)
    assert {(each.version, each.role): each.rows for each in found.figures} == {
        (version, ("champion", "challenger")[role]): count.rows for (version, role), count in expected.items()
    }


def test_pieces_are_merged_to_what_one_piece_would_give(tmp_path: Path) -> None:
    """More than two pieces, chunks across their borders, outcomes in any order; each cost is exact."""
    count = 2 * PIECE_ROWS + 1234
    draw = np.random.default_rng(3)
    pred = draw.integers(0, 3, count) / 2.0
    true = draw.integers(0, 2, count).astype(np.float64)
    come = draw.permutation(np.flatnonzero(draw.random(count) < 0.9))
    past = Past.at(tmp_path / "s")
    past.predicted(rows(pred, version=1 + np.arange(count) % 2, day=np.arange(count) * 20 // count),
                   range(100_000, count, 150_001))  # fmt: skip
    past.told(labels(come + 1, true[come]), [300_000])
    found = ask(past, by=("version",))
    for version, figure in zip((1, 2), found.figures, strict=True):
        mine = np.zeros(count, dtype=bool)
        mine[come] = True
        mine &= np.arange(count) % 2 == version - 1
        costs = (pred[mine] - true[mine]) ** 2
        assert (figure.version, figure.labelled, figure.over) == (version, len(costs), "blocks")
        assert figure.mean == math.fsum(costs) / len(costs)


# What counts.


def test_of_a_corrected_outcome_the_last_word_counts(tmp_path: Path) -> None:
    past = Past.at(tmp_path / "s").predicted(rows([0.5, 0.0, 0.0]))
    past.told(labels([2, 1, 2], [0.0, 1.0, 1.0])).told(labels([3, 3], [1.0, math.nan]))
    found = ask(past).whole
    assert (found.labelled, found.mean) == (2, (0.25 + 1.0) / 2)
    assert found.missing == pytest.approx(1 / 3)


def test_what_was_imported_counts_as_well(tmp_path: Path) -> None:
    past = Past.at(tmp_path / "s").predicted(rows([0.0])).told(labels([1], [1.0]))
    past.imported(rows([0.5, 0.5, 1.0], version=9, day=-30), labels([1, 2], [1.0, 0.0]))
    found = ask(past)
    assert [(each.version, each.rows, each.mean) for each in found.figures] == [(1, 1, 1.0), (9, 3, 0.25)]
    assert [each.version for each in ask(past, since="2023-12-31").figures] == [1]


def test_a_chunk_need_not_say_what_goes_without_saying(tmp_path: Path) -> None:
    """The applier leaves out a column that no row of a chunk says anything in."""
    whole = rows([0.0, 1.0])
    past = Past.at(tmp_path / "s").predicted({name: each for name, each in whole.items() if name != "role"})
    past.predicted(rows([1.0], role=1)).told(labels([1, 2, 3], [0.0, 0.0, 0.0]))
    assert means(ask(past)) == {(1, "champion"): 0.5, (1, "challenger"): 1.0}


def test_rows_that_have_expired_leave_the_numbers_of_the_others(tmp_path: Path) -> None:
    past = Past.at(tmp_path / "s").predicted(rows([0.0, 0.0, 1.0])).told(labels([3], [0.0]))
    past._written[f"rows/{MODEL}"] = 0
    state = past.home.writable_state()
    with state.transaction():
        kept = next(iter(state.chunks(f"rows/{MODEL}"))).batch.slice(2)
        state.drop_stream(f"rows/{MODEL}")
        state.put_chunk(f"rows/{MODEL}", 2, kept)
    state.close()
    assert (ask(past).whole.rows, ask(past).whole.mean) == (1, 1.0)


def test_a_loss_that_needs_no_outcome_is_known_of_every_row(tmp_path: Path) -> None:
    past = Past.at(tmp_path / "s", task="regression", loss="squared")
    past.predicted(rows([10.0, 50.0])).told(labels([1], [9.0]))
    found = ask(past, "constraint_violation(high=30)")
    assert (found.needs_outcome, found.whole.labelled, found.whole.missing) == (False, 1, 0.5)
    assert (found.whole.mean, found.whole.in_force, found.whole.unscored) == (0.5, 1.0, 0)


def test_classes_of_different_numbers_stand_beside_each_other(tmp_path: Path) -> None:
    """A model that got a third class has lists of two and of three; the shorter are filled up."""
    past = Past.at(tmp_path / "s", task="multiclass", loss="brier_multiclass")
    past.predicted(rows([[0.5, 0.5], [1.0, 0.0]])).predicted(rows([[0.2, 0.2, 0.6]], version=2))
    past.told(labels([1, 2, 3], [0, 1, 2]))
    found = ask(past)
    assert [each.unscored for each in found.figures] == [0, 0]
    assert [each.mean for each in found.figures] == [pytest.approx((0.5 + 2.0) / 2), pytest.approx(0.24)]


# What cannot be scored.


def test_a_row_that_has_no_such_loss_is_counted_and_the_first_is_told(tmp_path: Path) -> None:
    past = Past.at(tmp_path / "s", task="regression", loss="squared")
    past.predicted(rows([1.0, -2.0, 3.0])).told(labels([1, 2, 3], [1.0, 1.0, 1.0]))
    found = ask(past, "poisson_deviance")
    assert (found.whole.labelled, found.whole.unscored) == (3, 1)
    assert found.problem == "the prediction must be above 0"
    assert found.whole.mean is not None


def test_what_was_erased_is_counted_and_not_scored(tmp_path: Path) -> None:
    past = Past.at(tmp_path / "s").predicted(rows([math.nan, 0.0])).told(labels([1, 2], [1.0, 1.0]))
    found = ask(past)
    assert (found.whole.rows, found.whole.unscored, found.whole.mean) == (2, 1, 1.0)
    assert found.problem == "the prediction is missing (NaN)"


def test_what_is_gone_is_said(tmp_path: Path) -> None:
    past = Past.at(tmp_path / "s").predicted(rows([0.0])).told(labels([1], [1.0]))
    assert ask(past).gone == 0
    state = past.home.writable_state()
    Books(state).add_counts(MODEL, predictions=4, outcomes=3)
    state.close()
    assert ask(past).gone == 3


def test_a_loss_that_no_row_has_is_refused(tmp_path: Path) -> None:
    past = Past.at(tmp_path / "s", task="regression", loss="squared")
    past.predicted(rows([-1.0])).told(labels([1], [1.0]))
    with pytest.raises(
        InputError, match="cannot be computed of what m predicts: the prediction must be above"
    ):
        ask(past, "poisson_deviance")


def test_without_any_outcome_there_is_no_mean_and_no_error(tmp_path: Path) -> None:
    found = ask(Past.at(tmp_path / "s").predicted(rows([0.5])))
    assert (found.whole.missing, found.whole.mean, found.whole.interval) == (1.0, None, None)
    assert found.whole.delta is None


def test_infinite_costs_stay_finite_in_sums(tmp_path: Path) -> None:
    past = Past.at(tmp_path / "s", task="regression", loss="absolute")
    past.predicted(rows([1e200, 1e200])).told(labels([1, 2], [0.0, 0.0]))
    found = ask(past, "squared").whole
    assert (found.mean, found.unscored) == (1e100, 0)


# Against the loss in force.


def test_the_loss_in_force_is_compared_over_the_same_rows(tmp_path: Path) -> None:
    past = Past.at(tmp_path / "s").predicted(rows([0.5, 0.9, 0.1])).told(labels([1, 2], [1.0, 1.0]))
    found = ask(past, "0.5*brier")
    assert (found.in_force or "").startswith("brier@")
    assert found.whole.in_force == pytest.approx(0.13)
    assert found.whole.delta is not None
    assert found.whole.delta.estimate == pytest.approx(-0.065)


def test_the_same_loss_has_nothing_to_be_compared_with(tmp_path: Path) -> None:
    past = Past.at(tmp_path / "s").predicted(rows([0.5])).told(labels([1], [1.0]))
    for text in (None, "brier", " brier "):
        found = ask(past, text)
        assert (found.in_force, found.whole.in_force, found.whole.delta) == (None, None, None)
        assert found.text == "brier"


def test_losses_in_different_units_have_no_difference(tmp_path: Path) -> None:
    past = Past.at(tmp_path / "s").predicted(rows([0.9])).told(labels([1], [0.0]))
    found = ask(past, "warning_cost(missed=20, false_alarm=10, unit='USD')")
    assert (found.unit, found.whole.mean, found.whole.delta) == ("USD", 10.0, None)
    assert found.whole.in_force == pytest.approx(0.81)


# Told apart, and told.


def test_rows_are_told_apart_by_what_is_asked_in_that_order(tmp_path: Path) -> None:
    past = Past.at(tmp_path / "s")
    past.predicted(rows([0.0, 1.0, 0.5, 0.5], version=[2, 1, 2, 1], role=[1, 0, 1, 0], day=[0, 0, 1, 1]))
    past.told(labels([1, 2, 3, 4], [0.0, 0.0, 0.0, 0.0]))

    def told(*by: str) -> list[tuple[Any, ...]]:
        found = ask(past, by=by).figures
        return [(each.version, each.role, each.block, each.rows, each.mean) for each in found]

    assert told() == [(None, None, None, 4, 0.375)]
    assert told("version") == [(1, None, None, 2, 0.625), (2, None, None, 2, 0.125)]
    assert told("block") == [(None, None, "2024-01-01", 2, 0.5), (None, None, "2024-01-02", 2, 0.25)]
    assert [each[1:3] for each in told("block", "role")] == [
        ("champion", "2024-01-01"), ("challenger", "2024-01-01"),
        ("champion", "2024-01-02"), ("challenger", "2024-01-02"),
    ]  # fmt: skip
    assert [each[1:3] for each in told("role", "block")] == [
        ("champion", "2024-01-01"), ("champion", "2024-01-02"),
        ("challenger", "2024-01-01"), ("challenger", "2024-01-02"),
    ]  # fmt: skip


def test_groups_add_up_to_the_whole(tmp_path: Path) -> None:
    draw = np.random.default_rng(5)
    past = Past.at(tmp_path / "s")
    past.predicted(rows(draw.random(500), version=draw.integers(1, 4, 500), day=np.arange(500) // 50))
    past.told(labels(np.arange(1, 451), draw.integers(0, 2, 450)))
    for by in ((), ("version",), ("block",), ("version", "role", "block")):
        found = ask(past, by=by)
        assert sum(each.rows for each in found.figures) == found.whole.rows == 500
        assert sum(each.labelled for each in found.figures) == found.whole.labelled == 450
        total = math.fsum((each.mean or 0.0) * each.labelled for each in found.figures)
        assert total / 450 == pytest.approx(found.whole.mean)


def test_an_answer_is_json(tmp_path: Path) -> None:
    past = Past.at(tmp_path / "s").predicted(rows([0.5])).told(labels([1], [1.0]))
    plain = msgspec.json.decode(msgspec.json.encode(ask(past, "squared.clip(2)").plain()))
    figure = plain["whole"]
    assert figure["interval"] == {
        "estimate": 0.25, "low": 0.0, "high": 2.0, "level": 0.95, "approximate": True
    }  # fmt: skip
    assert figure["delta"]["low"] is None  # one row says nothing about a difference


# When.


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("2024-01-01T06:00:00Z", 6),
        ("2024-01-01T01:00:00-05:00", 6),
        ("2024-01-01", 5),  # midnight in New York
        ("100d", 0),
        ("2396h", 4),
    ],
)
def test_a_moment_is_said_in_any_of_three_ways(tmp_path: Path, text: str, hours: int) -> None:
    past = Past.at(tmp_path / "s", timezone="America/New_York")
    past.predicted(rows([0.5] * 10, time=START + np.arange(10) * HOUR)).told(labels([10], [1.0]))
    found = ask(past, since=text)
    assert (found.since, found.whole.rows) == (format_time(START + hours * HOUR), 10 - hours)
    if hours:
        assert ask(past, until=text).whole.rows == hours


@pytest.mark.parametrize("text", ["yesterday", "30 days", "2024-13-01", "2024-01-01T06:00:00", "", "5y"])
def test_a_moment_that_is_none_is_refused_with_the_three_ways(tmp_path: Path, text: str) -> None:
    past = Past.at(tmp_path / "s").predicted(rows([0.5]))
    with pytest.raises(InputError, match="write a moment such as 2013-03-18T17:45:00Z, a day") as error:
        ask(past, until=text)
    assert error.value.field == "until"


def test_an_end_before_the_beginning_is_refused(tmp_path: Path) -> None:
    past = Past.at(tmp_path / "s").predicted(rows([0.5]))
    with pytest.raises(InputError, match="since 2024-01-02 is not before until 2024-01-01"):
        ask(past, since="2024-01-02", until="2024-01-01")


# What cannot be asked.


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"loss": "briar"}, "unknown loss 'briar'; did you mean 'brier'"),
        ({"loss": "brier_multiclass"}, "takes class probabilities, which a binary task does not predict"),
        ({"by": ("version", "carrier")}, "unknown feature 'carrier'; there are none yet"),
        ({"model": "n"}, "unknown model 'n'; there are: m"),
    ],
)
def test_what_there_is_not_is_refused(tmp_path: Path, given: dict[str, Any], words: str) -> None:
    past = Past.at(tmp_path / "s").predicted(rows([0.5])).told(labels([1], [1.0]))
    with EmbeddedExecutor() as executor, pytest.raises(InputError) as error:
        recompute(past.home, Question(**{"model": MODEL, **given}), executor)
    assert words in str(error.value)


def test_a_model_without_predictions_has_nothing_to_compute(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="m has no predictions; see: lossloop status"):
        ask(Past.at(tmp_path / "s"))


def test_progress_is_told_by_pieces(tmp_path: Path) -> None:
    past = (
        Past.at(tmp_path / "s")
        .predicted(rows(np.full(PIECE_ROWS + 1, 0.5)))
        .imported(rows([0.5]), labels([], []))
    )
    told: list[tuple[int, int]] = []
    with EmbeddedExecutor() as executor:
        question = Question(model=MODEL)
        recompute(past.home, question, executor, progress=lambda done, of: told.append((done, of)))
    assert told == [(1, 3), (2, 3), (3, 3)]


# The floor.


def test_the_floor_is_the_time_of_the_bare_kernel(tmp_path: Path) -> None:
    past = Past.at(tmp_path / "s").predicted(rows([0.5, 0.1])).told(labels([1], [1.0]))
    assert plain_pass(past.home, MODEL) > 0.0
    assert plain_pass(past.home, MODEL, "log_loss(cap=5)") > 0.0


def test_a_floor_needs_outcomes_and_a_loss_without_features(tmp_path: Path) -> None:
    past = Past.at(tmp_path / "s").predicted(rows([0.5]))
    with pytest.raises(InputError, match="m has no predictions with an outcome yet"):
        plain_pass(past.home, MODEL)
    with pytest.raises(InputError, match="needs features; its floor is not measured"):
        plain_pass(past.home, MODEL, "brier.where(carrier='UA')")
    with pytest.raises(UnknownName):
        plain_pass(past.home, "n")


def test_lists_of_different_lengths_stand_beside_each_other(tmp_path: Path) -> None:
    """Rankings of two and of three items, and their labels likewise: the shorter are filled up."""
    past = Past.at(tmp_path / "s", task="ranking", loss="one_minus_mrr")
    past.predicted(rows([[0.9, 0.1, math.nan], [0.9, 0.5, 0.1]]))
    past.told(labels([1, 2], [[0.0, 1.0, math.nan], [0.0, 0.0, 1.0]]))
    found = ask(past)
    assert found.whole.unscored == 0
    assert found.whole.mean == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_survival_labels_have_two_numbers_whatever_the_horizons(tmp_path: Path) -> None:
    loss = "integrated_brier(horizons=(10, 20, 30))"
    past = Past.at(tmp_path / "s", task="survival", loss=loss)
    past.predicted(rows([[0.5, 0.5, 0.5], [0.9, 0.9, math.nan]]))
    past.told(labels([1, 2], [[5.0, 1.0], [40.0, 0.0]]))
    found = ask(past)
    assert found.whole.unscored == 1
    assert found.whole.mean == pytest.approx(0.25)
    assert found.problem == "y_pred has 2 columns; there must be 3"
