"""Eras: which loss judges since when. Another one begins with each switch of the loss."""

from __future__ import annotations

from lossloop.core.clock import Micros
from lossloop.core.documents import Documents
from lossloop.core.records import Record


class Switch(Record, frozen=True):
    """Another loss came to judge: from when, by whom and why, and the policies before and after."""

    at: Micros
    seq: int
    """The last prediction that was there: no later loss has judged it."""
    by: str
    reason: str
    before: str
    after: str


class Era(Record, frozen=True):
    """The time since the loss was last switched; number 0 before any switch."""

    number: int = 0
    seq: int = 0
    """Only predictions behind this one are judged by the present loss."""


def era(documents: Documents, model: str) -> Era:
    """Since when the present loss judges."""
    return documents.get("era", model, Era) or Era()


def switches(documents: Documents, model: str) -> list[Switch]:
    """Every switch of the loss, oldest first."""
    return list(documents.all("switch", Switch, prefix=f"{model}/").values())


def begin_era(documents: Documents, model: str, switch: Switch) -> None:
    """Keep a switch; the present loss judges since then."""
    number = era(documents, model).number + 1
    documents.put("switch", f"{model}/{number:06d}", switch)
    documents.put("era", model, Era(number=number, seq=switch.seq))
