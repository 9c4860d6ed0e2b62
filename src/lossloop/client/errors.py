"""What can go wrong between a service and its server."""

from __future__ import annotations

from typing import Any

from lossloop.core.errors import LossloopError, StorageFull


class Refused(LossloopError):
    """The server refused a request, or some of its rows; the good rows of a batch were taken.

    `problem` holds the problem details (RFC 9457), with `errors` per bad row.
    """

    def __init__(self, problem: dict[str, Any]) -> None:
        super().__init__(str(problem.get("detail", "the server refused the request")))
        self.problem = problem
        status = problem.get("status")
        self.status = status if isinstance(status, int) else 500


class Unreachable(LossloopError):
    """No answer came. What was sent may have been taken or not; send it again under the same ids."""


class SpoolFull(StorageFull):
    """The spool, or the disk below it, takes no more; nothing of what was handed over was kept."""
