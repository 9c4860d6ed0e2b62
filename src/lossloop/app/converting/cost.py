"""What a model takes: bytes, and CPU per call, measured here."""

from __future__ import annotations

import time

from lossloop.app.converting.base import Cost
from lossloop.serve.runtimes import Columns, Runtime

_MANY = 64
_SECONDS = 0.1


def cost(artifact: bytes, runtime: Runtime, rows: Columns) -> Cost:
    """Measure a model on the first of some rows; these are repeated where there are fewer than 64."""
    one, many = _first(rows, 1), _first(rows, _MANY)
    return Cost(bytes=len(artifact), one=_spent(runtime, one), many=_spent(runtime, many))


def _first(rows: Columns, count: int) -> Columns:
    return {name: each.repeat(-(-count // len(each)))[:count] for name, each in rows.items()}


def _spent(runtime: Runtime, rows: Columns) -> float:
    """CPU microseconds a call."""
    runtime.predict(rows)
    began, calls = time.process_time(), 0
    while (spent := time.process_time() - began) < _SECONDS:
        runtime.predict(rows)
        calls += 1
    return round(1e6 * spent / calls, 1)
