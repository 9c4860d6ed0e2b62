"""The watches of a policy over a model that a replay trains: the steps are those of the loop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from lossloop.act.policy import Policy, Verb
from lossloop.act.watches import Watch
from lossloop.app.books import Crowned, WatchState
from lossloop.app.judging import Lens
from lossloop.app.stepping import begun, step
from lossloop.app.watches import by_rows, judge_of, of_outcomes
from lossloop.core.calendar import Block
from lossloop.core.clock import Micros
from lossloop.core.errors import InputError
from lossloop.core.records import Verdict, VerdictKind
from lossloop.judges.base import Judge
from lossloop.ledger.joined.table import Rows
from lossloop.registry import Version


@dataclass
class Watches:
    """Those that lead to a retraining, over one model after the other."""

    names: Sequence[str]
    problems: dict[str, None] = field(default_factory=dict)
    _judges: dict[str, tuple[Judge[Any, Any, Verdict], WatchState]] = field(default_factory=dict)

    def crown(self, lens: Lens, version: Version, *, at: Micros) -> None:
        """Begin anew on a model that takes over."""
        self._judges.clear()
        crowned = Crowned(version=version.number, at=at, seq=0, by_rollout=False)
        for name in self.names:
            try:
                judge = judge_of(lens, lens.policy.watches[name], version)
            except InputError as error:
                self.problems[f"{name}: {error}"] = None
                continue
            self._judges[name] = (judge, begun(judge, crowned))

    def alarms(self, lens: Lens, version: Version, mine: Rows, block: Block, *, now: Micros) -> list[str]:
        """The watches that alarm once a block is judged, at the moment `now`."""
        return [name for name in list(self._judges) if self._alarms(lens, version, mine, block, name, now)]

    def _alarms(self, lens: Lens, version: Version, mine: Rows, block: Block, name: str, now: Micros) -> bool:
        watch, (judge, state) = lens.policy.watches[name], self._judges[name]
        kind = of_outcomes(watch)
        assert kind is not None
        whole = None if by_rows(watch) else block
        try:
            found = kind.evidence(lens, watch, version, mine, whole)
        except InputError as error:
            self.problems[f"{name}: {error}"] = None
            return False
        label = "" if whole is None else lens.policy.calendar.label(block)
        after, point = step(judge, state, found, watch=name, now=now, rows=len(mine), block=label)
        self._judges[name] = (judge, after)
        return point.kind == VerdictKind.ALARM


def retraining_watches(policy: Policy) -> list[str]:
    """The watches of outcomes whose alarm retrains; all of outcomes where no alarm does."""
    judged = [name for name, watch in policy.watches.items() if of_outcomes(watch) is not None]
    leading = [name for name in judged if any(Verb.RETRAIN in entry for entry in policy.on.get(name, ()))]
    return leading or judged


def not_replayed(policy: Policy) -> Iterator[tuple[str, Watch]]:
    """Watches that look at predictions as they arrive, which a replay of retrainings does not ask."""
    yield from ((name, watch) for name, watch in policy.watches.items() if of_outcomes(watch) is None)
