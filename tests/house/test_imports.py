"""Importing is light, and an import inside a function is an optional library at the edge."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.repository import SOURCE, name_of, project, python_files

# The modules of the distributions that are called otherwise.
MODULES = {"scikit-learn": "sklearn"}
# What the core does depend on, but only a server, a page or a terminal loads.
HEAVY = {"cyclopts", "granian", "jinja2", "rich", "starlette", "urllib3", "yaml"}
FOLDERS = sorted(path.parent.name for path in SOURCE.glob("*/__init__.py"))
AT_THE_EDGE = {"app", "integrations"}


def optional_modules() -> set[str]:
    """The top-level modules of every extra."""
    extras = project()["project"]["optional-dependencies"]
    names = {re.split(r"[\s\[<>=;]", line)[0] for lines in extras.values() for line in lines}
    # pandas comes with what the demo needs; scipy with scikit-learn.
    return {MODULES.get(name, name) for name in names} | {"pandas", "scipy"}


def loaded_by(module: str) -> set[str]:
    """The top-level modules in memory once a fresh interpreter has imported `module`."""
    program = f"import sys, {module}; print(*sorted(name.split('.')[0] for name in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def inner_imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and top-level module of every import inside a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for inner in ast.walk(node):
                if isinstance(inner, ast.Import):
                    yield from ((inner.lineno, alias.name.split(".")[0]) for alias in inner.names)
                elif isinstance(inner, ast.ImportFrom):
                    yield inner.lineno, (inner.module or ".").split(".")[0]


def test_importing_lossloop_loads_no_optional_library_and_no_server() -> None:
    assert not loaded_by("lossloop") & (optional_modules() | HEAVY)


def test_a_command_starts_without_pandas() -> None:
    """PyArrow imports it for its first array: a third of a second, for commands that have no use for it."""
    assert "pandas" not in loaded_by("lossloop.app.cli.program")


@pytest.mark.parametrize("folder", [name for name in FOLDERS if name not in AT_THE_EDGE])
def test_no_folder_of_the_core_loads_an_optional_library(folder: str) -> None:
    assert not loaded_by(f"lossloop.{folder}") & optional_modules()


def test_only_optional_libraries_are_imported_inside_functions() -> None:
    found = [
        f"{name_of(path)}:{line}: {module}"
        for path in python_files(SOURCE)
        for line, module in inner_imports(path)
        if module not in optional_modules()
    ]
    assert not found, "\n".join(found)
