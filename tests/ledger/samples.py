"""Facts for tests: frames of each kind, by as few words as possible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from lossloop.core.clock import Micros
from lossloop.ledger import facts
from lossloop.ledger.expired import Needs
from lossloop.ledger.frames import Frame, Kind
from lossloop.ledger.joined.keys import Keys

KEYS = Keys(b"secret")
"""How ids become numbers."""
NEEDS = Needs(keys=KEYS)


def prediction_frame(
    ids: Sequence[str],
    y_pred: Sequence[Any] | pa.Array | None = None,
    *,
    model: str = "m",
    time: Micros = 0,
    content: bytes | None = b"sent",
    **columns: Any,
) -> Frame:
    """Predictions of version 1 as champion; any column can be given."""
    count = len(ids)
    filled: dict[str, Any] = {
        "id": list(ids),
        "version": [1] * count,
        "time": [time] * count,
        "unit": [None] * count,
        "role": ["champion"] * count,
        "propensity": [1.0] * count,
        "y_pred": [0.5] * count if y_pred is None else y_pred,
        "shadow_version": [None] * count,
        "shadow_y_pred": [None] * count,
        "content": [content] * count,
        **columns,
    }
    return Frame(kind=Kind.PREDICTION, time=time, batch=facts.predictions(filled, model=model))


def outcome_frame(
    labels: Mapping[str, float | None],
    *,
    model: str = "m",
    time: Micros = 0,
    times: Sequence[Micros] | None = None,
) -> Frame:
    """Outcomes by prediction id."""
    batch = facts.outcomes(list(labels), list(labels.values()), times or [time] * len(labels), model=model)
    return Frame(kind=Kind.OUTCOME, time=time, batch=batch)


def tick_frame(number: int) -> Frame:
    """A small frame that can be told from others."""
    return facts.tick(number, now=number)


def numbers(frames: Sequence[object]) -> list[int]:
    """Which `tick_frame`s these are; anything else does not belong among them."""
    return [frame.time if isinstance(frame, Frame) else -1 for frame in frames]


def features(rows: Sequence[dict[str, Any]]) -> pa.Array:
    """A struct array of features."""
    return pa.array(rows)
