"""Reigns: kept as they begin, and told from the moves of an alias where an older release kept none."""

from __future__ import annotations

from pathlib import Path

import pytest

from lossloop.app.books import Crowned
from lossloop.app.commands import Promote, RollBack
from lossloop.app.reigns import NEVER, Reign, reigns, rollout_times
from lossloop.core.clock import HOUR
from lossloop.ledger.joined.table import Table
from tests.app.desk import DAY, MODEL, ROLLOUT, WATCH, Desk, moment


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Version 1 for two days, version 2 for two, then version 1 again."""
    found = Desk.ready(tmp_path / "s", versions=2, watches={"worse": WATCH})
    for day in range(2):
        found.day(day, 0.1)
    found.obey(Promote(model=MODEL, version=2))
    for day in range(2, 4):
        found.day(day, 0.1, version=2)
    found.obey(RollBack(model=MODEL))
    found.day(4, 0.1)
    return found


def told(desk: Desk) -> list[Reign]:
    with desk.books() as books:
        state = desk.home.state()
        try:
            return reigns(books, MODEL, Table(state, MODEL))
        finally:
            state.close()


def forget(desk: Desk) -> None:
    """As an older release left it: without the reigns."""
    state = desk.home.writable_state()
    with state.transaction():
        for key in state.all("reign", Crowned):
            state.drop("reign", key)
    state.close()


def test_each_reign_ends_where_the_next_one_begins(desk: Desk) -> None:
    found = told(desk)
    assert [reign.crowned.version for reign in found] == [1, 2, 1]
    assert [reign.end for reign in found[:-1]] == [reign.crowned.at for reign in found[1:]]
    assert found[-1].end == NEVER


def test_a_reign_begins_behind_the_rows_that_had_come(desk: Desk) -> None:
    assert [reign.crowned.seq for reign in told(desk)] == [0, 8, 16]


def test_the_last_one_is_the_present_champion(desk: Desk) -> None:
    with desk.books() as books:
        assert told(desk)[-1].crowned == books.crowned(MODEL)


def test_what_an_older_release_did_not_keep_is_told_from_the_aliases(desk: Desk) -> None:
    before = told(desk)
    forget(desk)
    after = told(desk)
    assert [(each.crowned.version, each.crowned.at, each.end) for each in after] == [
        (each.crowned.version, each.crowned.at, each.end) for each in before
    ]
    assert [each.crowned.seq for each in after] == [each.crowned.seq for each in before]


def test_reigns_that_come_later_are_kept_behind_those_that_were_not(desk: Desk) -> None:
    forget(desk)
    desk.tick(6 * DAY)
    desk.obey(Promote(model=MODEL, version=2))
    assert [reign.crowned.version for reign in told(desk)] == [1, 2, 1, 2]


def test_who_has_no_champion_has_no_reign(tmp_path: Path) -> None:
    desk = Desk.at(tmp_path / "s")
    desk.policy()
    assert told(desk) == []


def test_a_rebuild_keeps_the_same_reigns(desk: Desk) -> None:
    before = told(desk)
    (desk.home.path / "state.db").unlink()
    desk.fold()
    assert told(desk) == before


# Rollouts.


def times(desk: Desk) -> list[tuple[int, int]]:
    with desk.books() as books:
        return list(rollout_times(books, MODEL))


def test_a_rollout_that_runs_has_no_end(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", versions=2, rollout=ROLLOUT)
    desk.tick(3)
    desk.rollout()
    assert times(desk) == [(moment(3), NEVER)]


def test_a_rollout_that_evidence_ended_was_over_before_the_blocks_of_that_moment(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", versions=2, rollout=ROLLOUT)
    desk.rollout()
    desk.arms(1, 0.1, 0.9, share=0.2, rows=80)
    assert desk.told()[-1] == ("roll_back", "done")
    ((start, end),) = times(desk)
    assert start == moment(0)
    assert end == desk.decisions()[-1].at - 1


def test_a_rollout_that_people_ended_ran_up_to_that_moment(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", versions=2, rollout=ROLLOUT)
    desk.rollout()
    desk.tick(DAY / 2)
    desk.obey(RollBack(model=MODEL))
    assert times(desk) == [(moment(0), moment(0) + 12 * HOUR)]
