"""Losses as a policy file writes them: ``0.7*log_loss(cap=5) + 0.3*brier``. Read as data, never run."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from typing import Any

from lossloop.core.errors import InputError
from lossloop.losses.base import Loss
from lossloop.losses.catalogue import get, names

LONGEST = 1000
"""Characters that an expression may have."""

_PINNED = re.compile(r"(?P<text>.*\S)\s*@\s*(?P<digest>[0-9a-f]{6,64})\s*", re.DOTALL)
_NOTHING = object()
_EXAMPLE = "write a loss such as log_loss(cap=5), or 0.7*log_loss(cap=5) + 0.3*brier"


def parse(text: str) -> Loss:
    """Read a loss: ``log_loss``, ``log_loss(cap=5)``, sums, weights, ``.clip(5)``, ``.where(carrier="UA")``.

    A digest may follow, ``log_loss(cap=5)@3f2a9c``: it is then refused if the loss has another version.
    Raises InputError that says what was meant to stand there.
    """
    if len(text) > LONGEST:
        raise InputError(f"a loss has at most {LONGEST} characters; this one has {len(text)}", field="loss")
    pinned = _PINNED.fullmatch(text)
    try:
        loss = _read(_syntax(pinned["text"] if pinned else text))
    except RecursionError:
        raise InputError(f"a loss nested so deeply is not a loss; {_EXAMPLE}", field="loss") from None
    if pinned and not loss.digest.startswith(pinned["digest"]):
        raise InputError(f"{text.strip()} is wanted, but this is {loss.version}", field="loss")
    return loss


def _syntax(text: str) -> ast.expr:
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError):
        raise InputError(f"{text.strip()!r} is not a loss; {_EXAMPLE}", field="loss") from None


def _read(node: ast.expr) -> Loss:
    match node:
        case ast.Name(id=name):
            return get(name)
        case ast.Call(func=ast.Name(id=name)):
            return get(name, **_keywords(node, name))
        case ast.Call(func=ast.Attribute(value=inner, attr=method)):
            return _apply(_read(inner), method, node)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _read(left) + _read(right)
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return _weighted(left, right)
    raise InputError(
        f"{ast.unparse(node)!r} is not a loss; {_EXAMPLE}; there are: {', '.join(names())}", field="loss"
    )


def _weighted(left: ast.expr, right: ast.expr) -> Loss:
    """A number times a loss, in either order."""
    number, inner = (left, right) if _is_number(left) else (right, left)
    if not _is_number(number):
        raise InputError(f"a weight must be a number, not {ast.unparse(number)!r}", field="loss")
    return _read(inner) * float(_literal(number))


def _is_number(node: ast.expr) -> bool:
    inner = node.operand if isinstance(node, ast.UnaryOp) else node
    return isinstance(inner, ast.Constant) and type(inner.value) in (int, float)


def _apply(loss: Loss, method: str, call: ast.Call) -> Loss:
    methods: dict[str, Callable[[], Loss]] = {
        "clip": lambda: loss.clip(*_numbers(call), **_keywords(call, "clip")),
        "where": lambda: loss.where(**_keywords(_without_positions(call), "where")),
    }
    if method not in methods:
        raise InputError(
            f"a loss has no .{method}(); there are: .clip(5) and .where(carrier='UA')", field="loss"
        )
    return methods[method]()


def _numbers(call: ast.Call) -> list[Any]:
    if len(call.args) != 1 or not _is_number(call.args[0]):
        raise InputError(f"clip takes one number, such as .clip(5), not {ast.unparse(call)!r}", field="loss")
    wrong = [keyword for keyword in call.keywords if keyword.arg != "low" or not _is_number(keyword.value)]
    if wrong:
        raise InputError("clip takes one number and low=number, nothing else", field="loss")
    return [_literal(call.args[0])]


def _without_positions(call: ast.Call) -> ast.Call:
    if call.args:
        raise InputError("where takes features by name, such as .where(carrier='UA')", field="loss")
    return call


def _keywords(call: ast.Call, name: str) -> dict[str, Any]:
    if call.args and name != "clip":
        raise InputError(f"parameters of {name} are given by name: {name}(parameter=value)", field="loss")
    given: dict[str, Any] = {}
    for keyword in call.keywords:
        if keyword.arg is None:
            raise InputError(f"parameters of {name} are given by name, without **", field="loss")
        given[keyword.arg] = _literal(keyword.value)
    return given


def _literal(node: ast.expr) -> Any:
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError):
        value = _NOTHING
    if not _is_plain(value):
        raise InputError(
            f"{ast.unparse(node)!r} is not a number, a word in quotes or a list of them", field="loss"
        )
    return value


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)
