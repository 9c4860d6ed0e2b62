"""Telling people: a line in the log, or a webhook with a key by which the receiver can drop a repeat."""

from __future__ import annotations

from typing import Any

import msgspec
import urllib3

from lossloop.core.errors import LossloopError

SECONDS = 10.0


def post(address: str, body: dict[str, Any], *, key: str) -> str:
    """Send a decision to a webhook and return the status line.

    Raises:
        LossloopError: It could not be reached, or answered with another status than 2xx.
    """
    headers = {"Content-Type": "application/json", "Idempotency-Key": key}
    try:
        answer = urllib3.request(
            "POST", address, body=msgspec.json.encode(body), headers=headers, timeout=SECONDS, retries=False,
            redirect=False, preload_content=False,
        )  # fmt: skip
        answer.close()  # what it says besides its status is not read, however much or slow it is
    except urllib3.exceptions.HTTPError as error:
        raise LossloopError(f"webhook not reached: {error}") from error
    if not 200 <= answer.status < 300:
        raise LossloopError(f"webhook answered {answer.status}")
    return f"webhook answered {answer.status}"
