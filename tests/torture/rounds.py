"""The rounds: something is killed in each, and every few of them all is counted anew."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lossloop.app.home import Home
from lossloop.app.loop import Loop
from lossloop.core.clock import SystemClock
from lossloop.core.errors import LossloopError
from lossloop.ledger.applier import Applier
from lossloop.ledger.frames import Frame
from lossloop.ledger.sqlite.state import State
from tests.app.processes import lossloop
from tests.torture.events import MODELS, OUTCOMES, PREDICTIONS
from tests.torture.figures import differences
from tests.torture.places import Place, embedded, on_postgres
from tests.torture.recount import Recount, out_of_force
from tests.torture.sender import Crowd, Sender

SENDERS = 4
EVERY = 5
"""Rounds between two counts."""
EVERYTHING = {(model, kind) for model in MODELS for kind in (PREDICTIONS, OUTCOMES)}

Tell = Callable[[str], None]


@dataclass
class Story:
    """What happened."""

    seed: int
    store: str
    rounds: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    counts: int = 0
    """How often all was counted anew."""
    seconds: float = 0.0
    batches: int = 0
    rows: int = 0
    """Distinct rows of predictions and outcomes that were sent."""
    rows_acknowledged: int = 0
    """Rows in answers that acknowledged them, so each as often as it was."""
    rows_in_the_log: int = 0
    rows_unsaid: int = 0
    """Rows in the log of which nobody was told so."""
    answers: Counter[str] = field(default_factory=Counter)
    figures: dict[str, dict[str, int]] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "kills": dict(self.kills), "answers": dict(self.answers)}


class Torture:
    """Rounds over one place.

    Args:
        place: What is tortured.
        story: What happened is written there.
        tell: Told of each round.
    """

    def __init__(self, place: Place, story: Story, tell: Tell) -> None:
        self._place = place
        self._tell = tell
        self._chance = random.Random(f"{story.seed}/rounds")
        self._crowd = Crowd([Sender(number, SENDERS, story.seed, place.doors()) for number in range(SENDERS)])
        self._recount = Recount({})
        self._began = time.monotonic()
        self.story = story

    def run(self, rounds: int) -> None:
        """All rounds, and a count after every few; it ends with the first violation."""
        while self.story.rounds < rounds and not self.story.violations:
            span = min(EVERY, rounds - self.story.rounds)
            self._crowd.sending(lambda span=span: self._rounds(span))  # type: ignore[misc]
            self._place.settle()
            self.count()

    def _rounds(self, span: int) -> None:
        for _ in range(span):
            self._round()
            if self._crowd.problems():
                return
        _until(self._all_sent, 60.0, every=0.05)

    def _all_sent(self) -> bool:
        """Whether each model was sent both kinds: on a busy machine the rounds may end before that."""
        return {(batch.model, batch.kind) for batch in self._crowd.batches().values()} >= EVERYTHING

    def _round(self) -> None:
        chance, story = self._chance, self.story
        name = chance.choice(list(self._place.victims()))
        if chance.random() < 0.85:  # else something dies while it is still being started again
            _until(self._place.answers, 30.0, every=0.05)
        time.sleep(chance.uniform(0.0, 1.5))
        if chance.random() < 0.1:
            self._place.keep()
        if chance.random() < 0.5:  # a moment by chance is rarely one at which an answer is lost
            _until(lambda: any(sender.waits for sender in self._crowd.senders), 1.0)
        self._place.victims()[name](chance)
        story.rounds += 1
        story.kills[name] += 1
        rows = sum(len(batch.rows) for sender in self._crowd.senders for batch in sender.sent)
        self._tell(f"round {story.rounds}: killed {name}; {rows:,} rows sent, {self._seconds():.0f} s")

    def count(self) -> None:
        """Count all anew, and note what is not as it should be."""
        story = self.story
        self._recount.batches = self._crowd.batches()
        home = self._place.home
        reader, store = home.log.reader(), home.state()
        try:
            self._recount.go_on(reader)
            found = [*self._crowd.problems(), *self._recount.delivery()]
            found += self._out_of_force()
            found += differences(self._recount, home, store)
        finally:
            reader.close()
            store.close()
        self._note(found)
        story.counts += 1
        self._tell(f"counted {self._recount.rows:,} rows of the log: {len(found) or 'no'} violations")

    def _out_of_force(self) -> list[str]:
        doubtful = self._place.database is not None
        return [
            words
            for sender in self._crowd.senders
            for words in out_of_force(self._recount, sender.in_force, doubtful=doubtful)
        ][:10]

    def _note(self, found: list[str]) -> None:
        story, batches = self.story, self._recount.batches.values()
        story.violations += found
        story.seconds = round(self._seconds(), 1)
        story.batches = len(batches)
        story.rows = sum(len(batch.rows) for batch in batches)
        story.rows_acknowledged = sum(len(batch.rows) * batch.acknowledged for batch in batches)
        story.rows_in_the_log = self._recount.rows
        story.rows_unsaid = self._recount.unsaid()
        story.answers = self._crowd.answers()
        story.figures = {name: dict(model.counts) for name, model in sorted(self._recount.models.items())}

    def _seconds(self) -> float:
        return time.monotonic() - self._began

    # In the end, when nothing runs any more.

    def read_again(self, path: Path) -> None:
        """The log from its beginning, in one go, and the figures that a fold of it gives."""
        home, again = self._place.home, Recount(self._recount.batches)
        for batch in again.batches.values():
            batch.copies.clear()
        reader = home.log.reader()
        again.go_on(reader)
        reader.close()
        state = folded_anew(home, path)
        try:
            found = [*again.delivery(), *differences(again, home, state)]
        finally:
            state.close()
        if again.models != self._recount.models:
            found.append("the log, read from its beginning, does not say what it said when it was written")
        self.story.violations += [f"read again: {words}" for words in found]
        self._tell(f"folded {again.rows:,} rows anew: {len(found) or 'no'} violations")

    def ask_the_command_line(self) -> None:
        """`ledger verify` is sound; `ledger rebuild` agrees, and gives the same figures."""
        path = str(self._place.home.path)
        for command in ("verify", "rebuild"):
            done = lossloop("ledger", command, "--state", path)
            words = done.stdout.strip() or done.stderr.strip()
            self._tell(f"lossloop ledger {command}: {words}")
            if done.returncode:
                self.story.violations.append(
                    f"lossloop ledger {command} ended with {done.returncode}: {words}"
                )
        self.count()


def _until(holds: Callable[[], bool], seconds: float, *, every: float = 0.001) -> None:
    """Wait for something, but not for ever."""
    deadline = time.monotonic() + seconds
    while not holds() and time.monotonic() < deadline:
        time.sleep(every)


class _Quiet:
    """A loop whose decisions nobody is told."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    def fold(self, frame: Frame, *, segment: str, start: int) -> list[tuple[str, str]]:
        self._loop.fold(frame, segment=segment, start=start)
        return []

    def flush(self) -> None:
        self._loop.flush()


def folded_anew(home: Home, path: Path) -> State:
    """A state of its own, folded from all of a log."""
    state = State(path)
    applier = Applier(home.log, state, _Quiet(Loop(state, home.settings())), SystemClock())
    while applier.step():
        continue
    applier.close()
    return state


def torture(path: Path, *, rounds: int, seed: int, on_database: bool = False, tell: Tell = print) -> Story:
    """Torture a Lossloop in a new directory.

    Args:
        path: Where it lies; left as it was found broken, where it was.
        rounds: How many times something is killed.
        seed: Of all chance; when what happens is up to the machine.
        on_database: Two machines over PostgreSQL rather than one over files.
        tell: Told of progress.
    """
    story = Story(seed=seed, store="postgresql" if on_database else "embedded")
    began = time.monotonic()
    with (on_postgres if on_database else embedded)(path) as place:
        running = Torture(place, story, tell)
        try:
            running.run(rounds)
            if on_database and not story.violations:
                running.read_again(path / "anew.db")
        except (TimeoutError, LossloopError) as error:
            story.violations.append(f"{type(error).__name__}: {error}")
    if not on_database and not story.violations:
        running.read_again(path / "anew.db")
        running.ask_the_command_line()
    story.seconds = round(time.monotonic() - began, 1)
    return story
