"""Which rows were drawn, and with what chance: all that a comparison of randomised arms may look at.

A row says the chance that its arm had, whatever the draws were. Comparisons are between fewer arms: among
those who are not held out, or between one arm and the champion. Given that a row went to one of these, its
chance is its own divided by theirs together; every draw is independent of what happened, so that is as good a
randomised comparison.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lossloop.core.calendar import Int64
from lossloop.core.records import Role
from lossloop.ledger.joined.columns import Array, Floats
from lossloop.ledger.joined.table import ROLES

Flags = npt.NDArray[np.bool_]
LEAST_PROPENSITY = 1e-6
"""Rows that had a smaller chance to go to either arm are no evidence: one would outweigh all others."""
SAME = 1e-9
"""Chances that differ by less are the same."""

_CHAMPION, _CHALLENGER, _HOLDOUT = (
    ROLES.index(role) for role in (Role.CHAMPION, Role.CHALLENGER, Role.HOLDOUT)
)


def drawn_between(propensity: Floats) -> Flags:
    """Which rows could have gone to either arm. Shape (n,)."""
    either: Flags = (propensity >= LEAST_PROPENSITY) & (propensity <= 1 - LEAST_PROPENSITY)
    return either


def among_arms(propensity: Floats, held_out: float) -> Floats:
    """The chance of each row among those who are not held out. Shape (n,)."""
    return propensity / (1.0 - held_out) if held_out else propensity


def in_rollout(
    role: Array, version: Int64, propensity: Floats, *, champion: int, challenger: int, held_out: float
) -> Flags:
    """Which rows a rollout has drawn between its two versions. Shape (n,)."""
    arm = served(role) & np.isin(version, (champion, challenger))
    return arm & drawn_between(among_arms(propensity, held_out))


def in_experiment(
    role: Array, version: Int64, propensity: Floats, *, shares: dict[int, float], held_out: float
) -> Flags:
    """Which rows an experiment has drawn: those of an arm, with the chance that it has. Shape (n,).

    Args:
        role: Places in ROLES.
        version: Who answered.
        propensity: As the rows say it.
        shares: Of each version among the units that are drawn, the champion's too.
        held_out: The share that is not drawn.
    """
    chance, found = among_arms(propensity, held_out), np.zeros(len(version), dtype=np.bool_)
    for number, share in shares.items():
        found |= (version == number) & (np.abs(chance - share) < SAME)
    return found & served(role)


def held_and_served(role: Array, propensity: Floats, *, share: float) -> tuple[Flags, Flags]:
    """Which rows are of units held out, and which of units that were not. Shapes (n,).

    One with a chance of 1 is neither: it was answered in some other way than it was drawn to be.
    """
    held = (role == _HOLDOUT) & (np.abs(propensity - share) < SAME)
    return held, served(role) & (propensity >= LEAST_PROPENSITY) & (propensity < 1.0 - share + SAME)


def served(role: Array) -> Flags:
    """Which rows the champion or a challenger answered as such. Shape (n,)."""
    either: Flags = (role == _CHAMPION) | (role == _CHALLENGER)
    return either
