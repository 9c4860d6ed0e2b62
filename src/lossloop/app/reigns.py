"""Reigns: which version was champion from when to when, and how long each rollout ran."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from lossloop.app.books import Books, Crowned
from lossloop.app.experiments import past_experiments
from lossloop.core.clock import Micros
from lossloop.core.documents import Documents
from lossloop.core.records import VerdictKind
from lossloop.ledger.joined.table import Table
from lossloop.registry import CHAMPION, versions

NEVER = (1 << 63) - 1


def crown(documents: Documents, model: str, crowned: Crowned) -> None:
    """Begin a reign, and keep it among those that a backtest goes through."""
    documents.put("crowned", model, crowned)
    number = len(documents.all("reign", Crowned, prefix=f"{model}/"))
    documents.put("reign", f"{model}/{number:06d}", crowned)


@dataclass(frozen=True, kw_only=True)
class Reign:
    """A version's time as champion; it judges predictions behind row `crowned.seq`, until `end`."""

    crowned: Crowned
    end: Micros
    """When the next champion took over; NEVER for the present one."""


def reigns(books: Books, model: str, table: Table) -> list[Reign]:
    """Every reign, oldest first.

    Where an older release kept none, they are told from the moves of the alias: then a row that came in the
    very microsecond of a change may fall to the wrong side.
    """
    kept = list(books.documents.all("reign", Crowned, prefix=f"{model}/").values())
    present = books.crowned(model)
    if not kept and present is not None:
        kept = [present]
    if kept:
        kept = [*_from_moves(books, model, table, until=kept[0].at), *kept]
    ends = [after.at for _, after in pairwise(kept)]
    return [Reign(crowned=each, end=end) for each, end in zip(kept, [*ends, NEVER], strict=False)]


def _from_moves(books: Books, model: str, table: Table, *, until: Micros) -> list[Crowned]:
    """Reigns that began before a moment."""
    moves = [move for move in versions.history(books.documents, model) if move.alias == CHAMPION]
    return [
        Crowned(version=move.version, at=move.at, seq=table.rows_up_to("at", move.at), by_rollout=False)
        for move in moves
        if move.version is not None and move.at < until
    ]


def rollout_times(books: Books, model: str) -> Sequence[tuple[Micros, Micros]]:
    """When rollouts and experiments ran: behind the first moment, up to and with the second.

    One that evidence on a canary ended was over before the blocks of that moment were judged.
    """
    decided = {
        (decision.version, decision.at)
        for decision in books.decisions(model)
        if decision.action == "roll_back"
        and decision.verdict is not None
        and decision.verdict.kind is VerdictKind.ALARM
    }
    found = []
    for rollout in books.past_rollouts(model):
        ended = rollout.since - ((rollout.challenger, rollout.since) in decided)
        found.append((rollout.started, NEVER if rollout.running else ended))
    # The steps of an experiment are made once all blocks of their moment were judged.
    tried = past_experiments(books.documents, model)
    return [*found, *((each.started, NEVER if each.running else each.since) for each in tried)]
