"""Commands: what a person or a finished effect asks of the loop. Facts like any other, obeyed once each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from lossloop.act import outbox
from lossloop.act.checks import Checked
from lossloop.act.decide import Proposal
from lossloop.act.policy import CIRCUIT, override, read_policy
from lossloop.act.rollout import Stage
from lossloop.app import experimenting
from lossloop.app.acting import Acting
from lossloop.app.books import Books, Freeze, PolicyText
from lossloop.app.circuits import ACTIONS, TurnCircuit, told_as
from lossloop.app.forgetting import remember
from lossloop.app.gates import check_actions, check_found, check_rollout
from lossloop.app.heldout import check_holdout, renew
from lossloop.app.judging import Lens
from lossloop.app.kept import Kept
from lossloop.app.policies import arrange, begin_anew, check_history, check_slices, check_watches
from lossloop.app.references import version_under
from lossloop.app.switching import SwitchLoss, switch
from lossloop.app.trusting import refusal
from lossloop.app.watches import judge_of
from lossloop.core.clock import Micros
from lossloop.core.errors import Conflict, InputError, LossloopError, StorageFull, UnknownName
from lossloop.core.records import Decision, Record
from lossloop.core.traffic import Arm
from lossloop.ledger.frames import Frame
from lossloop.ledger.removals import ERASED, EXPIRED, Gone
from lossloop.registry import CHAMPION, PREVIOUS, Approval, Manifest, Version, versions
from lossloop.serve.transforms import brings_code


class Result(Record, frozen=True):
    """How a command ended."""

    ok: bool
    message: str
    version: int | None = None


class SetPolicy(Record, frozen=True):
    """Put a policy in force; its model exists from then on."""

    text: str


class Register(Record, frozen=True):
    """Make a manifest a version of a model."""

    model: str
    manifest: Manifest
    approval: Approval | None = None
    """Who answers for the code that it brings; a version that brings some is refused without."""


class StartRollout(Record, frozen=True):
    """Put a version on its way into the traffic; `plan` overrides keys of the policy's rollout."""

    model: str
    version: int
    plan: dict[str, Any] = {}
    reason: str = ""
    by: str = "operator"
    checked: Checked | None = None
    """What was found of the version before this was ordered; needed where the policy asks for it."""
    force: bool = False
    """Whether to go on in spite of what was found."""


class Promote(Record, frozen=True):
    """Give a version all the traffic at once."""

    model: str
    version: int | None = None
    """None for the challenger of the running rollout."""
    reason: str = ""
    checked: Checked | None = None
    force: bool = False


class StartExperiment(Record, frozen=True):
    """Give versions their shares of the traffic, side by side; `plan` overrides keys of the policy's."""

    model: str
    arms: tuple[Arm, ...]
    plan: dict[str, Any] = {}
    reason: str = ""
    by: str = "operator"
    checked: tuple[Checked, ...] = ()
    """What was found of the arms; needed where the policy asks for it."""
    force: bool = False


class RollBack(Record, frozen=True):
    """Give the traffic back: from the challenger of a running rollout, else to the champion before."""

    model: str
    reason: str = ""


class SetFreeze(Record, frozen=True):
    """Stop all actions, or let them go on."""

    on: bool
    reason: str = ""


class Settle(Record, frozen=True):
    """How an attempt at an outside effect ended."""

    key: str
    ok: bool
    detail: str = ""


class Candidate(Record, frozen=True):
    """A retraining's result: a manifest that goes on its way into the traffic."""

    key: str
    model: str
    manifest: Manifest
    checked: Checked | None = None


Command = (
    SetPolicy
    | SwitchLoss
    | Register
    | StartRollout
    | StartExperiment
    | Promote
    | RollBack
    | SetFreeze
    | Settle
    | Candidate
    | TurnCircuit
)
MakeActing = Callable[[str, Micros], Acting]
GONE = (ERASED, EXPIRED)
"""Facts that look like commands: rows were removed from the log."""

COMMANDS: dict[str, type[Record]] = {
    "set_policy": SetPolicy,
    "switch_loss": SwitchLoss,
    "register": Register,
    "start_rollout": StartRollout,
    "start_experiment": StartExperiment,
    "promote": Promote,
    "roll_back": RollBack,
    "freeze": SetFreeze,
    "settle": Settle,
    "candidate": Candidate,
    "turn_circuit": TurnCircuit,
}


def name_of(command: Command) -> str:
    """The name under which a command is in the log."""
    return next(name for name, kind in COMMANDS.items() if kind is type(command))


def obey(frame: Frame, books: Books, acting: MakeActing, *, now: Micros, kept: Kept) -> list[Decision]:
    """Obey the commands of a frame; how each ended is kept under its id, and an id is obeyed once.

    Args:
        frame: The commands.
        books: Of the state.
        acting: Makes what carries out decisions on a model.
        now: Where time stands.
        kept: The models' predictions, flushed.
    """
    decided: list[Decision] = []
    for id, name, body in zip(*(frame.batch.column(i).to_pylist() for i in range(3)), strict=True):
        if books.documents.get("command", id, Result) is not None:
            continue
        result, made = _obey_whole(name, body, books, acting, now, kept)
        decided += made
        books.documents.put("command", id, result)
    return decided


def _obey_whole(
    name: str, body: str, books: Books, acting: MakeActing, now: Micros, kept: Kept
) -> tuple[Result, list[Decision]]:
    """Obey a command in full or not at all; one that fails is answered, and the loop goes on."""
    try:
        with books.documents.transaction():
            if name in GONE:
                return _remember(msgspec.json.decode(body, type=Gone), books, kept), []
            return _obey(name, body, books, acting, now, kept)
    except StorageFull:
        raise
    except (LossloopError, msgspec.ValidationError) as error:
        return Result(ok=False, message=str(error)), []
    except Exception as error:  # noqa: BLE001 - one broken command must not stop the loop for every model
        return Result(ok=False, message=f"{name} failed: {type(error).__name__}: {error}"), []


def _remember(gone: Gone, books: Books, kept: Kept) -> Result:
    """Rows of a segment are gone: they go on counting."""
    if gone.model in books.models():
        rows = kept.rows_in(gone.model, gone.segment, gone.frames)
        remember(books, books.lens(gone.model), gone, rows=rows)
    return Result(ok=True, message=f"{gone.predictions} predictions of {gone.model} are gone")


def _obey(
    name: str, body: str, books: Books, acting: MakeActing, now: Micros, kept: Kept
) -> tuple[Result, list[Decision]]:
    if name not in COMMANDS:
        raise UnknownName("command", name, COMMANDS)
    command = msgspec.json.decode(body, type=COMMANDS[name])
    match command:
        case SetPolicy():
            return _set_policy(command, books, acting, now, kept), []
        case SwitchLoss():
            books.policy(command.model)
            desk = acting(command.model, now)
            check_holdout(Lens(policy=read_policy(command.text)), books)
            message = switch(command, books, desk, kept.tables(command.model))
            renew(desk, anew=True)
            return Result(ok=True, message=message), desk.decided
        case SetFreeze():
            return _freeze(command, books, now), []
        case Settle():
            return _settle(command, books), []
        case (
            Register() | StartRollout() | StartExperiment() | Promote() | RollBack() | Candidate()
            | TurnCircuit()
        ):  # fmt: skip
            books.policy(command.model)
            desk = acting(command.model, now)
            return _FOR_A_MODEL[type(command)](command, books, desk), desk.decided
    raise UnknownName("command", name, COMMANDS)


def _set_policy(command: SetPolicy, books: Books, acting: MakeActing, now: Micros, kept: Kept) -> Result:
    policy = read_policy(command.text)
    lens = Lens(policy=policy, thresholds=versions.thresholds(books.documents, policy.model))
    champion = versions.alias(books.documents, policy.model, CHAMPION)
    check_history(policy, books)
    check_holdout(lens, books)
    check_slices(policy, books)
    check_watches(lens, None if champion is None else version_under(books.documents, lens, champion))
    if policy.model in books.models():
        before = books.policy(policy.model)
        begin_anew(books, before, policy)
        arrange(books.documents, before, lens, kept.tables(policy.model))
    books.documents.put("policy", policy.model, PolicyText(text=command.text, at=now))
    desk = acting(policy.model, now)
    renew(desk)
    desk.route()
    return Result(ok=True, message=f"the policy of {policy.model} is in force, in mode {policy.mode}")


def _freeze(command: SetFreeze, books: Books, now: Micros) -> Result:
    if command.on:
        books.documents.put("freeze", "all", Freeze(at=now, reason=command.reason))
        return Result(ok=True, message="frozen: verdicts are given, nothing is done")
    books.documents.drop("freeze", "all")
    return Result(ok=True, message="actions go on")


def _settle(command: Settle, books: Books) -> Result:
    effect = outbox.settle(books.documents, command.key, ok=command.ok, detail=command.detail)
    return Result(ok=True, message="already settled" if effect is None else effect.status)


def _register(command: Register, books: Books, desk: Acting) -> Result:
    if not command.manifest.runtime:
        raise InputError("a version needs the runtime that runs its artifact", field="manifest.runtime")
    if command.approval is None and brings_code(command.manifest):
        raise Conflict(refusal(command.manifest.runtime))
    version = versions.register(
        books.documents, command.model, command.manifest, at=desk.now, approval=command.approval
    )
    return Result(ok=True, message=f"{version.name} is registered", version=version.number)


def _start(command: StartRollout, books: Books, desk: Acting) -> Result:
    policy = books.policy(command.model)
    if policy.rollout is None:
        raise Conflict(f"the policy of {command.model} has no rollout; add one, or promote by hand")
    version = versions.find(books.documents, command.model, command.version)
    _check_judged(books, version)
    check_rollout(books, version)
    found = check_found(books, version, command.checked, force=command.force, reason=command.reason)
    plan = override(policy.rollout, command.plan)
    reason = f"{command.reason or 'asked for by an operator'}{found}"
    rollout = desk.start_rollout(command.version, plan, reason=reason, by=command.by)
    words = "in shadow" if rollout.stage is Stage.SHADOW else f"at {rollout.share:.0%} of the traffic"
    return Result(ok=True, message=f"{command.model}:{command.version} is {words}", version=command.version)


def _arm_found(command: StartExperiment, number: int, books: Books) -> str:
    """What a decision says of the checks of an arm; Conflict where it may not take traffic."""
    version = versions.find(books.documents, command.model, number)
    checked = next((each for each in command.checked if each.version == version.digest), None)
    return check_found(books, version, checked, force=command.force, reason=command.reason)


def _start_experiment(command: StartExperiment, books: Books, desk: Acting) -> Result:
    for arm in command.arms:
        version = versions.find(books.documents, command.model, arm.version)
        _check_judged(books, version)
        check_rollout(books, version)
    found = [_arm_found(command, arm.version, books) for arm in command.arms]
    plan = override(books.policy(command.model).experiment, command.plan)
    reason = f"{command.reason or 'asked for by an operator'}{''.join(found)}"
    experiment = experimenting.start(desk, command.arms, plan, reason=reason, by=command.by)
    words = ", ".join(f"version {each.version} at {100 * each.share:.3g}%" for each in experiment.arms)
    words = f"{words} of the traffic, beside version {experiment.champion}"
    return Result(ok=True, message=f"{command.model}: {words}")


def _promote(command: Promote, books: Books, desk: Acting) -> Result:
    rollout = books.rollout(command.model)
    running = rollout if rollout is not None and rollout.running else None
    number = command.version if command.version is not None else running.challenger if running else None
    if number is None:
        raise Conflict("no rollout is running; name the version to promote")
    version = versions.find(books.documents, command.model, number)
    _check_judged(books, version)
    found = check_found(books, version, command.checked, force=command.force, reason=command.reason)
    if running:
        desk.end_rollout("promote" if running.challenger == number else "roll_back")
    experimenting.end(desk, number)
    reason = f"{command.reason or 'asked for by an operator'}{found}"
    desk.enthrone(number, reason=reason)
    desk.command("promote", number, reason, share=1.0)
    desk.route()
    return Result(ok=True, message=f"{version.name} is the champion", version=number)


def _check_judged(books: Books, version: Version) -> None:
    """Raise InputError where the watches could not judge a version once it is champion."""
    lens = books.lens(version.model)
    version = version_under(books.documents, lens, version.number)
    check_actions(lens, version)
    for name, watch in lens.policy.watches.items():
        try:
            judge_of(lens, watch, version)
        except InputError as error:
            raise InputError(f"watch {name!r} could not judge {version.name}: {error}") from None


def _roll_back(command: RollBack, books: Books, desk: Acting) -> Result:
    reason = command.reason or "asked for by an operator"
    rollout = books.rollout(command.model)
    if rollout is not None and rollout.running:
        desk.end_rollout("roll_back")
        desk.command("roll_back", rollout.challenger, reason, share=0.0)
        desk.route()
        return Result(
            ok=True, message=f"version {rollout.challenger} is off the traffic", version=rollout.champion
        )
    if experimenting.end(desk, None):
        desk.command("stop", None, reason, share=0.0)
        desk.route()
        return Result(ok=True, message="the experiment is over; its versions are off the traffic")
    previous = versions.alias(books.documents, command.model, PREVIOUS)
    if previous is None:
        raise Conflict(
            f"{command.model} has no previous champion to go back to; "
            f"name one: lossloop promote {command.model} VERSION"
        )
    desk.go_back(previous, reason=reason)
    desk.command("roll_back", previous, reason)
    desk.route()
    return Result(ok=True, message=f"version {previous} is the champion again", version=previous)


def _candidate(command: Candidate, books: Books, desk: Acting) -> Result:
    """Take a retraining's result: register it, and start its rollout where actions are allowed."""
    if brings_code(command.manifest):
        why = refusal(command.manifest.runtime)
        outbox.settle(books.documents, command.key, ok=True, detail=f"made a version that is refused: {why}")
        return Result(ok=False, message=why)
    version = versions.register(books.documents, command.model, command.manifest, at=desk.now)
    outbox.settle(books.documents, command.key, ok=True, detail=f"made {version.name}")
    why = _start_candidate(version, command, books, desk)
    message = (
        f"{version.name} is registered; not rolled out: {why}" if why else f"{version.name} is on its way"
    )
    return Result(ok=True, message=message, version=version.number)


def _start_candidate(version: Version, command: Candidate, books: Books, desk: Acting) -> str:
    """Start a retrained version's rollout; return why not, if not."""
    plan, status = books.policy(command.model).rollout, desk.status("start_rollout")
    if plan is None or status != "done":
        return "the policy has no rollout" if plan is None else status
    try:
        _check_judged(books, version)
        check_rollout(books, version)
        reason = f"retrained, decision {command.key}{check_found(books, version, command.checked)}"
        desk.start_rollout(version.number, plan, reason=reason, by="policy")
    except InputError as error:
        return str(error)
    return ""


def _turn(command: TurnCircuit, books: Books, desk: Acting) -> Result:
    """Record that a server does not ask a version any more, or does again, and tell whom the policy names."""
    version = versions.find(books.documents, command.model, command.version)
    told = told_as(command, version.name)
    desk.command(ACTIONS[command.state], version.number, told, by=command.server or "server", watch=CIRCUIT)
    for entry in books.policy(command.model).on.get(CIRCUIT, ()):
        for verb, target in entry.items():
            desk.propose(Proposal(verb=verb, target=target, reason=told), CIRCUIT, None)
    return Result(ok=True, message=told, version=version.number)


_FOR_A_MODEL: dict[type[Record], Callable[[Any, Books, Acting], Result]] = {
    Register: _register,
    StartRollout: _start,
    StartExperiment: _start_experiment,
    Promote: _promote,
    RollBack: _roll_back,
    Candidate: _candidate,
    TurnCircuit: _turn,
}
