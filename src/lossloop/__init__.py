"""Lossloop closes the loop from loss to action for machine-learning models in production.

    import lossloop as ll

Names are loaded when they are first used, so that importing this package costs a service nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lossloop import judges, losses
    from lossloop.act.policy import Policy, read_policy
    from lossloop.act.retrain import Trained, TrainingData
    from lossloop.app.charts.drawn import charts
    from lossloop.client import (
        AsyncClient,
        Backlog,
        Client,
        RecordASGI,
        RecordWSGI,
        Refusal,
        Refused,
        Spool,
        SpoolFull,
        Unreachable,
        last_id,
        last_ids,
        record,
    )
    from lossloop.core.errors import InputError, LossloopError, PolicyError
    from lossloop.core.records import Decision, Interval, Verdict, VerdictKind
    from lossloop.core.thresholds import Thresholds
    from lossloop.judges import profile_of
    from lossloop.losses import Loss, loss
    from lossloop.registry import Feature, Manifest, Reference, Transform

__version__ = "0.1.0"

__all__ = [
    "AsyncClient",
    "Backlog",
    "Client",
    "Decision",
    "Feature",
    "InputError",
    "Interval",
    "Loss",
    "LossloopError",
    "Manifest",
    "Policy",
    "PolicyError",
    "RecordASGI",
    "RecordWSGI",
    "Reference",
    "Refusal",
    "Refused",
    "Spool",
    "SpoolFull",
    "Thresholds",
    "Trained",
    "TrainingData",
    "Transform",
    "Unreachable",
    "Verdict",
    "VerdictKind",
    "__version__",
    "charts",
    "judges",
    "last_id",
    "last_ids",
    "loss",
    "losses",
    "profile_of",
    "read_policy",
    "record",
]

_HOMES = {
    "lossloop.act.policy": ("Policy", "read_policy"),
    "lossloop.act.retrain": ("Trained", "TrainingData"),
    "lossloop.app.charts.drawn": ("charts",),
    "lossloop.client": (
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
    ),
    "lossloop.core.errors": ("InputError", "LossloopError", "PolicyError"),
    "lossloop.core.records": ("Decision", "Interval", "Verdict", "VerdictKind"),
    "lossloop.core.thresholds": ("Thresholds",),
    "lossloop.judges": ("profile_of",),
    "lossloop.losses": ("Loss", "loss"),
    "lossloop.registry": ("Feature", "Manifest", "Reference", "Transform"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in ("judges", "losses"):
        return importlib.import_module(f"lossloop.{name}")
    if name in _HOME_OF:
        return getattr(importlib.import_module(_HOME_OF[name]), name)
    raise AttributeError(f"module 'lossloop' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
