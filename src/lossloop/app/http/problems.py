"""One error shape for every endpoint: problem details as in RFC 9457."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from lossloop.core.errors import (
    AccessError,
    Away,
    Conflict,
    DeadlineExceeded,
    Forbidden,
    InputError,
    LossloopError,
    Overloaded,
    StateError,
    StorageFull,
    TooLarge,
    UnknownName,
    VersionFailed,
)

_STATUS: tuple[tuple[type[LossloopError], HTTPStatus], ...] = (
    (TooLarge, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (Conflict, HTTPStatus.CONFLICT),
    (UnknownName, HTTPStatus.NOT_FOUND),
    (InputError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (Forbidden, HTTPStatus.FORBIDDEN),
    (AccessError, HTTPStatus.UNAUTHORIZED),
    (Overloaded, HTTPStatus.TOO_MANY_REQUESTS),
    (StorageFull, HTTPStatus.INSUFFICIENT_STORAGE),
    (DeadlineExceeded, HTTPStatus.GATEWAY_TIMEOUT),
    (VersionFailed, HTTPStatus.SERVICE_UNAVAILABLE),
    (Away, HTTPStatus.SERVICE_UNAVAILABLE),
    (StateError, HTTPStatus.INTERNAL_SERVER_ERROR),
)


class Malformed(InputError):
    """A body that is not JSON at all."""


class Unsupported(InputError):
    """A body of a kind, or in an encoding, that the endpoint does not take."""


class TimedOut(InputError):
    """A body that did not come in time."""


_SPECIAL: Mapping[type[LossloopError], HTTPStatus] = {
    Malformed: HTTPStatus.BAD_REQUEST,
    Unsupported: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    TimedOut: HTTPStatus.REQUEST_TIMEOUT,
}


def status_of(error: LossloopError) -> HTTPStatus:
    """The HTTP status that says what kind of error this is."""
    if type(error) in _SPECIAL:
        return _SPECIAL[type(error)]
    if isinstance(error, UnknownName) and error.row is not None:
        return HTTPStatus.UNPROCESSABLE_ENTITY
    return next(
        (status for kind, status in _STATUS if isinstance(error, kind)), HTTPStatus.UNPROCESSABLE_ENTITY
    )


def problem(error: LossloopError) -> dict[str, Any]:
    """The problem details of one error."""
    told = details(status_of(error), str(error))
    if isinstance(error, InputError) and error.field is not None:
        told["field"] = error.field
    return told


def details(status: HTTPStatus, words: str) -> dict[str, Any]:
    """Problem details with nothing but their words."""
    return {"type": "about:blank", "title": status.phrase, "status": int(status), "detail": words}


def problems(errors: Sequence[InputError]) -> dict[str, Any]:
    """The problem details of a batch with bad rows; the good ones were taken."""
    statuses = {status_of(error) for error in errors}
    status = statuses.pop() if len(statuses) == 1 else HTTPStatus.UNPROCESSABLE_ENTITY
    listed = [
        {"row": error.row, "field": error.field, "detail": str(error)}
        for error in sorted(errors, key=lambda error: error.row or 0)
    ]
    first = listed[0]
    words = f"{len(listed)} bad row{'s'[: len(listed) - 1]}; the first: row {first['row']}: {first['detail']}"
    return {**details(status, words), "errors": listed}
