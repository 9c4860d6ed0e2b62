from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.serving_clients.place import Place, place


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One server for all clients."""
    with place(tmp_path_factory.mktemp("clients") / "state") as found:
        yield found
