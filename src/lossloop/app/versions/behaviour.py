"""What the version answers otherwise than the champion, on the same recent inputs: how much, and where."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lossloop.act.checks import Check, Status
from lossloop.app.versions.base import Case, Detail, Flags, Shown, told
from lossloop.app.why.bins import cut
from lossloop.core.tasks import Task
from lossloop.ledger.joined.columns import Floats, Int64

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
MOVED_BY = 0.05
"""Of a probability, unless the policy says another (`moved_by`)."""
OF_SPREAD = 0.1
"""Of other numbers: this part of the standard deviation of the champion's answers."""
LEAST_OF_SLICE = 30
"""Rows of a slice that is shown."""
_SHOWN = 8


def check(case: Case) -> Shown:
    """Count flips, show differences, and hold both against the policy's limits."""
    if case.champion is None:
        return told(Check.BEHAVIOUR, Status.SKIPPED, "there is no other champion to hold it against")
    for arm, answers in ((case.version, case.mine), (case.champion, case.theirs)):
        if answers.error or not answers.there.any():
            why = answers.error or arm.why_not or "no recent row that it takes"
            return told(Check.BEHAVIOUR, Status.NOT_TOLD, f"{arm.name}: {why}")
    both = np.flatnonzero(case.mine.there & case.theirs.there)
    if not len(both):
        return told(Check.BEHAVIOUR, Status.NOT_TOLD, "no recent row was answered by both")
    ours, theirs = case.mine.values[both], case.theirs.values[both]
    if ours.shape != theirs.shape:
        words = f"it answers with the shape {ours.shape[1:]}, the champion with {theirs.shape[1:]}"
        return told(Check.BEHAVIOUR, Status.FAILED, words)
    flipped, meaning = flips(case, ours, theirs)
    change = ours - theirs
    figures = _figures(case, ours, theirs, flipped, both)
    words = (
        f"{int(flipped.sum()):,} of {len(both):,} answers flip ({flipped.mean():.1%}), that is {meaning}; "
        f"the mean answer goes from {figures['mean_of_champion']:.4g} to {figures['mean']:.4g}"
    )
    if "mean_outcome" in figures:
        words += f", where outcomes are known their mean is {figures['mean_outcome']:.4g}"
    details = [_quantiles(change), *_slices(case, flipped, change, both)]
    status, why = _judged(case, figures)
    return told(Check.BEHAVIOUR, status, f"{why}; {words}" if why else words, figures, details)


def flips(case: Case, ours: Floats, theirs: Floats) -> tuple[Flags, str]:
    """Which answers flip, and what that means. Shape (n,).

    A flip is another action where a version has thresholds, another class where there are classes, else a
    difference of more than `moved_by`.
    """
    assert case.champion is not None
    cuts = case.version.manifest.thresholds, case.champion.manifest.thresholds
    if case.task is Task.BINARY and any(cuts):
        mine, other = (each or next(filter(None, cuts)) for each in cuts)
        names = [
            np.array(each.actions)[each.places(values).astype(np.int64)]
            for each, values in ((mine, ours), (other, theirs))
        ]
        return np.asarray(names[0] != names[1]), "another action"
    if case.task is Task.MULTICLASS:
        return np.asarray(ours.argmax(axis=1) != theirs.argmax(axis=1)), "another class"
    limit = case.rules.moved_by
    if limit is None:
        limit = MOVED_BY if case.task in (Task.BINARY, Task.SURVIVAL) else OF_SPREAD * float(np.std(theirs))
    size = np.abs(ours - theirs)
    far = size if size.ndim == 1 else size.max(axis=1)
    return np.asarray(far > limit), f"they differ by more than {limit:.4g}"


def _figures(case: Case, ours: Floats, theirs: Floats, flipped: Flags, both: Int64) -> dict[str, float]:
    change = ours - theirs
    found = {
        "rows": float(len(ours)), "flips": float(flipped.sum()), "flip_share": float(flipped.mean()),
        "mean": float(ours.mean()), "mean_of_champion": float(theirs.mean()),
        "mean_moves": float(np.max(np.abs(change.mean(axis=0)))), "largest": float(np.abs(change).max()),
    }  # fmt: skip
    y_true = case.recent.y_true[both]
    if y_true.ndim == 1 and ours.ndim == 1 and (came := ~np.isnan(y_true)).any():
        found |= {
            "outcomes": float(came.sum()), "mean_outcome": float(y_true[came].mean()),
            "mean_where_known": float(ours[came].mean()),
            "mean_of_champion_where_known": float(theirs[came].mean()),
        }  # fmt: skip
    return found


def _judged(case: Case, figures: dict[str, float]) -> tuple[Status, str]:
    limits = (
        ("flip_share", case.rules.flips_at_most, "answers flip more often than"),
        ("mean_moves", case.rules.mean_moves_at_most, "the mean answer moves by more than"),
    )
    asked = [(figures[name], limit, words) for name, limit, words in limits if limit is not None]
    beyond = [f"{words} {limit:g}" for value, limit, words in asked if value > limit]
    if beyond:
        return Status.FAILED, "; ".join(beyond)
    return (Status.PASSED if asked else Status.REPORTED), ""


def _quantiles(change: Floats) -> Detail:
    flat = change.ravel()
    rows = tuple(
        (f"{q:.0%}", f"{value:+.4g}")
        for q, value in zip(QUANTILES, np.quantile(flat, QUANTILES), strict=True)
    )
    return Detail(title="Differences of answers", head=("quantile", "version - champion"), rows=rows)


def _slices(case: Case, flipped: Flags, change: Floats, both: Int64) -> Iterator[Detail]:
    """Where answers flip most: slices of every feature, the largest excess over the whole first."""
    if not flipped.any():
        return
    size = change if change.ndim == 1 else change.mean(axis=1)
    found = []
    for each in cut({name: values[both] for name, values in case.recent.features.items()}):
        for code, label in enumerate(each.labels):
            mine = each.codes == code
            if (count := int(mine.sum())) >= LEAST_OF_SLICE:
                excess = float(flipped[mine].sum() - flipped.mean() * count)
                found.append((excess, label, count, int(flipped[mine].sum()), float(size[mine].mean())))
    found.sort(key=lambda each: -each[0])
    rows = tuple(
        (label, f"{count:,}", f"{flips:,}", f"{flips / count:.1%}", f"{mean:+.4g}")
        for _, label, count, flips, mean in found[:_SHOWN]
        if flips
    )
    if rows:
        head = ("slice", "rows", "flips", "share", "mean difference")
        yield Detail(title="Where they flip most", head=head, rows=rows)
