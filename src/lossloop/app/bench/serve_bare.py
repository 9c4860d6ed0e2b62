"""The floor under serving: a bare Granian handler with msgspec and the same model, and nothing else.

It batches nothing, logs nothing and routes nothing: a body is decoded, the model run, the answer encoded.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels

from lossloop.app.bench.bare import HOST
from lossloop.app.system import watch_parent
from lossloop.serve.runtimes.libraries import library

_ARTIFACT = "LOSSLOOP_BENCH_MODEL"


class Row(msgspec.Struct):
    """A row to predict."""

    features: dict[str, float]


class Body(msgspec.Struct):
    """What is sent."""

    rows: list[Row]


class Bare:
    """The application."""

    def __init__(self, artifact: bytes) -> None:
        found = library("onnxruntime", "onnx")
        options = found.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = found.InferenceSession(artifact, options, providers=["CPUExecutionProvider"])
        self._decode = msgspec.json.Decoder(Body).decode
        self._encode = msgspec.json.Encoder().encode

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return
        message = await receive()
        sent: bytes = message["body"]
        while message.get("more_body"):
            message = await receive()
            sent += message["body"]
        rows = self._decode(sent).rows if sent else []
        table = np.array([list(row.features.values()) for row in rows], np.float32)
        chances = self._session.run(None, {"x": table})[0][:, 0].tolist() if rows else []
        answer = self._encode({"predictions": [{"y_pred": chance} for chance in chances]})
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


def create() -> Bare:
    """The application, as the server's process makes it."""
    watch_parent()
    return Bare(Path(os.environ[_ARTIFACT]).read_bytes())


def main() -> None:
    """Serve an artifact: ``python -m lossloop.app.bench.serve_bare PORT FILE``."""
    port, os.environ[_ARTIFACT] = int(sys.argv[1]), sys.argv[2]
    watch_parent()
    Granian(
        "lossloop.app.bench.serve_bare:create", factory=True, interface=Interfaces.ASGI, address=HOST,
        port=port, workers=1, http=HTTPModes.http1, websockets=False, log_level=LogLevels.warning,
    ).serve()  # fmt: skip


if __name__ == "__main__":
    main()
