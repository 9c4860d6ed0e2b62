from __future__ import annotations

import pytest

from lossloop.ledger.postgres.database import Database
from tests.ledger.postgres.places import empty_database, new_database
from tests.ledger.postgres.server import Server


@pytest.fixture
def empty(server: Server) -> Database:
    """Where no ledger is yet."""
    return empty_database(server)


@pytest.fixture
def database(server: Server) -> Database:
    """An empty ledger of four partitions."""
    return new_database(server, partitions=4)
