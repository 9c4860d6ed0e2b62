"""`ll.record`: record what a function of yours predicts, without changing what it does.

A failure to record is logged and counted (`backlog().lost`); the prediction never hears of it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from time import perf_counter
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, cast

import msgspec

from lossloop.client.asynchronous import AsyncClient, hand_over
from lossloop.client.client import Client
from lossloop.client.exchange import since
from lossloop.client.rows import LONGEST_NAME, Kind, to_json
from lossloop.core.errors import InputError
from lossloop.core.ids import new_id

P = ParamSpec("P")
T = TypeVar("T")
Version = int | Callable[[], int]
_last: ContextVar[tuple[str, ...]] = ContextVar("lossloop_last", default=())


def last_id() -> str | None:
    """The id of what this thread or task recorded last; None where the last prediction was not recorded."""
    return _last.get()[-1] if _last.get() else None


def last_ids() -> tuple[str, ...]:
    """The ids of the rows that this thread or task recorded last; none where they were not recorded."""
    return _last.get()


@dataclass(kw_only=True)
class Draft:
    """A prediction while it is made: what a ``with ll.record(...)`` block gives, to be filled in."""

    version: int
    id: str = field(default_factory=new_id)
    y_pred: Any = None
    unit: str | None = None
    features: Any = None
    role: str | None = None
    propensity: float | None = None
    time: datetime = field(default_factory=lambda: datetime.now(UTC))
    latency_ms: float | None = None
    """Measured unless it is set."""
    error: str | None = None
    """Why there is no `y_pred`."""

    def row(self) -> dict[str, Any]:
        """What is handed over of it."""
        row = {key: value for key, value in vars(self).items() if value is not None}
        return row if self.error is None else {**row, "error": _reason(self.error), "y_pred": None}


def _reason(said: Any) -> str:
    """A reason as it can be sent, whatever a service says: what is no text goes by its type's name."""
    text = said if isinstance(said, str) else type(said).__name__
    return text[:LONGEST_NAME].encode(errors="replace").decode() or "error"


@dataclass(frozen=True, kw_only=True)
class Extract:
    """How rows are made of a call: each function is given the call's arguments, or a row of its batch."""

    id: Callable[..., str] | None
    unit: Callable[..., str | None] | None
    features: Callable[..., Any] | Sequence[str] | bool
    y_pred: Callable[[Any], Any] | None
    error: Callable[[Exception], str | None]

    def drafts(self, version: int, calls: Sequence[_Call]) -> list[Draft]:
        """A draft for each call, or row, before it is answered."""
        return [self._draft(version, call) for call in calls]

    def _draft(self, version: int, call: _Call) -> Draft:
        draft = Draft(version=version, id=self.id(*call.args, **call.named) if self.id else new_id())
        draft.unit = self.unit(*call.args, **call.named) if self.unit else None
        if callable(self.features):
            draft.features = self.features(*call.args, **call.named)
        elif self.features is not False:
            draft.features = call.value
            if self.features is not True:
                draft.features = _chosen(call.value, self.features)
        if draft.features is not None:  # as JSON now: the function may change what it was given
            raw = to_json(draft.features)
            draft.features = msgspec.Raw(raw if raw[:1] == b"{" else to_json({call.name: draft.features}))
        return draft

    def fill(self, drafts: Sequence[Draft], answers: Sequence[Any], took: float) -> list[dict[str, Any]]:
        """The rows to hand over, once the function has answered, which took so many ms."""
        if len(drafts) != len(answers):
            raise InputError(
                f"{len(drafts)} rows were given to a batch function and {len(answers)} came back"
            )
        for draft, answer in zip(drafts, answers, strict=True):
            draft.y_pred = self.y_pred(answer) if self.y_pred else answer
            draft.latency_ms = took
        return [draft.row() for draft in drafts]

    def failed(self, drafts: Sequence[Draft], error: Exception, took: float) -> list[dict[str, Any]]:
        """The rows to hand over where the function has raised; none where that is no failure.

        Their ids are new: what is tried again may be answered under the ids of the first try.
        """
        why = self.error(error)
        if not why:
            return []
        return [replace(draft, id=new_id(), error=why, latency_ms=took).row() for draft in drafts]


def named(error: Exception) -> str:
    """The kind of an exception. What it says may name people, and is another one each time."""
    return type(error).__name__


@dataclass(frozen=True, kw_only=True)
class _Call:
    """One call, or one row of a batch: what the functions of an Extract are given, and what it is about."""

    args: tuple[Any, ...]
    named: Mapping[str, Any]
    value: Any
    name: str


@dataclass(frozen=True, kw_only=True)
class _Shape:
    """How a function is called."""

    names: tuple[str, ...]
    bound: bool
    """Whether its first argument is the object that it belongs to."""
    batch: bool

    @classmethod
    def of(cls, function: Callable[..., Any], *, batch: bool) -> _Shape:
        try:
            parameters = inspect.signature(function).parameters.values()
        except ValueError:  # some functions written in C do not tell
            return cls(names=("input",), bound=False, batch=batch)
        by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        names = tuple(each.name for each in parameters if each.kind in by_place)
        return cls(names=names, bound=names[:1] in (("self",), ("cls",)), batch=batch)

    def calls(self, args: tuple[Any, ...], named: Mapping[str, Any]) -> list[_Call]:
        """The call, or a call for each row of its first argument."""
        given = {**dict(zip(self.names, args, strict=False)), **named}
        if self.bound:
            given.pop(self.names[0], None)
        name, first = next(iter(given.items()), ("input", None))
        if self.batch:
            return [_Call(args=(row,), named={}, value=row, name=name) for row in listed(first)]
        value = first if len(given) == 1 else given
        return [_Call(args=args, named=named, value=value, name=name)]


def listed(value: Any) -> list[Any]:
    """The rows of a batch: of a list, an array, or a data frame of pandas or Polars (as dicts)."""
    if hasattr(value, "to_dicts"):
        return list(value.to_dicts())
    if hasattr(value, "to_dict") and hasattr(value, "columns"):
        return list(value.to_dict("records"))
    return list(value.tolist() if hasattr(value, "tolist") else value)


def _chosen(value: Any, names: Sequence[str]) -> dict[str, Any]:
    """The named features of a mapping or an object; or of a row of values, in the order of the names."""
    if isinstance(value, Mapping):
        return {name: value[name] for name in names if name in value}
    if all(hasattr(value, name) for name in names):
        return {name: getattr(value, name) for name in names}
    return dict(zip(names, listed(value), strict=True))


def _is_async(function: Callable[..., Any]) -> bool:
    """Whether what a function, or an object that can be called, returns is to be awaited."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


class Recorder:
    """What `ll.record` makes: a decorator, and a context manager."""

    def __init__(
        self, client: Client | AsyncClient, model: str, version: Version, extract: Extract, batch: bool
    ) -> None:
        client.sender.backlog()  # without a spool, say so when the service starts
        self._sender = client.sender
        self._model = model
        self._version = version
        self._extract = extract
        self._batch = batch

    def __call__(self, function: Callable[P, T]) -> Callable[P, T]:
        """A function that does the same, and is recorded."""
        shape = _Shape.of(function, batch=self._batch)
        if _is_async(function):
            return cast(Callable[P, T], self._awaited(function, shape))

        @functools.wraps(function)
        def recorded(*args: P.args, **kwargs: P.kwargs) -> T:
            drafts, began = self._asked(shape, args, kwargs), perf_counter()
            try:
                result = function(*args, **kwargs)
            except Exception as error:
                if failures := self._failures(drafts, error, since(began)):
                    self._hand_over(failures, failed=True)
                raise
            if (rows := self._rows(drafts, result, since(began))) is not None:
                self._hand_over(rows)
            return result

        return recorded

    def _awaited(self, function: Any, shape: _Shape) -> Any:
        @functools.wraps(function)
        async def recorded(*args: Any, **kwargs: Any) -> Any:
            drafts, began = self._asked(shape, args, kwargs), perf_counter()
            try:
                result = await function(*args, **kwargs)
            except Exception as error:
                if failures := self._failures(drafts, error, since(began)):
                    await self._hand_over_soon(failures, failed=True)
                raise
            if (rows := self._rows(drafts, result, since(began))) is not None:
                await self._hand_over_soon(rows)
            return result

        return recorded

    async def _hand_over_soon(self, rows: list[dict[str, Any]], *, failed: bool = False) -> None:
        try:
            ids = await hand_over(self._sender, Kind.PREDICTION, self._model, rows)
            self._recorded([] if failed else ids)
        except Exception as error:  # noqa: BLE001 - the prediction was made, and is answered
            self._lose(len(rows), error)

    def __enter__(self) -> Draft:
        _last.set(())
        version, failed = 0, None
        try:
            version = self._version() if callable(self._version) else self._version
        except Exception as error:  # noqa: BLE001 - a function of the service's; the block goes on
            failed = error
        draft = Draft(version=version)
        _open.set((*_open.get(), (draft, failed, perf_counter())))
        return draft

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        *before, (draft, failed, began) = _open.get()
        _open.set(tuple(before))
        took = since(began) if draft.latency_ms is None else draft.latency_ms
        if isinstance(error, Exception):
            rows = self._failures(failed or [draft], error, took)
            if rows:
                self._hand_over(rows, failed=True)
        if error is not None:
            return
        if failed is None and draft.y_pred is None and draft.error is None:
            failed = InputError("there is no prediction: set y_pred in the block, or error")
        draft.latency_ms = took
        if failed is not None:
            self._lose(1, failed)
        else:
            self._hand_over([draft.row()], failed=draft.error is not None)

    def _asked(self, shape: _Shape, args: Any, kwargs: Any) -> list[Draft] | Exception:
        """A draft of each row; or what went wrong, which is told only if there is a prediction to record."""
        _last.set(())
        try:
            version = self._version() if callable(self._version) else self._version
            return self._extract.drafts(version, shape.calls(args, kwargs))
        except Exception as error:  # noqa: BLE001 - functions of the service's; the prediction goes on
            return error

    def _failures(
        self, drafts: list[Draft] | Exception, error: Exception, took: float
    ) -> list[dict[str, Any]]:
        """Rows of a call that raised; none where what it was about could not be told."""
        try:
            return [] if isinstance(drafts, Exception) else self._extract.failed(drafts, error, took)
        except Exception as other:  # noqa: BLE001 - the service's function, and its own error goes on
            self._lose(1, other)
            return []

    def _rows(self, drafts: list[Draft] | Exception, result: Any, took: float) -> list[dict[str, Any]] | None:
        if isinstance(drafts, Exception):
            self._lose(1, drafts)
            return None
        try:
            return self._extract.fill(drafts, listed(result) if self._batch else [result], took)
        except Exception as error:  # noqa: BLE001 - as above
            self._lose(len(drafts), error)
            return None

    def _hand_over(self, rows: list[dict[str, Any]], *, failed: bool = False) -> None:
        try:
            ids = self._sender.hand_over(Kind.PREDICTION, self._model, rows)
            self._recorded([] if failed else ids)
        except Exception as error:  # noqa: BLE001 - the prediction was made, and is answered
            self._lose(len(rows), error)

    def _recorded(self, ids: list[str]) -> None:
        _last.set(tuple(ids))

    def _lose(self, rows: int, error: Exception) -> None:
        self._sender.lose(rows, f"{type(error).__name__}: {error}")


_open: ContextVar[tuple[tuple[Draft, Exception | None, float], ...]] = ContextVar("lossloop_open", default=())
"""The drafts of the blocks that this thread or task is in, what went wrong with them, and when they began."""


def record(
    client: Client | AsyncClient,
    model: str,
    *,
    version: Version,
    id: Callable[..., str] | None = None,
    unit: Callable[..., str | None] | None = None,
    features: Callable[..., Any] | Sequence[str] | bool = True,
    y_pred: Callable[[Any], Any] | None = None,
    error: Callable[[Exception], str | None] = named,
    batch: bool = False,
) -> Recorder:
    """Record what a function predicts: ``@ll.record(client, "fraud", version=3)``.

    Works on plain and async functions and methods. What the function returns or raises is passed on
    unchanged. What an answer took is recorded with it; a call that raises is recorded as a failure, under an
    id of its own. The id of what was answered is `ll.last_id()`.

    As a context manager, ``with ll.record(client, "fraud", version=3) as made:``, it gives a draft whose
    attributes are set inside: `y_pred` (or `error`), `id`, `unit`, `features`, `role`, `propensity`.

    Args:
        client: Made with a spool.
        model: The model's name.
        version: The number of the version that answers, or a function that tells it.
        id: Makes the id of the arguments; one is made where it is left out.
        unit: Tells of the arguments whom the prediction is about.
        features: Makes the features of the arguments; or the names of those to record; False records none. By
            default the only argument if it is a mapping (or becomes one in JSON), else all arguments by name.
        y_pred: Makes the prediction of what the function returns; by default that itself.
        error: Makes the reason of an exception, or None where that is no failure; by default its type's name.
            What it says is not recorded: it may name people, and reasons are counted by what they are.
        batch: The function takes many rows at once and returns as many predictions: each is recorded, and
            took as long as all; the functions above are called with one row. Rows may be a list, an array or
            a data frame.
    """
    extract = Extract(id=id, unit=unit, features=features, y_pred=y_pred, error=error)
    return Recorder(client, model, version, extract, batch)
