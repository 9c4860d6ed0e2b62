"""The Open Inference Protocol over the service, free of any transport: REST and gRPC say the same to it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lossloop.core.errors import Conflict, InputError, LossloopError, UnknownName
from lossloop.registry import Version
from lossloop.serve.fleet import Fleet
from lossloop.serve.inference.describing import ModelMetadata, describe
from lossloop.serve.inference.inputs import read_rows
from lossloop.serve.inference.outputs import check_outputs, write_reply
from lossloop.serve.inference.tensors import Reply, Request
from lossloop.serve.service import Service
from lossloop.serve.wishes import USUAL, Wish

READY, UNAVAILABLE = "READY", "UNAVAILABLE"
_LONGEST = 1 << 53
"""Microseconds; whoever says more waits for as long."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One version of the index."""

    name: str
    version: str
    state: str
    reason: str


class Inference:
    """Answers what the protocol asks for.

    Args:
        service: Predicts and records.
        fleet: The versions in memory, and the traffic.
    """

    def __init__(self, service: Service, fleet: Fleet) -> None:
        self._service = service
        self._fleet = fleet

    def ready(self) -> bool:
        """Whether every champion that is to be served here can answer."""
        held = [self._fleet.held(model) for model in self._fleet.models()]
        return not any(each is not None and each.problem for each in held)

    def why_not(self, model: str, version: str = "") -> str | None:
        """Why a model, or a version of it, cannot answer; None where it can.

        Raises:
            UnknownName: There is no such model or version.
        """
        if not version and self._fleet.traffic(model).champion is None:
            return "it has no champion yet"
        return self._why_not(model, self._number(model, version))

    def _why_not(self, model: str, number: int | None) -> str | None:
        held = self._fleet.held(model, number)
        if held is None:
            return "it is not loaded"
        if held.lane is not None:
            return None
        return held.problem or "it is served by another system"

    def metadata(self, model: str, version: str = "") -> ModelMetadata:
        """What a model, or a version of it, takes and answers.

        Raises:
            UnknownName: There is no such model or version.
            Conflict: The model has no champion, or it cannot answer.
        """
        traffic = self._fleet.traffic(model)
        found = self._asked(model, version)
        ready = [each.number for each in self._fleet.known(model) if not self._why_not(model, each.number)]
        return describe(found, traffic.task, ready)

    async def infer(self, request: Request) -> Reply:
        """Answer all rows of a request, or none of them.

        Raises:
            UnknownName: There is no such model or version.
            InputError: The tensors do not fit; or a row has no answer, then the others are in the log.
            Conflict: Nobody can answer; or an id was answered with other content.
        """
        version = self._asked(request.model, request.version)
        check_outputs(request.outputs)
        rows = read_rows(version.manifest.features, request)
        wish = _wish(request)
        if request.version:  # the transport has asked for the right to operate
            wish = replace(wish, version=version.number)
        outcome = await self._service.predict(request.model, rows, wish)
        if outcome.problems:
            raise min(outcome.problems, key=lambda problem: problem.row or 0)
        return write_reply(request, [outcome.answers[row] for row in range(rows.count)], outcome.actions)

    def index(self, *, only_ready: bool = False) -> list[Entry]:
        """Every version of every model, and why those cannot answer that cannot."""
        found = []
        for model in self._fleet.models():
            for version in self._fleet.known(model):
                why = self._why_not(model, version.number)
                if why is not None and only_ready:
                    continue
                state = READY if why is None else UNAVAILABLE
                found.append(Entry(name=model, version=str(version.number), state=state, reason=why or ""))
        return found

    async def load(self, model: str, parameters: Mapping[str, Any]) -> None:
        """Load a version beside the traffic; without one in the parameters, what has traffic.

        Raises:
            UnknownName: There is no such model or version.
            InputError: A parameter asks for something else; or the version cannot be loaded.
        """
        traffic = self._fleet.traffic(model)
        number = self._number(model, _version_in(parameters))
        wanted = traffic.versions if number is None else (number,)
        for version in [each for each in self._fleet.known(model) if each.number in wanted]:
            if self._why_not(model, version.number) is not None:
                self._fleet.keep(await asyncio.to_thread(self._fleet.make, version, traffic.task))

    def unload(self, model: str, parameters: Mapping[str, Any]) -> None:
        """Drop a version that has no traffic; without one in the parameters, all of the model.

        Raises:
            UnknownName: There is no such model or version.
            Conflict: It has traffic.
        """
        self._fleet.traffic(model)
        self._fleet.drop(model, self._number(model, _version_in(parameters)))

    def _asked(self, model: str, version: str) -> Version:
        """The version that a request is meant for, which can answer."""
        self._fleet.arms(model)  # somebody can answer
        champion = self._fleet.held(model)
        assert champion is not None
        number = self._number(model, version)
        if number is None or number == champion.version.number:
            return champion.version
        why, held = self._why_not(model, number), self._fleet.held(model, number)
        if why is None and held is not None:
            return held.version
        raise Conflict(f"{model}:{number} does not answer: {why}")

    def _number(self, model: str, version: str) -> int | None:
        """The number of a version as a client writes it; None where it names none."""
        if not version:
            return None
        number = int(version) if version.isascii() and version.isdigit() and len(version) < 10 else 0
        if number and self._fleet.held(model, number) is not None:
            return number
        known = [each.number for each in self._fleet.known(model)]
        if number not in known:
            raise UnknownName(f"version of {model}", version, map(str, known), field="version")
        return number


def _wish(request: Request) -> Wish:
    """How long an answer is of use: what the transport says, or the parameter `timeout` in microseconds."""
    timeout = request.parameters.get("timeout")
    if timeout is None:
        return USUAL if request.patience is None else Wish(deadline=request.patience)
    if isinstance(timeout, bool) or not isinstance(timeout, int) or timeout < 1:
        raise InputError(
            f"the parameter timeout is in microseconds, not {timeout!r:.40}", field="parameters.timeout"
        )
    patience = math.inf if request.patience is None else request.patience
    return Wish(deadline=min(min(timeout, _LONGEST) / 1e6, patience))


def words_of(error: LossloopError) -> str:
    """What is wrong, and in which row: the protocol has one text for both."""
    row = error.row if isinstance(error, InputError) else None
    return str(error) if row is None else f"row {row}: {error}"


def _version_in(parameters: Mapping[str, Any]) -> str:
    for name in parameters:
        if name not in ("version", "unload_dependents"):
            raise InputError(
                f"the parameter {name!r} is not taken; versions are registered by: lossloop register",
                field=f"parameters.{name}",
            )
    version = parameters.get("version", "")
    if isinstance(version, bool) or not isinstance(version, (str, int)):
        raise InputError(
            f"the parameter version must be a number, not {version!r:.40}", field="parameters.version"
        )
    return str(version)
