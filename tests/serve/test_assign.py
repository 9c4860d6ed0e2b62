"""Assignment is uniform, sticky, and monotone while a share grows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lossloop.serve.assign import place

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(words, words)
def test_a_unit_has_one_place(salt: str, unit: str) -> None:
    assert place(salt, unit) == place(salt, unit)
    assert 0 <= place(salt, unit) < 1


@pytest.mark.parametrize("salt", ["", "a", "flight-delay/1", "x" * 64])
@pytest.mark.parametrize("form", ["{}", "user-{:08d}", "N{}UA"])
def test_places_are_uniform(salt: str, form: str) -> None:
    places = [place(salt, form.format(number)) for number in range(20_000)]
    assert stats.kstest(places, "uniform").pvalue > 1e-4


def test_salts_draw_independently() -> None:
    """So the units that met one bad release are not those that meet the next."""
    places = np.array([[place(salt, str(number)) for number in range(20_000)] for salt in ("a", "b", "a1")])
    assert np.abs(np.corrcoef(places) - np.eye(3)).max() < 0.03


def test_places_never_change_between_releases() -> None:
    """A unit that moved because the code did would have met both arms."""
    assert place("salt", "unit") == int.from_bytes(bytes.fromhex("f64c006fa547a9b4"), "big") / 2**64
