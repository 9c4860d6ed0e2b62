"""A permit to run a version's own code: whoever loads one has to show that somebody answers for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lossloop.core.errors import Forbidden, UnknownName


@dataclass(frozen=True, kw_only=True, slots=True)
class Permit:
    """Made where trust was checked.

    Args:
        name: What its lines in the log begin with, such as ``churn:3``.
        interpreters: Paths by the names that a manifest may use.
    """

    name: str
    interpreters: Mapping[str, str] = field(default_factory=dict)

    def interpreter(self, name: str, own: str) -> str:
        """The path of an interpreter; raise UnknownName where the settings have none of that name."""
        if not name:
            return own
        if name not in self.interpreters:
            raise UnknownName(
                "interpreter", name, self.interpreters, field="process.python",
                fix="an admin lists them under interpreters in settings.yaml",
            )  # fmt: skip
        return self.interpreters[name]


def required(permit: Permit | None, runtime: str) -> Permit:
    """The permit; raise Forbidden where there is none."""
    if permit is None:
        raise Forbidden(
            f"a version of the runtime {runtime!r} runs code of its own: registering it needs an admin, or a "
            "signature by a trusted key (lossloop sign)"
        )
    return permit
