"""Tokens: random, kept as a digest by the server, and compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from lossloop.core.errors import AccessError, StateError


class TokenBook:
    """The token of a state directory: its text for the owner's own tools, its digest for the server."""

    def __init__(self, directory: Path) -> None:
        self._plain = directory / "token"
        self._hashed = directory / "token.sha256"

    def make(self) -> str:
        """Make the token, readable by the owner alone."""
        token = "ll_" + secrets.token_urlsafe(32)
        for path, text in ((self._plain, token), (self._hashed, _hash(token))):
            fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
            with os.fdopen(fd, "w") as file:
                file.write(text)
        return token

    def read(self) -> str:
        """The token, for the tools of the directory's owner."""
        try:
            return self._plain.read_text().strip()
        except OSError as error:
            raise StateError(
                f"cannot read the token {self._plain}: {error.strerror}; run lossloop init"
            ) from error

    def checker(self) -> TokenCheck:
        """What a server needs: it never reads the token itself."""
        try:
            return TokenCheck(self._hashed.read_text().strip())
        except OSError as error:
            raise StateError(f"cannot read {self._hashed}: {error.strerror}; run lossloop init") from error


class TokenCheck:
    """Says whether a request's Authorization header carries the token."""

    def __init__(self, hashed: str) -> None:
        self._hashed = hashed

    def require(self, header: str | None) -> None:
        """Pass, or raise AccessError that says how to send the token."""
        scheme, _, token = (header or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise AccessError(
                "send the token as 'Authorization: Bearer ...'; it lies in the state directory's file token"
            )
        if not hmac.compare_digest(_hash(token.strip()), self._hashed):
            raise AccessError("this token is not known here; it lies in the state directory's file token")


def bearer(token: str) -> str:
    """The Authorization header for a token."""
    return f"Bearer {token}"


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
