"""The circuits of the versions that one server process asks; another process has its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import monotonic_ns

from lossloop.core.clock import Micros
from lossloop.core.serving import Breaker
from lossloop.serve.breaker import Circuit, Permit, State, ask, tell

Key = tuple[str, int]
"""A model and the number of a version of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Turned:
    """A circuit opened, or closed again; that a trial failed and it stays open is none."""

    model: str
    version: int
    state: State
    why: str


def _now() -> Micros:
    return monotonic_ns() // 1000


class Circuits:
    """Asks and tells the circuits; lanes may do so from their own threads.

    Args:
        now: Microseconds that never step back.
    """

    def __init__(self, now: Callable[[], Micros] = _now) -> None:
        self._now = now
        self._circuits: dict[Key, Circuit] = {}
        self._turns: list[Turned] = []
        self._lock = threading.Lock()

    def ask(self, key: Key, rule: Breaker) -> Permit | None:
        """A permit to ask a version, or None: its rows go to the next."""
        with self._lock:
            circuit, permit = ask(self.circuit(key), rule, self._now())
            self._circuits[key] = circuit
        return permit

    def tell(self, key: Key, rule: Breaker, permit: Permit, failed: str = "") -> None:
        """How a call went: why it failed, or nothing."""
        with self._lock:
            before = self.circuit(key)
            after = tell(before, rule, permit, self._now(), failed=failed)
            self._circuits[key] = after
            opened = before.state is State.CLOSED and after.state is State.OPEN
            if opened or (before.state is State.HALF_OPEN and after.state is State.CLOSED):
                self._turns.append(Turned(model=key[0], version=key[1], state=after.state, why=after.why))

    def circuit(self, key: Key) -> Circuit:
        """A version's circuit as it is."""
        return self._circuits.get(key, _NEW)

    def keep(self, keys: Iterable[Key]) -> None:
        """Forget the circuits of other versions: one that comes back is asked anew."""
        with self._lock:
            self._circuits = {key: self._circuits[key] for key in keys if key in self._circuits}

    def turns(self) -> list[Turned]:
        """What turned since this was asked last."""
        if not self._turns:
            return []
        with self._lock:
            found, self._turns = self._turns, []
        return found

    def seconds(self, key: Key) -> float:
        """For how long a circuit has been in its state; 0 for one that was never told of."""
        circuit = self.circuit(key)
        return (self._now() - circuit.since) / 1e6 if circuit.turn else 0.0


_NEW = Circuit()
