"""A policy put in force: what is refused, which watches begin anew, and where the figures of losses go."""

from __future__ import annotations

from collections.abc import Sequence

from lossloop.act.policy import Policy
from lossloop.act.watches import SlicesWatch, Watch
from lossloop.app.books import Books
from lossloop.app.constraints import check_constraints
from lossloop.app.gates import check_actions
from lossloop.app.judging import Lens
from lossloop.app.showing import Shelf, begin, beside, clear, judging, move
from lossloop.app.watches import asks_of_loss, check_promise, judge_of
from lossloop.app.watches.slices import cuts_of
from lossloop.core.cuts import MOST_CUTS
from lossloop.core.documents import Documents
from lossloop.core.errors import Conflict, InputError
from lossloop.ledger.joined.slicing import dictionary_of
from lossloop.ledger.joined.table import Table
from lossloop.registry import Version


def begin_anew(books: Books, before: Policy, after: Policy) -> list[str]:
    """Forget what watches have judged that ask something else now: it is no evidence against another limit.

    The others go on, so that a policy may be set as often as anyone deploys. Returns the names of those that
    begin anew, or are gone.
    """
    same, anew = (before.labels, before.unit) == (after.labels, after.unit), []
    for name, watch in before.watches.items():
        of_loss = before.loss != after.loss and asks_of_loss(watch)
        other = after.watches.get(name) != watch or _cuts(before, watch) != _cuts(after, watch)
        if of_loss or other or not same:
            anew.append(name)
            for kind in ("watch", "watch_error", "gathered"):
                books.documents.drop(kind, f"{after.model}/{name}")
    return anew


def arrange(documents: Documents, before: Policy, after: Lens, tables: Sequence[Table]) -> None:
    """Let the figures of each loss lie where the new policy has it; of a loss that is new, of all that came.

    Args:
        documents: Of the state.
        before: The policy that was in force.
        after: The new one's view.
        tables: Of the model, flushed.
    """
    model, policy, kept = before.model, after.policy, set(before.beside)
    if policy.loss != before.loss:
        spare = Shelf("beside_spare", f"{model}/")
        move(documents, judging(model), spare)
        move(documents, beside(model, policy.loss), judging(model))
        move(documents, spare, beside(model, before.loss))
        kept = kept - {policy.loss} | {before.loss}
    for loss in sorted(kept - set(policy.beside)):
        clear(documents, beside(model, loss))
    for other in after.beside:
        if other.policy.loss not in kept:
            begin(documents, model, other, tables)


def _cuts(policy: Policy, watch: Watch) -> frozenset[str]:
    """By what a watch tells rows apart, if it does."""
    return (
        frozenset(cut.key for cut in cuts_of(policy, watch))
        if isinstance(watch, SlicesWatch)
        else frozenset()
    )


def check_history(policy: Policy, books: Books) -> None:
    """Refuse to change what the figures of past predictions were computed with."""
    if policy.model not in books.models():
        return
    before, counts = books.policy(policy.model), books.counts(policy.model)
    for key in ("task", "loss", "block", "timezone"):
        if counts.predictions and getattr(before, key) != getattr(policy, key):
            raise Conflict(
                f"{policy.model} has predictions that were judged with its present {key}; "
                f"give the model a new name to change its {key}{_or(key)}",
                field=key,
            )


def _or(key: str) -> str:
    """What else can be done."""
    if key != "loss":
        return ""
    return ", or let the new loss run beside it (beside: [...]) and then: lossloop loss switch FILE"


def check_slices(policy: Policy, books: Books) -> None:
    """Refuse more ways to tell rows apart than a row has places for."""
    known = dictionary_of(books.documents, policy.model).cuts
    if len({*known, *(cut.key for cut in policy.cuts)}) > MOST_CUTS:
        raise Conflict(
            f"{policy.model} has been cut by {', '.join(known)}; with what is asked for now these are more "
            f"than {MOST_CUTS}: leave some of it out, or give the model a new name",
            field="slices",
        )


def check_watches(lens: Lens, champion: Version | None) -> None:
    """Raise InputError where a policy's watches could not judge, with this champion if there is one."""
    lens.check_loss()
    lens.check_beside()
    check_constraints(lens.policy.serving)
    if champion is not None:
        check_actions(lens, champion)
    if lens.policy.rollout is not None:
        lens.shadow(lens.policy.rollout)
        lens.canary(lens.policy.rollout, None)
    for name, watch in lens.policy.watches.items():
        try:
            check_promise(watch)
            if champion is not None:
                judge_of(lens, watch, champion)
        except InputError as error:
            raise InputError(f"watch {name!r}: {error}", field=f"watches.{name}") from None
