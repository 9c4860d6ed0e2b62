"""Each check of a version, where it must pass, where it must fail, and where it cannot tell."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.act.checks import Check, Checks, Status
from lossloop.app.versions import behaviour, load, loss, outcomes, schema, skew
from lossloop.app.versions.base import fitted
from lossloop.core.profile import Profile
from lossloop.core.thresholds import Thresholds
from lossloop.judges import profile_of
from lossloop.judges.bins import bins_of
from lossloop.registry import Feature, FeatureKind
from tests.app.versions.cases import BASE, COLOUR, Array, Says, X, arm, case, recent, sigmoid

MULTI = {"task": "multiclass", "loss": "brier_multiclass"}


def chances(shift: float) -> Says:
    """Two classes."""

    def answer(columns: Mapping[str, Array]) -> Array:
        first = 1.0 / (1.0 + np.exp(-(columns["x"] + shift)))
        return np.column_stack([first, 1.0 - first])

    return Says(answer)


@cache
def profiled() -> Profile:
    draw = np.random.default_rng(3)
    return profile_of({"x": draw.normal(0.0, 1.0, 4_000)}, blocks=np.arange(4_000) // 100, joint=False)


# Schema.


def test_a_version_that_takes_what_is_sent() -> None:
    assert schema.check(case(champion=BASE)).finding.status is Status.PASSED


def test_a_row_that_would_be_refused_is_found_by_its_feature() -> None:
    strict = arm(sigmoid(), features=(X, Feature(name="colour", kind=FeatureKind.CATEGORY)))
    found = schema.check(case(strict))
    assert found.finding.status is Status.FAILED
    assert "would refuse 100 of 400 recent rows: colour" in found.finding.words
    assert found.details[0].rows == (("colour", "100", "0"),)


def test_values_of_another_kind_are_found() -> None:
    other = arm(sigmoid(), features=(X, Feature(name="colour", nullable=True)))
    assert schema.check(case(other)).details[0].rows == (("colour", "0", "300"),)


@pytest.mark.parametrize(
    ("features", "words"),
    [
        ((X, COLOUR, Feature(name="z")), "z is new, and must be there"),
        ((Feature(name="x", kind=FeatureKind.CATEGORY), COLOUR), "x is a category, of the champion a number"),
        ((X, Feature(name="colour", kind=FeatureKind.CATEGORY)), "colour may be null in the champion's rows"),
    ],
)
def test_rows_of_the_champion_that_it_would_refuse_without_any_traffic(features: Any, words: str) -> None:
    found = schema.check(case(arm(sigmoid(), features=features), BASE, rows=recent(0)))
    assert found.finding.status is Status.FAILED
    assert words in found.finding.words


def test_a_feature_that_is_sent_and_not_known_any_more_breaks_callers() -> None:
    found = schema.check(case(arm(sigmoid(), features=(X,)), BASE))
    assert found.finding.status is Status.FAILED
    assert "keep it in the features, nullable" in found.finding.words


def test_a_new_feature_that_may_be_missing_is_only_told() -> None:
    found = schema.check(case(arm(sigmoid(), features=(X, COLOUR, Feature(name="z", nullable=True))), BASE))
    assert found.finding.status is Status.PASSED
    assert found.details[0].rows == (("z", "is new"),)


def test_without_champion_and_rows_a_schema_is_held_against_nothing() -> None:
    assert schema.check(case(rows=recent(0))).finding.status is Status.SKIPPED
    assert schema.check(case(arm(features=()))).finding.status is Status.SKIPPED
    assert schema.check(case(arm(sigmoid(), features=()))).finding.status is Status.FAILED


def test_columns_are_read_as_the_schema_has_them() -> None:
    mixed = np.array(["1.5", "many", None, "inf"], dtype=object)
    found = fitted((Feature(name="n", nullable=True),), {"n": mixed}, 4)
    assert found.fits.tolist() == [True, False, True, False]
    assert found.columns["n"][0] == 1.5
    assert np.isnan(found.columns["n"][1:]).all()
    flags = fitted((COLOUR,), {"colour": np.array([True, "red"], dtype=object)}, 2)
    assert flags.fits.tolist() == [False, True]


# Skew.


def test_inputs_like_those_of_training() -> None:
    rows = recent(2_000, features={"x": np.random.default_rng(1).normal(0, 1, 2_000)})
    found = skew.check(case(arm(sigmoid(), profile=profiled()), rows=rows, skew_at_most=0.1))
    assert found.finding.status is Status.PASSED


def test_inputs_that_moved_are_named() -> None:
    rows = recent(2_000, features={"x": np.random.default_rng(1).normal(2, 1, 2_000)})
    version = arm(sigmoid(), profile=profiled())
    found = skew.check(case(version, rows=rows, skew_at_most=0.1)).finding
    assert found.status is Status.FAILED
    assert found.words.startswith("x lie further than 0.1")
    assert skew.check(case(version, rows=rows)).finding.status is Status.REPORTED


def test_a_feature_that_is_not_sent_any_more_is_missing_everywhere() -> None:
    found = skew.check(case(arm(sigmoid(), profile=profiled()), rows=recent(features={"y": np.ones(400)})))
    assert found.finding.figures["most"] == pytest.approx(1.0)


def test_skew_cannot_be_told_without_profile_or_rows() -> None:
    assert skew.check(case()).finding.status is Status.NOT_TOLD
    found = skew.check(case(arm(sigmoid(), profile=profiled()), rows=recent(0)))
    assert found.finding.status is Status.NOT_TOLD


@given(st.integers(0, 2**31))
def test_the_lower_bound_lies_below_the_true_distance(seed: int) -> None:
    """Rows of the profile's own shares have distance 0; the bound is hardly ever above it."""
    feature = profiled().features[0]
    draw = np.random.default_rng(seed)
    bins = draw.choice(feature.bins, 500, p=np.asarray(feature.shares) / sum(feature.shares))
    edges = np.concatenate((feature.cuts, [feature.cuts[-1] + 1.0]))
    values = np.where(bins == feature.bins - 1, np.nan, edges[np.minimum(bins, len(edges) - 1)])
    assert (bins_of(feature, values) == bins).all()
    seen, least = skew.distance(feature, values, 1e-9)
    assert 0.0 == least <= seen <= 1.0


# Loss.


def test_answers_that_the_loss_takes() -> None:
    found = loss.check(case()).finding
    assert found.status is Status.PASSED
    assert "each of 400 answers has a loss" in found.words


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda columns: columns["x"] * np.nan, "400 of 400 answers are none that a binary task has"),
        (lambda columns: columns["x"] + 9.0, "400 of 400 answers are none"),
        (lambda columns: np.ones((len(columns["x"]), 2)), "answers with lists of numbers"),
        (lambda columns: columns["x"][:1], "with the shape (1,)"),
        (lambda columns: 1 / 0, "raises ZeroDivisionError"),
    ],
)
def test_answers_that_the_loss_does_not_take(answer: Any, words: str) -> None:
    found = loss.check(case(arm(Says(answer)))).finding
    assert found.status is Status.FAILED
    assert words in found.words


def test_an_action_that_the_loss_has_no_cost_for_is_found() -> None:
    costs = {"loss": "action_cost(costs=((0, 1), (4, 0)))"}
    two = Thresholds(actions=("pass", "block"), least=(0.5,))
    three = Thresholds(actions=("pass", "review", "block"), least=(0.2, 0.5))
    assert loss.check(case(arm(sigmoid(), thresholds=two), policy=costs)).finding.status is Status.PASSED
    found = loss.check(case(arm(sigmoid(), thresholds=three), policy=costs)).finding
    assert found.status is Status.FAILED
    assert "200 of 400 answers have no loss under action_cost: class 2 is not" in found.words


def test_a_golden_vector_that_does_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise AssertionError("brier: golden vectors say [0.25], not [0.5]")

    monkeypatch.setattr(loss, "golden_vectors_hold", broken)
    assert "golden vectors say" in loss.check(case()).finding.words


def test_without_traffic_the_rows_of_scenarios_are_answered() -> None:
    given_rows = {"one": {"kind": "example", "rows": [{"x": 1}], "at_least": 0}}
    assert loss.check(case(rows=recent(0), scenarios=given_rows)).finding.status is Status.PASSED
    assert loss.check(case(rows=recent(0))).finding.status is Status.NOT_TOLD
    assert loss.check(case(arm(), rows=recent(0))).finding.status is Status.NOT_TOLD


# Load.


def test_a_version_as_fast_as_the_champion_has_figures() -> None:
    found = load.check(case(champion=BASE)).finding
    assert found.status is Status.REPORTED
    assert {"median_us_1", "p95_us_64", "cpu_us_1", "slower", "grew_bytes"} <= set(found.figures)


def test_one_that_is_slower_than_the_champion_by_far() -> None:
    def slow(columns: Mapping[str, Array]) -> Array:
        time.sleep(0.003)
        return columns["x"] * 0.0

    found = load.check(case(arm(Says(slow)), BASE, slower_at_most="3x")).finding
    assert found.status is Status.FAILED
    assert "times the champion's latency, at most 3 are allowed" in found.words


def test_one_that_leaks() -> None:
    kept: list[bytes] = []

    def leak(columns: Mapping[str, Array]) -> Array:
        if len(columns["x"]) > 1:
            kept.append(b"x" * 300_000)
        return columns["x"] * 0.0

    found = load.check(case(arm(Says(leak)), grows_at_most="20MB")).finding
    assert found.status is Status.FAILED
    assert "bytes more" in found.words


def test_one_that_raises_under_load() -> None:
    def tired(columns: Mapping[str, Array]) -> Array:
        raise MemoryError("no more")

    assert "raises MemoryError" in load.check(case(arm(Says(tired)))).finding.words


@pytest.mark.parametrize(
    ("limits", "figures", "status"),
    [
        ({}, {}, Status.REPORTED),
        ({"slower_at_most": 2.0}, {"slower": 1.9}, Status.PASSED),
        ({"slower_at_most": 2.0}, {"slower": 2.1}, Status.FAILED),
        ({"slower_at_most": 2.0}, {}, Status.NOT_TOLD),
        ({"slower_at_most": 2.0, "p95_at_most": 500}, {"p95_us_1": 1.0}, Status.NOT_TOLD),
        ({"p95_at_most": 500}, {"p95_us_1": 501.0}, Status.FAILED),
        ({"p95_at_most": 500}, {"p95_us_1": 500.0}, Status.PASSED),
        ({"grows_at_most": 1000, "p95_at_most": 500}, {"grew_bytes": 2000.0, "p95_us_1": 1.0}, Status.FAILED),
    ],
)
def test_figures_are_held_against_limits(limits: Any, figures: Any, status: Status) -> None:
    assert load.judged(Checks(**limits), figures)[0] is status


def test_a_first_version_is_slower_than_nobody() -> None:
    assert load.judged(Checks(slower_at_most=2.0), {}, alone=True)[0] is Status.PASSED
    found = load.check(case(slower_at_most=2.0, p95_at_most="1s")).finding
    assert found.status is Status.PASSED


def test_a_champion_elsewhere_leaves_its_speed_untold() -> None:
    found = load.check(case(champion=arm(name="m:1", number=1), slower_at_most=2.0)).finding
    assert found.status is Status.NOT_TOLD
    assert found.words.startswith("not measured: slower")


def test_without_traffic_the_rows_of_scenarios_are_timed() -> None:
    one = {"one": {"kind": "example", "rows": [{"x": 1}], "at_least": 0}}
    found = load.check(case(rows=recent(0), scenarios=one)).finding
    assert found.status is Status.REPORTED
    assert found.figures["median_us_64"] > 0


def test_load_cannot_be_told_without_a_runtime_or_rows() -> None:
    assert load.check(case(arm())).finding.status is Status.NOT_TOLD
    assert load.check(case(rows=recent(0))).finding.status is Status.NOT_TOLD


# Behaviour.


def test_the_same_answers_do_not_flip() -> None:
    found = behaviour.check(case(champion=BASE, flips_at_most="0%")).finding
    assert found.status is Status.PASSED
    assert found.figures["flips"] == 0


def test_flips_are_counted_and_their_slices_named() -> None:
    def other_for_red(columns: Mapping[str, Array]) -> Array:
        return np.where(columns["colour"] == "red", 1.0, 1.0 / (1.0 + np.exp(-columns["x"])))

    found = behaviour.check(case(arm(Says(other_for_red)), BASE, flips_at_most="5%", moved_by=0.05))
    assert found.finding.status is Status.FAILED
    assert found.finding.words.startswith(
        "answers flip more often than 0.05; 100 of 400 answers flip (25.0%)"
    )
    assert found.details[1].rows[0][:3] == ("colour=red", "100", "100")
    assert "red" not in found.finding.words


def test_a_flip_is_another_action_where_there_are_thresholds() -> None:
    cut = Thresholds(actions=("pass", "block"), least=(0.5,))
    low = Thresholds(actions=("pass", "block"), least=(0.25,))
    same = behaviour.check(case(arm(sigmoid(), thresholds=low), arm(sigmoid(), number=1, thresholds=cut)))
    assert same.finding.figures["mean_moves"] == 0.0
    assert same.finding.figures["flips"] == np.sum(
        np.abs(recent().features["x"] + np.log(3) / 2) < np.log(3) / 2
    )
    assert "another action" in same.finding.words


def test_a_flip_is_another_class() -> None:
    found = behaviour.check(case(arm(chances(1.0)), arm(chances(0.0), number=1), policy=MULTI)).finding
    assert found.figures["flips"] == 100
    assert "another class" in found.words


def test_a_mean_that_moves_too_far() -> None:
    found = behaviour.check(case(arm(sigmoid(0.5)), BASE, mean_moves_at_most=0.01)).finding
    assert found.status is Status.FAILED
    assert "the mean answer moves by more than 0.01" in found.words


def test_means_are_shown_beside_that_of_outcomes() -> None:
    rows = recent(y_true=np.where(np.arange(400) < 300, 1.0, np.nan))
    found = behaviour.check(case(arm(sigmoid(0.5)), BASE, rows=rows)).finding
    assert found.status is Status.REPORTED
    assert found.figures["mean_outcome"] == 1.0
    assert found.figures["outcomes"] == 300


def test_a_champion_that_is_served_elsewhere_is_taken_by_what_it_answered() -> None:
    rows = recent(y_pred=1.0 / (1.0 + np.exp(-np.linspace(-2.0, 2.0, 400))))
    found = behaviour.check(case(champion=arm(name="m:1", number=1), rows=rows)).finding
    assert found.figures["rows"] == 400
    assert found.figures["largest"] < 1e-12


def test_a_version_that_is_served_elsewhere_is_taken_by_its_shadow() -> None:
    rows = recent(shadow_version=np.where(np.arange(400) < 50, 2, 0), shadow_y_pred=np.full(400, 0.9))
    assert behaviour.check(case(arm(), BASE, rows=rows)).finding.figures["rows"] == 50
    assert behaviour.check(case(arm(), BASE)).finding.status is Status.NOT_TOLD
    assert behaviour.check(case(arm(number=None), BASE)).finding.status is Status.NOT_TOLD


def test_answers_of_another_shape_are_no_pass() -> None:
    three = arm(Says(lambda columns: np.tile([0.2, 0.3, 0.5], (len(columns["x"]), 1))))
    found = behaviour.check(case(three, arm(chances(0.0), number=1), policy=MULTI)).finding
    assert found.status is Status.FAILED


def test_behaviour_without_champion_is_skipped() -> None:
    assert behaviour.check(case()).finding.status is Status.SKIPPED
    assert outcomes.check(case()).finding.status is Status.SKIPPED


# Outcomes.


def test_the_paired_difference_has_an_interval_over_blocks() -> None:
    truth = (np.random.default_rng(2).random(400) < 1 / (1 + np.exp(-recent().features["x"]))).astype(float)
    found = outcomes.check(case(arm(sigmoid(3.0)), BASE, rows=recent(y_true=truth))).finding
    assert found.check is Check.OUTCOMES
    assert found.status is Status.REPORTED
    assert 0.0 < found.figures["low"] < found.figures["difference"] < found.figures["high"]
    p, q = (1 / (1 + np.exp(-(recent().features["x"] + bias))) for bias in (3.0, 0.0))
    assert found.figures["difference"] == pytest.approx(float(np.mean((p - truth) ** 2 - (q - truth) ** 2)))
    assert "shown only" in found.words


def test_one_block_has_no_interval_and_no_outcome_no_difference() -> None:
    one = recent(y_true=np.ones(400), block=np.zeros(400, np.int64))
    assert "low" not in outcomes.check(case(champion=BASE, rows=one)).finding.figures
    assert outcomes.check(case(champion=BASE)).finding.status is Status.NOT_TOLD
