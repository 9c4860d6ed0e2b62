"""Public names are explicit and documented (ruff sorts them), and the top level has fewer than forty."""

from __future__ import annotations

import importlib
import inspect

import pytest

import lossloop
from tests.house.repository import SOURCE

FOLDERS = sorted(f"lossloop.{path.parent.name}" for path in SOURCE.glob("*/__init__.py"))
MOST_NAMES = 40


def public(module: str) -> list[str]:
    """The names that a module offers; none if it lists none."""
    return list(getattr(importlib.import_module(module), "__all__", ()))


@pytest.mark.parametrize("module", ["lossloop", *FOLDERS])
def test_public_names_are_there_and_named_once(module: str) -> None:
    names = public(module)
    assert len(names) == len(set(names))
    assert all(hasattr(importlib.import_module(module), name) for name in names)


@pytest.mark.parametrize("module", ["lossloop", *FOLDERS])
def test_public_names_are_documented(module: str) -> None:
    loaded = importlib.import_module(module)
    named = {name: getattr(loaded, name) for name in public(module)}
    described = {
        name: thing for name, thing in named.items() if inspect.isclass(thing) or inspect.isroutine(thing)
    }
    assert not [name for name, thing in described.items() if not inspect.getdoc(thing)]


def test_the_top_level_has_fewer_than_forty_names() -> None:
    assert len(lossloop.__all__) < MOST_NAMES
