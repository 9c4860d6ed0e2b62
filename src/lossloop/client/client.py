"""A client of the HTTP interface: calls that wait for an answer, and rows that are sent in the background."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Unpack
from urllib.parse import quote

from lossloop.client.backlog import Backlog
from lossloop.client.connection import Connection, Reply
from lossloop.client.refusals import OnRefused
from lossloop.client.rows import Kind, OutcomeRow, PredictionRow, Row
from lossloop.client.sender import Sender
from lossloop.client.sending import NoSpool, Sending
from lossloop.client.spool import Spool
from lossloop.core.errors import InputError

MOST_BATCH = 10_000


class Client(AbstractContextManager["Client"]):
    """Talks to one server, from any thread; use it as a context manager, or close it.

    `predictions` and `outcomes` wait for the server's answer. The `send_` methods return once the rows are in
    the spool, and a thread sends them: in batches, again until they are taken, also after a restart.

    Args:
        url: Such as ``http://127.0.0.1:8765``.
        token: What lies in the state directory's file `token`.
        timeout: Seconds to wait for an answer.
        spool: Where rows lie until the server has taken them: a directory, or a Spool. Only the `send_`
            methods need it.
        batch: The most rows of a request of theirs; so many are sent at once.
        linger: Seconds that fewer rows wait for more.
        on_refused: Called, in the sending thread, with each row that the server refused.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str,
        timeout: float = 30.0,
        spool: Spool | Path | str | None = None,
        batch: int = 1000,
        linger: float = 0.2,
        on_refused: OnRefused | None = None,
    ) -> None:
        if not 1 <= batch <= MOST_BATCH:
            raise InputError(f"batch is a number of rows from 1 to {MOST_BATCH}, not {batch}", field="batch")
        self._connection = Connection(url, token=token, timeout=timeout)
        self.sender: Sending = NoSpool()
        if spool is not None:
            self.sender = Sender(
                Connection(url, token=token, timeout=timeout),
                spool if isinstance(spool, Spool) else Spool(spool),
                batch=batch,
                linger=linger,
                on_refused=on_refused,
            )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self, timeout: float = 10.0) -> int:
        """Send what is in the spool, for `timeout` seconds at most, and give back the connections.

        Returns:
            How many rows are left in the spool. The next client with the same spool sends them.
        """
        left = self.sender.close(timeout)
        self._connection.close()
        return left

    def send_prediction(self, model: str, **row: Unpack[PredictionRow]) -> str:
        """Hand over a prediction that your service made; its id, which is made if it has none."""
        return self.sender.hand_over(Kind.PREDICTION, model, (row,))[0]

    def send_outcome(self, model: str, **row: Unpack[OutcomeRow]) -> None:
        """Hand over what happened."""
        self.sender.hand_over(Kind.OUTCOME, model, (row,))

    def send_predictions(self, model: str, rows: Sequence[Row]) -> list[str]:
        """Hand over rows as `predictions` takes them, all or none; their ids."""
        return self.sender.hand_over(Kind.PREDICTION, model, rows)

    def send_outcomes(self, model: str, rows: Sequence[Row]) -> None:
        """Hand over rows as `outcomes` takes them, all or none."""
        self.sender.hand_over(Kind.OUTCOME, model, rows)

    def flush(self, timeout: float = 30.0) -> int:
        """Wait, `timeout` seconds at most, until all that was handed over is settled; how many are left."""
        return self.sender.flush(timeout)

    def backlog(self) -> Backlog:
        """How far sending in the background has come."""
        return self.sender.backlog()

    def predict(self, model: str, rows: Sequence[Row], *, wait: float = 0) -> Reply:
        """Predict rows ``{"features": {...}}``, each with `id`, `unit` and `time` where wanted.

        Args:
            model: The model's name.
            rows: What to predict.
            wait: Seconds to wait until the loop has folded the request; 0 not to wait.
        """
        return self._connection.call("POST", f"{_home(model)}/predict", {"rows": rows}, wait=wait)

    def predictions(self, model: str, rows: Sequence[Row], *, wait: float = 0) -> Reply:
        """Log predictions that your own service made: rows of `id`, `version`, `y_pred`, ..."""
        return self._connection.call(
            "POST", "/v1/predictions", {"model": model, "predictions": rows}, wait=wait
        )

    def outcomes(self, model: str, rows: Sequence[Row], *, wait: float = 0) -> Reply:
        """Log what happened: rows of `id`, `y_true` and, where wanted, `time`."""
        return self._connection.call("POST", "/v1/outcomes", {"model": model, "outcomes": rows}, wait=wait)

    def losses(self, loss: str, y_true: Sequence[Any] | None, y_pred: Sequence[Any]) -> Reply:
        """Compute losses; nothing is kept."""
        body = {"loss": loss, "y_true": y_true, "y_pred": y_pred}
        return self._connection.call("POST", "/v1/losses", body)

    def status(self, model: str) -> Reply:
        """A model's versions, aliases, traffic, watches, rollout and counts."""
        return self._connection.call("GET", _home(model))

    def decisions(self, model: str) -> list[Reply]:
        """Every decision on a model, oldest first."""
        return list(self._connection.call("GET", f"{_home(model)}/decisions")["decisions"])

    def health(self) -> Reply:
        """Whether the server answers, and how far the loop has come."""
        return self._connection.call("GET", "/v1/health")

    def rollout(
        self, model: str, version: int, *, plan: Mapping[str, Any] | None = None, reason: str = ""
    ) -> Reply:
        """Put a version on its way into the traffic; `plan` overrides keys of the policy's rollout."""
        body = {"version": version, "plan": dict(plan or {}), "reason": reason}
        return self._connection.call("POST", f"{_home(model)}/rollout", body)

    def promote(self, model: str, version: int | None = None, *, reason: str = "") -> Reply:
        """Give a version all the traffic at once."""
        body = {"version": version, "reason": reason}
        return self._connection.call("POST", f"{_home(model)}/promote", body)

    def rollback(self, model: str, *, reason: str = "") -> Reply:
        """Take the challenger off the traffic, or go back to the champion before."""
        return self._connection.call("POST", f"{_home(model)}/rollback", {"reason": reason})

    def move_clock(self, time: str, *, wait: float = 0) -> Reply:
        """Move a replay's clock; refused in live use."""
        return self._connection.call("POST", "/v1/clock", {"time": time}, wait=wait)


def _home(model: str) -> str:
    """Where a model is, as one part of a path, whatever its name holds."""
    return f"/v1/models/{quote(model, safe='')}"
