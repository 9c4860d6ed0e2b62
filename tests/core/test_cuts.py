"""What a policy may say of slices, and what it may not."""

from __future__ import annotations

from typing import Any

import pytest

from lossloop.core.cuts import Axis, Cut, read_cut, resolved
from lossloop.core.errors import InputError


def test_a_feature_a_pair_and_ranges() -> None:
    assert read_cut("carrier") == Cut(axes=(Axis(feature="carrier"),))
    assert read_cut("carrier x origin").name == "carrier x origin"
    ranges = read_cut({"feature": "distance", "bins": [500, 1000]})
    assert (ranges.name, ranges.key) == ("distance", "distance[500, 1000]")
    assert read_cut(7).name == "7", "YAML reads some names as numbers"


def test_a_pair_has_the_ranges_of_the_cut_by_one() -> None:
    cuts = resolved([read_cut({"feature": "distance", "bins": [500]}), read_cut("distance x origin")])
    assert [cut.key for cut in cuts] == ["distance[500]", "distance[500] x origin"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "must name features"),
        ("carrier x ", "must name features"),
        ("carrier x carrier", "each once"),
        (["carrier"], "is no slice; write carrier, carrier x origin, or"),
        (True, "is no slice"),
        ({"feature": "a"}, "the keys 'feature' and 'bins'"),
        ({"feature": "a", "bins": [1], "more": 2}, "and no others"),
        ({"feature": "a", "bins": []}, "a list of numbers"),
        ({"feature": "a", "bins": ["x"]}, "a list of numbers"),
        ({"feature": "a", "bins": [1, float("nan")]}, "a list of numbers"),
        ({"feature": "a", "bins": [2, 1]}, "must rise"),
        ({"feature": "a", "bins": [1, 1]}, "must rise"),
    ],
)
def test_what_is_no_cut_is_refused_with_what_could_be_written(value: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_cut(value)
