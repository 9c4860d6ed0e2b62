"""A state directory folded in this process: facts in, by the hour of a replay; decisions and figures out.

The loss is the Brier score and nothing ever happens (y_true is 0), so a prediction of sqrt(L) loses L.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lossloop.act.settings import Settings
from lossloop.app import operate
from lossloop.app.books import Books, Point
from lossloop.app.commands import Command, Promote, Result, SetFreeze, StartRollout
from lossloop.app.fold import Folding
from lossloop.app.home import Home, init
from lossloop.core.clock import HOUR, Micros
from lossloop.core.records import Decision
from lossloop.ledger.facts import outcomes, predictions, tick
from lossloop.ledger.frames import Frame, Kind
from lossloop.ledger.joined.columns import ROW
from lossloop.ledger.joined.places import FRAMES
from lossloop.ledger.joined.stream import Stream, stacked
from lossloop.ledger.sqlite.state import State
from lossloop.ledger.store import Store
from lossloop.registry import Manifest, Reference

MODEL = "m"
START: Micros = 1_704_067_200_000_000  # 2024-01-01T00:00:00Z
DAY = 24
"""Hours."""
EMPTY = {name: empty for name, (_, empty) in ROW.items()}

CALM = Reference(loss="brier", mean=0.1, block="1d", block_means=(0.1,) * 8, rows=800, design_effect=1.0)
WATCH = {"kind": "regression", "tolerance": 0.02, "promise": "1 per 20 blocks"}
ROLLOUT = {"steps": ["20%", "50%"], "step_for": "1d", "promote_if_within": 0.2, "roll_back_if_worse_by": 0.1}


def policy_text(**changes: Any) -> str:
    """A policy file; JSON is YAML. A key set to None is left out."""
    base = {
        "model": MODEL, "task": "binary", "loss": "brier", "mode": "act", "block": "1d",
        "labels": {"mature_after": "6h", "missing": "same_in_both_arms"},
    }  # fmt: skip
    return json.dumps({key: value for key, value in {**base, **changes}.items() if value is not None})


def moment(hour: float) -> Micros:
    """An hour of the replay as a moment."""
    return START + round(hour * HOUR)


def external(notes: str = "", reference: Reference | None = CALM) -> Manifest:
    """A version that another system serves; other notes make it another version."""
    return Manifest(runtime="external", reference=reference, notes=notes)


def asked(
    hour: float,
    losses: Sequence[float],
    ids: Sequence[str],
    *,
    version: int = 1,
    role: str = "champion",
    propensity: float = 1.0,
    units: Sequence[str | None] | None = None,
    shadow: tuple[int, Sequence[float]] | None = None,
    features: Sequence[dict[str, Any]] | None = None,
    latency: Sequence[float | None] | None = None,
    model: str = MODEL,
) -> Frame:
    """Predictions of one version within a millisecond; each loses what is given once its outcome comes.

    One that is to lose NaN failed.
    """
    count, (other, others) = len(losses), shadow or (None, ())
    batch = predictions(
        {
            "id": list(ids),
            "version": [version] * count,
            "time": [moment(hour) + place for place in range(count)],
            "unit": list(units) if units is not None else [None] * count,
            "role": [role] * count,
            "propensity": [propensity] * count,
            "y_pred": [None if math.isnan(loss) else loss**0.5 for loss in losses],
            "error": ["TimeoutError" if math.isnan(loss) else None for loss in losses],
            "latency_ms": latency,
            "shadow_version": [other] * count,
            "shadow_y_pred": [loss**0.5 for loss in others] if others else [None] * count,
            "content": [id.encode() for id in ids],
            "features": None if features is None else [json.dumps(each) for each in features],
        },
        model=model,
    )
    return Frame(kind=Kind.PREDICTION, time=0, batch=batch)


def happened(hour: float, ids: Sequence[str], y_true: float | None = 0.0, *, model: str = MODEL) -> Frame:
    """Outcomes of some predictions."""
    batch = outcomes(ids, [y_true] * len(ids), [moment(hour)] * len(ids), model=model)
    return Frame(kind=Kind.OUTCOME, time=0, batch=batch)


def ticked(hour: float) -> Frame:
    """Nothing but the time."""
    return tick(moment(hour), now=0)


def columns(store: Store, stream: str) -> list[tuple[Any, ...]]:
    """The columns of a stream, as bytes: what is not there is the same as what is not there."""
    columns = stacked(list(Stream(store, stream).read()), EMPTY)
    return [
        (
            name,
            values.dtype.str,
            values.shape,
            values.tolist() if values.dtype.hasobject else values.tobytes(),
        )
        for name, values in sorted(columns.items())
    ]


@dataclass
class Readings:
    """What a test reads."""

    home: Home

    @contextmanager
    def books(self) -> Iterator[Books]:
        state = self.home.state()
        try:
            yield Books(state)
        finally:
            state.close()

    def decisions(self) -> list[Decision]:
        with self.books() as books:
            return books.decisions(MODEL)

    def told(self) -> list[tuple[str, str]]:
        """What was decided by the policy: action and status."""
        return [(each.action, each.status) for each in self.decisions() if each.by == "policy"]

    def points(self, watch: str) -> list[Point]:
        with self.books() as books:
            return [point for point in books.points(MODEL) if point.watch == watch]

    def champion(self) -> int | None:
        with self.books() as books:
            traffic = books.traffic(MODEL)
            return None if traffic is None else traffic.champion

    def share(self) -> float:
        with self.books() as books:
            traffic = books.traffic(MODEL)
            return 0.0 if traffic is None else traffic.share

    def everything(self) -> dict[str, list[tuple[Any, ...]]]:
        """All of the derived state that a fold made, but for where it was read from and how it is cut."""
        state = self.home.state()
        assert isinstance(state, State)
        try:
            documents = list(state.connection.execute("SELECT * FROM documents ORDER BY 1, 2"))
            streams = [name for name in state.streams("") if not name.startswith(f"{FRAMES}/")]
            return {"documents": documents, **{name: columns(state, name) for name in streams}}
        finally:
            state.close()


@dataclass
class Desk(Readings):
    """Where a test sits: it sends facts, obeys and reads."""

    sent: int = field(default=0)

    @classmethod
    def at(cls, path: Path, **settings: Any) -> Desk:
        """A new state directory, which trusts event times unless told otherwise."""
        return cls(home=init(path, Settings(**{"clock": "event", "salt": "salt", **settings})))

    @classmethod
    def ready(cls, path: Path, *, versions: int = 1, settings: Any = None, **policy: Any) -> Desk:
        """A directory with a policy, some versions alike, and the first of them as champion."""
        desk = cls.at(path, **(settings or {}))
        desk.send(ticked(0))
        desk.policy(**policy)
        for number in range(1, versions + 1):
            desk.register(f"version {number}")
        desk.obey(Promote(model=MODEL, version=1))
        return desk

    # What is sent.

    def send(self, *frames: Frame) -> None:
        """Append facts, as a server does, with their receipt time unless they have one, and fold them."""
        writer = self.home.log.writer()
        writer.append([replace(frame, time=frame.time or time.time_ns() // 1000) for frame in frames])
        writer.close()
        self.fold()

    def fold(self) -> int:
        """Fold all there is; return how many frames that was, which nobody counts in a database."""
        if self.home.database is not None:
            operate.fold_here(self.home)
            return 0
        folding = Folding(self.home)
        try:
            return folding.drain()
        finally:
            folding.close()

    def ids(self, count: int) -> list[str]:
        """Names that no prediction had yet."""
        self.sent += count
        return [f"p{number:06d}" for number in range(self.sent - count, self.sent)]

    def predict(self, hour: float, losses: Sequence[float], **given: Any) -> list[str]:
        """Send predictions; return their ids."""
        ids = self.ids(len(losses))
        self.send(asked(hour, losses, ids, **given))
        return ids

    def know(self, hour: float, ids: Sequence[str], y_true: float | None = 0.0) -> None:
        """Send outcomes."""
        self.send(happened(hour, ids, y_true))

    def tick(self, hour: float) -> None:
        self.send(ticked(hour))

    def day(self, number: int, loss: float, *, rows: int = 4, **given: Any) -> list[str]:
        """A whole day of the replay: predictions, their outcomes an hour later, and the day judged."""
        ids = self.ids(rows)
        start = number * DAY
        self.send(
            asked(start + 8, [loss] * rows, ids, **given), happened(start + 9, ids), ticked(start + DAY + 7)
        )
        return ids

    def arms(self, hour: float, champion: float, challenger: float, *, share: float, rows: int = 40) -> None:
        """A batch of randomised traffic, its outcomes, and the moment at which it is judged."""
        mine, theirs = self.ids(rows), self.ids(round(rows * share / (1 - share)))
        self.send(
            asked(hour, [champion] * len(mine), mine, propensity=1 - share),
            asked(
                hour + 0.1, [challenger] * len(theirs), theirs, version=2, role="challenger", propensity=share
            ),
            happened(hour + 0.2, mine + theirs),
            ticked(hour + 6.2),
        )

    # What is ordered.

    def policy(self, **changes: Any) -> Result:
        return operate.set_policy(self.home, policy_text(**changes))

    def register(self, notes: str, reference: Reference | None = CALM, *, model: str = MODEL) -> Result:
        return operate.register(self.home, model, external(notes, reference))

    def obey(self, command: Command) -> Result:
        return operate.obey(self.home, command)

    def freeze(self, *, on: bool) -> Result:
        return self.obey(SetFreeze(on=on))

    def rollout(self, version: int = 2, **plan: Any) -> Result:
        return self.obey(StartRollout(model=MODEL, version=version, plan=plan))
