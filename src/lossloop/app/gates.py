"""What a rollout must be able to see of thresholds, so that one that judges nothing is no pass."""

from __future__ import annotations

from lossloop.app.books import Books
from lossloop.app.judging import Lens
from lossloop.core.errors import Conflict, InputError
from lossloop.core.tasks import Task
from lossloop.registry import CHAMPION, Version, versions

SCORES_OF = "scores_of"
"""In a lineage: the number of the version whose scores these thresholds cut."""


def check_actions(lens: Lens, version: Version) -> None:
    """Raise InputError where a loss of the policy, also one beside, has no cost for what a version may do."""
    thresholds = version.manifest.thresholds
    if thresholds is None:
        return
    if lens.policy.task is not Task.BINARY:
        raise InputError(
            f"{version.name} has thresholds, which cut a probability; a {lens.policy.task} task predicts "
            "none: register the version without them",
            field="thresholds",
        )
    for each in (lens, *lens.beside):
        declared = each.loss.declared
        known = declared.classes or (2 if declared.outcome == "class" else None)
        if each.of_actions and known is not None and len(thresholds.actions) != known:
            raise InputError(
                f"the thresholds of {version.name} choose among {len(thresholds.actions)} actions, and "
                f"{each.loss.name} has costs of {known}; give each a cost, as action_cost does",
                field="thresholds",
            )


def check_rollout(books: Books, version: Version) -> None:
    """Raise Conflict where a rollout could not tell what is done with a version from what is done now."""
    champion = versions.alias(books.documents, version.model, CHAMPION)
    if champion is None:
        return
    lens = books.lens(version.model)
    present = versions.find(books.documents, version.model, champion)
    if not lens.of_actions:
        if present.manifest.thresholds != version.manifest.thresholds and _same_scores(present, version):
            raise Conflict(
                f"{version.name} differs from the champion only in its thresholds, which {lens.loss.name} "
                "does not see: it would pass for as good without being judged. Use a loss of what is done, "
                "such as action_cost",
                field="version",
            )
    elif present.manifest.thresholds is not None and version.manifest.thresholds is None:
        raise Conflict(
            f"{version.name} has no thresholds, so {lens.loss.name} could not judge it; register it with "
            f"some, or learn them: lossloop thresholds {version.model} --version {version.number}",
            field="version",
        )


def _same_scores(one: Version, other: Version) -> bool:
    """Whether two versions give the same scores, as far as can be told."""
    parts = [(each.manifest.runtime, each.manifest.artifact, each.manifest.features) for each in (one, other)]
    return scores_of(one) == scores_of(other) or (bool(one.manifest.artifact) and parts[0] == parts[1])


def scores_of(version: Version) -> int:
    """The version whose scores a version's thresholds cut: itself, unless it was made of another."""
    found = version.manifest.lineage.get(SCORES_OF)
    return found if isinstance(found, int) else version.number
