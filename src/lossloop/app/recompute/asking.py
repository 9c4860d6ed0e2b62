"""What may be asked of history, and the answer."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec

from lossloop import losses
from lossloop.act.policy import Policy
from lossloop.app.books import Books
from lossloop.app.home import Home
from lossloop.app.judging import Lens, is_of_actions
from lossloop.app.recompute.features import SLICE
from lossloop.app.recompute.figures import Figure, Telling, Words
from lossloop.app.recompute.history import History, Span
from lossloop.app.recompute.past import TOLD_BY, between, read_past, span_of, words_of
from lossloop.app.recompute.scoring import Scoring, score
from lossloop.app.recompute.tally import Tally, merged
from lossloop.core.clock import format_time
from lossloop.core.errors import InputError
from lossloop.core.records import Record
from lossloop.ledger.store import Store
from lossloop.losses import Loss
from lossloop.pipelines.executors import Executor
from lossloop.registry import versions


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
    span = span_of(question.since, question.until, lens.policy.calendar, books.now())
    known = books.counts(question.model).predictions  # before the rows, which may become more meanwhile
    wanted = [name for name in question.by if name not in TOLD_BY]
    needed = any(each.needs_features for each in asked)
    past, names = read_past(home, state, question.model, wanted, whole=needed)
    gone = max(0, known - sum(history.there for history in past))
    of_actions = [is_of_actions(each, lens.policy) for each in asked]
    scoring = Scoring(
        losses=asked, digests=tuple(each.digest for each in asked), span=span,
        thresholds=versions.thresholds(state, question.model) if any(of_actions) else (),
    )  # fmt: skip
    tally = tallied(past, scoring, executor, progress)
    if tally is None:
        raise InputError(f"{question.model} has no predictions{between(span)}; see: lossloop status")
    told = _told(question, asked, span, tally, words_of(lens.policy.calendar, names))
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


def _check(loss: Loss, policy: Policy) -> None:
    """Raise InputError where the loss does not take what a model of this task predicts."""
    if not loss.needs_features and math.isfinite(loss.bounds[0]):
        Lens(policy=msgspec.structs.replace(policy, loss=str(loss))).check_loss()


def _told(question: Question, asked: Sequence[Loss], span: Span, tally: Tally, words: Words) -> Answer:
    loss, others = asked[0], asked[1:]
    by = [name for name in question.by if name in TOLD_BY]
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


def _plain(figure: Figure) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.structs.asdict(figure)
    for name in ("interval", "delta"):
        found[name] = None if found[name] is None else msgspec.structs.asdict(found[name])
    return found


def _unheard(done: int, of: int) -> None:
    """Nobody wants to know."""
