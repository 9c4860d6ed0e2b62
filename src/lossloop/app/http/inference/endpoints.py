"""Every endpoint of the protocol, and the few lines between it and what all transports share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from lossloop import __version__
from lossloop.access import Caller, Right
from lossloop.app.http.bodies import decoded
from lossloop.app.http.inference.reading import IndexBody, InferBody, RepositoryBody, read_request
from lossloop.app.http.inference.writing import Headers, encode, write_reply
from lossloop.app.running import Running
from lossloop.serve.inference import EXTENSIONS

_JSON: Headers = [(b"content-type", b"application/json")]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """A request: what its path names, its headers, and its body without Content-Encoding."""

    running: Running
    caller: Caller
    names: Mapping[str, str]
    headers: Mapping[bytes, bytes]
    raw: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What is answered."""

    body: bytes
    status: int = 200
    headers: Headers = field(default_factory=lambda: _JSON)


@dataclass(frozen=True, kw_only=True)
class InferenceEndpoint:
    """One row of the table; `body` describes what it takes."""

    method: str
    path: str
    summary: str
    handler: Callable[[Ask], Awaitable[Told]]
    right: Right
    """What the caller's token must allow; for the model, where the path names one."""
    body: type[msgspec.Struct] | None = None

    @property
    def open(self) -> bool:
        """Whether it answers without a token."""
        return self.right is Right.ANYONE


async def _live(ask: Ask) -> Told:
    return _told({"live": True})


async def _ready(ask: Ask) -> Told:
    ready = ask.running.inference.ready()
    return _told({"ready": ready}, 200 if ready else 503)


async def _server_metadata(ask: Ask) -> Told:
    return _told({"name": "lossloop", "version": __version__, "extensions": EXTENSIONS})


async def _model_metadata(ask: Ask) -> Told:
    found = ask.running.inference.metadata(ask.names["model"], ask.names.get("version", ""))
    return _told(msgspec.to_builtins(found))


async def _model_ready(ask: Ask) -> Told:
    name = ask.names["model"]
    why = ask.running.inference.why_not(name, ask.names.get("version", ""))
    if why is not None:
        return _told({"name": name, "ready": False, "error": f"{name} is not ready: {why}"}, 503)
    return _told({"name": name, "ready": True})


async def _infer(ask: Ask) -> Told:
    request = read_request(ask.names, ask.headers, ask.raw)
    body, headers = write_reply(request, await ask.running.inference.infer(request))
    return Told(body=body, headers=headers)


async def _repository_index(ask: Ask) -> Told:
    body = decoded(_INDEX, ask.raw)
    found = ask.running.inference.index(only_ready=body.ready)
    return _told([msgspec.to_builtins(each) for each in found if ask.caller.meets(each.name)])


async def _repository_load(ask: Ask) -> Told:
    body = decoded(_REPOSITORY, ask.raw)
    await ask.running.inference.load(ask.names["model"], body.parameters or {})
    return _told({})


async def _repository_unload(ask: Ask) -> Told:
    body = decoded(_REPOSITORY, ask.raw)
    ask.running.inference.unload(ask.names["model"], body.parameters or {})
    return _told({})


def _told(value: Any, status: int = 200) -> Told:
    return Told(body=encode(value), status=status)


_INDEX, _REPOSITORY = msgspec.json.Decoder(IndexBody), msgspec.json.Decoder(RepositoryBody)
_MODEL, _VERSION = "/v2/models/{model}", "/v2/models/{model}/versions/{version}"

INFERENCE_ROUTES: tuple[InferenceEndpoint, ...] = (
    InferenceEndpoint(method="GET", path="/v2/health/live", handler=_live, right=Right.ANYONE,
                      summary="Whether the server answers."),
    InferenceEndpoint(method="GET", path="/v2/health/ready", handler=_ready, right=Right.ANYONE,
                      summary="Whether every model can answer."),
    InferenceEndpoint(method="GET", path="/v2", handler=_server_metadata, right=Right.ENTER,
                      summary="The server's name, version and extensions."),
    *(InferenceEndpoint(method="GET", path=path, handler=_model_metadata, right=Right.ENTER,
                        summary="A model's inputs and outputs.") for path in (_MODEL, _VERSION)),
    *(InferenceEndpoint(method="GET", path=f"{path}/ready", handler=_model_ready, right=Right.ENTER,
                        summary="Whether a model can answer.") for path in (_MODEL, _VERSION)),
    InferenceEndpoint(method="POST", path=f"{_MODEL}/infer", handler=_infer, right=Right.PREDICTIONS,
                      body=InferBody, summary="Answer tensors, and log the answers."),
    InferenceEndpoint(method="POST", path=f"{_VERSION}/infer", handler=_infer, right=Right.OPERATE,
                      body=InferBody, summary="Answer tensors by this version, and log the answers."),
    InferenceEndpoint(method="POST", path="/v2/repository/index", handler=_repository_index,
                      right=Right.ENTER, body=IndexBody,
                      summary="Every version of every model, and whether it can answer."),
    InferenceEndpoint(method="POST", path="/v2/repository/models/{model}/load", handler=_repository_load,
                      right=Right.OPERATE, body=RepositoryBody, summary="Load a version beside the traffic."),
    InferenceEndpoint(method="POST", path="/v2/repository/models/{model}/unload", handler=_repository_unload,
                      right=Right.OPERATE, body=RepositoryBody,
                      summary="Drop a version that has no traffic."),
)  # fmt: skip
