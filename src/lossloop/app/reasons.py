"""Why outcomes will never come, and why predictions failed, counted as their senders say it."""

from __future__ import annotations

from collections.abc import Mapping

from lossloop.core.documents import Documents

MOST_REASONS = 100
"""Reasons of a model that are told apart: who sends them cannot fill the state with them."""
OTHER = "other reasons"

MISSING = "missing"


def reasons(documents: Documents, model: str, *, kind: str = MISSING) -> dict[str, int]:
    """How many of a model's outcomes will never come, by reason; or what else of a kind was counted."""
    found = documents.all(kind, int, prefix=f"{model}/")
    return {key.removeprefix(f"{model}/"): count for key, count in found.items()}


def count_reasons(documents: Documents, model: str, more: Mapping[str, int], *, kind: str = MISSING) -> None:
    """Count outcomes that will never come, or what else of a kind; reasons beyond the most are one."""
    if not more:
        return
    known = reasons(documents, model, kind=kind)
    for reason, count in sorted(more.items()):
        name = reason if reason in known or len(known) < MOST_REASONS else OTHER
        known[name] = known.get(name, 0) + count
        documents.put(kind, f"{model}/{name}", known[name])
