"""What a token may do: its role gives it rights, and each endpoint names the one right that it needs."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Right(StrEnum):
    """One thing that may be allowed."""

    ANYONE = "anyone"
    """Nothing is needed, not even a token."""
    ENTER = "enter"
    """Any token will do: what is asked tells nothing about predictions or decisions."""
    VIEW = "view"
    PREDICTIONS = "predictions"
    """Ask for predictions, and send those that another system made."""
    OUTCOMES = "outcomes"
    """Send what really happened: who may do so decides how models are judged."""
    OPERATE = "operate"
    """Move traffic, freeze, register versions that bring no code, ask for a version by its number."""
    APPROVE = "approve"
    """Say yes or no where a policy asks a person."""
    ADMIN = "admin"
    """Policies, the loss that judges, and versions that bring code."""


class AccessRole(StrEnum):
    """Whom a token is for; not the role of a prediction, which is champion or challenger."""

    VIEWER = "viewer"
    SENDER = "sender"
    OPERATOR = "operator"
    APPROVER = "approver"
    ADMIN = "admin"


SCOPES = (Right.PREDICTIONS, Right.OUTCOMES)
"""What a sender's token may be for: one of them, or both."""
RIGHTS: Mapping[AccessRole, frozenset[Right]] = {
    AccessRole.VIEWER: frozenset({Right.ENTER, Right.VIEW}),
    AccessRole.SENDER: frozenset({Right.ENTER, *SCOPES}),
    # An operator tries versions out and moves traffic, but does not say what really happened.
    AccessRole.OPERATOR: frozenset({Right.ENTER, Right.VIEW, Right.PREDICTIONS, Right.OPERATE}),
    # Who approves is another than who operates, so that two people are needed where a policy asks.
    AccessRole.APPROVER: frozenset({Right.ENTER, Right.VIEW, Right.APPROVE}),
    AccessRole.ADMIN: frozenset(Right) - {Right.ANYONE},
}
"""What each role may do."""


def roles_with(right: Right) -> tuple[AccessRole, ...]:
    """The roles that give a right."""
    return tuple(role for role, rights in RIGHTS.items() if right in rights)
