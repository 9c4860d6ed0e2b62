"""Does the policy's loss still cost what its golden vectors say, and does it take the version's answers?"""

from __future__ import annotations

import numpy as np

from lossloop.act.checks import Check, Status
from lossloop.app.judging import Lens
from lossloop.app.versions.base import Case, Shown, told
from lossloop.core.errors import InputError
from lossloop.core.tasks import LISTED_LABELS, Task
from lossloop.ledger.joined.columns import Floats
from lossloop.losses.checks import golden_vectors_hold


def check(case: Case) -> Shown:
    """Fail where a golden vector does not hold, an answer is not valid, or one has no loss."""
    for lens in (case.lens, *case.lens.beside):
        try:
            golden_vectors_hold(lens.loss)
        except AssertionError as error:
            return told(Check.LOSS, Status.FAILED, str(error))
    golden = sum(len(lens.loss.golden) for lens in (case.lens, *case.lens.beside))
    values, asked, y_true, why = _answers(case)
    if why:
        return told(Check.LOSS, Status.FAILED if asked else Status.NOT_TOLD, why)
    invalid = int(np.isnan(_first(values)).sum())
    figures = {"golden": golden, "answers": len(values), "invalid": invalid}
    if invalid:
        words = f"{invalid:,} of {len(values):,} answers are none that a {case.task} task has, such as NaN"
        return told(Check.LOSS, Status.FAILED, words, figures)
    for lens in (case.lens, *case.lens.beside):
        if said := _without_loss(case, lens, values, y_true):
            return told(Check.LOSS, Status.FAILED, said, figures)
    words = f"{golden} golden vectors hold, and each of {len(values):,} answers has a loss"
    return told(Check.LOSS, Status.PASSED, words, figures)


def _answers(case: Case) -> tuple[Floats, bool, Floats | None, str]:
    """Answers to recent rows or else scenarios, whether any was asked for, known outcomes, and why none."""
    mine = case.mine
    if mine.error:
        return mine.values, case.version.runtime is not None, None, f"the version {mine.error}"
    if mine.asked.any():
        values = mine.values[mine.asked]
        return values, True, case.recent.y_true[mine.asked], ""
    columns, count = case.given
    if case.version.runtime is None or not count:
        why = case.version.why_not or "neither a recent prediction nor a scenario has a row that it takes"
        return np.empty(0), False, None, why
    values, error = case.version.run(columns, count, case.task)
    return values, True, None, f"the version {error}" if error else ""


def _first(values: Floats) -> Floats:
    return values if values.ndim == 1 else values[:, 0]


def _without_loss(case: Case, lens: Lens, values: Floats, y_true: Floats | None) -> str:
    """Why some answers have no loss under outcomes that came, or that could; empty where all have one."""
    thresholds = case.version.manifest.thresholds
    if lens.of_actions and thresholds is not None:
        values = thresholds.places(values)
    truth = _possible(case.task, values)
    if y_true is not None and y_true.ndim == truth.ndim:
        came = ~np.isnan(_first(y_true))
        if truth.ndim == 1:
            truth = np.where(came, y_true, truth)
        elif truth.shape == y_true.shape:
            truth = np.where(came[:, None], y_true, truth)
    lost = np.isnan(lens.scores(truth, values))
    if not lost.any():
        return ""
    try:
        problems = lens.loss.check_rows(truth[lost][:1], values[lost][:1])
        why = f": {problems[0].message}" if problems else ""
    except InputError as error:
        why = f": {error}"
    return f"{int(lost.sum()):,} of {len(values):,} answers have no loss under {lens.loss.name}{why}"


def _possible(task: Task, values: Floats) -> Floats:
    """An outcome that could come, for each answer. Shape (n,) or (n, k)."""
    if task is Task.SURVIVAL:
        return np.ones((len(values), 2))
    if task in LISTED_LABELS:
        return values if task is Task.VECTOR else np.ones_like(values)
    return values if task is Task.REGRESSION else np.zeros(len(values))
