"""A short torture, as a part of `make test`; the long one is `make torture`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.app.processes import on_linux
from tests.torture.rounds import Story, torture

SEED = 20240101


def tortured(path: Path, *, rounds: int, on_database: bool = False) -> Story:
    """What happened, where nothing was lost, counted twice or counted wrong."""
    story = torture(path, rounds=rounds, seed=SEED, on_database=on_database)
    assert story.violations == []
    assert story.rounds == rounds
    assert sum(story.kills.values()) == rounds
    assert 0 < story.rows <= story.rows_acknowledged <= story.rows_in_the_log
    assert story.rows_in_the_log - story.rows_acknowledged == story.rows_unsaid
    for counts in story.figures.values():
        assert counts["predictions"] > 0
        assert counts["outcomes"] > 0
    return story


@pytest.mark.slow
@on_linux
def test_whoever_is_killed_nothing_is_lost_or_counted_twice(tmp_path: Path) -> None:
    tortured(tmp_path, rounds=6)


@pytest.mark.slow
@on_linux
def test_two_machines_and_their_database_are_killed_and_nothing_is_lost_or_counted_twice(
    tmp_path: Path,
) -> None:
    tortured(tmp_path, rounds=3, on_database=True)
