"""What is known of a loss without calling it: its declaration and its version."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from lossloop.core.codeid import CodeIdentity
from lossloop.losses.declare import Bounds, Declaration, Golden, Kind, Link
from lossloop.losses.definition import Body, Bound, Parameters


@dataclass(frozen=True, eq=False, repr=False)
class Facts:
    """The facts of a loss, read off its body."""

    body: Body

    @cached_property
    def declared(self) -> Declaration:
        """Everything declared about it: bounds, unit, kinds and needs."""
        return self.body.declared

    @property
    def name(self) -> str:
        """The function's name; for a composition the expression."""
        return self.body.definition.name if isinstance(self.body, Bound) else self.body.text

    @property
    def parameters(self) -> Parameters:
        """Parameters by name, defaults included; none for a composition."""
        return dict(self.body.parameters) if isinstance(self.body, Bound) else {}

    @property
    def golden(self) -> tuple[Golden, ...]:
        """Inputs and the costs they must give; none for a composition."""
        return self.body.definition.golden if isinstance(self.body, Bound) else ()

    @property
    def bounds(self) -> Bounds:
        """The lowest and highest cost of a row, in `unit`."""
        return self.declared.bounds

    @property
    def unit(self) -> str:
        """Unit of a cost, such as USD; empty for a bare number."""
        return self.declared.unit

    @property
    def kind(self) -> Kind:
        """The kind of prediction it takes."""
        return self.declared.kind

    @property
    def direction(self) -> Literal["lower"]:
        """Which is better. Always ``lower``: a reward becomes a loss by subtraction from its upper bound."""
        return "lower"

    @property
    def needs_outcome(self) -> bool:
        """Whether a row without outcome has no loss."""
        return self.declared.needs_outcome

    @property
    def needs_features(self) -> bool:
        """Whether features must be given."""
        return self.declared.needs_features

    @property
    def link(self) -> Link | None:
        """From a training library's margin to a prediction; None if it is no training objective."""
        return self.declared.link

    @cached_property
    def identity(self) -> CodeIdentity:
        """The full identity; `identity.unknown` says what of the code could not be followed."""
        return self.body.identity()

    @property
    def digest(self) -> str:
        """Content digest, hex."""
        return self.identity.digest

    @property
    def version(self) -> str:
        """``log_loss@3f2a9c``; ends in ``+unknown`` where equal versions do not prove equal code."""
        return f"{self.name}@{self.digest[:6]}{'+unknown' if self.identity.unknown else ''}"

    @property
    def __code_identity__(self) -> CodeIdentity:
        return self.identity

    @property
    def has_hessian(self) -> bool:
        """Whether there is a second derivative to train with."""
        return self.link is not None and self.body.has_hessian
