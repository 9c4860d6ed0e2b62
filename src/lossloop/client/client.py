"""A client of the HTTP interface: one connection kept open, clear errors, safe to send again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import msgspec
import urllib3

from lossloop.core.errors import LossloopError

Row = Mapping[str, Any]
Reply = dict[str, Any]


class Refused(LossloopError):
    """The server refused a request, or some of its rows; the good rows of a batch were taken.

    `problem` holds the problem details (RFC 9457), with `errors` per bad row.
    """

    def __init__(self, problem: Reply) -> None:
        super().__init__(str(problem.get("detail", "the server refused the request")))
        self.problem = problem
        status = problem.get("status")
        self.status = status if isinstance(status, int) else 500


class Unreachable(LossloopError):
    """No answer came. What was sent may have been taken or not; send it again under the same ids."""


class Client:
    """Talks to one server; use it as a context manager, or close it. One thread at a time per client.

    Args:
        url: Such as ``http://127.0.0.1:8765``.
        token: What lies in the state directory's file `token`.
        timeout: Seconds to wait for an answer.
    """

    def __init__(self, url: str, *, token: str, timeout: float = 30.0) -> None:
        self._url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._pool = urllib3.PoolManager(maxsize=1, headers=headers, timeout=timeout, retries=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back the connection."""
        self._pool.clear()

    def predict(self, model: str, rows: Sequence[Row], *, wait: float = 0) -> Reply:
        """Predict rows ``{"features": {...}}``, each with `id`, `unit` and `time` where wanted.

        Args:
            model: The model's name.
            rows: What to predict.
            wait: Seconds to wait until the loop has folded the request; 0 not to wait.
        """
        return self._call("POST", f"/v1/models/{_segment(model)}/predict", {"rows": rows}, wait)

    def predictions(self, model: str, rows: Sequence[Row], *, wait: float = 0) -> Reply:
        """Log predictions that your own service made: rows of `id`, `version`, `y_pred`, ..."""
        return self._call("POST", "/v1/predictions", {"model": model, "predictions": rows}, wait)

    def outcomes(self, model: str, rows: Sequence[Row], *, wait: float = 0) -> Reply:
        """Log what happened: rows of `id`, `y_true` and, where wanted, `time`."""
        return self._call("POST", "/v1/outcomes", {"model": model, "outcomes": rows}, wait)

    def losses(self, loss: str, y_true: Sequence[Any] | None, y_pred: Sequence[Any]) -> Reply:
        """Compute losses; nothing is kept."""
        return self._call("POST", "/v1/losses", {"loss": loss, "y_true": y_true, "y_pred": y_pred})

    def status(self, model: str) -> Reply:
        """A model's versions, aliases, traffic, watches, rollout and counts."""
        return self._call("GET", f"/v1/models/{_segment(model)}")

    def decisions(self, model: str) -> list[Reply]:
        """Every decision on a model, oldest first."""
        return list(self._call("GET", f"/v1/models/{_segment(model)}/decisions")["decisions"])

    def health(self) -> Reply:
        """Whether the server answers, and how far the loop has come."""
        return self._call("GET", "/v1/health")

    def rollout(
        self, model: str, version: int, *, plan: Mapping[str, Any] | None = None, reason: str = ""
    ) -> Reply:
        """Put a version on its way into the traffic; `plan` overrides keys of the policy's rollout."""
        body = {"version": version, "plan": dict(plan or {}), "reason": reason}
        return self._call("POST", f"/v1/models/{_segment(model)}/rollout", body)

    def promote(self, model: str, version: int | None = None, *, reason: str = "") -> Reply:
        """Give a version all the traffic at once."""
        return self._call(
            "POST", f"/v1/models/{_segment(model)}/promote", {"version": version, "reason": reason}
        )

    def rollback(self, model: str, *, reason: str = "") -> Reply:
        """Take the challenger off the traffic, or go back to the champion before."""
        return self._call("POST", f"/v1/models/{_segment(model)}/rollback", {"reason": reason})

    def move_clock(self, time: str, *, wait: float = 0) -> Reply:
        """Move a replay's clock; refused in live use."""
        return self._call("POST", "/v1/clock", {"time": time}, wait)

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None, wait: float = 0) -> Reply:
        headers = {**self._pool.headers, **({"Prefer": f"wait={wait:g}"} if wait else {})}
        sent = None if body is None else msgspec.json.encode(body)
        try:
            answer = self._pool.request(method, self._url + path, body=sent, headers=headers)
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(f"no answer from {self._url}: {error}") from error
        try:
            reply = msgspec.json.decode(answer.data, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Unreachable(
                f"{self._url} answered {answer.status} without JSON; is it a Lossloop server?"
            ) from error
        if not 200 <= answer.status < 300:
            raise Refused({"status": answer.status, **reply})
        return reply


def _segment(name: str) -> str:
    """A name as one part of a path, whatever it holds."""
    return quote(name, safe="")
