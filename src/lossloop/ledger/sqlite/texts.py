"""Every document of a state database as it is stored, whatever its kind."""

from __future__ import annotations

from collections.abc import Iterator

from lossloop.ledger.sqlite.state import QUERIES, State


def texts_of(state: State) -> Iterator[tuple[str, str, str]]:
    """Kind, key and JSON of each document; a state that was opened to be written has checked them all."""
    yield from state.connection.execute(QUERIES["every_document"])
