from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.app.server import Server, serving


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One real server for all tests; each makes models of its own."""
    with serving(tmp_path_factory.mktemp("server") / "state", notify={"oncall": "log"}) as found:
        yield found


@pytest.fixture(scope="module")
def model(server: Server) -> str:
    """A model with a champion, for tests that do not change it."""
    return server.model(versions=2)
