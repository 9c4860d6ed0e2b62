"""What the gates of the rollout that is under way have judged, as it is kept."""

from __future__ import annotations

from lossloop.core.documents import Documents
from lossloop.core.records import Record, Verdict
from lossloop.judges import CanaryState

_KIND = "gate"


class Gated(Record, frozen=True):
    """A gate: what was judged, and the last verdict."""

    judged: CanaryState
    verdict: Verdict


def gated(documents: Documents, model: str) -> dict[str, Gated]:
    """The gates of a model that have judged anything, by name."""
    found = documents.all(_KIND, Gated, prefix=f"{model}/")
    return {key.removeprefix(f"{model}/"): each for key, each in found.items()}


def put_gated(documents: Documents, model: str, name: str, after: Gated) -> None:
    """Keep what a gate has judged."""
    documents.put(_KIND, f"{model}/{name}", after)


def drop_gated(documents: Documents, model: str) -> None:
    """Forget what gates have judged."""
    for name in gated(documents, model):
        documents.drop(_KIND, f"{model}/{name}")
