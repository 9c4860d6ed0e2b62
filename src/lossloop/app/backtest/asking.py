"""A backtest from question to answer. The ledger is only read: nothing is recorded, nothing is done."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import msgspec
import numpy as np

from lossloop.act.policy import Mode, Policy
from lossloop.app.backtest.base import Backtest, Candidate, Incident, Outcome
from lossloop.app.backtest.blocks import Tell
from lossloop.app.backtest.measuring import champion_of
from lossloop.app.backtest.measuring import notes as measuring_notes
from lossloop.app.backtest.past import Past, cuts_alike
from lossloop.app.backtest.replay import replay
from lossloop.app.backtest.worth import Before, account
from lossloop.app.books import Books
from lossloop.app.eras import switches
from lossloop.app.home import Home
from lossloop.app.judging import Lens
from lossloop.app.moments import last_moment, moment
from lossloop.core.calendar import Calendar
from lossloop.core.clock import Micros, format_time
from lossloop.core.errors import InputError
from lossloop.core.records import Record
from lossloop.judges import parse
from lossloop.ledger.base import LogReader
from lossloop.ledger.joined.keys import Keys
from lossloop.ledger.joined.table import Table, history_of
from lossloop.ledger.store import Store

_FIRST = np.array([0])
MOST_OPEN = 4 << 20
"""Rows kept in memory at once, about 500 MB; the others are read again when they are asked for."""


class Question(Record, frozen=True):
    """The past that policies are tried on."""

    model: str
    since: str | None = None
    """A moment, a day of the time zone of the policy in force, or how long before now, such as ``30d``."""
    until: str | None = None
    """Likewise; it does not belong to the past that is replayed."""
    incidents: tuple[str, ...] = ()
    """Spans in which something was wrong, such as ``2013-06-01..2013-06-20``; both days belong to it."""


def backtest(
    home: Home, candidates: Sequence[Candidate], question: Question, *, tell: Tell = lambda rows: None
) -> Backtest:
    """Try policies on a model's past.

    Raises:
        UnknownName: There is no such model.
        InputError: A policy cannot judge what this model predicts, or a moment cannot be read.
    """
    state, log = home.state(), home.log.reader()
    try:
        return _backtest(home, state, log, candidates, question, tell)
    finally:
        log.close()
        state.close()


def _backtest(
    home: Home, store: Store, log: LogReader, candidates: Sequence[Candidate], question: Question, tell: Tell
) -> Backtest:
    begun, books, model = time.perf_counter(), Books(store), question.model
    for candidate in candidates:
        check(candidate, books, model)
    past = replace(past_of(home, store, books, question), log=log)
    incidents = tuple(read_incident(text, past.in_force.calendar, past.now) for text in question.incidents)
    outcomes = tuple(_tried(past, candidate, incidents, tell) for candidate in candidates)
    return Backtest(
        model=model, since=past.since, until=past.until, rows=past.end - past.first, incidents=incidents,
        outcomes=outcomes, seconds=time.perf_counter() - begun,
    )  # fmt: skip


def past_of(home: Home, store: Store, books: Books, question: Question) -> Past:
    """What the ledger holds of the span that is asked about.

    Raises:
        InputError: The span is empty, or its ends cannot be read.
    """
    calendar, now = books.policy(question.model).calendar, books.now()
    table = Table(store, question.model, most=MOST_OPEN)
    first = int(table.columns(["at"], _FIRST)[0][0]) if len(table) else now
    since = moment(question.since, calendar, now, "since")
    until = moment(question.until, calendar, now, "until")
    settings = home.settings()
    past = Past(
        model=question.model, books=books, table=table, now=now, store=store, keys=Keys(settings.secret),
        by_event=settings.clock == "event",
        since=first if since is None else max(since, first),
        until=max(now, table.last_at) + 1 if until is None else until,
    )  # fmt: skip
    if not len(table) and store.streams(f"rows/{history_of(question.model)}"):
        raise InputError(
            f"{question.model} has imported predictions only; they were never served, so no champion is "
            "known that could be judged on them",
            field="model",
        )
    if past.since >= past.until:
        raise InputError("since is not before until", field="since")
    return past


def check(candidate: Candidate, books: Books, model: str) -> None:
    """Raise InputError where a policy cannot judge what a model predicts."""
    in_force, policy = books.policy(model), candidate.policy
    try:
        if policy.task != in_force.task:
            raise InputError(f"its task is {policy.task}, that of {model} {in_force.task}", field="task")
        Lens(policy=policy).check_loss()
        for name, watch in policy.watches.items():
            try:
                parse(watch.promise)
            except InputError as error:
                raise InputError(f"watch {name!r}: {error}", field=f"watches.{name}") from None
    except InputError as error:
        raise InputError(f"{candidate.name}: {error}", field=error.field) from None


def read_incident(text: str, calendar: Calendar, now: Micros) -> Incident:
    """Read a span such as ``2013-06-01..2013-06-20``, both days included.

    Raises:
        InputError: It is no span, or ends before it begins.
    """
    first, dots, last = text.partition("..")
    if not (first and dots and last):
        raise InputError(f"{text!r} is no span; write one such as 2013-06-01..2013-06-20", field="incident")
    start = moment(first.strip(), calendar, now, "incident")
    end = last_moment(last.strip(), calendar, now, "incident")
    assert start is not None
    if start >= end:
        raise InputError(f"{text!r} ends before it begins", field="incident")
    return Incident(text=text, start=start, end=end)


def _tried(past: Past, candidate: Candidate, incidents: Sequence[Incident], tell: Tell) -> Outcome:
    lens = Lens(policy=candidate.policy, thresholds=past.thresholds)
    found, days = replay(past, candidate.policy, tell)
    reference = partial(_reference, past, lens)
    return Outcome(
        policy=candidate.name, loss=lens.loss.version, unit=lens.loss.unit,
        in_force=_judging(candidate.policy) == _judging(past.in_force),
        accounts=tuple(account(each, days, incidents, reference) for each in found),
        days=tuple(days), notes=tuple(_notes(past, candidate)),
    )  # fmt: skip


def _judging(policy: Policy) -> Policy:
    """A policy without what does not change its verdicts."""
    return msgspec.structs.replace(
        policy, mode=Mode.OBSERVE, on={}, approve=(), budget={}, retention=None, rollout=None, beside=()
    )


def _reference(past: Past, lens: Lens, version: int) -> Before | None:
    found = champion_of(past, lens, version).manifest.reference
    if found is None or not lens.is_of(found.loss):
        return None
    return Before.of(found.block_means, f"the reference of {past.model}:{version}")


def _other_losses(past: Past, lens: Lens) -> Iterator[str]:
    """What has to be said where another loss judged the past."""
    switched = switches(past.books.documents, past.model)
    if lens.is_of(past.in_force.loss) and switched:
        at = format_time(switched[-1].at)
        yield f"{past.in_force.loss} judges since {at} only; here it judges all of the past"
    yield from measuring_notes(past, lens)


def _notes(past: Past, candidate: Candidate) -> list[str]:
    """What has to be said of a replay under this policy."""
    policy, in_force, notes = candidate.policy, past.in_force, []
    if policy.labels.mature_after != in_force.labels.mature_after:
        notes.append(
            "corrections of an outcome are told by the judging age in force, not by that of this policy"
        )
    if not cuts_alike(policy, in_force):
        notes.append("when each block would have been judged is computed; the loop judged other blocks")
    if (policy.labels.absent_means, policy.labels.after) != (
        in_force.labels.absent_means,
        in_force.labels.after,
    ):
        notes.append("outcomes that mean absence are those of the policy in force")
    notes += _other_losses(past, Lens(policy=policy, thresholds=past.thresholds))
    if policy.rollout is not None and policy.rollout != in_force.rollout:
        notes.append(
            "rollouts and champions are those that were: what another rollout would have served is not known"
        )
    return notes
