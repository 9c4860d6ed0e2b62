"""What follows from an answer to rows that were sent: pure, one value for each thing that can follow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from lossloop.client.connection import Answer

LONGEST_PAUSE = 300.0
"""Seconds; a server that asks for more is asked again after this."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Why rows were refused."""

    status: int
    detail: str
    field: str | None = None


@dataclass(frozen=True, kw_only=True)
class Taken:
    """The server has the rows, but for those refused, by their place in the request."""

    refused: dict[int, Problem]


@dataclass(frozen=True, kw_only=True)
class AllRefused:
    """None was taken, and none would be if they were sent one by one."""

    problem: Problem


@dataclass(frozen=True, kw_only=True)
class Split:
    """None was taken; a smaller request may be, or tell which row is to blame."""

    problem: Problem


@dataclass(frozen=True, kw_only=True)
class Again:
    """None was taken, or nobody knows; send the same again."""

    reason: str
    after: float | None = None
    """Seconds that the server asks for; None where it does not."""
    broken: bool = False
    """Whether the server failed at the request itself, which one row may have caused."""


Follows = Taken | AllRefused | Split | Again

# A body that cannot be read, or is too large, or cannot be taken as a whole: a part of it may be.
_OF_THE_WHOLE = {400, 413, 422}
# The caller may not, or not now. Another token, or time, mends that: no row is to blame.
_OF_THE_CALLER = {401, 403, 407, 408, 421, 425, 429}


def follows(answer: Answer, rows: int, *, now: datetime | None = None) -> Follows:
    """What follows from an answer to `rows` rows; `now` is for a Retry-After that names a date."""
    said = _object(answer.body)
    if 200 <= answer.status < 300 and said is not None and ("accepted" in said or "predictions" in said):
        return Taken(refused={})
    after = _retry_after(answer.headers.get("Retry-After"), now or datetime.now(UTC))
    if said is None or "status" not in said:
        words = f"{answer.status} without a word of Lossloop's; is it a Lossloop server?"
        if answer.status == 413:  # a proxy's limit holds whoever stands behind it
            return Split(problem=Problem(status=413, detail=words))
        return Again(reason=words, after=after)
    problem = Problem(
        status=answer.status, detail=str(said.get("detail", "refused")), field=_text(said.get("field"))
    )
    if answer.status >= 500 or answer.status < 400 or answer.status in _OF_THE_CALLER:
        return Again(reason=f"{answer.status}: {problem.detail}", after=after, broken=answer.status == 500)
    refused = _by_row(said.get("errors"), rows, answer.status)
    if refused:
        return Taken(refused=refused)
    return Split(problem=problem) if answer.status in _OF_THE_WHOLE else AllRefused(problem=problem)


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _by_row(errors: object, rows: int, status: int) -> dict[int, Problem]:
    """The problem of each bad row; nothing where the answer does not say which are bad."""
    if not isinstance(errors, list):
        return {}
    found: dict[int, Problem] = {}
    for each in errors:
        row = each.get("row") if isinstance(each, dict) else None
        if not isinstance(row, int) or not 0 <= row < rows:
            return {}
        found[row] = Problem(
            status=status, detail=str(each.get("detail", "refused")), field=_text(each.get("field"))
        )
    return found


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds, from a number of them or a date (RFC 9110); None where it is neither."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(value) - now).total_seconds()
        except (ValueError, TypeError):
            return None
    return None if math.isnan(seconds) else min(max(seconds, 0.0), LONGEST_PAUSE)
