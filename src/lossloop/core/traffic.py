"""Who answers: the split of a model's traffic, as the loop decides it and the servers follow it."""

from __future__ import annotations

from lossloop.core.records import Record
from lossloop.core.tasks import Task


class Traffic(Record, frozen=True):
    """A model, its champion, and the challenger's part, if any.

    `share` of the units go to the challenger, chosen by the salted hash of the unit; with `shadow` the
    challenger answers every request too, but nobody is given its answers.
    """

    model: str
    task: Task
    champion: int | None = None
    challenger: int | None = None
    share: float = 0.0
    shadow: bool = False
    salt: str = ""

    @property
    def versions(self) -> tuple[int, ...]:
        """The versions that answer."""
        return tuple(number for number in (self.champion, self.challenger) if number is not None)
