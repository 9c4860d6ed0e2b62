"""What may be asked of metrics over history, and the answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec

from lossloop.app.books import Books
from lossloop.app.home import Home
from lossloop.app.metrics.counting import Counting, Part, Place, blocks_of, count, merge_into
from lossloop.app.metrics.figures import Counted, Figure, Telling
from lossloop.app.metrics.kinds import empty_sums
from lossloop.app.recompute.features import SLICE
from lossloop.app.recompute.past import TOLD_BY, between, read_past, span_of, words_of
from lossloop.core.clock import format_time
from lossloop.core.errors import InputError, UnknownName
from lossloop.core.records import Record
from lossloop.ledger.store import Store
from lossloop.pipelines.executors import EmbeddedExecutor, Executor
from lossloop.summaries import Scores


class Question(Record, frozen=True):
    """The part of history whose metrics are wanted."""

    model: str
    since: str | None = None
    """A moment, a day of the policy's time zone, or how long before now, such as ``30d``."""
    until: str | None = None
    """Likewise; it does not belong to the span itself."""
    by: tuple[str, ...] = ("version", "role")
    """What rows are told apart by: ``version``, ``role``, ``block``, and names of features."""
    threshold: float = 0.5
    """Of a binary task: from which probability on a row is called a 1."""
    against: str | None = None
    """The slice that gaps are to, such as ``carrier=AA``; None for the one with the most outcomes."""


class Answer(Record, frozen=True):
    """Metrics over history; equal for equal histories, but for `seconds`."""

    model: str
    task: str
    threshold: float | None
    since: str | None
    until: str | None
    by: tuple[str, ...]
    against: str | None
    gap_level: float | None
    """The level of one gap, so that all gaps of a metric to `against` hold together at 0.95; None without."""
    figures: tuple[Figure, ...]
    gone: int
    """Predictions, of any time, that were erased or have expired, and of which only counts are left."""
    seconds: float

    def plain(self) -> dict[str, Any]:
        """As plain values, every key there."""
        found: dict[str, Any] = _plain(self)
        return found


Progress = Callable[[int, int], None]
"""Told how many pieces are done, of how many."""


def measure(
    home: Home, question: Question, executor: Executor, *, progress: Progress | None = None
) -> Answer:
    """Compute the metrics of a model's task over history.

    Raises:
        UnknownName: There is no such model, feature or slice.
        InputError: The task has no metrics, the threshold is none, or there is nothing to measure.
        ExecutorError: The work could not be done.
    """
    state = home.state()
    try:
        return _answer(home, state, question, executor, progress or _unheard)
    finally:
        state.close()


def measure_at(home: Home, model: str) -> dict[str, Any]:
    """The metrics of all that a model predicted, by version and role, as plain values."""
    with EmbeddedExecutor(workers=1) as executor:
        return measure(home, Question(model=model), executor).plain()


def _answer(home: Home, state: Store, question: Question, executor: Executor, progress: Progress) -> Answer:
    books, begun = Books(state), time.perf_counter()
    policy = books.policy(question.model)
    empty = empty_sums(policy.task, question.threshold)
    span = span_of(question.since, question.until, policy.calendar, books.now())
    known = books.counts(question.model).predictions  # before the rows, which may become more meanwhile
    features = [name for name in question.by if name not in TOLD_BY]
    past, names = read_past(home, state, question.model, features)
    pieces = [piece for history in past for piece in history.pieces(span)]
    blocks = blocks_of((piece.work for piece in pieces), span, question.by)
    counting = Counting(task=policy.task, empty=empty, span=span, by=question.by, blocks=blocks)
    counted: dict[Place, Part] = {}
    for done, found in enumerate(executor.map(partial(count, counting=counting), pieces), start=1):
        for place, part in found.items():
            merge_into(counted, place, part)
        progress(done, len(pieces))
    if not counted:
        raise InputError(f"{question.model} has no predictions{between(span)}; see: lossloop status")
    against = _against(counted, names, question.against)
    telling = Telling(counted, blocks, against)
    words = words_of(policy.calendar, names)
    by = [*(name for name in TOLD_BY if name in question.by), *([SLICE] if features else [])]
    figures = [
        telling.figure(
            key, {name: words[name](number) for name, number in zip((*TOLD_BY, SLICE), key, strict=True)
                  if name in by},
        )
        for key in telling.keys
    ]  # fmt: skip
    return Answer(
        model=question.model, task=str(policy.task),
        threshold=empty.threshold if isinstance(empty, Scores) else None,
        since=None if span.since is None else format_time(span.since),
        until=None if span.until is None else format_time(span.until),
        by=question.by, against=None if against is None else names[against], gap_level=telling.level,
        figures=tuple(figures), gone=max(0, known - sum(history.there for history in past)),
        seconds=time.perf_counter() - begun,
    )  # fmt: skip


def _against(counted: Counted, names: Sequence[str], asked: str | None) -> int | None:
    """The slice that gaps are to; None where there are no slices."""
    if not names:
        if asked is not None:
            raise InputError("there are no slices to compare; name a feature in --by", field="against")
        return None
    labelled: dict[int, int] = {}
    for place, part in counted.items():
        labelled[place.slice] = labelled.get(place.slice, 0) + part.labelled
    if asked is None:
        return max(sorted(labelled), key=labelled.__getitem__)
    there = [names[code] for code in sorted(labelled)]
    if asked not in there:
        raise UnknownName("slice", asked, there, field="against")
    return names.index(asked)


def _plain(value: Any) -> Any:
    """Records as dictionaries, however deep; `asdict` keeps every key."""
    if isinstance(value, Record):
        return {name: _plain(each) for name, each in msgspec.structs.asdict(value).items()}
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _unheard(done: int, of: int) -> None:
    """Nobody wants to know."""
