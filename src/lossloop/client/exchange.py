"""What the middleware for ASGI and for WSGI have in common: a request and an answer in JSON become rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any

import msgspec

from lossloop.client.asynchronous import AsyncClient, hand_over
from lossloop.client.client import Client
from lossloop.client.rows import Kind, Row
from lossloop.core.errors import InputError

Extract = Callable[[Any, Any], Row | Sequence[Row] | None]
"""Makes a row, or rows, of a request and its answer; None where there is nothing to record."""
Version = int | Callable[[], int]
HEADER = "Lossloop-Id"
MOST_IDS = 20
"""In the header; where there are more, it is left out."""
MOST_BYTES = 1024 * 1024
"""Of a request and of an answer; longer ones pass, and are not recorded."""


class Exchange:
    """Records the exchanges of some routes of a service."""

    def __init__(
        self,
        client: Client | AsyncClient,
        model: str,
        routes: Mapping[str, Extract],
        version: Version | None,
    ) -> None:
        client.sender.backlog()  # without a spool, say so when the service starts
        self._sender = client.sender
        self._model = model
        self._version = version
        self._routes = [(_pattern(path), extract) for path, extract in routes.items()]

    def extract(self, path: str) -> Extract | None:
        """What makes rows of exchanges at this path; None where they are not recorded."""
        return next((extract for pattern, extract in self._routes if pattern.fullmatch(path)), None)

    def record(self, extract: Extract, asked: bytes, answered: bytes, began: float) -> str | None:
        """Hand over an exchange that `began` then; the header's value, None where there is none."""
        try:
            rows = self._rows(extract, asked, answered, began)
            return _header(self._sender.hand_over(Kind.PREDICTION, self._model, rows))
        except Exception as error:  # noqa: BLE001 - the service has answered, and its caller is told so
            self.lose(f"{type(error).__name__}: {error}")
        return None

    async def record_soon(self, extract: Extract, asked: bytes, answered: bytes, began: float) -> str | None:
        """The same without holding up the event loop."""
        try:
            rows = self._rows(extract, asked, answered, began)
            return _header(await hand_over(self._sender, Kind.PREDICTION, self._model, rows))
        except Exception as error:  # noqa: BLE001 - as above
            self.lose(f"{type(error).__name__}: {error}")
        return None

    def fail(self, why: str, began: float) -> None:
        """Hand over that a version gave no answer; left out where only rows say which version that is."""
        try:
            if rows := self._failure(why, began):
                self._sender.hand_over(Kind.PREDICTION, self._model, rows)
        except Exception as error:  # noqa: BLE001 - as above
            self.lose(f"{type(error).__name__}: {error}")

    async def fail_soon(self, why: str, began: float) -> None:
        """The same without holding up the event loop."""
        try:
            if rows := self._failure(why, began):
                await hand_over(self._sender, Kind.PREDICTION, self._model, rows)
        except Exception as error:  # noqa: BLE001 - as above
            self.lose(f"{type(error).__name__}: {error}")

    def lose(self, why: str) -> None:
        """Count an exchange that could not be recorded."""
        self._sender.lose(1, why)

    def _failure(self, why: str, began: float) -> list[Row]:
        version = self._told_version()
        row = {"version": version, "y_pred": None, "error": why, "latency_ms": since(began)}
        return [] if version is None else [row]

    def _told_version(self) -> int | None:
        return self._version() if callable(self._version) else self._version

    def _rows(self, extract: Extract, asked: bytes, answered: bytes, began: float) -> list[Row]:
        took = {"latency_ms": since(began)}
        made = extract(_read(asked, "request"), _read(answered, "answer"))
        if made is None:
            return []
        rows = [made] if isinstance(made, Mapping) else list(made)
        version = self._told_version()
        said = took if version is None else {"version": version, **took}
        return [{**said, **row} for row in rows]


def since(began: float) -> float:
    """Milliseconds since a moment of `time.perf_counter`, to the microsecond."""
    return round((perf_counter() - began) * 1000.0, 3)


def why_failed(status: int) -> str | None:
    """Why there is no answer, where the service is to blame; None where there is one, or its caller is."""
    return f"HTTP {status}" if status >= 500 else None


def is_recorded(status: int, content_type: str, content_encoding: str) -> bool:
    """Whether an answer is one to record: a success, in JSON that can be read."""
    kind = content_type.partition(";")[0].strip().lower()
    is_json = kind == "application/json" or kind.endswith("+json")
    return 200 <= status < 300 and is_json and content_encoding in ("", "identity")


def _pattern(path: str) -> re.Pattern[str]:
    """A path in which ``{name}`` stands for any one part."""
    return re.compile("".join(
        "[^/]+" if part.startswith("{") else re.escape(part) for part in re.split(r"(\{[^{}/]*\})", path)
    ))  # fmt: skip


def _read(raw: bytes, what: str) -> Any:
    if not raw:
        return None
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"the {what} is not JSON: {error}") from None


def _header(ids: Sequence[str]) -> str | None:
    """The ids in one line; a header holds no line breaks, and nothing but ASCII is safe in it."""
    if not 0 < len(ids) <= MOST_IDS or not all(id.isascii() and id.isprintable() for id in ids):
        return None
    return ", ".join(ids)
