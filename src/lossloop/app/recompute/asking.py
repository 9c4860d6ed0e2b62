"""What may be asked of history, and the answer."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from lossloop import losses
from lossloop.act.policy import Policy
from lossloop.app.books import Books
from lossloop.app.home import Home
from lossloop.app.judging import Lens
from lossloop.app.recompute.features import PREFIX, SLICE, read_features, slices
from lossloop.app.recompute.figures import Figure, Telling, Words
from lossloop.app.recompute.history import History, Span, read_history
from lossloop.app.recompute.scoring import Scoring, score
from lossloop.app.recompute.tally import KEYS, Tally, merged
from lossloop.core.calendar import Calendar
from lossloop.core.clock import Micros, format_time, parse_duration, parse_time
from lossloop.core.errors import InputError
from lossloop.core.records import Record
from lossloop.ledger.joined.keys import Keys
from lossloop.ledger.joined.table import ROLES
from lossloop.ledger.store import Store
from lossloop.losses import Loss
from lossloop.pipelines.executors import Executor

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_TOLD_BY = KEYS[:3]


class Question(Record, frozen=True):
    """A loss, and the part of history that it is to be computed over."""

    model: str
    loss: str | None = None
    """As a policy writes it; None for the loss in force."""
    since: str | None = None
    """A moment, a day of the policy's time zone, or how long before now, such as ``30d``."""
    until: str | None = None
    """Likewise; it does not belong to the span itself."""
    by: tuple[str, ...] = ("version", "role")
    """What rows are told apart by: ``version``, ``role``, ``block``, and names of features."""


class Answer(Record, frozen=True):
    """Mean losses over history; equal for equal histories, but for `seconds`."""

    model: str
    loss: str
    """The loss with its version."""
    text: str
    """The loss as a policy writes it."""
    unit: str
    needs_outcome: bool
    in_force: str | None
    """The loss in force with its version; None where that is the same."""
    since: str | None
    until: str | None
    by: tuple[str, ...]
    figures: tuple[Figure, ...]
    whole: Figure
    problem: str
    """Why the first prediction that has no loss, and should have one, has none."""
    gone: int = 0
    """Predictions, of any time, that were erased or have expired, and of which only counts are left."""
    seconds: float = 0.0
    """How long it took, from the first byte read to the last figure."""

    def plain(self) -> dict[str, Any]:
        """As plain values, every key there; infinite bounds are null."""
        found: dict[str, Any] = msgspec.structs.asdict(self)
        return {**found, "figures": [_plain(each) for each in self.figures], "whole": _plain(self.whole)}


Progress = Callable[[int, int], None]
"""Told how many pieces are done, of how many."""


def recompute(
    home: Home, question: Question, executor: Executor, *, progress: Progress | None = None
) -> Answer:
    """Compute a loss over history; history is read here, and its pieces are scored by the executor.

    Raises:
        UnknownName: There is no such model, loss or feature.
        InputError: The loss does not take what this model predicts, or there is nothing to compute it of.
        ExecutorError: The work could not be done.
    """
    state = home.state()
    try:
        return _answer(home, state, question, executor, progress or _unheard)
    finally:
        state.close()


def _answer(home: Home, state: Store, question: Question, executor: Executor, progress: Progress) -> Answer:
    books, begun = Books(state), time.perf_counter()
    lens = books.lens(question.model)
    loss = losses.parse(question.loss or lens.policy.loss)
    _check(loss, lens.policy)
    asked = (loss,) if loss == lens.loss else (loss, lens.loss)
    span = _span(question, lens.policy.calendar, books.now())
    known = books.counts(question.model).predictions  # before the rows, which may become more meanwhile
    past, names = _past(home, state, question, asked)
    gone = max(0, known - sum(history.there for history in past))
    scoring = Scoring(losses=asked, digests=tuple(each.digest for each in asked), span=span)
    tally = tallied(past, scoring, executor, progress)
    if tally is None:
        raise InputError(f"{question.model} has no predictions{_between(span)}; see: lossloop status")
    told = _told(question, asked, span, tally, _words(lens.policy.calendar, names))
    return msgspec.structs.replace(told, gone=gone, seconds=time.perf_counter() - begun)


def tallied(
    past: Sequence[History], scoring: Scoring, executor: Executor, progress: Progress
) -> Tally | None:
    """The tally of all rows that lie in the span; None where there are none."""
    pieces = [piece for history in past for piece in history.pieces(scoring.span)]
    found = []
    for tally in executor.map(partial(score, scoring=scoring), pieces):
        found.append(tally)
        progress(len(found), len(pieces))
    return merged(found) if found else None


def _past(
    home: Home, store: Store, question: Question, asked: Sequence[Loss]
) -> tuple[list[History], list[str]]:
    """The tables of a model with what features are needed of them, and what slices are called."""
    past = read_history(store, question.model)
    wanted = [name for name in question.by if name not in _TOLD_BY]
    needed = any(loss.needs_features for loss in asked)
    if not wanted and not needed:
        return past, []
    reader = home.log.reader()
    try:
        features = read_features(reader, store, Keys(home.settings().secret), question.model)
    finally:
        reader.close()
    codes, names = slices(features, wanted)
    found = []
    for place, history in enumerate(past):
        more = {f"{PREFIX}{name}": values for name, values in features[place].items()} if needed else {}
        found.append(replace(history, more={**more, SLICE: codes[place]} if wanted else more))
    return found, names


def _check(loss: Loss, policy: Policy) -> None:
    """Raise InputError where the loss does not take what a model of this task predicts."""
    if not loss.needs_features and math.isfinite(loss.bounds[0]):
        Lens(policy=msgspec.structs.replace(policy, loss=str(loss))).check_loss()


def _span(question: Question, calendar: Calendar, now: Micros) -> Span:
    span = Span(since=_moment(question.since, calendar, now, "since"),
                until=_moment(question.until, calendar, now, "until"))  # fmt: skip
    if span.since is not None and span.until is not None and span.since >= span.until:
        raise InputError(f"since {question.since} is not before until {question.until}", field="since")
    return span


def _moment(text: str | None, calendar: Calendar, now: Micros, field: str) -> Micros | None:
    if text is None:
        return None
    try:
        if text[-1:].islower():
            return now - parse_duration(text)
        if _DAY.fullmatch(text):
            day = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(calendar.zone))
            return parse_time(day.isoformat())
        return parse_time(text)
    except (InputError, ValueError) as error:
        raise InputError(
            f"{error}; write a moment such as 2013-03-18T17:45:00Z, a day such as 2013-03-18, "
            "or how long ago, such as 30d",
            field=field,
        ) from None


def _between(span: Span) -> str:
    since = "" if span.since is None else f" from {format_time(span.since)}"
    return since if span.until is None else f"{since} until {format_time(span.until)}"


def _told(question: Question, asked: Sequence[Loss], span: Span, tally: Tally, words: Words) -> Answer:
    loss, others = asked[0], asked[1:]
    by = [name for name in question.by if name in _TOLD_BY]
    if len(by) < len(question.by):
        by.append(SLICE)
    telling = Telling(by=by, words=words, bounds=loss.bounds,
                      comparable=all(other.unit == loss.unit for other in others))  # fmt: skip
    whole = telling.whole(tally)
    if whole.unscored and whole.mean is None:
        raise InputError(
            f"{loss} cannot be computed of what {question.model} predicts: {tally.problem}", field="loss"
        )
    return Answer(
        model=question.model, loss=loss.version, text=str(loss), unit=loss.unit,
        needs_outcome=loss.needs_outcome,
        in_force=others[0].version if others else None,
        since=None if span.since is None else format_time(span.since),
        until=None if span.until is None else format_time(span.until),
        by=question.by, figures=tuple(telling.figures(tally)), whole=whole, problem=tally.problem,
    )  # fmt: skip


def _words(calendar: Calendar, names: Sequence[str]) -> Words:
    return {
        "version": int, "role": ROLES.__getitem__, "block": calendar.label, SLICE: names.__getitem__,
    }  # fmt: skip


def _plain(figure: Figure) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.structs.asdict(figure)
    for name in ("interval", "delta"):
        found[name] = None if found[name] is None else msgspec.structs.asdict(found[name])
    return found


def _unheard(done: int, of: int) -> None:
    """Nobody wants to know."""
