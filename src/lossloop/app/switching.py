"""The loss that judges is switched: one that has run beside it judges what is predicted from now on.

Both go on being computed, so that switching back is the same again. What one loss has won as evidence is
never used for the other: every watch that asks of the loss begins anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np

from lossloop.act.policy import Policy, read_policy
from lossloop.app.acting import Acting
from lossloop.app.books import Books, PolicyText
from lossloop.app.eras import Switch, begin_era
from lossloop.app.experiments import under_way
from lossloop.app.judging import Lens
from lossloop.app.policies import arrange, begin_anew, check_history, check_slices, check_watches
from lossloop.app.references import keep_reference, version_under
from lossloop.app.showing import beside, shown
from lossloop.core.clock import Micros, format_time
from lossloop.core.documents import Documents
from lossloop.core.errors import Conflict
from lossloop.core.ids import digest
from lossloop.core.records import Record, Role
from lossloop.ledger.joined.table import Table
from lossloop.registry import CHAMPION, Reference, versions

FEWEST_BLOCKS = 8
"""Below so many blocks of a champion nothing is known of how a loss varies."""


class Tried(Record, frozen=True):
    """What a backtest of the new policy said, beside the policy in force."""

    policy: str
    """The digest of the text that was tried."""
    since: Micros
    until: Micros
    predictions: int
    alarms: int
    """How often its watches would have alarmed."""
    alarms_in_force: int
    problems: tuple[str, ...] = ()
    """What could not be replayed."""

    @property
    def words(self) -> str:
        """In a sentence."""
        span = f"from {format_time(self.since)[:10]} to {format_time(self.until)[:10]}"
        return (
            f"Over {self.predictions:,} predictions {span} its watches would have alarmed "
            f"{_times(self.alarms)}, those in force {_times(self.alarms_in_force)}"
        )


class Measured(Record, frozen=True):
    """What a version lost under the new loss, on what it answered."""

    version: int
    reference: Reference


class SwitchLoss(Record, frozen=True):
    """Put a policy with another loss in force: one that has run beside the one that judges."""

    model: str
    text: str
    """The policy, with limits in the new loss's unit and the old loss beside."""
    reason: str = ""
    by: str = "operator"
    force: bool = False
    """Switch in spite of what speaks against it."""
    tried: Tried | None = None
    references: tuple[Measured, ...] = ()


def switch(command: SwitchLoss, books: Books, desk: Acting, tables: Sequence[Table]) -> str:
    """Obey the command; return what was done, in words.

    Args:
        command: What is asked.
        books: Of the state.
        desk: Acts on the model.
        tables: The model's predictions, flushed.

    Raises:
        Conflict: It cannot be, or may not be without force; says what to do.
        InputError: A watch could not judge the champion by the new loss.
    """
    policy, before = read_policy(command.text), books.policy(command.model)
    lens = Lens(policy=policy, thresholds=versions.thresholds(books.documents, policy.model))
    check_switch(policy, books)
    against = list(doubts(command, before, lens, books.documents))
    if against and not command.force:
        raise Conflict(f"{'; '.join(against)}. To switch all the same: --force")
    for each in command.references:
        keep_reference(
            books.documents, versions.find(books.documents, policy.model, each.version), each.reference
        )
    champion = versions.alias(books.documents, policy.model, CHAMPION)
    check_watches(lens, None if champion is None else version_under(books.documents, lens, champion))
    anew = begin_anew(books, before, policy)
    arrange(books.documents, before, lens, tables)
    begin_era(books.documents, policy.model, Switch(
        at=desk.now, seq=desk.last_seq, by=command.by, reason=command.reason,
        before=books.policy_text(policy.model), after=command.text,
    ))  # fmt: skip
    books.documents.put("policy", policy.model, PolicyText(text=command.text, at=desk.now))
    words = _words(command, before, policy, anew, against)
    desk.command("switch_loss", champion, words, by=command.by)
    desk.route()
    return words


def check_switch(policy: Policy, books: Books) -> None:
    """Raise Conflict where a policy cannot take over by a switch of the loss; it says what to do first."""
    model, before = policy.model, books.policy(policy.model)
    if policy.loss == before.loss:
        raise Conflict(
            f"{model} is judged by {policy.loss} already; to change its limits: lossloop policy FILE"
        )
    if policy.loss not in before.beside:
        raise Conflict(
            f"{policy.loss} does not run beside {before.loss}; let it first: write "
            f"beside: [{', '.join((*before.beside, policy.loss))}] into the policy in force, "
            "then lossloop policy FILE"
        )
    if before.loss not in policy.beside:
        raise Conflict(
            f"the new policy must keep {before.loss} beside, or there is no way back; write "
            f"beside: [{', '.join((*policy.beside, before.loss))}]"
        )
    if going := under_way(books.documents, model):
        raise Conflict(
            f"{going} is judged by {before.loss}; wait for its end, or end it: lossloop rollback {model}"
        )
    check_history(msgspec.structs.replace(policy, loss=before.loss), books)
    check_slices(policy, books)


def doubts(command: SwitchLoss, before: Policy, lens: Lens, documents: Documents) -> Iterator[str]:
    """What speaks against a switch; force overrides it."""
    policy, tried = lens.policy, command.tried
    if tried is None or tried.policy != digest(command.text):
        yield f"this policy was never tried on the past; see: lossloop backtest FILE --model {policy.model}"
    else:
        yield from (f"the backtest could not say all: {problem}" for problem in tried.problems)
    found = shown(documents, policy.model, beside(policy.model, policy.loss))
    blocks = {each.block for each in found if each.role == Role.CHAMPION and each.losses.count}
    if len(blocks) < FEWEST_BLOCKS:
        count = f"{len(blocks)} block{'' if len(blocks) == 1 else 's'}"
        yield (
            f"{policy.loss} was computed of {count} of outcomes only; wait for {FEWEST_BLOCKS}: they say how "
            "it varies"
        )
    if np.isfinite(Lens(policy=before).bound) and not np.isfinite(lens.bound):
        yield (
            f"{policy.loss} has no largest value, as {before.loss} has: it can alarm, but neither a rollout "
            f"nor an estimate can certify that all is well; write one with a cap: {policy.loss}.clip(5)"
        )


def _words(
    command: SwitchLoss, before: Policy, policy: Policy, anew: Sequence[str], against: Sequence[str]
) -> str:
    parts = [f"{policy.loss} judges {policy.model} from now on, and {before.loss} runs beside it"]
    if command.tried is not None:
        parts.append(command.tried.words)
    if anew:
        parts.append(f"{_watches(anew)} anew, with predictions made from now on")
    if command.references:
        measured = ", ".join(
            f"{policy.model}:{each.version} {each.reference.mean:.4g} over "
            f"{len(each.reference.block_means)} blocks"
            for each in command.references
        )
        parts.append(f"References under {policy.loss} were measured on what was answered: {measured}")
    if against:
        parts.append(f"In spite of this: {'; '.join(against)}")
    return ". ".join([*parts, *([command.reason] if command.reason else [])])


def _watches(names: Sequence[str]) -> str:
    return f"Watch {names[0]} begins" if len(names) == 1 else f"Watches {', '.join(names)} begin"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times" if count else "never"
