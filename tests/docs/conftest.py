"""Somebody who follows pages, in a directory of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lossloop.app.home import Home
from tests.docs.flown import fly
from tests.docs.pages import Reader
from tests.docs.warm import warmed


@pytest.fixture(scope="session")
def commands() -> Iterator[Path]:
    """The folder of a `lossloop` that starts at once."""
    with warmed() as folder:
        yield folder


@pytest.fixture
def reader(tmp_path: Path, commands: Path) -> Iterator[Reader]:
    found = Reader(place=tmp_path, commands=commands)
    yield found
    found.close()


@pytest.fixture(scope="session")
def flown(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Five months of the demo; to be read only."""
    return fly(tmp_path_factory.mktemp("flights") / "lossloop-demo")
