"""What a version must have shown, and what must be seen of it, before a rollout or a promotion begins."""

from __future__ import annotations

from lossloop.act.checks import Checked, objections
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


def check_found(
    books: Books, version: Version, checked: Checked | None, *, force: bool = False, reason: str = ""
) -> str:
    """What a decision says of a version's checks; empty where the policy asks for none and none were made.

    Raises:
        Conflict: A check that the policy requires did not pass, and nobody goes on in spite of it.
    """
    rules = books.policy(version.model).check
    if rules is None:
        return "" if checked is None else f"; {checked.words}"
    champion = versions.alias(books.documents, version.model, CHAMPION)
    against = list(objections(rules, checked, version=version.digest, name=version.name, champion=champion))
    if against and not force:
        raise Conflict(
            f"{version.name} did not pass what the policy asks of it: {'; '.join(against)}. "
            "To go on in spite of it: --force, with a --reason",
            field="version",
        )
    if against and not reason.strip():
        raise Conflict(
            "to go on in spite of checks takes a reason, which is recorded: --reason", field="reason"
        )
    told = "" if checked is None else f"; {checked.words}"
    return f"{told}. In spite of this: {'; '.join(against)}" if against else told


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
