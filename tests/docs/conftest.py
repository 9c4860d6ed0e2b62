"""Somebody who follows pages, in a directory of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import Reader


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    found = Reader(place=tmp_path)
    yield found
    found.close()
