"""The tail separates code that stays readable: no huge module, function or class."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.house.repository import ROOT, SOURCE, name_of, python_files

MODULE_LINES = 600
FUNCTION_LINES = 60
CLASS_METHODS = 20
SHORT_FUNCTION_LINES = 20
SHORT_SHARE = 0.85


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Name and length in lines, docstring included, of every function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{name_of(path)}:{node.name}", (node.end_lineno or node.lineno) - node.lineno + 1


def methods(path: Path) -> Iterator[tuple[str, int]]:
    """Name and number of methods of every class."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef):
            held = [item for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)]
            yield f"{name_of(path)}:{node.name}", len(held)


def lines(path: Path) -> int:
    return sum(1 for line in path.read_text().splitlines() if line.strip())


def test_modules_are_short() -> None:
    long = {name_of(path): lines(path) for path in python_files(ROOT) if lines(path) > MODULE_LINES}
    assert not long


def test_functions_are_short() -> None:
    measured = [item for path in python_files(ROOT) for item in functions(path)]
    assert not {name: length for name, length in measured if length > FUNCTION_LINES}


def test_most_functions_are_very_short() -> None:
    lengths = [length for path in python_files(SOURCE) for _, length in functions(path)]
    short = sum(length <= SHORT_FUNCTION_LINES for length in lengths)
    assert short >= SHORT_SHARE * len(lengths), f"{short} of {len(lengths)}"


def test_classes_are_small() -> None:
    measured = [item for path in python_files(ROOT) for item in methods(path)]
    assert not {name: count for name, count in measured if count > CLASS_METHODS}


def test_there_is_a_line_of_test_for_each_line_of_code() -> None:
    code, test = (sum(map(lines, python_files(folder))) for folder in (SOURCE, ROOT / "tests"))
    assert test >= code, f"{test} lines of tests for {code} of code"
