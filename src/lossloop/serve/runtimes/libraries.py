"""Libraries of others, at arm's length: missing ones are named, and what they raise becomes our error."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lossloop.core.errors import InputError, LossloopError, MissingExtra

_MOST_WORDS = 400


def library(module: str, extra: str, *, name: str = "") -> Any:
    """Import an optional module; raise MissingExtra where it is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".", maxsplit=1)[0]:
            raise MissingExtra(error.name or module, extra) from error
        raise MissingExtra(name or module, extra) from None


@contextmanager
def reading(kind: str) -> Iterator[None]:
    """Turn whatever a library raises over bytes into InputError: "not {kind} that can be loaded: ..."."""
    try:
        yield
    except LossloopError:
        raise
    except Exception as error:  # each library raises dozens of classes of its own, all of them "bad model"
        raise InputError(f"not {kind} that can be loaded: {told(error)}", field="artifact") from error


def told(error: BaseException) -> str:
    """An error's first words, without the C++ stack below them; its type where it has none."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:_MOST_WORDS]
