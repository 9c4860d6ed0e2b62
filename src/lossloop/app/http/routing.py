"""Which endpoint a path is for: looked up segment by segment, however many endpoints there are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")
_NAME = "{}"
"""The branch of a segment that is a name of the caller's, such as a model's."""


class Routes(Generic[T]):
    """Endpoints by method and path.

    Args:
        table: Methods, paths such as ``/v1/models/{model}/predict``, and what each leads to. One with a name
            that may hold slashes is left to whoever finds what is not found here.
    """

    def __init__(self, table: Iterable[tuple[str, str, T]]) -> None:
        self._roots: dict[str, _Node[T]] = {}
        for method, path, target in table:
            if ":path}" not in path:
                self._add(self._roots.setdefault(method, _Node()), path, target)

    def find(self, method: str, path: str) -> tuple[T, dict[str, str]] | None:
        """What a path leads to, and the names in it; None where nothing is."""
        node = self._roots.get(method)
        if node is None or not path.startswith("/"):
            return None
        values: list[str] = []
        for segment in path[1:].split("/"):
            deeper = node.deeper.get(segment)
            if deeper is None:
                deeper = node.deeper.get(_NAME)
                if deeper is None or not segment:
                    return None
                values.append(segment)
            node = deeper
        if node.target is None:
            return None
        return node.target, dict(zip(node.names, values, strict=True))

    def _add(self, node: _Node[T], path: str, target: T) -> None:
        names = []
        for segment in path[1:].split("/"):
            named = segment.startswith("{")
            if named:
                names.append(segment.strip("{}"))
            node = node.deeper.setdefault(_NAME if named else segment, _Node())
        node.target, node.names = target, tuple(names)


class _Node(Generic[T]):
    """A place in the tree of segments."""

    def __init__(self) -> None:
        self.deeper: dict[str, _Node[T]] = {}
        self.target: T | None = None
        self.names: tuple[str, ...] = ()
