"""Who may do what: tokens with roles, and what an endpoint asks of them."""

from lossloop.access.book import TokenBook, TokenCheck
from lossloop.access.callers import ANYONE, Caller
from lossloop.access.roles import RIGHTS, SCOPES, AccessRole, Right, roles_with
from lossloop.access.tokens import OWNER, Token, bearer

__all__ = [
    "ANYONE", "OWNER", "RIGHTS", "SCOPES", "AccessRole", "Caller", "Right", "Token", "TokenBook",
    "TokenCheck", "bearer", "roles_with",
]  # fmt: skip
