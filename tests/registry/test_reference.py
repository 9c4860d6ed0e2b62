"""What a version's reference may hold, through JSON and back, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest

from lossloop.core.errors import InputError
from lossloop.core.estimates import Estimate
from lossloop.core.seasons import Season
from lossloop.registry import Manifest, Reference

ESTIMATE = Estimate(by="calibrated", knots=((0.1, 0.9),), values=((0.2, 0.8),), most=0.25)
PLAIN: dict[str, Any] = {
    "loss": "brier", "mean": 0.1, "block": "1d", "block_means": [0.1, 0.1], "rows": 20, "design_effect": 1.0
}  # fmt: skip


def read(**more: Any) -> Reference:
    return msgspec.convert({**PLAIN, **more}, Reference)


def test_a_reference_without_the_new_keys_has_the_digest_that_it_had() -> None:
    """Versions that are registered again must be found to be the same."""
    manifest = Manifest(runtime="external", reference=read())
    assert b"estimate" not in msgspec.json.encode(manifest)
    assert manifest.digest == Manifest(runtime="external", reference=read(seasons={}, baseline=None)).digest


def test_each_of_them_makes_another_version() -> None:
    rich: list[dict[str, Any]] = [
        {},
        {"estimate": msgspec.to_builtins(ESTIMATE)},
        {"baseline": 0.3},
        {"baseline": [0.2, 0.8]},
        {"seasons": {"weekday": [0.1] * 7}},
    ]
    digests = {Manifest(runtime="external", reference=read(**more)).digest for more in rich}
    assert len(digests) == len(rich)


def test_json_keeps_all_of_it() -> None:
    full = read(
        estimate=msgspec.to_builtins(ESTIMATE), baseline=[0.2, 0.8], seasons={"month": np.arange(12).tolist()}
    )
    again = msgspec.json.decode(msgspec.json.encode(full), type=Reference)
    assert again == full
    assert again.estimate == ESTIMATE
    assert again.seasons[Season.MONTH] == tuple(map(float, range(12)))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"seasons": {"week": [0.1]}}, "there is no season 'week'; "),
        ({"seasons": {"weekday": [0.1] * 6}}, "needs 7 finite means, for mon to sun"),
        ({"seasons": {"hour": [0.1] * 23 + [math.nan]}}, "needs 24 finite means, for 0 to 23"),
        ({"block_means": []}, "finite block means"),
    ],
)
def test_what_cannot_be_is_refused_and_named(more: dict[str, Any], said: str) -> None:
    with pytest.raises((InputError, msgspec.ValidationError), match=r"reference|season|means") as caught:
        read(**more)
    assert said in str(caught.value)
