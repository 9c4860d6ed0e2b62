"""What a running server holds: opened once, handed to every request."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pyarrow as pa

from lossloop.access import TokenCheck
from lossloop.act import outbox
from lossloop.act.settings import Settings
from lossloop.app.books import Books
from lossloop.app.constraints import cost_of
from lossloop.app.follower import Follower
from lossloop.app.home import Home
from lossloop.app.trusting import trust_of
from lossloop.core.clock import Clock, SystemClock
from lossloop.ledger.base import LogReader
from lossloop.ledger.joined.keys import Keys
from lossloop.ledger.store import Store
from lossloop.serve.fleet import Fleet
from lossloop.serve.guarding import Guarding
from lossloop.serve.inference import Inference
from lossloop.serve.recorder import Recorder
from lossloop.serve.service import Service


@dataclass(frozen=True, kw_only=True)
class Running:
    """The parts of a server over one state directory."""

    home: Home
    state: Store
    log: LogReader
    keys: Keys
    books: Books
    service: Service
    inference: Inference
    recorder: Recorder
    follower: Follower
    tokens: TokenCheck
    clock: Clock
    settings: Settings

    @property
    def replays(self) -> bool:
        """Whether event times are trusted."""
        return self.settings.clock == "event"

    def pending(self) -> int:
        """How many outside effects are still to be carried out."""
        return len(outbox.pending(self.state))

    def behind(self) -> bool:
        """Whether the log holds facts that the loop has not folded yet."""
        return self.log.behind(self.state.offsets())

    def decisions(self) -> int:
        """How many decisions were ever made, over all models."""
        return sum(self.books.counts(model).decisions for model in self.books.models())


def open_home(home: Home, clock: Clock | None = None) -> Running:
    """Open a state directory for serving; it must have been made by `init`."""
    clock = clock or SystemClock()
    pa.array([0])  # imports pandas where that is installed: no request is to wait for that
    # The event loop waits for no database that is away: it has others to answer.
    hurried = replace(home.check(), hurried=True)
    state, settings = hurried.state(), home.settings()
    recorder = Recorder(home.log.writer())
    fleet = Fleet(state, home.artifacts, trust_of(home).permit, Guarding(cost_of))
    service = Service(state, fleet, recorder, clock, replays=settings.clock == "event")
    return Running(
        home=home,
        state=state,
        log=hurried.log.reader(),
        keys=Keys(settings.secret),
        books=Books(state),
        service=service,
        inference=Inference(service, fleet),
        recorder=recorder,
        follower=Follower(state, fleet),
        tokens=home.tokens.checker(),
        clock=clock,
        settings=settings,
    )
