"""A version is checked: what may be asked, what is read for it, and the report."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from lossloop.act.checks import Checked, Checks, objections
from lossloop.act.policy import Policy
from lossloop.app.books import Books
from lossloop.app.home import Home
from lossloop.app.judging import Lens
from lossloop.app.transforming import tried_behind
from lossloop.app.trusting import approved, caller_here, trust_of
from lossloop.app.versions.base import Arm, Case, Report
from lossloop.app.versions.catalogue import CHECKS
from lossloop.app.versions.parity import is_original
from lossloop.app.versions.recent import read_recent
from lossloop.core.errors import InputError, LossloopError
from lossloop.core.ids import digest
from lossloop.core.records import Record
from lossloop.registry import CHAMPION, Manifest, Version, versions
from lossloop.serve.runtimes import EXTERNAL, check_name
from lossloop.serve.runtimes.guessing import runtime_of
from lossloop.serve.runtimes.trial import tried
from lossloop.serve.transforms import brings_code, load_version

ELSEWHERE = "another system serves it, so its answers cannot be tried here"


class Question(Record, frozen=True):
    """Which version: a number, or a manifest that is not registered yet."""

    model: str
    version: int | None = None
    manifest: Manifest | None = None
    artifact: bytes | None = None
    """Of the manifest; None where it is stored already."""
    file: str = ""
    """The name of the artifact's file, where it has one."""
    policy: Policy | None = None
    """What it is held to; None for the policy in force."""
    seconds: float = 1.0
    """How long latency is measured for each number of rows."""


def check_version(home: Home, question: Question) -> Report:
    """Run all checks of a version against recent traffic and the champion; nothing is written.

    Raises:
        UnknownName: There is no such model or version.
        InputError: Neither a version nor a manifest is named, or the artifact is missing or cannot be loaded.
    """
    state = home.state()
    try:
        books = Books(state)
        policy = question.policy or books.policy(question.model)
        rules = policy.check or Checks()
        lens = Lens(policy=policy, thresholds=versions.thresholds(state, question.model))
        version = _asked(home, books, question)
        champion = versions.alias(state, question.model, CHAMPION)
        other = None
        if champion is not None and champion != version.number:
            other = _registered(home, versions.find(state, question.model, champion))
        original = _original(home, versions.versions(state, question.model), version)
        recent = read_recent(home, state, question.model, most=rules.rows)
    finally:
        state.close()
    case = Case(
        lens=lens, rules=rules, version=version, champion=other, recent=recent, original=original,
        seconds=question.seconds,
    )  # fmt: skip
    shown = tuple(check(case) for check in CHECKS.values())
    checked = Checked(
        version=version.manifest.digest, rules=rules.digest, champion=champion, rows=len(recent),
        findings=tuple(each.finding for each in shown),
    )  # fmt: skip
    against = objections(
        rules, checked, version=version.manifest.digest, name=version.name, champion=champion
    )
    return Report(
        model=question.model, name=version.name, champion="" if other is None else other.name,
        required=rules.required, checked=checked, shown=shown, objections=tuple(against),
    )  # fmt: skip


def _asked(home: Home, books: Books, question: Question) -> Arm:
    if question.version is not None:
        books.policy(question.model)
        return _registered(home, versions.find(books.documents, question.model, question.version))
    manifest, artifact = question.manifest, question.artifact
    if manifest is None:
        raise InputError("name a version, or a manifest that is to become one", field="version")
    manifest = _completed(manifest, artifact, question.file)
    runtime, why_not = None, ELSEWHERE
    if manifest.runtime != EXTERNAL:
        approval = approved(manifest, None, caller_here(home), question.model)
        permit = trust_of(home).allow(manifest, approval, f"{question.model} (new)")
        own = {} if artifact is None else {manifest.artifact: artifact}

        def get(name: str) -> bytes:
            return own[name] if name in own else home.artifacts.get(name)

        runtime, why_not = load_version(manifest, get, permit), ""
    return Arm(name=question.model, manifest=manifest, runtime=runtime, why_not=why_not)


def _completed(manifest: Manifest, artifact: bytes | None, file: str) -> Manifest:
    """A manifest with what its artifact tells, which was tried unless it brings code."""
    if artifact is not None and not manifest.runtime:
        manifest = msgspec.structs.replace(manifest, runtime=runtime_of(artifact, file))
    check_name(manifest.runtime)
    if manifest.runtime == EXTERNAL:
        return manifest
    if artifact is None:
        if not manifest.artifact:
            raise InputError(
                f"a version with runtime {manifest.runtime!r} needs an artifact", field="artifact"
            )
        return manifest
    if not brings_code(manifest):
        manifest = (
            tried(manifest, artifact) if manifest.transform is None else tried_behind(manifest, artifact)
        )
    return msgspec.structs.replace(manifest, artifact=digest(artifact))


def _registered(home: Home, version: Version) -> Arm:
    """A version and its runtime, or why there is none: it is elsewhere, or its artifact is damaged."""
    runtime, why_not = None, ELSEWHERE
    if version.manifest.runtime != EXTERNAL:
        try:
            permit = trust_of(home).permit(version)
            runtime, why_not = load_version(version.manifest, home.artifacts.get, permit), ""
        except LossloopError as error:
            why_not = f"it cannot be loaded: {error}"
    return Arm(
        name=version.name, manifest=version.manifest, number=version.number, runtime=runtime, why_not=why_not
    )


def _original(home: Home, known: Sequence[Version], version: Arm) -> Arm | None:
    """The version that another was converted from; None where there is none."""
    found = [each for each in known if is_original(version.manifest, each.manifest)]
    return _registered(home, found[0]) if found else None
