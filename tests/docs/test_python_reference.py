"""The page of public names lists them all, and its code runs."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import lossloop as ll
from tests.docs.pages import Reader, blocks
from tests.house.repository import ROOT

PAGE = ROOT / "docs" / "reference" / "python.md"


def first_column() -> set[str]:
    return set(re.findall(r"^\| `(\w+)` \|", PAGE.read_text(), re.MULTILINE))


def test_every_public_name_is_on_the_page_and_no_other() -> None:
    assert first_column() == set(ll.__all__)


def test_every_method_of_the_client_is_on_the_page_as_it_is() -> None:
    shown = dict(re.findall(r"^\| `(\w+)\((.*?)\)` \|", PAGE.read_text(), re.MULTILINE))
    real = {
        name: method
        for name, method in inspect.getmembers(ll.Client, inspect.isfunction)
        if not name.startswith("_") and name != "close"
    }
    assert set(shown) == set(real)
    for name, method in real.items():
        parameters = [
            parameter.replace(annotation=inspect.Parameter.empty)
            for parameter in inspect.signature(method).parameters.values()
        ]
        plain = str(inspect.Signature(parameters[1:])).replace("'", '"')
        assert plain == f"({shown[name]})"


@pytest.mark.slow
def test_the_code_on_the_page_runs(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    reader.follow(ROOT / "tests" / "docs" / "churn.md")
    monkeypatch.chdir(reader.place)
    code = "\n".join(block.text for block in blocks(PAGE) if block.language == "python")
    path = Path("page.py")
    path.write_text(reader.here(code))
    exec(compile(path.read_text(), str(path), "exec"), {"__name__": "page"})
