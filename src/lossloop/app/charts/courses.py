"""What champions lost by block, under the loss that judges and under each beside it: from what is shown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from lossloop.app.books import Books
from lossloop.app.judging import Lens
from lossloop.app.showing import Shown, shelves, shown
from lossloop.core.records import Role


@dataclass(frozen=True, kw_only=True)
class Course:
    """One version as champion under one loss: its blocks that have reached the judging age, oldest first."""

    loss: str
    """The loss's version."""
    unit: str
    judges: bool
    """Whether it is the loss that judges."""
    version: int
    blocks: Sequence[Shown]


def read_courses(books: Books, model: str) -> list[Course]:
    """The courses of every loss of a model; none where it has but one."""
    lens = books.lens(model)
    if not lens.beside:
        return []
    due = books.now() - lens.policy.labels.mature_after
    found = []
    for shelf, seen in shelves(model, lens):
        versions: dict[int, list[Shown]] = defaultdict(list)
        for each in shown(books.documents, model, shelf):
            if each.role == Role.CHAMPION and lens.policy.calendar.end(each.block) <= due:
                versions[each.version].append(each)
        found += [_course(seen, version, blocks, judges=seen is lens) for version, blocks in versions.items()]
    return found


def _course(lens: Lens, version: int, blocks: list[Shown], *, judges: bool) -> Course:
    ordered = sorted((each for each in blocks if each.losses.count), key=lambda each: each.block)
    return Course(loss=lens.loss.version, unit=lens.loss.unit, judges=judges, version=version, blocks=ordered)
