"""The worker: carries out the outside effects in the outbox and logs how they ended."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from lossloop.act import outbox
from lossloop.act.notify import post
from lossloop.act.outbox import Effect
from lossloop.act.retrain import Order, retrain
from lossloop.act.settings import LOG
from lossloop.app.books import Books
from lossloop.app.commands import Candidate, Command, Settle, name_of
from lossloop.app.home import Home
from lossloop.app.importing import LabelFolders
from lossloop.app.keeping import Keeper
from lossloop.app.pace import Pace
from lossloop.app.versions.ordering import with_candidate_checked
from lossloop.core.clock import Clock, SystemClock
from lossloop.core.errors import LossloopError
from lossloop.ledger.facts import command
from lossloop.ledger.history import labelled
from lossloop.ledger.joined.keys import Keys
from lossloop.ledger.postgres.turns import Turn
from lossloop.registry import CHAMPION, versions

PACE = ((60.0, 0.02), (float("inf"), 0.05))
"""Pauses between two looks at the outbox, by the seconds for which nothing was to be done."""


class Worker:
    """One per state directory; a second one would only do the same things under the same keys."""

    def __init__(self, home: Home, clock: Clock | None = None) -> None:
        self._home = home
        self._state = home.state()
        self._books = Books(self._state)
        self._settings = home.settings()
        self._writer = home.log.writer()
        self._clock = clock or SystemClock()
        self._reader = home.log.reader()
        self._caught_up = False
        self._idle_at: int | None = None
        self._not_before: dict[str, int] = {}
        self._settled: set[tuple[str, int]] = set()
        self._folders = LabelFolders(home, self._clock)
        self._keeper = Keeper(home, self._clock)
        self._turn = _turn(home)

    def run(self, stop: Callable[[], bool]) -> None:
        """Work until asked to stop; label files are taken beside, for a retraining may take hours."""
        self._folders.start()
        self._keeper.start()
        pace = Pace(steps=PACE)
        while not stop():
            if self.step():
                pace.news()
            else:
                time.sleep(pace.pause())

    def step(self) -> bool:
        """Carry out the first effect that is due; False where none is.

        What the log says was done is not done again: after a start, the fold must have come to its end once.
        """
        change = self._state.change()
        if change == self._idle_at:
            return False
        if not self._turn():
            return False  # another worker of the same database carries effects out
        if not self._caught_up:
            self._caught_up = not self._reader.behind(self._state.offsets())
            return False
        # People first: a retraining may take hours.
        pending = sorted(outbox.pending(self._state), key=lambda effect: effect.verb == "retrain")
        for effect in pending:
            if self._is_due(effect):
                self._attempt(effect)
                return True
        if not pending:
            self._idle_at = change
        return False

    def close(self) -> None:
        self._folders.close()
        self._keeper.close()
        self._reader.close()
        self._writer.close()
        self._state.close()

    def _is_due(self, effect: Effect) -> bool:
        if (effect.key, effect.attempts) in self._settled:
            return False  # done, and the loop has not folded that yet
        if effect.verb == "retrain" and self._books.frozen() is not None:
            return False
        return self._clock.now() >= self._not_before.get(effect.key, 0)

    def _attempt(self, effect: Effect) -> None:
        try:
            result = self._carry_out(effect)
        except LossloopError as error:
            result = Settle(key=effect.key, ok=False, detail=str(error))
            print(f"{effect.verb} {effect.target} failed: {error}", file=sys.stderr, flush=True)
        self._not_before[effect.key] = self._clock.now() + outbox.pause_before(effect.attempts + 1)
        id = f"{name_of(result)}:{effect.key}:{effect.attempts}"
        self._writer.append(
            [command(id, name_of(result), msgspec.to_builtins(result), now=self._clock.now())]
        )
        self._settled.add((effect.key, effect.attempts))

    def _carry_out(self, effect: Effect) -> Command:
        if effect.verb == "retrain":
            return self._retrain(effect)
        address = {LOG: LOG, **self._settings.notify}.get(effect.target)
        if address is None:
            raise LossloopError(f"settings.yaml has no notify target {effect.target!r}")
        if address != LOG:
            return Settle(key=effect.key, ok=True, detail=post(address, effect.body, key=effect.key))
        print(_line(effect.body), flush=True)
        return Settle(key=effect.key, ok=True, detail="written to the log")

    def _retrain(self, effect: Effect) -> Candidate:
        target = self._settings.retrain.get(effect.target)
        if target is None:
            raise LossloopError(f"settings.yaml has no retrain target {effect.target!r}")
        policy = self._books.policy(effect.model)
        order = Order(
            target=target, state=str(self._home.path.resolve()), model=effect.model, at=effect.at,
            age=policy.labels.mature_after, loss=policy.loss, previous=self._artifact(effect.model),
        )  # fmt: skip
        if self._home.database is not None:
            # The child, which runs the user's code, gets rows and no way into the database.
            keys = Keys(self._settings.secret)
            rows = labelled(self._reader, self._state, keys, order.model, until=order.at, age=order.age)
            made = retrain(order, rows)
        else:
            made = retrain(order)
        candidate = Candidate(key=effect.key, model=effect.model, manifest=made)
        return with_candidate_checked(self._home, candidate)

    def _artifact(self, model: str) -> str:
        """The digest of the champion's artifact, for a warm start; empty where there is none."""
        champion = versions.alias(self._state, model, CHAMPION)
        return "" if champion is None else versions.find(self._state, model, champion).manifest.artifact


def _turn(home: Home) -> Callable[[], bool]:
    """Whether this worker is the one that works; a directory has but one."""
    if home.database is None:
        return lambda: True
    return Turn(home.database, "worker").mine


def _line(decision: Mapping[str, Any]) -> str:
    """A decision as one line of a log."""
    where = f"{decision['at']} {decision['model']}"
    return f"{where}: {decision['watch']}: {decision['status']}: {decision['reason']}"
