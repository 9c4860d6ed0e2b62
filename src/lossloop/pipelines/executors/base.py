"""The contract of an executor: one pure function over named pieces of work, results in the pieces' order.

- The function and the work can be pickled; functions are found again by their module and name, which has to
  be importable where the work is done.
- Results come in the order of the pieces, whichever is done first: what is merged of them is the same
  everywhere. Arrays among them may be read-only.
- Pieces are drawn as they are needed, never more than `ahead` before their results are taken: history that
  does not fit into memory can be worked through.
- A piece may be done twice, where a machine is lost; so the function has no effect but its result.
- What fails names its piece, and what has not begun by then is not begun.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from lossloop.core.errors import LossloopError

Work = TypeVar("Work")
Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)


class ExecutorError(LossloopError):
    """The work could not be done: no cluster, a closed executor, or a piece that failed."""


class PieceFailed(ExecutorError):
    """The function raised, or its machine was lost; `__cause__` is what was raised.

    Args:
        piece: The name of the piece.
        reason: What went wrong.
    """

    def __init__(self, piece: str, reason: str) -> None:
        super().__init__(f"{piece} failed: {reason}")
        self.piece = piece


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece(Generic[Work]):
    """A part of the work, and its name for people."""

    name: str
    work: Work


class Pending(Protocol[Result_co]):
    """A result that is being made."""

    def result(self) -> Result_co:
        """Wait for it; raise what the function raised."""
        ...

    def cancel(self) -> object:
        """Do not begin; what has begun may end."""
        ...


class Executor(ABC):
    """Does work; a context manager that closes itself."""

    workers: int
    """How many pieces are done at the same time."""
    _closed = False

    @property
    def ahead(self) -> int:
        """How many pieces are drawn at most before their results are taken."""
        return 2 * self.workers

    def map(
        self,
        function: Callable[[Work], Result],
        pieces: Iterable[Piece[Work]],
        *,
        done: Callable[[str], None] | None = None,
    ) -> Iterator[Result]:
        """The function's result for each piece, in the pieces' order.

        Args:
            function: Pure, and defined at the top of a module (or a partial of such a one).
            pieces: Drawn as they are needed.
            done: Told the name of each piece, in order, before its result is given.

        Raises:
            PieceFailed: For the first piece, in order, that failed. Closing the iterator stops as well.
            ExecutorError: The executor is closed.
        """
        if self._closed:
            raise ExecutorError("this executor is closed; open another")
        return self._each(function, iter(pieces), done)

    def _each(
        self,
        function: Callable[[Work], Result],
        pieces: Iterator[Piece[Work]],
        done: Callable[[str], None] | None,
    ) -> Iterator[Result]:
        waiting: deque[tuple[str, Pending[Result]]] = deque()
        try:
            while True:
                for piece in islice(pieces, self.ahead - len(waiting)):
                    waiting.append((piece.name, self._submit(function, piece.work)))
                if not waiting:
                    return
                name, pending = waiting.popleft()
                result = _settled(name, pending)
                del pending  # a cluster holds a result for as long as it is asked for
                if done is not None:
                    done(name)
                yield result
        finally:
            for _, left in waiting:
                left.cancel()

    @abstractmethod
    def _submit(self, function: Callable[[Work], Result], work: Work) -> Pending[Result]:
        """Begin, or queue, a piece of work; at once."""

    @abstractmethod
    def _close(self) -> None:
        """Give back what is held."""

    def close(self) -> None:
        """Wait for what has begun, and give back what is held; closing twice is harmless."""
        if not self._closed:
            self._closed = True
            self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _settled(name: str, pending: Pending[Result]) -> Result:
    try:
        return pending.result()
    except Exception as error:
        reason = str(error) if isinstance(error, LossloopError) else f"{type(error).__name__}: {error}"
        raise PieceFailed(name, reason) from error
