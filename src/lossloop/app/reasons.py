"""Why outcomes will never come, counted as their senders say it."""

from __future__ import annotations

from collections.abc import Mapping

from lossloop.core.documents import Documents

MOST_REASONS = 100
"""Reasons of a model that are told apart: who sends them cannot fill the state with them."""
OTHER = "other reasons"

_KIND = "missing"


def reasons(documents: Documents, model: str) -> dict[str, int]:
    """How many of a model's outcomes will never come, by reason."""
    found = documents.all(_KIND, int, prefix=f"{model}/")
    return {key.removeprefix(f"{model}/"): count for key, count in found.items()}


def count_reasons(documents: Documents, model: str, more: Mapping[str, int]) -> None:
    """Count outcomes that will never come; reasons beyond the most are one."""
    if not more:
        return
    known = reasons(documents, model)
    for reason, count in sorted(more.items()):
        name = reason if reason in known or len(known) < MOST_REASONS else OTHER
        known[name] = known.get(name, 0) + count
        documents.put(_KIND, f"{model}/{name}", known[name])
