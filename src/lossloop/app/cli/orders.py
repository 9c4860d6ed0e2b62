"""`lossloop rollout`, `rollback`, `promote`, `freeze`: what a person may order, with or without a server."""

from __future__ import annotations

import json as plain_json
import re
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from lossloop.app import operate
from lossloop.app.cli.common import DEFAULT_STATE, Json, StatePath, answer, home
from lossloop.app.commands import Command, Promote, RollBack, SetFreeze, StartExperiment, StartRollout
from lossloop.app.versions.ordering import with_checks
from lossloop.core.errors import InputError
from lossloop.core.traffic import Arm

Reason = Annotated[str, Parameter(name="--reason")]
Force = Annotated[bool, Parameter(name="--force", negative="")]


def rollout(
    model: str,
    version: int,
    /,
    *,
    plan: Annotated[str, Parameter(name="--plan")] = "{}",
    reason: Reason = "",
    force: Force = False,
    state: StatePath = DEFAULT_STATE,
    json: Json = False,
) -> None:
    """Put a version on its way into the traffic: shadow, canary steps, promoted or rolled back on evidence.

    Parameters
    ----------
    model
        The model.
    version
        The number of the version.
    plan
        Keys of the policy's rollout to set anew for this release, as JSON, such as '{"shadow": 0}'.
    reason
        Why; kept with the decision.
    force
        Go on in spite of checks that did not pass; needs a reason.
    state
        The state directory.
    json
        Answer as JSON.
    """
    order = StartRollout(model=model, version=version, plan=_plan(plan), reason=reason, force=force)
    _order(with_checks(home(state), order), state, json)


def experiment(
    model: str,
    /,
    *,
    arm: Annotated[list[str], Parameter(name="--arm", negative="")],
    plan: Annotated[str, Parameter(name="--plan")] = "{}",
    reason: Reason = "",
    force: Force = False,
    state: StatePath = DEFAULT_STATE,
    json: Json = False,
) -> None:
    """Compare several versions with the champion, side by side, until one is shown to be better.

    Parameters
    ----------
    model
        The model.
    arm
        A version and its share of the traffic, such as 4=20%; once for each arm.
    plan
        Keys of the policy's experiment to set anew for this one, as JSON, such as '{"better_by": 0.01}'.
    reason
        Why; kept with the decisions.
    force
        Go on in spite of checks that did not pass; needs a reason.
    state
        The state directory.
    json
        Answer as JSON.
    """
    order = StartExperiment(model=model, arms=_arms(arm), plan=_plan(plan), reason=reason, force=force)
    _order(with_checks(home(state), order), state, json)


def rollback(
    model: str, /, *, reason: Reason = "", state: StatePath = DEFAULT_STATE, json: Json = False
) -> None:
    """Take the challenger off the traffic, or go back to the champion before.

    Parameters
    ----------
    model
        The model.
    reason
        Why; kept with the decision.
    state
        The state directory.
    json
        Answer as JSON.
    """
    _order(RollBack(model=model, reason=reason), state, json)


def promote(
    model: str,
    version: int | None = None,
    /,
    *,
    reason: Reason = "",
    force: Force = False,
    state: StatePath = DEFAULT_STATE,
    json: Json = False,
) -> None:
    """Give a version all the traffic at once, without evidence.

    Parameters
    ----------
    model
        The model.
    version
        The number of the version; left out, the running rollout's challenger.
    reason
        Why; kept with the decision.
    force
        Go on in spite of checks that did not pass; needs a reason.
    state
        The state directory.
    json
        Answer as JSON.
    """
    order = Promote(model=model, version=version, reason=reason, force=force)
    _order(with_checks(home(state), order), state, json)


def freeze(
    *,
    off: Annotated[bool, Parameter(name="--off", negative="")] = False,
    reason: Reason = "",
    state: StatePath = DEFAULT_STATE,
    json: Json = False,
) -> None:
    """Stop all actions at once; verdicts go on, and what would have been done is recorded.

    Parameters
    ----------
    off
        Let actions go on.
    reason
        Why.
    state
        The state directory.
    json
        Answer as JSON.
    """
    _order(SetFreeze(on=not off, reason=reason), state, json)


def _order(command: Command, state: StatePath, json: bool) -> None:
    result = operate.obey(home(state), command)
    answer(msgspec.to_builtins(result), as_json=json, words=result.message)


def _arms(texts: Sequence[str]) -> tuple[Arm, ...]:
    found = []
    for text in texts:
        match = re.fullmatch(r"\s*(\d{1,9})\s*=\s*([\d.]{1,20})(%?)\s*", text)
        share = None if match is None else _number(match[2])
        if match is None or share is None:
            raise InputError(f"--arm {text!r} is no arm; write a version and its share: 4=20%", field="arm")
        found.append(Arm(version=int(match[1]), share=share / 100 if match[3] else share))
    return tuple(found)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _plan(text: str) -> dict[str, Any]:
    try:
        read = plain_json.loads(text)
    except ValueError as error:
        raise InputError(f"--plan is not JSON: {error}", field="plan") from None
    if not isinstance(read, dict):
        raise InputError('--plan must be an object, such as {"shadow": 0}', field="plan")
    return read
