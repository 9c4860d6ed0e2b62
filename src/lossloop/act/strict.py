"""Plain values into records, strictly: every problem knows its path and the alternatives."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache
from typing import Any

import msgspec

from lossloop.core.errors import InputError, alternatives

Path = tuple[str | int, ...]
Reader = Callable[[Any], Any]
"""Reads a type of its own from a plain value; raises ValueError or InputError with the fix."""


Readers = Mapping[Any, Reader]


class Problem(Exception):
    """What is wrong at a path."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(message)
        self.path = path


def build(kind: Any, value: Any, readers: Readers, path: Path = ()) -> Any:
    """Make a `kind` of a value: Struct, enum, dict, tuple, optional, number, text, or a type in `readers`.

    A union of Structs is told apart by the key that is their tag.
    """
    if kind in readers:
        return _read(readers[kind], value, path)
    if typing.get_origin(kind) is not None:
        return _generic(kind, value, readers, path)
    if issubclass(kind, msgspec.Struct):
        return _struct(kind, value, readers, path)
    return _enum(kind, value, path) if issubclass(kind, Enum) else _scalar(kind, value, path)


def _generic(kind: Any, value: Any, readers: Readers, path: Path) -> Any:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is dict:
        return _dict(inner, value, readers, path)
    if origin is tuple:
        return _tuple(inner[0], value, readers, path)
    rest = [option for option in inner if option is not type(None)]
    if len(rest) > 1:
        return _tagged(rest, value, readers, path)
    return None if value is None else build(rest[0], value, readers, path)


def _tagged(options: list[type[msgspec.Struct]], value: Any, readers: Readers, path: Path) -> Any:
    """The record that a mapping's tag names, made of its other keys."""
    found = dict(_expect(value, dict, "a mapping of keys to values", path))
    key = str(options[0].__struct_config__.tag_field)
    if key not in found:
        raise Problem(path, f"the key {key!r} is missing")
    known = {str(option.__struct_config__.tag): option for option in options}
    tag = str(found.pop(key))
    if tag not in known:
        raise Problem((*path, key), f"{tag!r} is not possible; {alternatives(tag, known)}")
    return _struct(known[tag], found, readers, path)


def _read(reader: Reader, value: Any, path: Path) -> Any:
    try:
        return reader(value)
    except (ValueError, InputError) as error:
        raise Problem(path, str(error)) from None


def _dict(inner: tuple[Any, ...], value: Any, readers: Readers, path: Path) -> dict[Any, Any]:
    pairs = _expect(value, dict, "a mapping of names to values", path)
    return {build(inner[0], key, readers, (*path, key)): build(inner[1], item, readers, (*path, key))
            for key, item in pairs.items()}  # fmt: skip


def _tuple(inner: Any, value: Any, readers: Readers, path: Path) -> tuple[Any, ...]:
    items = _expect(value, list, "a list, such as [a, b]", path)
    return tuple(build(inner, item, readers, (*path, index)) for index, item in enumerate(items))


@cache
def hints_of(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The type of each field."""
    return typing.get_type_hints(kind, include_extras=True)


def _struct(kind: type[msgspec.Struct], value: Any, readers: Readers, path: Path) -> Any:
    found = _expect(value, dict, "a mapping of keys to values", path)
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    for key in found:
        if key not in fields:
            raise Problem((*path, key), f"unknown key {key!r}; {alternatives(key, fields)}")
    for name, field in fields.items():
        if field.required and name not in found:
            raise Problem(path, f"the key {name!r} is missing")
    hints = hints_of(kind)
    made = {key: build(hints[key], item, readers, (*path, key)) for key, item in found.items()}
    return kind(**made)


def _enum(kind: type[Enum], value: Any, path: Path) -> Enum:
    known = [str(member.value) for member in kind]
    if str(value) not in known:
        raise Problem(path, f"{value!r} is not possible; {alternatives(str(value), known)}")
    return kind(value)


def _scalar(kind: type, value: Any, path: Path) -> Any:
    if kind is str and isinstance(value, (str, int, float)) and not isinstance(value, bool):
        return str(value)
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return _float(value, path)
    return _expect(value, kind, _WORDS.get(kind, kind.__name__), path)


def _float(value: float, path: Path) -> float:
    try:
        return float(value)
    except OverflowError:
        raise Problem(path, "is larger than any number that can be computed with") from None


def _expect(value: Any, kind: type, words: str, path: Path) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise Problem(path, f"must be {words}, not {value!r}")
    return value


_WORDS = {str: "text", float: "a number", int: "a whole number", bool: "true or false"}
