"""A service that records what it answers: FastAPI under a real server.

SPOOL=... URL=... granian --interface asgi tests.client.service:create --factory
"""

from __future__ import annotations

import os
from typing import Any

from fastapi import FastAPI

import lossloop as ll


def row(asked: Any, answered: Any) -> dict[str, Any]:
    """What is recorded of an exchange."""
    return {"y_pred": answered["chance"], "features": asked, "unit": asked["card"]}


def create() -> FastAPI:
    """The application."""
    app = FastAPI()
    client = ll.Client(os.environ["URL"], token="ll_token", spool=os.environ["SPOOL"], linger=0.01)
    app.add_middleware(ll.RecordASGI, client=client, model="fraud", version=3, routes={"/score": row})

    @app.post("/score")
    def score(order: dict[str, Any]) -> dict[str, Any]:
        return {"chance": 0.25, "worker": os.getpid()}

    return app
