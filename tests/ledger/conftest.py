from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.ledger.postgres.server import Server, running


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """One PostgreSQL server for all tests; each has a schema of its own."""
    with running() as server:
        yield server
