"""Where a ledger lies in PostgreSQL: its address, as it may be shown, and what is asked of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any
from urllib.parse import unquote

from lossloop.core.errors import InputError, MissingExtra

SCHEMA = "lossloop"
PATIENCE = 10.0
"""Seconds for which a lost database is looked for before that is an error."""

_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_HOST = r"(?:\[[0-9a-fA-F:.%]*\]|[^\[\]:/,@?#]*)(?::\d*)?"
_URL = re.compile(
    r"postgres(?:ql)?://(?:(?P<user>[^:@/?#]*)(?::(?P<password>[^@/?#]*))?@)?"
    rf"(?P<where>{_HOST}(?:,{_HOST})*(?:/[^/@?#]*)?)(?:\?(?P<options>[^@#]*))?"
)
_SECRET_OPTION = re.compile(r"(?P<name>\w*password)=(?P<value>[^&]*)")


@dataclass(frozen=True, kw_only=True)
class Database:
    """A ledger's place: a database, and a schema in it.

    Args:
        url: As libpq reads it: ``postgresql://user:password@host:port/database?sslmode=verify-full``.
            Whatever it leaves out is taken from libpq's own variables (PGHOST, PGPASSWORD, ...) and files.
        schema: The schema that holds all tables of the ledger.
        patience: Seconds for which a database that went away is looked for.

    Raises:
        InputError: The address or the schema's name cannot be read.
    """

    url: str = field(repr=False)
    schema: str = SCHEMA
    patience: float = PATIENCE

    def __post_init__(self) -> None:
        # No part of an address that cannot be read is shown: any part of it may be a password.
        if _URL.fullmatch(self.url) is None:
            raise InputError(
                "the store's address cannot be read; write postgresql://user@host:port/database, with %40, "
                "%2F and %3A for @, / and : in a user's name or a password",
                field="store",
            )
        if not _NAME.fullmatch(self.schema):
            raise InputError(
                f"{self.schema!r} is no name of a schema; use small letters, digits and '_'", field="store"
            )

    def __str__(self) -> str:
        """The address without its secrets."""
        match = _URL.fullmatch(self.url)
        user = f"{match['user']}@" if match and match["user"] else ""
        return f"postgresql://{user}{match['where'] if match else ''}"

    @property
    def place(self) -> str:
        """The address without its secrets, and the schema."""
        return f"{self}, schema {self.schema}"

    def without_secrets(self, text: str) -> str:
        """A message of the database's without the password."""
        for secret in self._secrets():
            text = text.replace(secret, "***")
        return text

    def _secrets(self) -> list[str]:
        match = _URL.fullmatch(self.url)
        found = [match["password"] or ""] if match else []
        found += [option["value"] for option in _SECRET_OPTION.finditer((match and match["options"]) or "")]
        return [each for secret in found if secret for each in (secret, unquote(secret))]


def missing() -> MissingExtra:
    """What to say where psycopg is not installed."""
    return MissingExtra("psycopg", "postgres")


def _named(text: str) -> dict[str, str]:
    parts = re.split(r"^-- name: (\w+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


_FILES = resources.files("lossloop.ledger.postgres")
TABLES = _FILES.joinpath("schema.sql").read_text()
QUERIES: Mapping[str, Any] = _named(_FILES.joinpath("queries.sql").read_text())
GRANTS: Mapping[str, Any] = _named(_FILES.joinpath("grants.sql").read_text())
"""What each part may do, with ``{schema}`` and ``{role}`` in place of names."""
