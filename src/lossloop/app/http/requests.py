"""The bodies that the endpoints take. Rows stay plain here: one bad row is one problem, not the end."""

from __future__ import annotations

from typing import Any

import msgspec


class Body(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Base of every body: an unknown key is an error."""


class PredictBody(Body):
    """Rows to predict: each ``{"features": {...}}`` and, where wanted, `id`, `unit` and `time`."""

    rows: list[Any]


class PredictionsBody(Body):
    """Predictions that another system made.

    Each has `version` and `y_pred` and, where wanted, `id`, `unit`, `time`, `role`, `propensity`, `features`.
    """

    model: str
    predictions: list[Any]


class OutcomesBody(Body):
    """What happened: each `id`, `y_true` and, where wanted, `time`."""

    model: str
    outcomes: list[Any]


class LossesBody(Body):
    """Predictions and what happened; nothing of it is kept."""

    loss: str
    y_pred: list[Any]
    y_true: list[Any] | None = None
    features: dict[str, list[Any]] | None = None


class PolicyBody(Body):
    """A policy file's text."""

    text: str


class RolloutBody(Body):
    """A version to put on its way; `plan` overrides keys of the policy's rollout."""

    version: int
    plan: dict[str, Any] = {}
    reason: str = ""


class PromoteBody(Body):
    """A version to give all the traffic to; none for the running rollout's challenger."""

    version: int | None = None
    reason: str = ""


class ReasonBody(Body):
    """Why."""

    reason: str = ""


class TickBody(Body):
    """How far a replay's clock moves."""

    time: str
