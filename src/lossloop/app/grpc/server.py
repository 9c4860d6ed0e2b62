"""The gRPC server: in the event loop of the HTTP server, so that both share everything."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import grpc  # type: ignore[import-untyped]

from lossloop.access import ANYONE, Right
from lossloop.app.grpc.calls import CALLS, Ask, Call
from lossloop.app.grpc.messages import CLASSES, SERVICE
from lossloop.app.http.bodies import MOST_BYTES
from lossloop.app.running import Running
from lossloop.core.errors import (
    AccessError,
    Away,
    Conflict,
    DeadlineExceeded,
    Forbidden,
    InputError,
    LossloopError,
    Overloaded,
    StorageFull,
    TooLarge,
    UnknownName,
)
from lossloop.serve.counters import reason_of
from lossloop.serve.inference import words_of

_CODES: tuple[tuple[type[LossloopError], grpc.StatusCode], ...] = (
    (TooLarge, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (Conflict, grpc.StatusCode.FAILED_PRECONDITION),
    (UnknownName, grpc.StatusCode.NOT_FOUND),
    (InputError, grpc.StatusCode.INVALID_ARGUMENT),
    (Forbidden, grpc.StatusCode.PERMISSION_DENIED),
    (AccessError, grpc.StatusCode.UNAUTHENTICATED),
    (Overloaded, grpc.StatusCode.UNAVAILABLE),
    (StorageFull, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (DeadlineExceeded, grpc.StatusCode.DEADLINE_EXCEEDED),
    (Away, grpc.StatusCode.UNAVAILABLE),
)
_CLOSING = 1.0
"""Seconds that calls under way have once the server stops."""
MOST_CALLS = 1000
"""That are answered at once; more are refused with RESOURCE_EXHAUSTED."""
_OPTIONS = (
    ("grpc.max_receive_message_length", MOST_BYTES),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 1),  # several workers share the port
)


class GrpcServer:
    """Answers calls of `inference.GRPCInferenceService` over what an HTTP server has opened."""

    def __init__(self, running: Running, host: str, port: int) -> None:
        self._running = running
        self._server = grpc.aio.server(options=_OPTIONS, maximum_concurrent_rpcs=MOST_CALLS)
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(
                self._handler(name, call, right, model_of),
                request_deserializer=CLASSES[f"{name}Request"].FromString,
                response_serializer=CLASSES[f"{name}Response"].SerializeToString,
            )
            for name, (call, right, model_of) in CALLS.items()
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        self._server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")

    async def start(self) -> None:
        """Listen."""
        await self._server.start()

    async def stop(self) -> None:
        """Take no more calls, and let those under way end."""
        await self._server.stop(_CLOSING)

    def _handler(
        self, name: str, call: Call, right: Right, model_of: Callable[[Any], str] | None
    ) -> Callable[[Any, Any], Awaitable[Any]]:
        running, path = self._running, f"/{SERVICE}/{name}"
        counters = running.service.counters

        async def handle(message: Any, context: Any) -> Any:
            code, words = grpc.StatusCode.OK, ""
            reply: Any = None
            try:
                caller = ANYONE
                if right is not Right.ANYONE:
                    caller = running.tokens.caller(_token(context))
                    caller.require(right)
                    if model_of is not None:
                        caller.require_model(model_of(message))
                reply, metadata = await call(
                    Ask(running=running, caller=caller, message=message, patience=context.time_remaining())
                )
                if metadata:
                    context.set_trailing_metadata(metadata)
            except LossloopError as error:
                code, words = _code(error), words_of(error)
                counters.add("refusals", reason=reason_of(error))
            except Exception as error:  # noqa: BLE001 - the fault of one call is not the end of the others
                traceback.print_exc()
                code, words = (
                    grpc.StatusCode.INTERNAL,
                    f"the server failed at this call ({type(error).__name__})",
                )
            counters.add("requests", method="GRPC", path=path, status=code.name)
            if code is not grpc.StatusCode.OK:
                await context.abort(code, words)
            return reply

        return handle


def _token(context: Any) -> str:
    return next((str(value) for key, value in context.invocation_metadata() if key == "authorization"), "")


def _code(error: LossloopError) -> grpc.StatusCode:
    return next((code for kind, code in _CODES if isinstance(error, kind)), grpc.StatusCode.INTERNAL)
