"""Reference profiles: their intervals hold, they are small, they survive JSON, and bad rows are refused."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from lossloop.core.errors import InputError
from lossloop.core.profile import BlockMoment, FeatureProfile, Moment, Profile
from lossloop.judges.profile import HELD_OUT, TRAIN, profile_of
from tests.judges.references import columns, reference


def test_a_profile_says_what_the_reference_looked_like() -> None:
    profile = reference()
    assert [feature.name for feature in profile.features] == ["age", "size", "kind"]
    assert (profile.rows, profile.blocks, profile.block, profile.confidence) == (4000, 40, "1d", 0.95)
    age, kind = profile.features[0], profile.features[2]
    assert [moment.name for moment in age.moments] == ["level", "spread", "low", "high", "missing"]
    level = age.moments[0]
    assert level.low < 0.5 < level.high
    assert level.high - level.low < 0.07
    assert kind.categories == ("ant", "bee", "cat", "dog")
    assert kind.moments[0].mean == pytest.approx(0.4, abs=0.03)
    assert kind.moments[0].block is not None
    assert kind.moments[0].block.up < 1.0
    assert 0.7 < age.design_effect < 1.4
    assert (len(profile.train), len(profile.held_out)) == (3 * TRAIN, 3 * HELD_OUT)


def test_a_profile_is_small_and_survives_json() -> None:
    profile = reference()
    raw = msgspec.json.encode(profile)
    assert len(raw) < 3 * 10_000
    assert msgspec.json.decode(raw, type=Profile) == profile
    rng = np.random.default_rng(0)
    assert profile_of(columns(rng, 4000), blocks=np.arange(4000) // 100) == profile  # nothing is drawn anew


def test_the_intervals_hold_together() -> None:
    """A reference of 600 rows, 100 times: all intervals of all statistics hold in 95% of them."""
    rng = np.random.default_rng(3)
    missed = 0
    for _ in range(100):
        values = rng.integers(0, 10, 600).astype(float)
        feature = profile_of({"x": values}, blocks=np.arange(600) // 10, joint=False).features[0]
        cuts = np.asarray(feature.cuts)
        ranks = np.searchsorted(cuts, np.arange(10.0))
        share = np.asarray(feature.shares)[:-1]
        rank = (np.cumsum(share) - share / 2)[ranks]
        truth = [rank.mean(), np.abs(2 * rank - 1).mean(), (rank < 0.05).mean(), (rank > 0.95).mean(), 0.0]
        missed += any(
            not moment.low <= mean <= moment.high for moment, mean in zip(feature.moments, truth, strict=True)
        )
    assert missed <= 7


def test_dependent_rows_have_a_design_effect() -> None:
    rng = np.random.default_rng(4)
    days = np.repeat(np.arange(40), 50)
    values = rng.normal(size=40)[days] + rng.normal(size=2000)
    profile = profile_of({"x": values, "y": rng.normal(size=2000)}, blocks=days)
    assert profile.features[0].design_effect > 10
    assert profile.features[1].design_effect < 1.5


def test_predictions_of_several_numbers_have_a_profile_each() -> None:
    rng = np.random.default_rng(5)
    profile = profile_of({}, predictions=rng.random((300, 2)), blocks=np.arange(300) // 10)
    assert [feature.name for feature in profile.predictions] == ["y_pred[0]", "y_pred[1]"]
    one = profile_of({}, predictions=rng.random(300), blocks=np.arange(300) // 10)
    assert [feature.name for feature in one.predictions] == ["y_pred"]
    assert one.features == ()
    assert one.train == b""


def test_few_blocks_have_no_bounds_over_blocks() -> None:
    profile = profile_of({"x": np.arange(30.0)}, blocks=np.arange(30) // 10)
    assert profile.blocks == 3
    assert profile.features[0].moments[0].block is None


@pytest.mark.parametrize(
    ("columns", "more", "message"),
    [
        ({"x": [1.0, 2.0]}, {"blocks": [0, 0]}, "two or more of them, not 1"),
        ({"x": [1.0, 2.0]}, {"blocks": [0, 1, 2]}, "'x' has 2 rows, blocks have 3"),
        ({}, {"blocks": [0, 1]}, "needs a feature"),
        ({"x": []}, {"blocks": []}, "not 0"),
        ({"x": [1.0, 2.0]}, {"blocks": [0, 1], "confidence": 1.0}, "confidence"),
        ({}, {"blocks": [0, 1], "predictions": np.zeros((2, 1, 1))}, "shape"),
    ],
)
def test_what_makes_no_profile_is_refused(columns: Any, more: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        profile_of(columns, **more)


def test_a_profile_that_was_tampered_with_is_refused() -> None:
    moment = Moment(name="level", mean=0.5, low=0.4, high=0.6)
    sound: dict[str, Any] = {"name": "x", "shares": (0.5, 0.5, 0.0), "moments": (moment,), "cuts": (0.0,)}
    FeatureProfile(design_effect=1.0, **sound)
    for changed, message in (
        ({"shares": (1.0,)}, "needs 3 shares"),
        ({"cuts": (1.0, 0.0), "shares": (0.3, 0.3, 0.4, 0.0)}, "must rise"),
        ({"moments": (msgspec.structs.replace(moment, low=0.7),)}, "low <= mean"),
        ({"shares": (0.5, float("nan"), 0.0)}, "between 0 and 1"),
        ({"cuts": tuple(map(float, range(300))), "shares": (0.0,) * 302}, "at most 256"),
    ):
        with pytest.raises(InputError, match=message):
            FeatureProfile(design_effect=1.0, **{**sound, **changed})
    for wrong in ({"up": 0.0}, {"down": 2.0}, {"scale": 0.0}, {"centre": float("nan")}):
        with pytest.raises(InputError, match="block means need"):
            BlockMoment(**{"centre": 0.5, "scale": 0.1, "up": 0.2, "down": 0.2, **wrong})
    feature = FeatureProfile(design_effect=1.0, **sound)
    with pytest.raises(InputError, match="one profile"):
        Profile(features=(feature, feature), rows=2, blocks=2, block="1d")
    two = (feature, msgspec.structs.replace(feature, name="y"))
    with pytest.raises(InputError, match="a byte for each"):
        Profile(features=two, rows=2, blocks=2, block="1d", train=b"123")
