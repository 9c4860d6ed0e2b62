"""The domain classifier: what it counts, how its ranks behave by luck alone, and where it is blind."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossloop.core.profile import Profile
from lossloop.core.records import VerdictKind
from lossloop.judges import Domain, Drift, parse, profile_of
from lossloop.judges.domain import LEVELS, fit, levels_of, pair_counts
from tests.judges.references import binned, columns, reference

PROFILE = reference()
DOMAIN = Domain.of(PROFILE, PROFILE.features)


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32), features=st.integers(2, 5), rows=st.integers(1, 40))
def test_pairs_are_counted(seed: int, features: int, rows: int) -> None:
    levels = np.random.default_rng(seed).integers(0, LEVELS, (rows, features))
    counts = pair_counts(levels)
    assert counts.shape == (features * (features - 1) // 2, LEVELS**2)
    assert (counts.sum(axis=1) == rows).all()
    first = counts[0].reshape(LEVELS, LEVELS)  # of the first two features
    for row in levels:
        assert first[row[0], row[1]] >= 1
    np.testing.assert_array_equal(first.sum(axis=1), np.bincount(levels[:, 0], minlength=LEVELS))


def test_the_pair_that_changed_is_found() -> None:
    rng = np.random.default_rng(0)
    old, new = (rng.integers(0, 6, (1000, 5)) for _ in range(2))
    new[:, 3] = new[:, 1]
    scorer = fit(pair_counts(old), pair_counts(new), 5)
    assert scorer.pairs[0].tolist() == [1, 3]
    assert scorer.score(new).mean() > scorer.score(old).mean() + 0.5


def test_levels_put_bins_together() -> None:
    number, category = PROFILE.features[0], PROFILE.features[2]
    assert set(levels_of(number)) == set(range(LEVELS))
    assert (np.diff(levels_of(number)[:-1]) >= 0).all()
    assert levels_of(category)[:4].tolist() == [0, 1, 2, 3]
    assert levels_of(category)[-1] == LEVELS - 1


def test_by_luck_alone_ranks_stay_within_their_margin() -> None:
    """500 references of 200 held-out rows: the mean rank of endless healthy rows is below the margin."""
    rng = np.random.default_rng(1)
    held_out = rng.random((500, 200))
    aucs = 1.0 - held_out.mean(axis=1)  # of uniform scores: P(new > held out)
    small = Domain(DOMAIN.tables, DOMAIN.train, DOMAIN.held_out[:200])
    assert (aucs > 0.5 + small.margin(1, 0.05)).mean() <= 0.05 * 6 / np.pi**2
    assert small.margin(100, 0.05) > small.margin(1, 0.05) > DOMAIN.margin(1, 0.05)


def test_ranks_lie_between_0_and_1_and_average_to_a_half() -> None:
    rng = np.random.default_rng(2)
    recent, rows = (binned(PROFILE, columns(rng, count)) for count in (1000, 5000))
    ranks = DOMAIN.ranks(recent, rows)
    assert ranks.min() >= 0.0
    assert ranks.max() <= 1.0
    assert ranks.mean() == pytest.approx(0.5, abs=0.03)
    assert DOMAIN.ranks(recent, rows[:7]).tolist() == ranks[:7].tolist()


def test_what_shows_only_in_three_features_is_not_seen() -> None:
    """The parity of three coins: every pair is as before. Shown, not mended."""

    def coins(rng: np.random.Generator, rows: int, *, tied: bool) -> dict[str, npt.NDArray[np.float64]]:
        one, other, third = rng.integers(0, 2, (3, rows)).astype(float)
        return {"one": one, "other": other, "third": (one + other) % 2 if tied else third}

    rng = np.random.default_rng(3)
    profile: Profile = profile_of(coins(rng, 4000, tied=False), blocks=np.arange(4000) // 100)
    judge = Drift(
        features=profile.features, tolerance=0.02, promise=parse("1 per 100,000 outcomes"),
        joint=Domain.of(profile, profile.features),
    )  # fmt: skip
    _, verdict = judge.update(judge.start(), binned(profile, coins(rng, 10_000, tied=True)))
    assert verdict.kind is VerdictKind.HEALTHY
