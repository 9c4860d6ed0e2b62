"""How the slices of a model are doing, as its watches over slices have judged them."""

from __future__ import annotations

from typing import Any

import msgspec

from lossloop.act.watches import SlicesWatch
from lossloop.app.books import Books
from lossloop.app.references import version_under
from lossloop.app.watches import judge_of
from lossloop.core.errors import Conflict, UnknownName
from lossloop.judges import SliceFinding, Slices, SliceState, parse

WORST = 3
"""Slices that a model's status shows of a watch."""


def slices(books: Books, model: str, watch: str | None = None) -> list[dict[str, Any]]:
    """What a model's watches over slices, or one of them, have found, as plain values.

    Raises:
        UnknownName: There is no such model, or no such watch.
        Conflict: The policy has no watch over slices.
    """
    there = [name for name, each in books.policy(model).watches.items() if isinstance(each, SlicesWatch)]
    if not there:
        raise Conflict(
            f"the policy of {model} has no watch of kind slices; add one, such as: "
            "{kind: slices, limit: 0.5, promise: 5% false among alarms}"
        )
    if watch is not None and watch not in there:
        raise UnknownName("watch over slices", watch, there, field="watch")
    return [_watch(books, model, name) for name in there if watch in (None, name)]


def worst(books: Books, model: str, watch: str) -> list[dict[str, Any]]:
    """The slices that alarm, or come nearest to it; the worst few."""
    return [plain(each) for each in findings(books, model, watch)[:WORST]]


def findings(books: Books, model: str, watch: str) -> list[SliceFinding]:
    """Every slice that a watch knows: those that alarm first, and of these the worst; none before any."""
    lens, state = books.lens(model), books.watch(model, watch)
    if state is None:
        return []
    champion = version_under(books.documents, lens, state.version)
    judge = judge_of(lens, lens.policy.watches[watch], champion)
    assert isinstance(judge, Slices)
    return judge.findings(msgspec.json.decode(state.judged, type=SliceState))


def plain(found: SliceFinding) -> dict[str, Any]:
    """A finding as plain values."""
    made: dict[str, Any] = msgspec.to_builtins(found)
    return made


def _watch(books: Books, model: str, name: str) -> dict[str, Any]:
    state = books.watch(model, name)
    verdict = None if state is None else state.verdict
    return {
        "watch": name,
        "kind": "no_data" if verdict is None else str(verdict.kind),
        "promise": parse(books.policy(model).watches[name].promise).words,
        "version": None if state is None else state.version,
        "reason": "nothing was judged yet" if verdict is None else verdict.reason,
        "slices": [plain(each) for each in findings(books, model, name)],
    }
