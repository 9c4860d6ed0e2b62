"""The log is looked after: finished segments become Parquet, and what a policy does not keep goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lossloop.act.policy import read_policy
from lossloop.app.keeping import Keeper, keep
from lossloop.app.reading import status
from lossloop.app.rebuilding import rebuild
from lossloop.core.clock import DAY, ManualClock, SystemClock
from lossloop.core.errors import PolicyError
from lossloop.ledger.files.manifests import manifests
from lossloop.ledger.history import predicted
from tests.app.desk import MODEL, Desk, policy_text
from tests.app.server import within


def storied(path: Path, **policy: Any) -> Desk:
    desk = Desk.ready(path / "s", **policy)
    for day in range(3):
        desk.day(day, 0.25)
    return desk


def left(desk: Desk) -> int:
    log = desk.home.log.reader()
    count = len(predicted(log, MODEL))
    log.close()
    return count


def losses(desk: Desk) -> Any:
    with desk.books() as books:
        return status(books, MODEL)["losses"]


def later(days: float) -> ManualClock:
    """A clock that is ahead: facts are received when a test sends them."""
    return ManualClock(SystemClock().now() + round(days * DAY))


def test_what_is_finished_is_sealed_and_all_is_kept_where_nothing_else_is_said(tmp_path: Path) -> None:
    desk = storied(tmp_path)
    before = losses(desk)
    assert keep(desk.home, later(900)) == []
    assert manifests(desk.home.segments.directory)
    assert left(desk) == 12
    assert losses(desk) == before


@pytest.mark.parametrize("retention", [{"age": "400d"}, {"size": "1B"}, {"age": "400d", "size": "1B"}])
def test_what_a_policy_does_not_keep_goes_and_goes_on_counting(
    tmp_path: Path, retention: dict[str, str]
) -> None:
    desk = storied(tmp_path, retention=retention)
    before = losses(desk)
    (gone,) = keep(desk.home, later(900))
    assert (gone.model, gone.predictions, gone.outcomes) == (MODEL, 12, 12)
    assert left(desk) == 0
    desk.fold()
    assert losses(desk) == before
    rebuild(desk.home, accept=True)
    assert losses(desk) == [{name: pytest.approx(value) for name, value in row.items()} for row in before]
    assert [each.predictions for each in keep(desk.home, later(901))] == [0]


def test_it_is_done_by_itself(tmp_path: Path) -> None:
    desk = storied(tmp_path, retention={"age": "1d"})
    keeper = Keeper(desk.home, later(900), every=0.01)
    keeper.start()
    try:
        within(lambda: left(desk) == 0)
    finally:
        keeper.close()


def test_a_look_that_fails_is_told_and_comes_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    desk = storied(tmp_path, retention={"age": "1d"})
    state = desk.home.state_file
    state.rename(state.with_suffix(".away"))
    keeper = Keeper(desk.home, later(900), every=0.01)
    keeper.start()
    said: list[str] = []

    def told() -> bool:
        said.append(capsys.readouterr().err)
        return "the log could not be looked after" in "".join(said)

    try:
        within(told)
        state.with_suffix(".away").rename(state)
        within(lambda: left(desk) == 0)
    finally:
        keeper.close()


@pytest.mark.parametrize(
    ("retention", "words"),
    [
        ({}, "needs an age, a size or both"),
        ({"age": "soon"}, "soon"),
        ({"size": "10 elephants"}, "is not a size"),
    ],
)
def test_an_impossible_retention_is_refused(retention: dict[str, str], words: str) -> None:
    with pytest.raises(PolicyError, match=words):
        read_policy(policy_text(retention=retention))
