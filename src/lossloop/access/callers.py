"""Who is asking: what the door learns from a token and hands to whoever answers."""

from __future__ import annotations

from dataclasses import dataclass

from lossloop.access.roles import RIGHTS, AccessRole, Right, roles_with
from lossloop.core.errors import Forbidden


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """Who is asking, and what for.

    Args:
        name: The token's name; empty where none was needed.
        rights: What is allowed.
        role: The token's role; None where none was needed.
        models: The models that the token is for; empty for all.
    """

    name: str
    rights: frozenset[Right]
    role: AccessRole | None = None
    models: frozenset[str] = frozenset()

    def may(self, right: Right) -> bool:
        """Whether a right is given."""
        return right is Right.ANYONE or right in self.rights

    def meets(self, model: str) -> bool:
        """Whether the token is for a model."""
        return not self.models or model in self.models

    def require(self, right: Right) -> None:
        """Raise Forbidden, with the roles that would do, where a right is not given."""
        if self.may(right):
            return
        if self.role is not None and right in RIGHTS[self.role]:
            held = ", ".join(sorted(self.rights - {Right.ENTER}))
            raise Forbidden(f"the token {self.name!r} is for {held}; this needs one for {right}")
        wanted = " or ".join(roles_with(right))
        raise Forbidden(f"the token {self.name!r} has the role {self.role}; this needs {wanted}")

    def require_model(self, model: str) -> None:
        """Raise Forbidden where the token is for other models."""
        if not self.meets(model):
            raise Forbidden(f"the token {self.name!r} is for {self._models}, not for {model!r}")

    def require_all_models(self) -> None:
        """Raise Forbidden where the token is for some models only."""
        if self.models:
            raise Forbidden(f"this concerns all models; the token {self.name!r} is for {self._models} only")

    @property
    def _models(self) -> str:
        return ", ".join(sorted(self.models))


ANYONE = Caller(name="", rights=frozenset())
"""Whoever asks without a token where none is needed."""
