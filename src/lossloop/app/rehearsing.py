"""Before a loss is switched: the new policy is tried on the past, and references are measured under it.

All of it goes into the command, so that the fold need not do it again and a rebuild has the same figures,
also where rows were erased meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable

from lossloop.act.policy import Policy, read_policy
from lossloop.act.settings import check_targets
from lossloop.act.yaml import load
from lossloop.app.backtest import Candidate, Question, backtest
from lossloop.app.backtest.asking import past_of
from lossloop.app.backtest.base import Outcome
from lossloop.app.backtest.measuring import FEWEST_BLOCKS, lacks, measured
from lossloop.app.backtest.past import Past
from lossloop.app.books import Books
from lossloop.app.home import Home
from lossloop.app.judging import Lens
from lossloop.app.policies import check_watches
from lossloop.app.references import version_under, with_reference
from lossloop.app.switching import Measured, SwitchLoss, Tried, check_switch
from lossloop.core.errors import InputError, PolicyError
from lossloop.core.ids import digest
from lossloop.registry import CHAMPION, Version, versions


def rehearse(
    home: Home, text: str, *, source: str = "policy", since: str | None = None, until: str | None = None,
    reason: str = "", by: str = "operator", force: bool = False,
    tell: Callable[[int], None] = lambda rows: None,
) -> SwitchLoss:  # fmt: skip
    """The command that switches the loss, with what the past says of it.

    Args:
        home: The state directory; only read.
        text: The new policy: the other loss, limits in its unit, and the present one beside.
        source: What errors call the policy.
        since: From when on the past counts: a moment, a day, or how long ago; None for all of it.
        until: Until before when, likewise.
        reason: Why; kept with the decision.
        by: Who.
        force: Whether to switch in spite of what speaks against it.
        tell: Told of predictions that were replayed.

    Raises:
        PolicyError: With the line: the policy cannot be read, or could not judge the champion.
        Conflict: The loss cannot be switched now; says what to do first.
        UnknownName: There is no such model.
    """
    policy = read_policy(text, source=source)
    state = home.state()
    try:
        books = Books(state)
        lens = Lens(policy=policy, thresholds=versions.thresholds(state, policy.model))
        check_switch(policy, books)
        past = past_of(home, state, books, Question(model=policy.model, since=since, until=until))
        references: tuple[Measured, ...] = ()
        try:
            check_targets(policy, home.settings())
            check_watches(lens, None)
            references = _references(past, lens)
            check_watches(lens, _champion(books, lens, references))
        except InputError as error:
            path = tuple((error.field or "loss").split("."))
            line = load(text).line(path)
            raise PolicyError(f"{error}{_wait(error, references)}", line=line, source=source) from None
        in_force = books.policy(policy.model)
    finally:
        state.close()
    tried = _tried(home, in_force, policy, text, Question(model=policy.model, since=since, until=until), tell)
    return SwitchLoss(
        model=policy.model, text=text, reason=reason, by=by, force=force, tried=tried, references=references
    )


def _references(past: Past, lens: Lens) -> tuple[Measured, ...]:
    """What the versions that reigned lost under the new loss, of those that brought no reference for it."""
    found = []
    for number in past.champions:
        version = version_under(past.books.documents, lens, number)
        if lacks(past, lens, version) and (reference := measured(past, lens, version)) is not None:
            found.append(Measured(version=number, reference=reference))
    return tuple(found)


def _champion(books: Books, lens: Lens, references: tuple[Measured, ...]) -> Version | None:
    number = versions.alias(books.documents, lens.policy.model, CHAMPION)
    if number is None:
        return None
    version = version_under(books.documents, lens, number)
    for each in references:
        if each.version == number:
            return with_reference(version, each.reference)
    return version


def _wait(error: InputError, references: tuple[Measured, ...]) -> str:
    if references or "reference" not in str(error):
        return ""
    return (
        f"; or wait: it is measured once the version has answered {FEWEST_BLOCKS} blocks that have outcomes"
    )


def _tried(
    home: Home, in_force: Policy, policy: Policy, text: str, question: Question, tell: Callable[[int], None]
) -> Tried:
    candidates = [Candidate(name="in force", policy=in_force), Candidate(name="new", policy=policy)]
    found = backtest(home, candidates, question, tell=tell)
    present, new = found.outcomes
    problems = (problem for account in new.accounts for problem in account.replayed.problems)
    return Tried(
        policy=digest(text), since=found.since, until=found.until, predictions=found.rows,
        alarms=_alarms(new), alarms_in_force=_alarms(present), problems=tuple(problems),
    )  # fmt: skip


def _alarms(outcome: Outcome) -> int:
    return sum(len(account.replayed.alarms) for account in outcome.accounts)
