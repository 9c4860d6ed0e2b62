"""Losses by name: the library, and what a user or a plugin registers."""

from __future__ import annotations

from lossloop.core.errors import Conflict, InputError, UnknownName
from lossloop.losses import (
    business,
    classification,
    constraint,
    distributions,
    forecasting,
    implicit,
    ranking,
    regression,
    survival,
    vectors,
)
from lossloop.losses.base import Loss
from lossloop.losses.declare import Parameter

LIBRARY: tuple[Loss, ...] = (
    *regression.LOSSES,
    *classification.LOSSES,
    *business.LOSSES,
    *implicit.LOSSES,
    *constraint.LOSSES,
    *vectors.LOSSES,
    *ranking.LOSSES,
    *distributions.LOSSES,
    *forecasting.LOSSES,
    *survival.LOSSES,
)
"""The losses that come with Lossloop; they are registered through the same door as any other."""

_registered: dict[str, Loss] = {}


def register(loss: Loss) -> Loss:
    """Let policies and `get` find a loss by its name; gives it back.

    Registering the same loss again changes nothing. Raises Conflict where the name belongs to another loss,
    and InputError for a composition, which has no name of its own.
    """
    if not loss.name.isidentifier():
        raise InputError(f"{loss} has no name of its own; write it out in the policy instead")
    known = _registered.setdefault(loss.name, loss)
    if known is not loss and known != loss:
        raise Conflict(
            f"{loss.name} is already {known.version}; give {loss.version} another name", field="loss"
        )
    return known


def get(name: str, /, **parameters: Parameter) -> Loss:
    """The loss of that name at these parameters, the rest at their defaults."""
    if name not in _registered:
        raise UnknownName("loss", name, _registered, field="loss")
    return _registered[name].with_parameters(**parameters)


get.__dict__["__code_identity__"] = None  # what it gives depends on what is registered


def names() -> tuple[str, ...]:
    """Names of all registered losses, sorted."""
    return tuple(sorted(_registered))


for _loss in LIBRARY:
    register(_loss)
