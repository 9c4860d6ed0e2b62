"""Keeps a server in step with the state: traffic is followed, and whoever waits for a fold is told."""

from __future__ import annotations

import asyncio
import sys

from lossloop.app.pace import Pace
from lossloop.core.errors import Away, Overloaded
from lossloop.ledger.base import Position
from lossloop.ledger.store import Store
from lossloop.serve.fleet import Fleet

WAITED_FOR = 0.0005
"""Seconds between two looks at the state while a request waits for it."""
PACE = ((60.0, 0.02), (float("inf"), 0.05))
"""Pauses otherwise, by the seconds for which the state has not changed."""
UNSEEN = 0.25
"""Seconds between two looks at a database that is away."""


class Follower:
    """Looks whether the state has changed; loads new versions aside, then swaps the traffic at once."""

    def __init__(self, state: Store, fleet: Fleet) -> None:
        self._state = state
        self._fleet = fleet
        self._waiting: list[tuple[Position, asyncio.Future[None]]] = []
        self._wake = asyncio.Event()
        self._following = asyncio.Lock()
        self._pace = Pace(steps=PACE)

    async def run(self) -> None:
        """Follow until cancelled; a database that is away is looked for again."""
        seen, missed = -1, False
        while True:
            try:
                change = self._state.change()
                if change != seen:
                    self._pace.news()
                    await self._follow()
                    seen = change
            except (Away, Overloaded) as error:
                if not missed:
                    print(f"the state cannot be followed: {error}", file=sys.stderr, flush=True)
                missed = True
                await asyncio.sleep(UNSEEN)
                continue
            missed = False
            await self._pause()

    async def _pause(self) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), WAITED_FOR if self._waiting else self._pace.pause())
            self._wake.clear()
            await asyncio.sleep(WAITED_FOR)
        except TimeoutError:
            return

    async def folded(self, position: Position, timeout: float) -> bool:
        """Wait until a position is folded and the traffic it led to is served; False if that takes longer."""
        if position.reached_by(self._state.offsets()) and not self._waiting:
            await self._follow()
            return True
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((position, future))
        self._wake.set()
        try:
            await asyncio.wait_for(future, timeout)
        except TimeoutError:
            return False
        finally:
            self._waiting = [(waited, other) for waited, other in self._waiting if other is not future]
        return True

    async def _follow(self) -> None:
        # One at a time: a swap to older traffic must not take away what a newer one has just loaded.
        async with self._following:
            # The offsets are read first: what is folded after that is not promised to anybody yet.
            offsets = self._state.offsets()
            wanted = self._fleet.wanted()
            while missing := self._fleet.missing(wanted):  # again: what was there may be let go meanwhile
                await asyncio.to_thread(self._fleet.load, missing)
            self._fleet.swap(wanted)
            for position, future in self._waiting:
                if position.reached_by(offsets) and not future.done():
                    future.set_result(None)
