"""Every endpoint: what it takes, what it answers, and the few lines that connect it to the service."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from lossloop import losses
from lossloop.access import Caller, Right
from lossloop.act.policy import read_policy
from lossloop.app.charts import read_history, watch_charts
from lossloop.app.commands import (
    Command,
    Promote,
    Result,
    RollBack,
    SetFreeze,
    SetPolicy,
    StartExperiment,
    StartRollout,
    name_of,
)
from lossloop.app.guarded import guarded
from lossloop.app.http import requests
from lossloop.app.http.metrics import metrics
from lossloop.app.http.problems import problems
from lossloop.app.labels import label_delay_at, wanted_at
from lossloop.app.metrics import measure_at
from lossloop.app.operate import check_policy, prepared
from lossloop.app.reading import decisions, overview, prediction, status
from lossloop.app.rehearsing import rehearse
from lossloop.app.running import Running
from lossloop.app.versions.ordering import Ordered, apart, with_checks
from lossloop.core.clock import parse_time
from lossloop.core.errors import Conflict, InputError, UnknownName
from lossloop.core.ids import new_id
from lossloop.core.traffic import Arm
from lossloop.ledger.base import Position
from lossloop.ledger.facts import command as command_frame
from lossloop.ledger.facts import tick
from lossloop.serve.service import Answer, Receipt
from lossloop.serve.wishes import Wish


@dataclass(kw_only=True, slots=True)
class Call:
    """A request, read: its path's names, its body, and how long it is willing to wait for the fold."""

    running: Running
    path: dict[str, str]
    body: Any
    wait: float
    caller: Caller
    wish: Wish
    """Who asks; the door has seen to it that the endpoint's right is held, and the named model met."""


ARROW, JSON, TEXT = "application/vnd.apache.arrow.stream", "application/json", "text/plain"
Reply = tuple[int, dict[str, Any] | str]
Handler = Callable[[Call], Awaitable[Reply]]


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One row of the table of endpoints."""

    method: str
    path: str
    summary: str
    handler: Handler
    right: Right
    """What the caller's token must allow."""
    body: type[requests.Body] | None = None
    stream: type[requests.Stream] | None = None
    """What else than JSON it takes: an Arrow stream."""
    answers: str = JSON
    by_model: bool = False
    """Whether the handler itself holds the answer to the caller's models, as neither path nor body names one.

    Where one is named, the door sees to it; anything else is for tokens for all models.
    """

    @property
    def open(self) -> bool:
        """Whether it answers without a token."""
        return self.right is Right.ANYONE


async def _health(call: Call) -> Reply:
    return 200, {"status": "ok", **overview(call.running.state), "behind": call.running.behind()}


async def _predict(call: Call) -> Reply:
    outcome = await call.running.service.predict(call.path["model"], call.body.rows, call.wish)
    found, actions = outcome.answers, outcome.actions
    answers = [_answer(found[place], actions.get(place)) for place in sorted(found)]
    return await _reply(call, {"predictions": answers}, outcome.problems, outcome.position)


async def _record_predictions(call: Call) -> Reply:
    service, body = call.running.service, call.body
    return await _recorded(call, await service.record_predictions(body.model, body.batch()))


async def _record_outcomes(call: Call) -> Reply:
    service, body = call.running.service, call.body
    return await _recorded(call, await service.record_outcomes(body.model, body.batch()))


async def _recorded(call: Call, receipt: Receipt) -> Reply:
    reply: dict[str, Any] = {"accepted": receipt.accepted}
    if receipt.ids is not None:
        reply["ids"] = receipt.ids
    return await _reply(call, reply, receipt.problems, receipt.position)


async def _reply(
    call: Call, reply: dict[str, Any], bad: list[InputError], position: Position | None
) -> Reply:
    if call.wait:
        reply |= await _folded(call, position)
    if not bad:
        return 200, reply
    details = problems(bad)
    return details["status"], {**details, **reply}


def _answer(answer: Answer, action: str | None) -> Any:
    return answer if action is None else {**msgspec.to_builtins(answer), "action": action}


async def _folded(call: Call, position: Position | None) -> dict[str, Any]:
    if not call.wait:
        return {}
    folded = position is None or await call.running.follower.folded(position, call.wait)
    return {"folded": folded, "pending": call.running.pending(), "decisions": call.running.decisions()}


async def _compute_losses(call: Call) -> Reply:
    loss, body = losses.parse(call.body.loss), call.body
    if body.y_true is not None and len(body.y_true) != len(body.y_pred):
        raise InputError(f"y_true has {len(body.y_true)} rows, y_pred {len(body.y_pred)}", field="y_true")
    values, found = loss.rows(body.y_true, body.y_pred, body.features)
    bad = [InputError(each.message, field=each.field, row=each.row) for each in found]
    endless = [row for row, value in enumerate(values.tolist()) if math.isinf(value)]
    bad += [InputError("the loss is beyond any number", field="loss", row=row) for row in endless]
    shown = [value if math.isfinite(value) else None for value in values.tolist()]
    reply = {"loss": loss.version, "unit": loss.unit, "losses": shown}
    return (422, {**problems(bad), **reply}) if bad else (200, reply)


async def _show_guards(call: Call) -> Reply:
    return 200, guarded(call.running, call.path["model"])


async def _show_metrics(call: Call) -> Reply:
    return 200, metrics(call.running)


async def _list_models(call: Call) -> Reply:
    return 200, {"models": [name for name in call.running.books.models() if call.caller.meets(name)]}


async def _show_model(call: Call) -> Reply:
    return 200, status(call.running.books, call.path["model"])


async def _list_decisions(call: Call) -> Reply:
    return 200, {"decisions": decisions(call.running.books, call.path["model"])}


async def _show_labels(call: Call) -> Reply:
    """In a thread, and one at a time: it reads two columns of all of a model's predictions."""
    async with _READING:
        return 200, await asyncio.to_thread(label_delay_at, call.running.home, call.path["model"])


async def _show_charts(call: Call) -> Reply:
    found = watch_charts(read_history(call.running.books, call.path["model"]))
    return 200, {"model": call.path["model"], "charts": [msgspec.to_builtins(each) for each in found]}


async def _measure_model(call: Call) -> Reply:
    """In a thread, and one at a time, like the labels: it goes through all of a model's predictions."""
    async with _READING:
        return 200, await asyncio.to_thread(measure_at, call.running.home, call.path["model"])


async def _list_wanted(call: Call) -> Reply:
    async with _READING:
        return 200, await asyncio.to_thread(wanted_at, call.running.home, call.path["model"])


async def _show_prediction(call: Call) -> Reply:
    running = call.running
    found = prediction(running.state, running.log, running.keys, call.path["model"], call.path["id"])
    if found is None:
        raise UnknownName("prediction", call.path["id"], [], field="id")
    return 200, found


async def _set_policy(call: Call) -> Reply:
    call.caller.require_model(read_policy(call.body.text).model)
    check_policy(call.body.text, call.running.settings, call.running.state)
    return await _command(call, SetPolicy(text=call.body.text))


async def _switch_loss(call: Call) -> Reply:
    """In a thread, and one at a time: the past is replayed first."""
    model, body = call.path["model"], call.body
    if (named := read_policy(body.text).model) != model:
        raise InputError(f"the policy is of {named}, not of {model}", field="text")
    async with _READING:
        command = await asyncio.to_thread(
            rehearse, call.running.home, body.text, since=body.since, until=body.until, reason=body.reason,
            by=body.by, force=body.force,
        )  # fmt: skip
    status, answer = await _command(call, command)
    return status, {**answer, "tried": msgspec.to_builtins(command.tried)}


async def _register(call: Call) -> Reply:
    """In a thread: an artifact is tried before it is kept."""
    body = call.body
    call.running.books.policy(call.path["model"])  # there is such a model, before anything is tried
    command = await asyncio.to_thread(
        prepared, call.running.home, call.path["model"], body.manifest, body.artifact, file=body.file,
        signed=body.signature, caller=call.caller,
    )  # fmt: skip
    return await _command(call, command)


async def _start_rollout(call: Call) -> Reply:
    body = call.body
    return await _checked(call, StartRollout(
        model=call.path["model"], version=body.version, plan=body.plan, reason=body.reason, force=body.force,
    ))  # fmt: skip


async def _start_experiment(call: Call) -> Reply:
    body, model = call.body, call.path["model"]
    arms = tuple(Arm(version=arm.version, share=arm.share) for arm in body.arms)
    return await _checked(
        call,
        StartExperiment(model=model, arms=arms, plan=body.plan, reason=body.reason, force=body.force),
    )


async def _promote(call: Call) -> Reply:
    body = call.body
    order = Promote(model=call.path["model"], version=body.version, reason=body.reason, force=body.force)
    return await _checked(call, order)


async def _checked(call: Call, order: Ordered) -> Reply:
    """Obey an order with what a process of its own has found of its versions, where the policy asks."""
    if call.running.books.policy(order.model).check is not None:
        async with _READING:
            order = await asyncio.to_thread(with_checks, call.running.home, order, apart)
    return await _command(call, order)


async def _roll_back(call: Call) -> Reply:
    return await _command(call, RollBack(model=call.path["model"], reason=call.body.reason))


async def _freeze(call: Call) -> Reply:
    return await _command(call, SetFreeze(on=True, reason=call.body.reason))


async def _unfreeze(call: Call) -> Reply:
    return await _command(call, SetFreeze(on=False, reason=call.body.reason))


async def _move_clock(call: Call) -> Reply:
    running = call.running
    if not running.replays:
        raise Conflict("this state directory follows the receipt time; only a replay's clock can be moved")
    now = running.clock.now()
    position = await running.recorder.append([tick(parse_time(call.body.time), now=now)])
    return 200, await _folded(call, position)


async def _command(call: Call, command: Command) -> tuple[int, dict[str, Any]]:
    """Log a command, wait for the loop to obey it, and answer how it ended."""
    if "model" in call.path:
        call.running.books.policy(call.path["model"])  # there is such a model
    id = new_id()
    frame = command_frame(id, name_of(command), msgspec.to_builtins(command), now=call.running.clock.now())
    position = await call.running.recorder.append([frame])
    await call.running.follower.folded(position, call.wait or COMMAND_PATIENCE)
    result = call.running.state.get("command", id, Result)
    if result is None:
        return 202, {"id": id, "message": "logged; the loop has not come to it yet"}
    if not result.ok:
        raise Conflict(result.message)
    return 200, {"id": id, **msgspec.to_builtins(result)}


COMMAND_PATIENCE = 10.0
_READING = asyncio.Semaphore(1)

ROUTES: tuple[Endpoint, ...] = (
    Endpoint(method="GET", path="/v1/health", handler=_health, right=Right.ANYONE,
             summary="Whether the server answers, and how far the loop has come."),
    Endpoint(method="GET", path="/metrics", handler=_show_metrics, right=Right.VIEW, answers=TEXT,
             summary="What the server counts, as text for Prometheus."),
    Endpoint(method="GET", path="/v1/models", handler=_list_models, right=Right.ENTER, by_model=True,
             summary="The names of all models."),
    Endpoint(method="GET", path="/v1/models/{model}", handler=_show_model, right=Right.VIEW,
             summary="A model's versions, aliases, traffic, watches, rollout and counts."),
    Endpoint(method="GET", path="/v1/models/{model}/serving", handler=_show_guards, right=Right.VIEW,
             summary="Who answers for whom, and which circuits are open, in the process that is asked."),
    Endpoint(method="GET", path="/v1/models/{model}/decisions", handler=_list_decisions, right=Right.VIEW,
             summary="Every decision on a model, oldest first."),
    Endpoint(method="GET", path="/v1/models/{model}/labels", handler=_show_labels, right=Right.VIEW,
             summary="How late labels come, from which age to judge, and what missing ones can hide."),
    Endpoint(method="GET", path="/v1/models/{model}/charts", handler=_show_charts, right=Right.VIEW,

             summary="What a model's watches saw, as charts: losses with bands, evidence, decisions marked."),
    Endpoint(method="GET", path="/v1/models/{model}/metrics", handler=_measure_model, right=Right.VIEW,
             summary="Accuracy, F1, AUC, calibration and the like, by version and role."),
    Endpoint(method="GET", path="/v1/models/{model}/labels/wanted", handler=_list_wanted, right=Right.VIEW,
             summary="Predictions that were drawn for an audit and wait for their label."),
    Endpoint(method="GET", path="/v1/models/{model}/predictions/{id:path}", handler=_show_prediction,
             right=Right.VIEW,
             summary="One prediction, with its outcome if that has come."),
    Endpoint(method="POST", path="/v1/models/{model}/predict", handler=_predict, right=Right.PREDICTIONS,
             body=requests.PredictBody,
             summary="Predict rows with the version that each row's unit meets, and log the answers."),
    Endpoint(method="POST", path="/v1/predictions", handler=_record_predictions, right=Right.PREDICTIONS,
             body=requests.PredictionsBody, stream=requests.PredictionsStream,
             summary="Log predictions that another system made."),
    Endpoint(method="POST", path="/v1/outcomes", handler=_record_outcomes, right=Right.OUTCOMES,
             body=requests.OutcomesBody, stream=requests.OutcomesStream, summary="Log what happened."),
    Endpoint(method="POST", path="/v1/losses", handler=_compute_losses, right=Right.ENTER, by_model=True,
             body=requests.LossesBody,
             summary="Compute losses of predictions and outcomes; nothing is kept."),
    Endpoint(method="PUT", path="/v1/policy", handler=_set_policy, right=Right.ADMIN, by_model=True,
             body=requests.PolicyBody,
             summary="Put a policy in force."),
    Endpoint(method="POST", path="/v1/models/{model}/loss", handler=_switch_loss, right=Right.ADMIN,
             body=requests.LossBody,
             summary="Let a loss that runs beside judge from now on; the past is replayed first."),
    Endpoint(method="POST", path="/v1/models/{model}/versions", handler=_register, right=Right.OPERATE,
             body=requests.VersionBody,
             summary="Register a version; one that brings code needs an admin, or a signature."),
    Endpoint(method="POST", path="/v1/models/{model}/rollout", handler=_start_rollout, right=Right.OPERATE,
             body=requests.RolloutBody, summary="Put a version on its way into the traffic."),
    Endpoint(method="POST", path="/v1/models/{model}/experiment", handler=_start_experiment,
             right=Right.OPERATE, body=requests.ExperimentBody,
             summary="Compare several versions with the champion, side by side."),
    Endpoint(method="POST", path="/v1/models/{model}/promote", handler=_promote, right=Right.OPERATE,
             body=requests.PromoteBody,
             summary="Give a version all the traffic at once."),
    Endpoint(method="POST", path="/v1/models/{model}/rollback", handler=_roll_back, right=Right.OPERATE,
             body=requests.ReasonBody,
             summary="Take the challenger off the traffic, or go back to the champion before."),
    Endpoint(method="POST", path="/v1/freeze", handler=_freeze, right=Right.OPERATE,
             body=requests.ReasonBody,
             summary="Stop all actions; verdicts go on."),
    Endpoint(method="DELETE", path="/v1/freeze", handler=_unfreeze, right=Right.OPERATE,
             body=requests.ReasonBody,
             summary="Let actions go on."),
    Endpoint(method="POST", path="/v1/clock", handler=_move_clock, right=Right.ADMIN,
             body=requests.TickBody,
             summary="Move a replay's clock; refused in live use."),
)  # fmt: skip
