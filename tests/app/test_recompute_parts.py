"""The parts of a recomputation: groups, tallies, intervals, features, and what a worker checks."""

from __future__ import annotations

import json
import math
import pickle
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop import losses
from lossloop.app.recompute import Question, features, gathered, recompute
from lossloop.app.recompute.figures import Telling
from lossloop.app.recompute.history import Slab, Span, read_history
from lossloop.app.recompute.scoring import BATCH_ROWS, Scoring, score
from lossloop.app.recompute.tally import KEYS, Groups, Tally, merged
from lossloop.core.clock import HOUR
from lossloop.core.errors import InputError, TooLarge
from lossloop.ledger.facts import predictions
from lossloop.ledger.frames import Frame, Kind
from lossloop.pipelines.executors import EmbeddedExecutor
from tests.app.desk import MODEL, Desk, moment
from tests.app.past import Past, labels, rows

Numbers = npt.NDArray[np.float64]
BRIER = losses.get("brier")


def scoring(*asked: losses.Loss, **span: int) -> Scoring:
    used = asked or (BRIER,)
    return Scoring(losses=used, digests=tuple(loss.digest for loss in used), span=Span(**span))


# Groups.


@given(
    st.lists(
        st.tuples(st.sampled_from([1, 2, 10**9]), st.integers(0, 1), st.sampled_from([0, 86_400, -(10**15)])),
        min_size=1,
        max_size=300,
    )
)
def test_rows_are_grouped_by_all_of_their_columns(found: list[tuple[int, int, int]]) -> None:
    columns = [np.array(column, np.int64) for column in zip(*found, strict=True)]
    groups = Groups(columns)
    assert [tuple(key) for key in groups.keys[groups.codes].tolist()] == found
    there = groups.count(groups.codes)
    assert there.sum() == len(found)
    assert {tuple(key) for key in groups.keys[there > 0].tolist()} == set(found)


def test_blocks_that_follow_each_other_are_cheap_and_right() -> None:
    column = np.repeat(np.array([7, 9, 8], np.int64), 5_000)
    groups = Groups([column, np.ones(15_000, np.int64)])
    assert groups.keys[groups.codes[[0, 4_999, 5_000, 14_999]]].tolist() == [[7, 1], [7, 1], [9, 1], [8, 1]]


def test_many_values_in_two_columns_do_not_make_a_group_for_each_pair() -> None:
    column = np.random.default_rng(1).permutation(20_000)
    groups = Groups([column, column[::-1].copy()])
    assert len(groups.keys) == 20_000
    assert groups.keys[groups.codes, 0].tolist() == column.tolist()


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 1e6) | st.just(math.nan)), min_size=1, max_size=60))
def test_moments_are_those_of_each_group_alone(found: list[tuple[int, float]]) -> None:
    codes = np.array([code for code, _ in found])
    values = np.array([value for _, value in found])
    groups = Groups([codes])
    counts, totals, deviations = groups.moments(groups.codes, values, groups.count(groups.codes))
    by_group: dict[int, list[float]] = defaultdict(list)
    for code, value in found:
        if not math.isnan(value):
            by_group[code].append(value)
    for place, (code,) in enumerate(groups.keys.tolist()):
        mine = np.array(by_group.get(code, []))
        assert counts[place] == len(mine)
        assert totals[place] == pytest.approx(math.fsum(mine))
        away = float(np.square(mine - mine.mean()).sum()) if len(mine) else 0.0
        assert deviations[place] == pytest.approx(
            away, rel=1e-6, abs=1e-6 * (1 + float(np.square(values[~np.isnan(values)]).sum()))
        )


# Tallies.


def tally_of(count: int, seed: int) -> Tally:
    draw = np.random.default_rng(seed)
    version, day = draw.integers(1, 4, count), draw.integers(0, 5, count)
    y_true = np.where(draw.random(count) < 0.2, np.nan, draw.integers(0, 2, count))
    slab = Slab(parts=({**rows(draw.random(count), version=version, day=day), "y_true": y_true},))
    return score(slab, scoring=scoring(BRIER, losses.get("squared")))


def close(one: Tally, other: Tally) -> None:
    assert one.keys.tolist() == other.keys.tolist()
    for name in ("rows", "labelled", "asked", "counts"):
        assert getattr(one, name).tolist() == getattr(other, name).tolist()
    np.testing.assert_allclose(one.totals, other.totals, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(one.deviations, other.deviations, rtol=1e-9, atol=1e-9)


def test_merging_is_associative_and_commutative() -> None:
    a, b, c = tally_of(400, 1), tally_of(30, 2), tally_of(1, 3)
    close(merged([merged([a, b]), c]), merged([a, merged([b, c])]))
    close(merged([a, b, c]), merged([c, b, a]))
    close(merged([a]), a)


def test_the_same_tallies_in_the_same_order_give_the_same_bits() -> None:
    parts = [tally_of(200, seed) for seed in range(5)]
    one, other = merged(parts), merged([pickle.loads(pickle.dumps(part)) for part in parts])
    assert one.totals.tobytes() == other.totals.tobytes()
    assert one.deviations.tobytes() == other.deviations.tobytes()


def test_a_small_spread_around_a_large_mean_is_not_lost() -> None:
    values = 1e9 + np.random.default_rng(1).random(1000)
    slab = Slab(parts=({**rows(values), "y_true": np.zeros(1000)},))
    found = score(slab, scoring=scoring(losses.get("absolute")))
    assert found.deviations[0, 0] == pytest.approx(float(np.square(values - values.mean()).sum()), rel=1e-6)


def test_the_first_problem_is_told() -> None:
    good = score(Slab(parts=({**rows([0.5]), "y_true": np.ones(1)},)), scoring=scoring())
    bad = score(Slab(parts=({**rows([0.5, 7.0]), "y_true": np.ones(2)},)), scoring=scoring())
    assert (good.problem, bad.problem) == ("", "probability 7 is outside [0, 1]")
    assert merged([good, bad]).problem == bad.problem


# Slabs.


def test_batches_cross_the_parts() -> None:
    columns = rows(np.arange(10) / 10)
    parts = tuple(
        {name: each[start:end] for name, each in columns.items()} for start, end in ((0, 3), (3, 4), (4, 10))
    )
    found = [batch["y_pred"].tolist() for batch in Slab(parts=parts).batches(4)]
    assert found == [[0.0, 0.1, 0.2, 0.3], [0.4, 0.5, 0.6, 0.7], [0.8, 0.9]]


def test_a_batch_outside_the_span_is_passed_over() -> None:
    count = BATCH_ROWS + 10
    columns = {**rows(np.full(count, 0.5), time=np.arange(count)), "y_true": np.ones(count)}
    found = score(Slab(parts=(columns,)), scoring=scoring(since=BATCH_ROWS + 3))
    assert (found.rows.tolist(), found.totals.tolist()) == ([7], [[1.75]])


def test_losses_that_need_outcomes_and_losses_that_need_none_stand_beside_each_other() -> None:
    slab = Slab(parts=({**rows([20.0, 50.0, 40.0]), "y_true": np.array([20.0, np.nan, 41.0])},))
    limit, absolute = losses.parse("constraint_violation(high=30)"), losses.get("absolute")
    found = score(slab, scoring=scoring(limit, absolute))
    assert found.asked.tolist() == [3]
    assert (found.counts[:, 0].tolist(), found.totals[0, 0]) == ([3, 2, 2], 2.0)
    found = score(slab, scoring=scoring(absolute, limit))
    assert (found.asked.tolist(), found.counts[:, 0].tolist()) == ([2], [2, 3, 2])


def test_a_worker_with_other_code_refuses() -> None:
    asked = replace(scoring(), digests=("0" * 64,))
    with pytest.raises(InputError, match=r"this worker has brier@\w{6}, but brier@000000 is asked for"):
        score(Slab(parts=({**rows([0.5]), "y_true": np.ones(1)},)), scoring=asked)


# Intervals.


def telling(**given: Any) -> Telling:
    words = dict.fromkeys(KEYS, int)
    return Telling(**{"by": (), "words": words, "bounds": (0.0, 1.0), "comparable": True, **given})


def of_days(means: Numbers, size: int, seed: int = 0) -> Tally:
    """Days that differ in their means: rows of a day are much alike."""
    noise = np.random.default_rng(seed).normal(size=(len(means), size)) * 0.01
    y_pred = np.sqrt(np.clip(means[:, None] + noise, 0, 1)).ravel()
    days = np.repeat(np.arange(len(means)), size)
    return score(
        Slab(parts=({**rows(y_pred, day=days), "y_true": np.zeros(len(y_pred))},)), scoring=scoring()
    )


def test_rows_of_a_day_do_not_count_for_as_many_days() -> None:
    means = np.random.default_rng(2).uniform(0.2, 0.4, 40)
    few, many = (telling().whole(of_days(means, size)).interval for size in (5, 500))
    assert few is not None
    assert many is not None
    assert many.high - many.low == pytest.approx(few.high - few.low, rel=0.1)


def test_an_interval_over_blocks_covers_the_mean_of_all_days() -> None:
    """400 samples of 30 days each; an interval over rows would cover the truth in a fifth of them."""
    draw = np.random.default_rng(4)
    covered = 0
    for _ in range(400):
        found = telling().whole(of_days(draw.uniform(0.2, 0.4, 30), 20)).interval
        assert found is not None
        covered += found.low <= 0.3 <= found.high
    assert covered >= 0.95 * 400


def test_below_five_blocks_rows_are_taken_for_independent_and_it_is_said() -> None:
    for days, over in ((4, "rows"), (5, "blocks")):
        figure = telling().whole(of_days(np.linspace(0.2, 0.4, days), 50))
        assert figure.over == over
        assert figure.interval is not None
        assert figure.interval.low < 0.3 < figure.interval.high


def test_below_five_rows_an_interval_is_all_that_the_loss_can_be() -> None:
    figure = telling().whole(of_days(np.array([0.25]), 4))
    assert figure.interval is not None
    assert (figure.interval.low, figure.interval.high) == (0.0, 1.0)


def test_an_interval_stays_within_the_bounds_of_the_loss_and_around_its_estimate() -> None:
    figure = telling().whole(of_days(np.array([0.0] * 5 + [0.9]), 3))
    assert figure.interval is not None
    assert 0.0 == figure.interval.low <= figure.interval.estimate <= figure.interval.high <= 1.0


def test_versions_with_days_of_different_sizes_weigh_by_their_rows() -> None:
    slab = Slab(parts=({**rows([1.0, 0.0, 0.0, 0.0], day=[0, 1, 1, 1]), "y_true": np.zeros(4)},))
    assert telling().whole(score(slab, scoring=scoring())).mean == 0.25


# Features.


def asked(hour: float, ids: list[str], y_pred: list[float], given: Any) -> Frame:
    batch = predictions(
        {"id": ids, "version": [1] * len(ids), "time": [moment(hour)] * len(ids), "y_pred": y_pred,
         "features": given}, model=MODEL,
    )  # fmt: skip
    return Frame(kind=Kind.PREDICTION, time=0, batch=batch)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Predictions with features: by column, as JSON, and without; one comes again and counts once."""
    desk = Desk.ready(tmp_path / "s")
    columns = pa.array([{"carrier": "UA", "distance": 3.0}, {"carrier": "AA", "distance": None}])
    texts = [json.dumps({"carrier": "UA", "distance": 5}), None]
    desk.send(
        asked(1, ["a", "b"], [1.0, 0.5], columns),
        asked(2, ["c", "d", "a"], [0.0, 1.0, 1.0], pa.array([*texts, texts[0]])),
    )
    desk.know(3, ["a", "b", "c", "d"], 0.0)
    return desk


def ask(desk: Desk, loss: str | None = None, **given: Any) -> Any:
    with EmbeddedExecutor() as executor:
        return recompute(desk.home, Question(model=MODEL, loss=loss, **given), executor)


def test_slices_are_told_by_the_values_of_a_feature(desk: Desk) -> None:
    found = ask(desk, by=("carrier",))
    assert sorted((each.slice, each.rows, each.mean) for each in found.figures) == [
        ("carrier=AA", 1, 0.25), ("carrier=UA", 2, 0.5), ("carrier=none", 1, 1.0),
    ]  # fmt: skip


def test_slices_of_two_features_are_told_by_both(desk: Desk) -> None:
    found = ask(desk, by=("version", "carrier", "distance"))
    assert {(each.version, each.slice): each.mean for each in found.figures} == {
        (1, "carrier=UA, distance=3"): 1.0, (1, "carrier=AA, distance=none"): 0.25,
        (1, "carrier=UA, distance=5"): 0.0, (1, "carrier=none, distance=none"): 1.0,
    }  # fmt: skip


def test_a_loss_that_needs_features_gets_those_of_each_row(desk: Desk) -> None:
    found = ask(desk, "brier.where(carrier='UA')", by=())
    assert (found.whole.mean, found.whole.in_force) == (1.0 / 4, (1.0 + 0.25 + 0.0 + 1.0) / 4)
    assert ask(desk, "brier.where(carrier='UA')", by=("carrier",)).whole.mean == 0.25


def test_features_of_several_kinds_are_read_as_text(desk: Desk) -> None:
    """One sender has numbers where another has text, and none of them may stop a report."""
    rows = [
        {"carrier": 7, "distance": "far"},
        {"carrier": ["UA"]},
        {"carrier": {"code": 1}, "distance": 2**70},
    ]
    texts = pa.array([json.dumps(row) for row in rows])
    columns = pa.StructArray.from_arrays(
        [pa.array([10], pa.int64()), pa.array([19_000], pa.date32())], ["carrier", "distance"]
    )
    desk.send(asked(4, ["e", "f", "g"], [0.0] * 3, texts), asked(5, ["h"], [0.0], columns))
    found = ask(desk, by=("carrier",))
    assert {each.slice: each.rows for each in found.figures} == {
        "carrier=UA": 2, "carrier=AA": 1, "carrier=none": 1, "carrier=7": 1, "carrier=10": 1,
        'carrier=["UA"]': 1, 'carrier={"code":1}': 1,
    }  # fmt: skip
    distances = {each.slice for each in ask(desk, by=("distance",)).figures}
    assert {"distance=far", "distance=2022-01-08", "distance=1180591620717411303424"} <= distances


def test_of_features_in_json_only_the_commonest_names_are_read(
    monkeypatch: pytest.MonkeyPatch, desk: Desk
) -> None:
    monkeypatch.setattr(gathered, "MOST_NAMES", 2)
    rows = [json.dumps({"carrier": "UA", "distance": 1, f"noise{place}": place}) for place in range(50)]
    desk.send(asked(4, [f"n{place}" for place in range(50)], [0.0] * 50, pa.array(rows)))
    assert sum(each.rows for each in ask(desk, by=("carrier", "distance")).figures) == 54
    with pytest.raises(InputError, match="unknown feature 'noise7'"):
        ask(desk, by=("noise7",))


def test_a_feature_that_there_is_not_is_refused_with_those_there_are(desk: Desk) -> None:
    with pytest.raises(InputError, match="unknown feature 'carier'; did you mean 'carrier'"):
        ask(desk, by=("carier",))


def test_a_number_with_many_values_makes_no_slices(monkeypatch: pytest.MonkeyPatch, desk: Desk) -> None:
    monkeypatch.setattr(features, "MOST_SLICES", 2)
    with pytest.raises(TooLarge, match="distance make 3 slices; at most 2 are told apart"):
        ask(desk, by=("distance",))


def test_features_of_too_much_history_are_refused(monkeypatch: pytest.MonkeyPatch, desk: Desk) -> None:
    monkeypatch.setattr(features, "MOST_ROWS", 3)
    with pytest.raises(TooLarge, match="of up to 3, and m has 4; take a loss without features"):
        ask(desk, by=("carrier",))


def test_what_a_fold_wrote_is_read(desk: Desk) -> None:
    """Streams as the applier writes them, and not as a test does."""
    found = ask(desk)
    assert (found.whole.rows, found.whole.labelled, found.whole.mean) == (4, 4, (1.0 + 0.25 + 0.0 + 1.0) / 4)
    assert ask(desk, since="2024-01-01T02:00:00Z").whole.rows == 2
    state = desk.home.state()
    assert [history.there for history in read_history(state, MODEL)] == [0, 4]
    state.close()


def test_a_span_may_end_within_an_hour(tmp_path: Path) -> None:
    past = Past.at(tmp_path / "s").predicted(rows([0.5] * 4, time=moment(0) + np.arange(4) * HOUR // 4))
    past.told(labels([1], [1.0]))
    with EmbeddedExecutor() as executor:
        question = Question(model=MODEL, until="2024-01-01T00:31:00Z")
        assert recompute(past.home, question, executor).whole.rows == 3
