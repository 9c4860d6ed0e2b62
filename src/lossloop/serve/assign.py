"""Assignment: two salted hashes place every unit on [0, 1), one for the holdout and one for the arms.

The place of a unit never changes while its salt stays, so every arm is sticky, and as the share of an only
arm grows a unit can only move from the champion to it, never back. The two salts have nothing to do with each
other: who is held out says nothing about who would meet which arm.

The propensity of a row is the chance that its arm had of answering it, both draws together: over the
holdout, the champion and all arms it adds up to 1. A row that is not drawn among arms, because it lies
outside the slice that a rollout is restricted to, or its arm was given up, could only meet the champion, or
be held out.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from lossloop.core.records import Role
from lossloop.core.traffic import Traffic

_SCALE = float(1 << 64)
UNDRAWN = 1.0
"""The propensity of a row that no comparison may look at."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """Who is to answer a row, and with what chance."""

    version: int
    """0 where there is no champion yet."""
    role: Role
    propensity: float
    shadow: int | None = None
    """The version that answers too, unseen."""


def place(salt: str, unit: str) -> float:
    """Where a unit lies, uniformly on [0, 1): the first 64 bits of BLAKE2b keyed with the salt."""
    raw = hashlib.blake2b(unit.encode(), digest_size=8, key=salt.encode()[:64]).digest()
    return int.from_bytes(raw, "big") / _SCALE


def assign(traffic: Traffic, keys: Sequence[str], features: Mapping[str, Any]) -> list[Drawn]:
    """Draw who answers each row.

    Args:
        traffic: How the model's traffic is split.
        keys: The unit of each row, or its own id where it has none. Length n.
        features: Columns of n values by name, arrays or lists; only those of `traffic.only` are looked at.
    """
    champion = Drawn(traffic.champion or 0, Role.CHAMPION, _rest(traffic), _shadow(traffic))
    if not traffic.held_out and (traffic.shadow or not traffic.arms) and not traffic.only:
        return [champion] * len(keys)
    taken = _eligible(traffic, features, len(keys))
    split = _Split(traffic, champion)
    return [split.draw(key, drawn) for key, drawn in zip(keys, taken, strict=True)]


def override(version: int) -> Drawn:
    """What a tester asked for by its number: no draw, and evidence of nothing."""
    return Drawn(version, Role.OVERRIDE, UNDRAWN)


class _Split:
    """The parts of the line, and what meets whoever lies in them."""

    def __init__(self, traffic: Traffic, champion: Drawn) -> None:
        served, holdout = _rest(traffic), traffic.serving.holdout
        self._held, self._held_salt = traffic.held_out, traffic.holdout_salt
        self._salt = traffic.salt
        self._holdout = Drawn(holdout.version if holdout else 0, Role.HOLDOUT, self._held)
        self._outside = Drawn(champion.version, Role.CHAMPION, served)
        arms = () if traffic.shadow else traffic.arms
        self._ends = list(accumulate(arm.share for arm in arms))
        self._arms = [
            self._outside if arm.closed else Drawn(arm.version, Role.CHALLENGER, served * arm.share)
            for arm in arms
        ]
        left = 1.0 - (self._ends[-1] if self._ends else 0.0)
        self._champion = Drawn(champion.version, Role.CHAMPION, served * left, champion.shadow)

    def draw(self, key: str, drawn: bool) -> Drawn:
        if self._held and place(self._held_salt, key) < self._held:
            return self._holdout
        if not drawn:
            return self._outside
        if self._ends:
            lies = place(self._salt, key)
            for end, arm in zip(self._ends, self._arms, strict=True):
                if lies < end:
                    return arm
        return self._champion


def _rest(traffic: Traffic) -> float:
    """The chance not to be held out."""
    return 1.0 - traffic.held_out


def _shadow(traffic: Traffic) -> int | None:
    return traffic.challenger if traffic.shadow else None


def _eligible(traffic: Traffic, features: Mapping[str, Any], count: int) -> Sequence[bool]:
    """Which rows have a wanted value in each feature that the arms are restricted to."""
    found = [True] * count
    for name, wanted in traffic.only.items():
        values = frozenset({*wanted, *_numbers(wanted)})
        column = features.get(name)
        for row in range(count):
            found[row] = found[row] and column is not None and column[row] in values
    return found


def _numbers(texts: Sequence[str]) -> Iterator[float]:
    """Those of some texts that are numbers, as a feature has them."""
    for text in texts:
        with contextlib.suppress(ValueError):
            yield float(text)
