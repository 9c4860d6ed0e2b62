"""A sender: it sends again and again what was not acknowledged, and some of what was."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import urllib3

from tests.torture.bodies import request_of
from tests.torture.events import OUTCOMES, Batch, Maker, Outcome

PATIENCE = 120.0
"""Seconds in which a batch must be taken, however often something is killed."""
REPEATED = 0.12
"""The share of batches that are sent once more although they were acknowledged."""
REMEMBERED = 200
"""Batches that may be sent once more."""
REFUSED = (429, 507)
"""Answers that say: nothing was taken."""
PACE = 1500

Door = tuple[str, str]
"""The address of a server, and its token."""


@dataclass
class Sender:
    """Sends batches of its own from a thread.

    Args:
        number: Which sender this is.
        senders: How many there are.
        seed: Of all chance.
        doors: Where it may send to; another one is tried whenever one does not answer.
        pace: Rows a second, about.
    """

    number: int
    senders: int
    seed: int
    doors: Sequence[Door]
    pace: int = PACE
    sent: list[Batch] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    in_force: dict[tuple[str, str], Outcome] = field(default_factory=dict)
    """What was said last of each prediction, and acknowledged, by model and id."""
    problems: list[str] = field(default_factory=list)
    waits: bool = False
    """Whether a request is under way."""

    def __post_init__(self) -> None:
        self._chance = random.Random(f"{self.seed}/{self.number}")
        self._maker = Maker(self.number, self.senders, self._chance)
        self._pool = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(connect=5, read=30))
        self._door = self.number

    def send(self, stop: threading.Event) -> None:
        """Send until told to stop; then all that was sent is acknowledged."""
        try:
            while not stop.is_set():
                batch = self._next()
                started = time.monotonic()
                self._deliver(batch)
                stop.wait(max(len(batch.rows) / self.pace - (time.monotonic() - started), 0))
        except Exception as error:  # noqa: BLE001 - a thread's error is a problem of the whole
            self.problems.append(f"sender {self.number}: {type(error).__name__}: {error}")

    def _next(self) -> Batch:
        if self.sent and self._chance.random() < REPEATED:
            return self._chance.choice(self.sent[-REMEMBERED:])
        self.sent.append(self._maker.batch())
        return self.sent[-1]

    def _deliver(self, batch: Batch) -> None:
        deadline = time.monotonic() + PATIENCE
        while not self._attempt(batch):
            if time.monotonic() > deadline:
                raise TimeoutError(f"batch {batch.number} was not taken within {PATIENCE:g} s")
            time.sleep(0.05 * self._chance.random() + 0.01)
        if batch.kind == OUTCOMES:
            self.in_force |= {(batch.model, id): outcome for id, outcome in batch.rows.items()}

    def _attempt(self, batch: Batch) -> bool:
        """Send once; whether it was acknowledged."""
        url, token = self.doors[self._door % len(self.doors)]
        path, body, headers = request_of(batch, self._chance)
        headers["Authorization"] = f"Bearer {token}"
        self.waits = True
        try:
            answer = self._pool.request("POST", url + path, body=body, headers=headers)
        except urllib3.exceptions.NewConnectionError:
            self._door += 1
            self.answers["nobody there"] += 1
            return False
        except urllib3.exceptions.HTTPError:
            self._door += 1
            return self._unanswered(batch, "no answer")
        finally:
            self.waits = False
        if answer.status in REFUSED:
            self.answers[str(answer.status)] += 1
            return False
        if answer.status >= 500:
            self._door += 1
            return self._unanswered(batch, str(answer.status))
        self._check(batch, answer.status, json.loads(answer.data))
        batch.acknowledged += 1
        self.answers["acknowledged"] += 1
        return True

    def _unanswered(self, batch: Batch, word: str) -> bool:
        batch.unanswered += 1
        self.answers[word] += 1
        return False

    def _check(self, batch: Batch, status: int, reply: dict[str, object]) -> None:
        wanted = 422 if batch.bad else 200
        if status != wanted or reply.get("accepted") != len(batch.rows):
            said = json.dumps(reply)[:500]
            raise ValueError(f"batch {batch.number} was answered {status}: {said}")


class Crowd:
    """All senders, each in a thread."""

    def __init__(self, senders: Sequence[Sender]) -> None:
        self.senders = senders

    def sending(self, while_: Callable[[], None]) -> None:
        """Send for as long as something runs, and then until all is acknowledged."""
        stop = threading.Event()
        threads = [threading.Thread(target=sender.send, args=(stop,), daemon=True) for sender in self.senders]
        for thread in threads:
            thread.start()
        try:
            while_()
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def batches(self) -> dict[int, Batch]:
        """All that was sent, by number."""
        return {batch.number: batch for sender in self.senders for batch in sender.sent}

    def problems(self) -> list[str]:
        return [problem for sender in self.senders for problem in sender.problems]

    def answers(self) -> Counter[str]:
        """How often each answer was given."""
        found: Counter[str] = Counter()
        for sender in self.senders:
            found += sender.answers
        return found
