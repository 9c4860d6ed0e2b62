"""Tokens: random, kept as a digest by the server, and compared in constant time.

A token's text is ``llt_ID_SECRET``: the public id finds its record, the digest of the whole proves it. The
token that `init` makes is ``ll_SECRET`` and stands in files of its own.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

from lossloop.access.callers import Caller
from lossloop.access.roles import RIGHTS, SCOPES, AccessRole, Right
from lossloop.core.clock import Micros, format_time
from lossloop.core.errors import AccessError, InputError
from lossloop.core.records import Record

OWNER = "init"
"""The name of the token that `init` makes."""
_PREFIX = "llt_"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class Token(Record, frozen=True):
    """What is kept of a token: all but its text.

    Raises:
        InputError: Its name or a model's cannot be one, or a scope is given that its role does not have.
    """

    id: str
    name: str
    role: AccessRole
    digest: str
    """SHA-256 of the text, hex."""
    made: Micros
    models: tuple[str, ...] = ()
    """The models that it is for; none for all."""
    scopes: tuple[Right, ...] = SCOPES
    """What a sender's token is for."""
    expires: Micros | None = None
    revoked: Micros | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InputError(
                f"{self.name!r} is no name of a token; write letters, digits, '.', '_' and '-'", field="name"
            )
        if "" in self.models:
            raise InputError("name the models that the token is for, or none for all", field="models")
        if not self.scopes or set(self.scopes) - {*SCOPES}:
            raise InputError("scopes are predictions, outcomes, or both", field="scopes")
        if self.role is not AccessRole.SENDER and set(self.scopes) != {*SCOPES}:
            raise InputError(
                f"only a sender's token has scopes; the role here is {self.role}", field="scopes"
            )

    @property
    def caller(self) -> Caller:
        """Whoever holds it."""
        rights = RIGHTS[self.role]
        if self.role is AccessRole.SENDER:
            rights = rights - {*SCOPES} | {*self.scopes}
        return Caller(name=self.name, rights=rights, role=self.role, models=frozenset(self.models))

    def check(self, now: Micros) -> None:
        """Raise AccessError where it is no longer good."""
        if self.revoked is not None:
            raise AccessError(f"the token {self.name!r} was revoked; ask an admin for another")
        if self.expires is not None and now >= self.expires:
            when = format_time(self.expires)
            raise AccessError(f"the token {self.name!r} expired at {when}; ask an admin for another")


@dataclass(frozen=True, kw_only=True)
class Fresh:
    """A token that was just made: the only moment at which its text is known."""

    token: Token
    text: str


def fresh(name: str, role: AccessRole, *, now: Micros, **more: object) -> Fresh:
    """Make a token; `more` are the fields of `Token`."""
    id = secrets.token_hex(6)
    text = f"{_PREFIX}{id}_{secrets.token_urlsafe(32)}"
    made = Token(id=id, name=name, role=role, digest=hash_of(text), made=now, **more)  # type: ignore[arg-type]
    return Fresh(token=made, text=text)


def id_in(text: str) -> str:
    """The public id in a token's text; empty for the token of `init`, and for what is no token."""
    return text.removeprefix(_PREFIX).partition("_")[0] if text.startswith(_PREFIX) else ""


def sent_in(header: str | None) -> str:
    """The token in an Authorization header; raise AccessError that says how to send one."""
    scheme, _, token = (header or "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise AccessError(
            "send the token as 'Authorization: Bearer ...'; ask an admin for one (lossloop token create), or "
            "take the owner's from the state directory's file token"
        )
    return token.strip()


def bearer(token: str) -> str:
    """The Authorization header for a token."""
    return f"Bearer {token}"


def hash_of(token: str) -> str:
    """SHA-256 of a token's text, hex; the text has 256 random bits, so that no slower hash is needed."""
    return hashlib.sha256(token.encode()).hexdigest()


def same(one: str, other: str) -> bool:
    """Whether two digests are the same, in a time that does not tell where they differ."""
    return hmac.compare_digest(one, other)
