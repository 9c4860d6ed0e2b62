"""One root of errors; every message names the fix or the alternatives.

LossloopError
├── InputError              what a caller sent cannot be taken (field, row)
│   ├── UnknownName         no such model, version, loss, ...: the message lists those there are
│   ├── Conflict            the same id with other content, or a state that forbids it
│   └── TooLarge            a body, a batch or a name over its limit
├── PolicyError             a policy file that cannot be read (line)
├── StateError              the state directory cannot be used as it is
│   ├── NewerFormat         written by a newer release
│   ├── InUse               a lock or a port is held by another process
│   ├── Away                a database does not answer; it may be back in a moment
│   └── StorageFull         the disk refuses; nothing was acknowledged
├── Overloaded              more was sent than can be taken just now; nothing was acknowledged
├── VersionFailed           a version failed at a row, and no other could answer it
│   └── DeadlineExceeded    it did not answer in time, and no other could
├── AccessError             no token, or one that is not good
│   └── Forbidden           a good token that may not do this; the message names the role that may
└── MissingExtra            an optional library is not installed
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class LossloopError(Exception):
    """Root of every error that Lossloop raises on purpose."""


class InputError(LossloopError):
    """What a caller sent cannot be taken.

    Args:
        message: What is wrong and how to mend it.
        field: The field's path, such as ``features.hour``; None if it concerns the whole.
        row: The row's index in its batch, from 0; None if it concerns the whole.
    """

    def __init__(self, message: str, *, field: str | None = None, row: int | None = None) -> None:
        super().__init__(message)
        self.field = field
        self.row = row


class UnknownName(InputError):
    """A name that nothing has; the message lists the closest that exist."""

    def __init__(
        self,
        kind: str,
        name: str,
        known: Iterable[str],
        *,
        field: str | None = None,
        row: int | None = None,
        fix: str = "",
    ) -> None:
        words = f"unknown {kind} {name!r}; {alternatives(name, known)}"
        super().__init__(f"{words}; {fix}" if fix else words, field=field, row=row)
        self.name = name


class Conflict(InputError):
    """The same id with other content, or a state in which this cannot be done."""


class TooLarge(InputError):
    """A body, a batch or a name over its limit; the message states the limit."""


class PolicyError(LossloopError):
    """A policy file that cannot be read; `line` counts from 1."""

    def __init__(self, message: str, *, line: int | None = None, source: str = "policy") -> None:
        super().__init__(f"{source}, line {line}: {message}" if line else f"{source}: {message}")
        self.line = line


class StateError(LossloopError):
    """The state directory cannot be used as it is."""


class NewerFormat(StateError):
    """The state directory was written by a newer release of Lossloop."""


class InUse(StateError):
    """A lock or a port is held by another process."""


class Away(StateError):
    """A database does not answer; what was being written may be there or not. Try again after a pause."""


class StorageFull(StateError):
    """The disk refuses to take more; what was being written is not acknowledged."""


class Overloaded(LossloopError):
    """More was sent than can be taken just now; send it again after a pause."""


class VersionFailed(LossloopError):
    """A version failed at a row, and no other could answer it; the ledger holds the failure."""


class DeadlineExceeded(VersionFailed):
    """A version did not answer in time, and no other could."""


class AccessError(LossloopError):
    """No token, or one that is not good."""


class Forbidden(AccessError):
    """A good token that may not do this; the message names the role that may."""


class MissingExtra(LossloopError):
    """An optional library is not installed; the message names the extra."""

    def __init__(self, library: str, extra: str) -> None:
        super().__init__(f"{library} is not installed; run: pip install 'lossloop[{extra}]'")


def alternatives(name: str, known: Iterable[str], *, most: int = 8) -> str:
    """Say what could have been meant: the closest name, or the first few that exist."""
    names = sorted(known)
    if not names:
        return "there are none yet"
    close = get_close_matches(name, names, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    shown = ", ".join(names[:most])
    return f"there are: {shown}, ..." if len(names) > most else f"there are: {shown}"
