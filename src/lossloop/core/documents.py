"""The contract of small state: values by kind and key, in order of the keys."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Documents(Protocol):
    """What registry, serve and act need of a state, whichever engine holds it."""

    def transaction(self) -> AbstractContextManager[None]:
        """All of what happens inside, or nothing; may stand inside another one."""
        ...

    def get(self, kind: str, key: str, type: type[T]) -> T | None:
        """The value, None where there is none."""
        ...

    def put(self, kind: str, key: str, value: Any) -> None:
        """Set a value; the transaction that surrounds it makes it durable."""
        ...

    def drop(self, kind: str, key: str) -> None:
        """Forget a value; none there is fine."""
        ...

    def all(self, kind: str, type: type[T], *, prefix: str = "") -> dict[str, T]:
        """Values of a kind whose keys begin with `prefix`, in the order of their keys."""
        ...
