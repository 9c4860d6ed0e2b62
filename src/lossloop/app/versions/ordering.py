"""Orders that put a version into the traffic take with them what was found of it, where the policy asks.

The fold cannot run models: it is given what was found, as a fact, and so a rebuild decides the same.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from lossloop.act.checks import Checked
from lossloop.app.books import Books
from lossloop.app.commands import Candidate, Promote, StartExperiment, StartRollout
from lossloop.app.home import Home
from lossloop.app.versions.asking import Question, check_version
from lossloop.core.errors import LossloopError, StateError

PATIENCE = 300.0
"""Seconds that the checks of a version may take."""
Look = Callable[[Home, Question], Checked]
Ordered = StartRollout | StartExperiment | Promote
"""Orders that put versions into the traffic."""


def here(home: Home, question: Question) -> Checked:
    """Check in this process: for the terminal, which has nothing else to do."""
    return check_version(home, question).checked


def apart(home: Home, question: Question) -> Checked:
    """Check in a process of its own: for servers, whose memory and time a version must not take.

    Raises:
        StateError: The process did not come to an end, or was killed.
    """
    with TemporaryDirectory() as place:
        arguments = _arguments(question, Path(place))
        command = [sys.executable, "-m", "lossloop", "check", "version", question.model, *arguments]
        command += ["--json", "--seconds", f"{question.seconds:g}", "--state", str(home.path.resolve())]
        try:
            ended = subprocess.run(
                command, capture_output=True, timeout=PATIENCE, check=False, env=dict(os.environ)
            )
        except subprocess.TimeoutExpired:
            raise StateError(f"the checks of {question.model} did not end within {PATIENCE:g} s") from None
    return told_by(question.model, ended.stdout, ended.returncode)


def _arguments(question: Question, place: Path) -> list[str]:
    if question.version is not None:
        return [str(question.version)]
    manifest = place / "manifest.json"
    manifest.write_bytes(msgspec.json.encode(question.manifest))
    return ["--manifest", str(manifest)]


def told_by(model: str, out: bytes, code: int) -> Checked:
    """What a process that checked has found; raise LossloopError with what it said instead."""
    try:
        found: dict[str, Any] = msgspec.json.decode(out)
        if "checked" not in found:
            raise LossloopError(str(found.get("error", "nothing was said")))
        return msgspec.convert(found["checked"], Checked)
    except msgspec.MsgspecError:
        words = f"the checks of {model} broke off with exit code {code}; see: lossloop check version {model}"
        raise StateError(words) from None


def with_checks(home: Home, order: Ordered, look: Look = here) -> Ordered:
    """An order with what was found of its versions; as it is where the policy asks for nothing."""
    state = home.state()
    try:
        books = Books(state)
        if books.policy(order.model).check is None:
            return order
        rollout = books.rollout(order.model)
    finally:
        state.close()
    if isinstance(order, StartExperiment):
        arms = (Question(model=order.model, version=arm.version) for arm in order.arms)
        return msgspec.structs.replace(order, checked=tuple(look(home, arm) for arm in arms))
    number = order.version
    if number is None:
        if rollout is None or not rollout.running:
            return order  # it will be refused
        number = rollout.challenger
    return msgspec.structs.replace(order, checked=look(home, Question(model=order.model, version=number)))


def with_candidate_checked(home: Home, candidate: Candidate, look: Look = apart) -> Candidate:
    """A retraining's result with what was found of it; one that cannot be checked goes without, and waits."""
    state = home.state()
    try:
        if Books(state).policy(candidate.model).check is None:
            return candidate
    finally:
        state.close()
    question = Question(model=candidate.model, manifest=candidate.manifest)
    try:
        return msgspec.structs.replace(candidate, checked=look(home, question))
    except LossloopError as error:
        print(f"the checks of what was retrained failed: {error}", file=sys.stderr, flush=True)
        return candidate
