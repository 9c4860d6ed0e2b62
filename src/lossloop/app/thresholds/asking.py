"""Thresholds of a version from question to answer, and the version that they make."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np

from lossloop.app import operate
from lossloop.app.books import Books
from lossloop.app.commands import Register, Result
from lossloop.app.gates import SCORES_OF, check_actions, scores_of
from lossloop.app.home import Home
from lossloop.app.judging import Lens
from lossloop.app.recompute.past import span_of
from lossloop.app.thresholds.rows import Scored, from_file, from_ledger, missing_by_action
from lossloop.core.clock import format_duration, format_time
from lossloop.core.errors import InputError
from lossloop.core.records import Record
from lossloop.core.tasks import Task
from lossloop.core.thresholds import Thresholds
from lossloop.judges import LearnedThresholds, block_means, design_effect, held_out_actions, learn_thresholds
from lossloop.judges.reference import betting_upper
from lossloop.judges.thresholds import check_costs
from lossloop.ledger.store import Store
from lossloop.registry import CHAMPION, Manifest, Reference, Version, versions

UNEVEN = 0.05
"""Shares of missing outcomes may differ so much between actions before it is said."""
Costs = tuple[tuple[float, ...], tuple[float, ...]]


class Question(Record, frozen=True):
    """Whose thresholds are learned, from what, and for which costs."""

    model: str
    version: int | None = None
    """Whose scores; the champion's if left out."""
    actions: dict[str, tuple[float, float]] = {}
    """By action, from the lowest scores to the highest, what it costs where 0 and where 1 happened."""
    since: str | None = None
    until: str | None = None
    file: Path | None = None
    """Learn from a file instead of the ledger: columns y_pred, y_true and, where rows depend, block."""


class Answer(Record, frozen=True):
    """Learned thresholds, and the manifest of the version that they make."""

    model: str
    version: int
    """Whose scores they cut."""
    thresholds: Thresholds
    costs: Costs
    unit: str
    learned: LearnedThresholds
    against: str
    """What they are compared with, in words."""
    missing: tuple[float | None, ...]
    """By action the share of rows that it was taken for and that have no outcome."""
    warnings: tuple[str, ...]
    manifest: Manifest


def thresholds(home: Home, question: Question) -> Answer:
    """Learn the cut-offs of least cost from a version's scores and outcomes; nothing is changed.

    Raises:
        UnknownName: There is no such model or version.
        InputError: The model is not of a binary task, costs are missing, or there are too few rows.
    """
    store = home.state()
    try:
        return _answer(store, Books(store), question)
    finally:
        store.close()


def register(home: Home, answer: Answer) -> Result:
    """Make a version of learned thresholds; it goes into the traffic as any version does: by a rollout."""
    return operate.obey(home, Register(model=answer.model, manifest=answer.manifest))


def _answer(store: Store, books: Books, question: Question) -> Answer:
    lens = books.lens(question.model)
    if lens.policy.task is not Task.BINARY:
        raise InputError(
            f"thresholds cut probabilities of a binary task; that of {question.model} is {lens.policy.task}",
            field="task",
        )
    base = _base(books, question)
    names, costs = _actions(lens, base, question)
    check_costs(costs)
    scored = _scored(store, books, base, question)
    known = scored.known
    present = base.manifest.thresholds
    fits = present is not None and len(present.actions) == len(names)
    learned = learn_thresholds(
        known.score, known.outcome, costs, blocks=known.block,
        present=present.least if present is not None and fits else None,
    )  # fmt: skip
    cut = Thresholds(actions=names, least=learned.least)
    missing = missing_by_action(scored, len(names)) if fits else [(0, 0)] * len(names)
    said = [*_warnings(lens, base, costs, question), *_uneven(names, missing), *_mute(lens, known)]
    return Answer(
        model=question.model, version=base.number, thresholds=cut, costs=costs, learned=learned,
        unit=lens.loss.unit if lens.of_actions else "",
        against=f"those of {base.name}" if fits else f"always {names[_place(learned)]}",
        missing=tuple(lost / rows if rows else None for rows, lost in missing), warnings=tuple(said),
        manifest=_manifest(lens, base, cut, known, costs, _lineage(books, question, learned, costs)),
    )  # fmt: skip


def _base(books: Books, question: Question) -> Version:
    number = question.version
    if number is None:
        number = versions.alias(books.documents, question.model, CHAMPION)
    if number is None:
        raise InputError(f"{question.model} has no champion yet; name a version", field="version")
    return versions.find(books.documents, question.model, number)


def _actions(lens: Lens, base: Version, question: Question) -> tuple[tuple[str, ...], Costs]:
    """The names of the actions, and their costs: as asked, or those of the policy's loss."""
    if question.actions:
        zero, one = zip(*question.actions.values(), strict=True)
        return tuple(question.actions), (tuple(zero), tuple(one))
    given = lens.loss.parameters.get("costs") if lens.loss.name == "action_cost" else None
    if not isinstance(given, tuple):
        raise InputError(
            f"{lens.loss.name} says nothing of what actions cost; give each its costs where 0 and where 1 "
            "happened, from the lowest scores on: --action pass=0,40 --action review=3,3 --action block=1,0",
            field="action",
        )
    zero, one = (tuple(map(float, row)) for row in given)
    present = base.manifest.thresholds
    if present is not None and len(present.actions) == len(zero):
        return present.actions, (zero, one)
    return tuple(f"action {place}" for place in range(len(zero))), (zero, one)


def _scored(store: Store, books: Books, base: Version, question: Question) -> Scored:
    if question.file is not None:
        return from_file(question.file, base.manifest.thresholds)
    calendar = books.policy(question.model).calendar
    return from_ledger(store, books, base, span_of(question.since, question.until, calendar, books.now()))


def _place(learned: LearnedThresholds) -> int:
    return sum(least <= 0.0 for least in learned.present)


def _warnings(lens: Lens, base: Version, costs: Costs, question: Question) -> Iterator[str]:
    if not lens.of_actions:
        yield (
            f"the policy's loss, {lens.loss.name}, does not see what is done: a version that differs only in "
            "its thresholds is not rolled out under it"
        )
    elif question.actions and lens.loss.name == "action_cost" and lens.loss.parameters.get("costs") != costs:
        yield "these are not the costs of the policy's loss, by which the version will be judged"
    learned_until = base.manifest.lineage.get("learned_until")
    if learned_until and base.manifest.thresholds is not None and question.file is None:
        yield (
            f"the thresholds of {base.name} were learned from rows up to {learned_until}: on those they look "
            f"better than they are; compare them on later ones with --since {learned_until}"
        )


def _uneven(names: Sequence[str], missing: Sequence[tuple[int, int]]) -> Iterator[str]:
    """A warning where outcomes came more often after one action than after another, beyond chance."""
    told = [(lost / rows, rows, name) for (rows, lost), name in zip(missing, names, strict=True) if rows]
    if len(told) < 2:
        return
    (low, few, least), (high, many, most) = min(told), max(told)
    chance = 2.0 * math.sqrt(low * (1.0 - low) / few + high * (1.0 - high) / many)
    if high - low > max(UNEVEN, chance):
        yield (
            f"{high:.0%} of what met {most!r} has no outcome, and {low:.0%} of what met {least!r}: what "
            "would have become of these is not known; they are taken to be like the others"
        )


def _mute(lens: Lens, known: Scored) -> Iterator[str]:
    if lens.of_actions and known.block is None:
        yield "without blocks there is no reference: a watch of regression could not judge the version"


def _lineage(books: Books, question: Question, learned: LearnedThresholds, costs: Costs) -> dict[str, object]:
    now = format_time(books.now()) if question.file is None and books.now() else ""
    return {
        "learned_from": "the ledger" if question.file is None else question.file.name,
        "learned_since": question.since or "", "learned_until": question.until or now,
        "learned_rows": learned.rows, "costs": [list(row) for row in costs],
    }  # fmt: skip


def _manifest(
    lens: Lens, base: Version, cut: Thresholds, known: Scored, costs: Costs, lineage: dict[str, object]
) -> Manifest:
    """The base with other thresholds, and with a reference of what they cost on held-out rows."""
    reference = base.manifest.reference
    check_actions(lens, msgspec.structs.replace(base, manifest=Manifest(runtime="", thresholds=cut)))
    if lens.of_actions:
        reference = _reference(lens, base, known, costs)
    return msgspec.structs.replace(
        base.manifest, thresholds=cut, reference=reference,
        lineage={**base.manifest.lineage, SCORES_OF: scores_of(base), **lineage},
    )  # fmt: skip


def _reference(lens: Lens, base: Version, known: Scored, costs: Costs) -> Reference | None:
    if known.block is None:
        return None
    done = held_out_actions(known.score, known.outcome, costs, blocks=known.block)
    losses = lens.scores(known.outcome, done.astype(np.float64))
    before = base.manifest.reference
    return Reference(
        loss=lens.policy.loss, mean=float(losses.mean()), block=format_duration(lens.policy.block),
        block_means=tuple(block_means(losses, known.block).mean.tolist()), rows=len(losses),
        design_effect=design_effect(losses, known.block),
        row_upper=betting_upper(losses, bound=lens.bound, floor=lens.floor),
        baseline=None if before is None else before.baseline,
        estimate=None if before is None else before.estimate,
    )  # fmt: skip
