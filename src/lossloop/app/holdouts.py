"""Who is held out: the periods of a model's holdout, as they are kept."""

from __future__ import annotations

from collections.abc import Mapping

from lossloop.core.clock import Micros
from lossloop.core.documents import Documents
from lossloop.core.holdout import Holdout
from lossloop.core.records import Record, Verdict
from lossloop.judges import CanaryState

_KIND, _PAST = "holdout", "holdout_past"


class HeldOut(Record, frozen=True):
    """One period of a holdout, and what was judged in it: all others against the units held out."""

    number: int
    """Which of the model's periods it is, from 1."""
    holdout: Holdout
    salt: str
    since: Micros
    first_seq: int
    """Predictions behind this one belong to the period."""
    judged: CanaryState | None = None
    worse: Verdict | None = None
    """Whether all others are worse."""
    better: Verdict | None = None
    held: int = 0
    """Units held out that were judged."""
    others: int = 0
    told: bool = False
    """Whether an alarm of this period was told of."""


def held_out(documents: Documents, model: str) -> HeldOut | None:
    """The present period; None where nobody is held out."""
    return documents.get(_KIND, model, HeldOut)


def held_share(documents: Documents, model: str) -> float:
    """The share of units that is held out now."""
    run = held_out(documents, model)
    return 0.0 if run is None else run.holdout.share


def only_words(only: Mapping[str, tuple[str, ...]]) -> str:
    """Such as ``where carrier is UA or DL``."""
    return "where " + " and ".join(f"{name} is {' or '.join(values)}" for name, values in only.items())


def past(documents: Documents, model: str) -> list[HeldOut]:
    """The periods that are over, oldest first."""
    return list(documents.all(_PAST, HeldOut, prefix=f"{model}/").values())


def keep(documents: Documents, model: str, run: HeldOut) -> None:
    """Keep the present period."""
    documents.put(_KIND, model, run)


def retire(documents: Documents, model: str) -> int:
    """End the present period, if there is one; return how many there have been."""
    run = held_out(documents, model)
    if run is not None:
        documents.put(_PAST, f"{model}/{run.number:06d}", run)
        documents.drop(_KIND, model)
    return len(past(documents, model))


def holds(run: HeldOut, wanted: Holdout | None, now: Micros) -> bool:
    """Whether a period goes on under what the policy wants."""
    return run.holdout == wanted and now < run.since + run.holdout.period
