"""Who answers: the split of a model's traffic, as the loop decides it and the servers follow it."""

from __future__ import annotations

from lossloop.core.records import Record, Role
from lossloop.core.serving import Serving
from lossloop.core.tasks import Task


class Arm(Record, frozen=True):
    """A version beside the champion, and its share of the units that are drawn."""

    version: int
    share: float = 0.0
    closed: bool = False
    """It was given up: the champion answers its units, and who they were stays as it was drawn."""


class Traffic(Record, frozen=True):
    """A model, its champion, and the parts of other versions, if any.

    Units go to the arms by a salted hash: the first arm has the part of the line below its share, the next
    one the part above, and so on; the champion has the rest. With `shadow` the arm answers every request too,
    but nobody is given its answers.
    """

    model: str
    task: Task
    champion: int | None = None
    arms: tuple[Arm, ...] = ()
    """One in a rollout, several in an experiment."""
    shadow: bool = False
    salt: str = ""
    only: dict[str, tuple[str, ...]] = {}
    """Rows that are drawn have one of these values in each of these features; the champion has all others."""
    previous: int | None = None
    """The champion before, which answers where nobody else does; None where it need not be held ready."""
    serving: Serving = Serving()
    holdout_salt: str = ""
    """Who is held out in the present period; nobody is where it is empty."""

    @property
    def held_out(self) -> float:
        """The share of units that are held out."""
        holdout = self.serving.holdout
        return holdout.share if holdout is not None and self.holdout_salt else 0.0

    @property
    def answering(self) -> tuple[tuple[int, Role], ...]:
        """The versions that answer, each in its role."""
        holdout = self.serving.holdout if self.holdout_salt else None
        champion = [] if self.champion is None else [(self.champion, Role.CHAMPION)]
        arms = [(arm.version, Role.CHALLENGER) for arm in self.arms if not arm.closed]
        return (*champion, *arms, *([] if holdout is None else [(holdout.version, Role.HOLDOUT)]))

    @property
    def challenger(self) -> int | None:
        """The version of the first arm, which is the only one in a rollout."""
        return self.arms[0].version if self.arms else None

    @property
    def share(self) -> float:
        """The share of the first arm."""
        return self.arms[0].share if self.arms else 0.0

    @property
    def versions(self) -> tuple[int, ...]:
        """The versions that are held ready to answer, each once."""
        held = [number for number, _ in self.answering]
        return tuple(dict.fromkeys([*held, *([] if self.previous is None else [self.previous])]))
