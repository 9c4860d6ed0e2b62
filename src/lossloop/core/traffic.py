"""Who answers: the split of a model's traffic, as the loop decides it and the servers follow it."""

from __future__ import annotations

from lossloop.core.records import Record
from lossloop.core.serving import Serving
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
    previous: int | None = None
    """The champion before, which answers where nobody else does; None where it need not be held ready."""
    serving: Serving = Serving()

    @property
    def versions(self) -> tuple[int, ...]:
        """The versions that are held ready to answer."""
        held = (self.champion, self.challenger, self.previous)
        return tuple(dict.fromkeys(number for number in held if number is not None))
