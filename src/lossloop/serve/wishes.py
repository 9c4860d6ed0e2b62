"""How a caller wants to be answered, whatever the transport."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What stands beside the rows of a request; each field left out is as the policy says."""

    deadline: float | None = None
    """Seconds within which an answer is of use; only a shorter one than the policy's counts."""
    version: int | None = None
    """The version that is to answer, and no other: what a tester asked for, who may operate."""


USUAL = Wish()
