"""A server that takes rows, and a client that sends it some."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lossloop.client import Client
from tests.client.taking import Taking, client_of, taking


@pytest.fixture
def server() -> Iterator[Taking]:
    with taking() as made:
        yield made


@pytest.fixture
def client(server: Taking, tmp_path: Path) -> Iterator[Client]:
    with client_of(server.url, tmp_path / "spool") as made:
        yield made
