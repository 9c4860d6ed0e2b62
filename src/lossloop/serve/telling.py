"""Telling the ledger what a server process knows and nobody else: that it opened or closed a circuit."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

from lossloop.core.clock import Clock
from lossloop.core.errors import LossloopError
from lossloop.core.ids import new_id
from lossloop.ledger.facts import command
from lossloop.ledger.frames import Frame
from lossloop.serve.circuits import Circuits, Turned
from lossloop.serve.recorder import Recorder

COMMAND = "turn_circuit"


class Teller:
    """Logs each turn of a circuit, on standard error and as a fact; no answer waits for it.

    Args:
        circuits: Of this process.
        recorder: Where facts go.
        clock: Tells the receipt time.
    """

    def __init__(self, circuits: Circuits, recorder: Recorder, clock: Clock) -> None:
        self.server = new_id()[-12:]
        """What this process is called in the facts that it tells."""
        self._circuits = circuits
        self._recorder = recorder
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()

    def tell(self) -> None:
        """Tell what has turned since this was called last."""
        turned = self._circuits.turns()
        if not turned:
            return
        for each in turned:
            words = f": {each.why}" if each.why else ""
            name = f"{each.model}:{each.version}"
            print(f"the circuit of {name} is {each.state}{words}", file=sys.stderr, flush=True)
        task = asyncio.ensure_future(self._log([self._fact(each) for each in turned]))
        self._tasks.add(task)  # a task that nobody holds may be collected
        task.add_done_callback(self._tasks.discard)

    def _fact(self, turned: Turned) -> Frame:
        body = {
            "model": turned.model, "version": turned.version, "state": str(turned.state), "why": turned.why,
            "server": self.server,
        }  # fmt: skip
        return command(new_id(), COMMAND, body, now=self._clock.now())

    async def _log(self, frames: Sequence[Frame]) -> None:
        try:
            await self._recorder.append(frames)
        except LossloopError as error:  # answers go on; who asks this server is told what holds
            print(f"the turn of a circuit could not be logged: {error}", file=sys.stderr, flush=True)
