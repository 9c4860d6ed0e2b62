"""What a user's own service imports: light, and it never needs the rest of Lossloop to be running in it.

Names are loaded when they are first used: a service that does not use asyncio does not load it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lossloop.client.asgi import RecordASGI
    from lossloop.client.asynchronous import AsyncClient
    from lossloop.client.backlog import Backlog
    from lossloop.client.client import Client
    from lossloop.client.errors import Refused, SpoolFull, Unreachable
    from lossloop.client.recording import last_id, last_ids, record
    from lossloop.client.refusals import Refusal
    from lossloop.client.spool import Spool
    from lossloop.client.wsgi import RecordWSGI

__all__ = [
    "AsyncClient",
    "Backlog",
    "Client",
    "RecordASGI",
    "RecordWSGI",
    "Refusal",
    "Refused",
    "Spool",
    "SpoolFull",
    "Unreachable",
    "last_id",
    "last_ids",
    "record",
]

_HOMES = {
    "asgi": ("RecordASGI",),
    "asynchronous": ("AsyncClient",),
    "backlog": ("Backlog",),
    "client": ("Client",),
    "errors": ("Refused", "SpoolFull", "Unreachable"),
    "recording": ("last_id", "last_ids", "record"),
    "refusals": ("Refusal",),
    "spool": ("Spool",),
    "wsgi": ("RecordWSGI",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(importlib.import_module(f"lossloop.client.{_HOME_OF[name]}"), name)
    raise AttributeError(f"module 'lossloop.client' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
