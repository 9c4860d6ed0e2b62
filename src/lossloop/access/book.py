"""The tokens of a state directory: who has one, and the check that a running server makes."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from lossloop.access import files
from lossloop.access.callers import Caller
from lossloop.access.roles import RIGHTS, AccessRole
from lossloop.access.tokens import OWNER, Fresh, Token, fresh, hash_of, id_in, same, sent_in
from lossloop.core.clock import Clock, SystemClock
from lossloop.core.errors import AccessError, InputError, StateError, UnknownName
from lossloop.core.records import Record

LOOK_EVERY = 0.25
"""Seconds between two looks at the files: so soon a running server knows a new token, or a revoked one."""
_OWNER = Caller(name=OWNER, rights=RIGHTS[AccessRole.ADMIN], role=AccessRole.ADMIN)


class _Tokens(Record, frozen=True):
    """What the file holds."""

    tokens: tuple[Token, ...] = ()


class TokenBook:
    """The tokens of a state directory.

    The owner's, made at `init`, lies in `token` for the owner's own tools and in `token.sha256` for the
    server. What is kept of all others lies in `access/tokens.json`, never their text.
    """

    def __init__(self, directory: Path, clock: Clock | None = None) -> None:
        self._plain = directory / "token"
        self._hashed = directory / "token.sha256"
        self._path = directory / "access" / "tokens.json"
        self._clock = clock or SystemClock()

    def make(self) -> str:
        """Make the owner's token, readable by the owner alone; the one before is no longer good."""
        token = "ll_" + secrets.token_urlsafe(32)
        for path, text in ((self._plain, token), (self._hashed, hash_of(token))):
            fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
            with os.fdopen(fd, "w") as file:
                file.write(text)
        return token

    def read(self) -> str:
        """The owner's token, for the tools of the directory's owner."""
        try:
            return self._plain.read_text().strip()
        except OSError as error:
            raise StateError(
                f"cannot read the token {self._plain}: {error.strerror}; run lossloop init"
            ) from error

    def create(self, name: str, role: AccessRole, **more: Any) -> Fresh:
        """Make a token and keep its digest; `more` are the fields of `Token`.

        Raises:
            InputError: Another token that is good has that name, or a field cannot be.
        """
        now = self._clock.now()
        made = fresh(name, role, now=now, **more)
        if made.token.expires is not None and made.token.expires <= now:
            raise InputError("a token must expire later than now", field="expires")
        with self._changed() as tokens:
            if name == OWNER or any(each.name == name and each.revoked is None for each in tokens):
                raise InputError(f"there is a token {name!r} already; revoke it first", field="name")
            tokens.append(made.token)
        return made

    def known(self) -> tuple[Token, ...]:
        """All tokens but the owner's, oldest first, revoked ones too."""
        return (files.read(self._path, _Tokens) or _Tokens()).tokens

    def revoke(self, name: str) -> Token:
        """Let a token be good no longer, by its name or its id.

        Raises:
            UnknownName: There is none, or it was revoked before.
        """
        with self._changed() as tokens:
            good = [each for each in tokens if each.revoked is None]
            found = next((each for each in good if name in (each.id, each.name)), None)
            if found is None:
                raise UnknownName("token", name, [each.name for each in good], field="name")
            ended = msgspec.structs.replace(found, revoked=self._clock.now())
            tokens[tokens.index(found)] = ended
        return ended

    def checker(self) -> TokenCheck:
        """What a server needs: it never reads the owner's token itself."""
        return TokenCheck(self._hashed, self._path, self._clock)

    @contextlib.contextmanager
    def _changed(self) -> Iterator[list[Token]]:
        """The tokens, to be changed within the block and written at its end."""
        with files.locked(self._path.parent):
            tokens = list(self.known())
            yield tokens
            files.write(self._path, msgspec.json.encode(_Tokens(tokens=tuple(tokens))))


class TokenCheck:
    """Says who is asking, by a request's Authorization header; a change of the files is seen soon.

    Args:
        hashed: The file with the digest of the owner's token.
        path: The file of all other tokens; it need not be there.
        clock: Tells whether a token has expired.

    Raises:
        StateError: A file cannot be read.
    """

    def __init__(self, hashed: Path, path: Path, clock: Clock) -> None:
        self._hashed = hashed
        self._path = path
        self._clock = clock
        self._seen: tuple[files.Stamp | None, ...] = ()
        self._owner = ""
        self._tokens: dict[str, tuple[Token, Caller]] = {}
        self._look()

    def caller(self, header: str | None) -> Caller:
        """Who is asking.

        Raises:
            AccessError: No token was sent, or one that is not known, was revoked or has expired.
        """
        if time.monotonic() >= self._next:
            self._look()
        text = sent_in(header)
        found = self._tokens.get(id_in(text))
        # Whichever token is meant, one digest is made and one is compared, in a time that tells nothing.
        if not same(hash_of(text), self._owner if found is None else found[0].digest):
            raise AccessError(
                "this token is not known here; ask an admin for one (lossloop token create), or take the "
                "owner's from the state directory's file token"
            )
        if found is None:
            return _OWNER
        token, caller = found
        token.check(self._clock.now())
        return caller

    def _look(self) -> None:
        """Read the files again where they have changed."""
        self._next = time.monotonic() + LOOK_EVERY
        seen = (files.stamp(self._hashed), files.stamp(self._path))
        if seen == self._seen:
            return
        try:
            self._owner = self._hashed.read_text().strip()
        except OSError as error:
            raise StateError(f"cannot read {self._hashed}: {error.strerror}; run lossloop init") from error
        kept = files.read(self._path, _Tokens) or _Tokens()
        self._tokens = {each.id: (each, each.caller) for each in kept.tokens}
        self._seen = seen


def held(tokens: Sequence[Token]) -> list[dict[str, Any]]:
    """Tokens as they may be shown: all but their digests."""
    return [
        {key: value for key, value in msgspec.to_builtins(each).items() if key != "digest"} for each in tokens
    ]
