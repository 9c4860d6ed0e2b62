"""Two state directories that get the same facts: of one, what is old expires, and its state is made anew."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lossloop.app.home import Home
from lossloop.app.rebuilding import rebuild
from lossloop.core.clock import HOUR, ManualClock
from lossloop.ledger.facts import outcomes, predictions
from lossloop.ledger.files import retention
from lossloop.ledger.files.sealing import seal
from lossloop.ledger.frames import Frame, Kind
from lossloop.ledger.joined.keys import Keys
from lossloop.ledger.joined.slicing import features_of
from lossloop.ledger.postgres import keeping
from lossloop.ledger.removals import Pruned
from tests.app.desk import MODEL, START, WATCH, Desk

WATCHES = {
    "worse": WATCH,
    "slow": {"kind": "latency", "slower_than": "200ms", "tolerance": "20%", "promise": "1 per 20 blocks"},
    "failing": {"kind": "errors", "tolerance": "10%", "promise": "1 per 20 outcomes"},
}
POLICY = {"watches": WATCHES, "slices": ["x", {"feature": "y", "bins": [1, 3]}, "x x y"]}
Row = tuple[str, int]
"""An id, and which of some predictions was sent with it."""


@dataclass
class Twins:
    """Facts go to both; receipt times are eight hours apart.

    Args:
        old: What is old expires here.
        whole: Nothing ever does here.
    """

    old: Desk
    whole: Desk
    hour: int = 0
    times: list[int] = field(default_factory=list)

    @classmethod
    def at(cls, place: Path, **policy: Any) -> Twins:
        """Two directories alike."""
        old = Desk.ready(place / "old", settings={"clock": "receipt"}, **{**POLICY, **policy})
        shutil.copytree(old.home.path, place / "whole")
        return cls(old=old, whole=Desk(home=Home(path=place / "whole")), hour=_hours_since(old))

    # What is sent.

    def send(self, frame: Frame) -> None:
        """A fact, eight hours after the one before."""
        self.hour += 8
        time = START + self.hour * HOUR
        self.times.append(time)
        for desk in (self.old, self.whole):
            desk.send(replace(frame, time=time))

    def predict(self, rows: Sequence[Row], *, history: bool = False) -> None:
        """Predictions, each about a unit of its own kind and with a number that its content has; 5 failed."""
        columns = {
            "id": [id for id, _ in rows],
            "version": [1] * len(rows),
            "time": [START + self.hour * HOUR - number for _, number in rows],
            "unit": [[None, "ada", "bob"][number % 3] for _, number in rows],
            "y_pred": [None if number == 5 else 0.1 + 0.2 * (number % 4) for _, number in rows],
            "error": ["TimeoutError" if number == 5 else None for _, number in rows],
            "latency_ms": [[None, 12.5, 300.0][number % 3] for _, number in rows],
            "features": [f'{{"x": "at {number}", "y": {number}, "z": 1}}' for _, number in rows],
            "content": [bytes([number]) if number % 2 else None for _, number in rows],
        }
        batch = predictions(columns, model=MODEL)
        if history:
            batch = batch.replace_schema_metadata({"model": MODEL, "history": ""})
        self.send(Frame(kind=Kind.PREDICTION, time=0, batch=batch))

    def happen(self, rows: Sequence[tuple[str, float | None]]) -> None:
        """Outcomes; a missing one has a reason."""
        labels = [label for _, label in rows]
        why = [None if label is not None else f"why {id}" for id, label in rows]
        times = [START + self.hour * HOUR] * len(rows)
        batch = outcomes([id for id, _ in rows], labels, times, why, model=MODEL)
        self.send(Frame(kind=Kind.OUTCOME, time=0, batch=batch))

    # What is done to one of them.

    def expire(self, *, cutoff: int | None = None, larger_than: int | None = None) -> Pruned:
        """What was received before goes, or all that is more than so many bytes."""
        home, clock = self.old.home, ManualClock(START + self.hour * HOUR)
        state = home.state()
        needs: dict[str, Any] = {
            "keys": Keys(home.settings().secret), "features": features_of(state, MODEL), "clock": clock
        }  # fmt: skip
        state.close()
        if home.database is not None:
            gone = keeping.prune(home.database, MODEL, **needs, cutoff=cutoff, larger_than=larger_than)
        else:
            seal(home.segments.directory)
            gone = retention.prune(
                home.segments.directory, MODEL, **needs, cutoff=cutoff, larger_than=larger_than
            )
        self.old.fold()
        return gone

    def make_anew(self) -> None:
        """Rebuild; everything is decided as it was."""
        assert rebuild(self.old.home).agrees

    def assert_alike(self) -> None:
        """Both derived states are the same to the bit, but for the facts that say what has expired."""
        assert everything(self.old) == everything(self.whole)


def everything(desk: Desk) -> dict[str, Any]:
    """The derived state, less how facts about what expired were taken."""
    found: dict[str, Any] = dict(desk.everything())
    found["documents"] = [
        (kind, key, body)
        for kind, key, *_, body in found["documents"]
        if not (kind == "command" and key.startswith("expired/"))
    ]
    return found


def _hours_since(desk: Desk) -> int:
    """Where the clock of a directory stands, in hours of the tests."""
    with desk.books() as books:
        return (books.now() - START) // HOUR + 1
