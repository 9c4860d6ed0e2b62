"""Why did the loss move? What may be asked, and the answer with the numbers behind it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from lossloop.app.books import Books
from lossloop.app.charts.history import read_history as read_verdicts
from lossloop.app.home import Home
from lossloop.app.judging import Lens
from lossloop.app.moments import moment
from lossloop.app.recompute.history import Span
from lossloop.app.why.bins import Cut, by_block, cut
from lossloop.app.why.periods import rise
from lossloop.app.why.rows import VERSION, Seen, read_rows
from lossloop.app.why.weights import ratios
from lossloop.core.clock import Micros, format_time
from lossloop.core.errors import InputError, UnknownName
from lossloop.core.records import Record
from lossloop.judges.change import (
    FEWEST_BLOCKS,
    Cause,
    Change,
    Contribution,
    Split,
    change_of,
    contributions,
    period,
    split_of,
)
from lossloop.judges.moved import Move, moves
from lossloop.ledger.joined.columns import Array

_LONGER = 8
"""How many times as long as the time that is asked about the time before it is, at most."""
MOST_READ = 100_000
"""Rows of each period whose features are looked at: blocks differ by more than rows that were not drawn."""
MOST_COMPARED = 40_000
"""Rows of each period by which inputs are told from answers, drawn at random: more add time, not clarity."""
_FINER = 10
"""Into how many parts numbers are cut to see whether a feature moved."""


class Question(Record, frozen=True):
    """Whose loss, and between which times; what is left out is taken from the last alarm."""

    model: str
    watch: str | None = None
    """Whose alarm; None for the last of any."""
    since: str | None = None
    """From when the loss is asked about: a moment, a day, or how long ago; None for where the alarm began."""
    until: str | None = None
    against: str | None = None
    """From when it is compared, until `since`; None for the time before, up to eight times as long."""


class SliceOf(Record, frozen=True):
    """A slice and what it gives to the change."""

    slice: str
    feature: str
    share_of_change: float | None
    """What it gives as a share of the change; None where the change is within what blocks vary by."""
    found: Contribution


class Why(Record, frozen=True):
    """An answer, and the numbers behind it."""

    model: str
    loss: str
    unit: str
    before: tuple[str, str]
    """From and until when."""
    after: tuple[str, str]
    rows: tuple[int, int]
    there: tuple[int, int]
    """How many had a loss; more than `rows`, where those were drawn at random."""
    blocks: tuple[int, int]
    unlabelled: int
    """How many more predictions in both had no loss, mostly for want of an outcome."""
    change: Change
    slices: tuple[SliceOf, ...]
    """Of every feature by itself, the one that gives most beyond its share of the rows first."""
    features: tuple[Move, ...]
    split: Split
    told_apart: float | None
    """How well inputs of the two periods are told apart, 0.5 for not at all; None where nobody tried."""
    sentence: str

    def plain(self) -> dict[str, Any]:
        """As plain values, every key there; what is infinite is null."""
        found: dict[str, Any] = _plain(self)
        return found


def why(home: Home, question: Question, *, seed: int = 0) -> Why:
    """Say why the loss of a model's champions moved.

    Raises:
        UnknownName: There is no such model.
        InputError: No watch has alarmed and no time is given; or a period has no outcome.
    """
    state = home.state()
    try:
        books = Books(state)
        lens = books.lens(question.model)
        spans = _spans(books, question)
        old, new = read_rows(home, state, lens, spans, most=MOST_READ, seed=seed)
    finally:
        state.close()
    return answer(lens, old, new, spans, seed=seed)


def answer(lens: Lens, old: Seen, new: Seen, spans: tuple[Span, Span], *, seed: int = 0) -> Why:
    """The answer for two periods of rows. Pure but for the classifier, which is seeded."""
    for rows, span in ((old, spans[0]), (new, spans[1])):
        if not len(rows):
            raise InputError(f"no prediction {_said(span)} has a loss; name another time with --since",
                             field="since")  # fmt: skip
    change = change_of(period(old.loss, old.block), period(new.loss, new.block), seed=seed)
    cuts = cut(_joined(old, new))
    split, told_apart = _split(old, new, seed)
    slices = _slices(cuts, old, new, change, seed)
    features = _moves(old, new, seed)
    return Why(
        model=lens.policy.model, loss=lens.loss.version, unit=lens.loss.unit, before=_times(spans[0], old),
        after=_times(spans[1], new), rows=(len(old), len(new)),
        blocks=(len(np.unique(old.block)), len(np.unique(new.block))),
        there=(old.there, new.there), unlabelled=old.unlabelled + new.unlabelled,
        change=change, slices=tuple(slices),
        features=tuple(features), split=split, told_apart=told_apart,
        sentence=sentence(lens.policy.model, change, slices, features, split),
    )  # fmt: skip


def sentence(
    model: str, change: Change, slices: Sequence[SliceOf], features: Sequence[Move], split: Split
) -> str:
    """What a manager can read."""
    moved = change.difference
    if not math.isfinite(moved.low):
        return (
            f"The mean loss of {model} went from {change.before:.4g} to {change.after:.4g}; that is too few "
            f"blocks to say what they vary by: it takes {FEWEST_BLOCKS} in each period."
        )
    if moved.low <= 0.0 <= moved.high:
        return (
            f"The mean loss of {model} went from {change.before:.4g} to {change.after:.4g}, which is within "
            "what its blocks vary by: there may be nothing to explain."
        )
    verb = "rose" if moved.estimate > 0 else "fell"
    size = f"{moved.estimate:+.4g}, between {moved.low:+.4g} and {moved.high:+.4g}"
    words = [f"The mean loss of {model} {verb} from {change.before:.4g} to {change.after:.4g} ({size})."]
    top = _most_beyond_its_share(slices, change)
    if top is not None and top.share_of_change is not None:
        words.append(
            f"{top.share_of_change:.0%} of that comes from {top.slice}, which is "
            f"{top.found.share_after:.0%} of the rows."
        )
    else:
        words.append("It is spread over all slices.")
    words.append(_of_split(split))
    if names := [move.feature for move in features if move.moved and move.feature != VERSION][:3]:
        words.append(f"What moved most among the inputs: {', '.join(names)}.")
    return " ".join(words)


def _of_split(split: Split) -> str:
    if split.inputs is None or split.answers is None or split.cause is Cause.CANNOT_TELL:
        return f"Whether the inputs or the answers changed cannot be told: {split.reason}."
    return (
        f"{split.reason[:1].upper()}{split.reason[1:]}: {split.inputs.estimate:+.4g} comes with other "
        f"inputs, {split.answers.estimate:+.4g} with other losses for the same inputs."
    )


def _most_beyond_its_share(slices: Sequence[SliceOf], change: Change) -> SliceOf | None:
    """The slice that gives most beyond its share of the rows, if that is clear and a tenth of the change."""
    whole = change.difference.estimate
    return next(
        (
            each
            for each in slices
            if not each.found.total.low <= 0.0 <= each.found.total.high
            and _beyond(each.found, whole) > 0.1 * abs(whole)
        ),
        None,
    )


def _beyond(part: Contribution, whole: float) -> float:
    """What a slice gives the way the loss moved, beyond its share of the rows."""
    return (part.total.estimate - part.share_after * whole) * math.copysign(1.0, whole)


def _slices(cuts: Sequence[Cut], old: Seen, new: Seen, change: Change, seed: int) -> list[SliceOf]:
    moved = change.difference
    clear = not moved.low <= 0.0 <= moved.high
    found = []
    for each in cuts:
        most = len(each.labels)
        codes = each.codes[: len(old)], each.codes[len(old) :]
        before = period(old.loss, old.block, codes[0], most=most)
        after = period(new.loss, new.block, codes[1], most=most)
        found += [
            SliceOf(
                slice=each.labels[part.slice], feature=each.feature, found=part,
                share_of_change=part.total.estimate / moved.estimate if clear else None,
            )
            for part in contributions(before, after, seed=seed)
        ]  # fmt: skip
    return sorted(found, key=lambda one: -_beyond(one.found, moved.estimate))


def _split(old: Seen, new: Seen, seed: int) -> tuple[Split, float | None]:
    old, new = old.some(MOST_COMPARED, seed), new.some(MOST_COMPARED, seed)
    features = [{n: v for n, v in rows.features.items() if n != VERSION} for rows in (old, new)]
    try:
        found = ratios(features[0], features[1], (old.block, new.block))
    except InputError as error:
        return Split(cause=Cause.CANNOT_TELL, inputs=None, answers=None, overlap=0.0, reason=str(error)), None
    split = split_of(old.loss, found.weights, old.block, new.loss, new.block, unseen=found.unseen, seed=seed)
    return split, found.told_apart


def _moves(old: Seen, new: Seen, seed: int) -> list[Move]:
    counts = [
        (each, by_block(each.codes[: len(old)], old.block, len(each.labels)),
         by_block(each.codes[len(old) :], new.block, len(each.labels)))
        for each in cut(_joined(old, new), parts=_FINER)
    ]  # fmt: skip
    return moves({each.feature: one for each, one, _ in counts},
                 {each.feature: other for each, _, other in counts}, seed=seed)  # fmt: skip


def _joined(old: Seen, new: Seen) -> dict[str, Array]:
    return {name: np.concatenate((values, new.features[name])) for name, values in old.features.items()}


def _spans(books: Books, question: Question) -> tuple[Span, Span]:
    """The time that is asked about and the time before it."""
    calendar, now = books.policy(question.model).calendar, books.now()
    since = moment(question.since, calendar, now, "since")
    until = moment(question.until, calendar, now, "until")
    against = moment(question.against, calendar, now, "against")
    if since is None:
        since, ended = _alarm(books, question)
        until = ended if until is None else until
    end = now if until is None else until
    first = since - _LONGER * (end - since) if against is None else against
    if not first < since < end:
        raise InputError("the times must follow each other: against, since, until", field="since")
    return Span(since=first, until=since), Span(since=since, until=end)


def _alarm(books: Books, question: Question) -> tuple[Micros, Micros]:
    """From when to when the loss stood above the limit of the watch that alarmed last."""
    history = read_verdicts(books, question.model)
    if question.watch is not None and question.watch not in history.policy.watches:
        raise UnknownName(f"watch of {question.model}", question.watch, history.policy.watches, field="watch")
    found = []
    present = len(history.earlier)  # a rise of the loss that judged before is none of this one
    for (name, version, era), measure in history.measures.items():
        if question.watch in (None, name) and era == present:
            key = (name, version, era)
            mine = sorted(
                (point for point in history.points if (point.watch, point.version, point.era) == key),
                key=lambda point: point.at,
            )
            if (span := rise(mine, measure.limit)) is not None:
                found.append(span)
    if not found:
        raise InputError(
            "no watch on the mean loss has alarmed; name the time to explain, such as --since 7d",
            field="since",
        )
    begun, ended = max(found, key=lambda span: span[1])
    age = history.policy.labels.mature_after  # a step is judged when its predictions have reached this age
    return begun - age, ended - age


def _times(span: Span, seen: Seen) -> tuple[str, str]:
    first = int(seen.time.min())
    since = first if span.since is None else max(span.since, first)
    return format_time(since), format_time(int(seen.time.max()) if span.until is None else span.until)


def _said(span: Span) -> str:
    since, until = (None if end is None else format_time(end) for end in (span.since, span.until))
    return f"from {since or 'the beginning'} until {until or 'now'}"


def _plain(value: Any) -> Any:
    """Records as mappings with every key; infinite numbers as null."""
    if isinstance(value, msgspec.Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Cause) else value
