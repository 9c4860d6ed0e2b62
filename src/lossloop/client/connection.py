"""One server, reached over kept connections: requests as bytes, answers as they came."""

from __future__ import annotations

import codecs
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import urllib3

from lossloop.client.errors import Refused, Unreachable
from lossloop.client.forks import watch

Reply = dict[str, Any]
codecs.lookup("idna")  # loaded by the first request otherwise: a fork in that moment would never have it
MOST_KEPT = 8
"""Connections that are kept open for the next request."""
LARGEST_ANSWER = 64 * 1024 * 1024
"""Bytes of an answer; who answers with more is no server of ours, and is not read on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What the server answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Connection:
    """Safe to use from several threads, and in a process that was forked.

    Args:
        url: Such as ``http://127.0.0.1:8765``.
        token: Sent with every request. Redirects are not followed: it goes to no other server.
        timeout: Seconds to wait for an answer.
    """

    def __init__(self, url: str, *, token: str, timeout: float) -> None:
        self.url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._timeout = timeout
        self._pool = self._connect()
        watch(self)

    def _connect(self) -> urllib3.PoolManager:
        return urllib3.PoolManager(
            maxsize=MOST_KEPT, headers=self._headers, timeout=self._timeout, retries=False
        )

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request, sent once.

        Raises:
            Unreachable: No answer came, or one without an end.
        """
        sent = {**self._headers, **(headers or {})}
        try:
            answer = self._pool.request(
                method, self.url + path, body=body, headers=sent, preload_content=False
            )
            with contextlib.closing(answer):
                read = answer.read(LARGEST_ANSWER + 1)
                if len(read) <= LARGEST_ANSWER:
                    answer.release_conn()  # for the next request; else it is closed
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(f"no answer from {self.url}: {error}") from error
        if len(read) > LARGEST_ANSWER:
            words = f"{self.url} answered with more than {LARGEST_ANSWER} bytes; is it a Lossloop server?"
            raise Unreachable(words)
        return Answer(status=answer.status, headers=answer.headers, body=read)

    def call(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, *, wait: float = 0
    ) -> Reply:
        """One request in JSON, and what was answered.

        Raises:
            Unreachable: No answer came, or one that is not Lossloop's.
            Refused: The answer is a problem.
        """
        sent = None if body is None else msgspec.json.encode(body)
        answer = self.send(method, path, sent, {"Prefer": f"wait={wait:g}"} if wait else None)
        try:
            reply = msgspec.json.decode(answer.body, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Unreachable(
                f"{self.url} answered {answer.status} without JSON; is it a Lossloop server?"
            ) from error
        if not 200 <= answer.status < 300:
            raise Refused({"status": answer.status, **reply})
        return reply

    def close(self) -> None:
        """Give back the connections; a later request opens one again."""
        self._pool.clear()

    def after_fork(self) -> None:
        self._pool = self._connect()  # the parent goes on with the old ones
