"""Every call of the service, and the few lines between it and what all transports share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from lossloop import __version__
from lossloop.access import Caller, Right
from lossloop.app.grpc.converting import read_request, repository_request, write_metadata, write_reply
from lossloop.app.grpc.messages import CLASSES
from lossloop.app.running import Running
from lossloop.serve.inference import EXTENSIONS
from lossloop.serve.inference.inputs import PREDICTION_ID
from lossloop.serve.inference.outputs import ROLE, VERSION

Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """A call: who makes it, what it says, and for how many seconds it waits, None for ever."""

    running: Running
    caller: Caller
    message: Any
    patience: float | None


Call = Callable[[Ask], Awaitable[tuple[Any, Metadata]]]
METADATA: Mapping[str, str] = {
    PREDICTION_ID: "lossloop-prediction-id", VERSION: "lossloop-version", ROLE: "lossloop-role",
}  # fmt: skip
"""Under which name each parameter of a reply stands in the trailing metadata too, percent-encoded."""


async def _live(ask: Ask) -> tuple[Any, Metadata]:
    return CLASSES["ServerLiveResponse"](live=True), ()


async def _ready(ask: Ask) -> tuple[Any, Metadata]:
    return CLASSES["ServerReadyResponse"](ready=ask.running.inference.ready()), ()


async def _model_ready(ask: Ask) -> tuple[Any, Metadata]:
    why = ask.running.inference.why_not(ask.message.name, ask.message.version)
    return CLASSES["ModelReadyResponse"](ready=why is None), ()


async def _server_metadata(ask: Ask) -> tuple[Any, Metadata]:
    return CLASSES["ServerMetadataResponse"](name="lossloop", version=__version__, extensions=EXTENSIONS), ()


async def _model_metadata(ask: Ask) -> tuple[Any, Metadata]:
    return write_metadata(ask.running.inference.metadata(ask.message.name, ask.message.version)), ()


async def _infer(ask: Ask) -> tuple[Any, Metadata]:
    if ask.message.model_version:
        ask.caller.require(Right.OPERATE)
    reply = await ask.running.inference.infer(read_request(ask.message, ask.patience))
    told = tuple((METADATA[name], quote(value, safe=",/:")) for name, value in reply.parameters.items())
    return write_reply(reply, raw=bool(ask.message.raw_input_contents)), told


async def _index(ask: Ask) -> tuple[Any, Metadata]:
    found = CLASSES["RepositoryIndexResponse"]()
    for each in ask.running.inference.index(only_ready=ask.message.ready):
        if ask.caller.meets(each.name):
            found.models.add(name=each.name, version=each.version, state=each.state, reason=each.reason)
    return found, ()


async def _load(ask: Ask) -> tuple[Any, Metadata]:
    model, parameters = repository_request(ask.message)
    await ask.running.inference.load(model, parameters)
    return CLASSES["RepositoryModelLoadResponse"](model_name=model, isLoaded=True), ()


async def _unload(ask: Ask) -> tuple[Any, Metadata]:
    model, parameters = repository_request(ask.message)
    ask.running.inference.unload(model, parameters)
    return CLASSES["RepositoryModelUnloadResponse"](model_name=model, isUnloaded=True), ()


def _by_name(message: Any) -> str:
    return str(message.name)


def _by_model_name(message: Any) -> str:
    return str(message.model_name)


def _by_repository(message: Any) -> str:
    return repository_request(message)[0]


CALLS: Mapping[str, tuple[Call, Right, Callable[[Any], str] | None]] = {
    "ServerLive": (_live, Right.ANYONE, None),
    "ServerReady": (_ready, Right.ANYONE, None),
    "ModelReady": (_model_ready, Right.ENTER, _by_name),
    "ServerMetadata": (_server_metadata, Right.ENTER, None),
    "ModelMetadata": (_model_metadata, Right.ENTER, _by_name),
    "ModelInfer": (_infer, Right.PREDICTIONS, _by_model_name),
    "RepositoryIndex": (_index, Right.ENTER, None),
    "RepositoryModelLoad": (_load, Right.OPERATE, _by_repository),
    "RepositoryModelUnload": (_unload, Right.OPERATE, _by_repository),
}
"""By name each call, what the caller's token must allow, and the model for which."""
