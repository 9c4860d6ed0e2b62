"""Arms: the versions that answer a model's rows, and which of them each row is drawn to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from lossloop.core.clock import SECOND
from lossloop.core.records import Role
from lossloop.core.traffic import Traffic
from lossloop.serve.asked import Asked
from lossloop.serve.assign import UNDRAWN, Drawn, assign, override
from lossloop.serve.guarding import Guards, Patience
from lossloop.serve.lanes import Lane
from lossloop.serve.schema import Schema

LONGEST = 30.0
"""Seconds that a version is waited for where no policy says so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """A version whose turn it is to answer rows, and as what it does."""

    version: int
    role: Role
    propensity: float
    lane: Lane


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Arms:
    """Who answers the requests to a model, from one swap of its traffic to the next."""

    traffic: Traffic
    schema: Schema
    """The champion's: what every row is held against."""
    lanes: Mapping[int, Lane]
    """Where each version runs; one that cannot be asked is not there."""
    always: Drawn | None
    """The champion, where every row is drawn to it."""
    guards: Guards
    """What stands between the versions and the callers."""
    patience: Patience
    """How long a version is waited for where the caller does not say."""

    @classmethod
    def of(cls, traffic: Traffic, schema: Schema, lanes: Mapping[int, Lane], guards: Guards) -> Arms:
        """Arms of this traffic."""
        certain = not traffic.held_out and (traffic.shadow or not traffic.arms) and not traffic.only
        always = assign(traffic, [""], {})[0] if certain else None
        deadline = traffic.serving.deadline
        limit = LONGEST if deadline is None else deadline / SECOND
        patience = Patience(deadline=limit, limit=limit)
        return cls(
            traffic=traffic, schema=schema, lanes=lanes, always=always, guards=guards, patience=patience
        )

    def draw(self, asked: Asked) -> Sequence[Drawn]:
        """Who is to answer each row; a unit keeps its arm, a row without one is drawn by its own id."""
        if self.always is not None:
            return [self.always] * len(asked)
        keys = [unit or id for unit, id in zip(asked.units, asked.ids, strict=True)]
        return assign(self.traffic, keys, asked.features)

    def override(self, version: int, lane: Lane) -> tuple[Arms, Drawn]:
        """Arms with a version that a caller names, and what rows for it are: nobody else answers them."""
        lanes = {**self.lanes, version: lane}
        arms = self if version in self.lanes else replace(self, lanes=lanes)
        return arms, override(version)

    def runs_inline(self, drawn: Drawn) -> bool:
        """Whether the version that rows are drawn to runs in the event loop."""
        lane = self.lanes.get(drawn.version)
        return lane is not None and lane.inline > 0

    def after(self, drawn: Drawn) -> Iterator[Turn]:
        """Whom to ask for rows that were drawn to a version, until one of them has an answer.

        A version that was asked for by its number answers, or none does.

        Where a row could not go where it was drawn to, no comparison may look at it.
        """
        asked: set[int | None] = {None}
        others = [(self.traffic.champion, Role.CHAMPION), (self.traffic.previous, Role.CHAMPION)]
        if drawn.role is Role.OVERRIDE:
            others.clear()
        for version, role in ((drawn.version, drawn.role), *others):
            if version in asked:
                continue
            asked.add(version)
            lane = None if version is None else self.lanes.get(version)
            if version is not None and lane is not None:
                propensity = drawn.propensity if version == drawn.version else UNDRAWN
                yield Turn(version=version, role=role, propensity=propensity, lane=lane)
