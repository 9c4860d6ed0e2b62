"""Operating on a state directory from its own machine, with or without a running server.

A command is appended to the log like any other fact. Where an applier runs, it obeys; where none does, the
operator's own process folds the log for a moment. So `lossloop freeze` works also when the server does not.
"""

from __future__ import annotations

import contextlib
import time

import msgspec

from lossloop.access import Caller
from lossloop.act.policy import read_policy
from lossloop.act.settings import Settings, check_targets
from lossloop.act.yaml import load
from lossloop.app.books import Books
from lossloop.app.commands import Command, Register, Result, SetPolicy, name_of
from lossloop.app.fold import Folding, folding_in
from lossloop.app.heldout import check_holdout
from lossloop.app.home import Home
from lossloop.app.judging import Lens
from lossloop.app.policies import check_history, check_watches
from lossloop.app.references import version_under
from lossloop.app.transforming import tried_behind, try_version, with_transform
from lossloop.app.trusting import approved, caller_here, trust_of
from lossloop.core.clock import Clock, SystemClock
from lossloop.core.errors import Conflict, InputError, InUse, PolicyError, StateError
from lossloop.core.ids import digest, new_id
from lossloop.ledger.facts import command as command_frame
from lossloop.ledger.postgres.database import Database
from lossloop.ledger.postgres.leases import holders
from lossloop.ledger.store import Store
from lossloop.registry import CHAMPION, Approval, Manifest, versions
from lossloop.serve.runtimes import EXTERNAL, check_name
from lossloop.serve.runtimes.guessing import runtime_of
from lossloop.serve.runtimes.trial import tried
from lossloop.serve.transforms import brings_code

PATIENCE = 15.0


def obey(home: Home, command: Command, clock: Clock | None = None) -> Result:
    """Append a command and wait until the loop has obeyed it.

    Raises:
        Conflict: The loop refused it; the message says why.
        StateError: An applier holds the directory but does not fold.
    """
    clock, id = clock or SystemClock(), new_id()
    writer = home.check().log.writer()
    position = writer.append(
        [command_frame(id, name_of(command), msgspec.to_builtins(command), now=clock.now())]
    )
    writer.close()
    deadline = time.monotonic() + PATIENCE
    if not home.is_folded():
        fold_here(home)
    state = home.state()
    try:
        while not position.reached_by(state.offsets()):
            if time.monotonic() > deadline:
                raise StateError(f"the command is in the log, but nothing folded it within {PATIENCE:g} s")
            fold_here(home)
        result = state.get("command", id, Result)
    finally:
        state.close()
    if result is None:
        raise StateError("the command was folded without a result; please report this")
    if not result.ok:
        raise Conflict(result.message)
    return result


def fold_here(home: Home) -> None:
    """Fold, if nobody else does."""
    if home.database is not None:
        _fold_in(home.database, home)
        return
    with contextlib.suppress(InUse):
        folding = Folding(home)
        try:
            folding.drain()
        finally:
            folding.close()
        return
    time.sleep(0.005)


def _fold_in(database: Database, home: Home) -> None:
    """Fold the partitions of a database until nothing is left, unless an applier has leases of them."""
    if holders(database):
        time.sleep(0.02)
        return
    folding = folding_in(database, home)
    try:
        while folding.step():
            continue
    finally:
        folding.close()


def set_policy(home: Home, text: str, *, source: str = "policy") -> Result:
    """Check a policy in full, here where the file's lines are known, and put it in force.

    Raises:
        PolicyError: With the line: a key, a value, a loss, a promise or a target that does not exist, or a
            watch that could not judge.
    """
    settings = home.check().settings()
    if not home.is_folded():
        fold_here(home)
    state = home.state()
    try:
        check_policy(text, settings, state, source=source)
    finally:
        state.close()
    return obey(home, SetPolicy(text=text))


def check_policy(text: str, settings: Settings, state: Store, *, source: str = "policy") -> None:
    """Raise PolicyError where a policy cannot be put in force over this state.

    Raises:
        Conflict: It changes what the figures of past predictions were computed with; says what to do.
    """
    policy = read_policy(text, source=source)
    check_history(policy, Books(state))
    try:
        check_targets(policy, settings)
        champion = versions.alias(state, policy.model, CHAMPION)
        lens = Lens(policy=policy, thresholds=versions.thresholds(state, policy.model))
        check_holdout(lens, Books(state))
        check_watches(lens, None if champion is None else version_under(state, lens, champion))
    except InputError as error:
        path = tuple(int(key) if key.isdigit() else key for key in (error.field or "loss").split("."))
        raise PolicyError(str(error), line=load(text).line(path), source=source) from None


def register(
    home: Home,
    model: str,
    manifest: Manifest,
    artifact: bytes | None = None,
    *,
    file: str = "",
    signed: Approval | None = None,
    transform: bytes | None = None,
) -> Result:
    """Try an artifact, store it, and register the version that it makes; see `prepared`."""
    made = prepared(home, model, manifest, artifact, file=file, signed=signed, transform=transform)
    return obey(home, made)


def prepared(
    home: Home,
    model: str,
    manifest: Manifest,
    artifact: bytes | None,
    *,
    file: str = "",
    signed: Approval | None = None,
    caller: Caller | None = None,
    transform: bytes | None = None,
) -> Register:
    """Try an artifact and store it; the command that registers the version that it makes.

    Args:
        home: The state directory.
        model: The model.
        manifest: What the version is made of. Without a runtime, or without features, the artifact tells.
        artifact: The model's bytes; None where another system serves the version.
        file: The name of the artifact's file, where it has one.
        signed: A signature, where it brings code and somebody vouches for that.
        caller: Who registers it; None for who holds the token at hand.
        transform: The bytes of the manifest's transform.

    Raises:
        Forbidden: It brings code, and nobody who may answers for it.
        InputError: The artifact cannot be loaded by its runtime, or does not fit the manifest.
        MissingExtra: The runtime's library is not installed.
    """
    manifest = _with_runtime(manifest, artifact, file)
    if manifest.transform is not None or transform is not None:
        manifest, transform = with_transform(home.check().artifacts, manifest, transform)
    parts = {} if transform is None else {digest(transform): transform}
    if artifact is not None and manifest.runtime != EXTERNAL:
        if not brings_code(manifest):
            manifest = tried(manifest, artifact) if transform is None else tried_behind(manifest, artifact)
        manifest = msgspec.structs.replace(manifest, artifact=digest(artifact))
        parts[manifest.artifact] = artifact
    approval, permit = None, None
    if brings_code(manifest):  # nothing is run, nor kept, before somebody answers for it
        approval = approved(manifest, signed, caller or caller_here(home), model)
        permit = trust_of(home).allow(manifest, approval, f"{model} (new)")
    if approval is not None or transform is not None:
        try_version(manifest, parts, permit)
    for data in parts.values():
        home.check().artifacts.put(data)
    return Register(model=model, manifest=manifest, approval=approval)


def _with_runtime(manifest: Manifest, artifact: bytes | None, file: str) -> Manifest:
    """The manifest with its runtime, which the artifact may tell."""
    if artifact is not None and not manifest.runtime:
        manifest = msgspec.structs.replace(manifest, runtime=runtime_of(artifact, file))
    if not manifest.runtime:
        raise InputError("say in the manifest which runtime the version has", field="runtime")
    check_name(manifest.runtime)
    if manifest.runtime != EXTERNAL and artifact is None:
        raise InputError(f"a version with runtime {manifest.runtime!r} needs an artifact", field="artifact")
    return manifest
