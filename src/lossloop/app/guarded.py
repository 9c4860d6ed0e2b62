"""What stands between a model and its callers now, as the server process that is asked has it."""

from __future__ import annotations

from typing import Any

import msgspec

from lossloop.app.running import Running
from lossloop.core.clock import format_duration
from lossloop.core.serving import Serving


def guarded(running: Running, model: str) -> dict[str, Any]:
    """The versions that this process holds ready, their circuits, and who answers for whom.

    Raises:
        UnknownName: There is no such model.
    """
    service = running.service
    traffic = service.fleet.traffic(model)
    serving = traffic.serving
    held = service.fleet.ready(model)
    return {
        "model": model,
        "server": service.teller.server,
        "versions": [_version(running, model, number, problem) for number, problem in held.items()],
        "breaker": _breaker(serving),
        "fallback": [number for number in (traffic.champion, traffic.previous) if number is not None],
        "answer": serving.fallback.answer,
        "limits": [{"words": each.words, "then": str(each.then)} for each in serving.limits],
        "constraints": [msgspec.to_builtins(each) for each in serving.constraints],
    }


def _version(running: Running, model: str, number: int, problem: str | None) -> dict[str, Any]:
    circuits = running.service.fleet.guarding.circuits
    circuit = circuits.circuit((model, number))
    return {
        "version": number,
        "ready": problem is None,
        "problem": problem,
        "circuit": str(circuit.state),
        "for_s": round(circuits.seconds((model, number)), 3),
        "failures": len(circuit.failures),
        "why": circuit.why or None,
    }


def _breaker(serving: Serving) -> dict[str, Any]:
    rule = serving.breaker
    return {
        "errors": rule.errors, "of": rule.of, "within": format_duration(rule.within),
        "retry_after": format_duration(rule.retry_after),
    }  # fmt: skip
