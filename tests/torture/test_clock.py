"""A machine that starts with a clock an hour back: nothing is lost, and all keeps its place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lossloop.app.home import init
from lossloop.app.rebuilding import rebuild
from lossloop.core.clock import HOUR, SECOND, SystemClock
from lossloop.ledger.floor import Floor
from lossloop.ledger.frames import Frame
from tests.app.desk import Desk
from tests.app.processes import on_linux
from tests.app.server import within
from tests.ledger.samples import tick_frame
from tests.torture.begin import begin
from tests.torture.events import PREDICTIONS
from tests.torture.figures import differences
from tests.torture.places import Place, hasty
from tests.torture.recount import Recount, out_of_force
from tests.torture.sender import Crowd, Sender
from tests.torture.test_recount import frame_of


def sent_before(place: Place, ahead: int) -> Sender:
    """A sender whose first batches were received by a server whose clock is ahead."""
    sender = Sender(0, 1, 4, [])
    log, now = place.home.log.writer(), SystemClock().now() + ahead
    for number in range(60):
        batch = replace(sender._maker.batch(), bad=0)
        log.append([frame_of(batch, now + number * SECOND)])
        batch.acknowledged += 1
        sender.sent.append(batch)
        if batch.kind != PREDICTIONS:
            sender.in_force |= {(batch.model, id): row for id, row in batch.rows.items()}
    log.close()
    return sender


@on_linux
@pytest.mark.parametrize("is_folded", [True, False], ids=["folded", "not folded yet"])
def test_what_comes_after_the_clock_stepped_back_is_counted_after_what_came_before(
    tmp_path: Path, is_folded: bool
) -> None:
    place = Place([begin(init(tmp_path / "state"))])
    sender = sent_before(place, HOUR)
    if is_folded:
        Desk(home=place.home).fold()
    with hasty(place.home) as up:
        place.ups.append(up)
        sender.doors = place.doors()
        crowd = Crowd([sender])
        crowd.sending(lambda: within(lambda: crowd.answers()["acknowledged"] > 100))
        place.settle()
    assert crowd.problems() == []
    for again in (False, True):
        if again:
            assert rebuild(place.home).agrees
        recount, reader, state = Recount(crowd.batches()), place.home.log.reader(), place.home.state()
        for batch in recount.batches.values():
            batch.copies.clear()
        recount.go_on(reader)
        assert recount.delivery() == []
        assert list(out_of_force(recount, sender.in_force, doubtful=False)) == []
        assert differences(recount, place.home, state) == []
        reader.close()
        state.close()


def test_a_floor_lifts_what_lies_below_it_and_nothing_else() -> None:
    floor = Floor(lambda: 100)
    frames: list[Frame] = [tick_frame(time) for time in (50, 101, 300, 100, 20)]
    assert [frame.time for frame in floor.lifted(frames)] == [101, 102, 300, 103, 104]
    assert [frame.time for frame in floor.lifted(frames[:3])] == [105, 106, 300]
    assert [frame.batch for frame in floor.lifted(frames)] == [frame.batch for frame in frames]
    assert floor.lifted([]) == []


def test_a_floor_is_asked_for_once_and_only_where_there_is_one() -> None:
    asked = []

    def newest() -> int:
        asked.append(1)
        return 5

    floor = Floor(newest)
    assert not asked
    for _ in range(3):
        floor.lifted([tick_frame(10)])
    assert len(asked) == 1
    assert Floor(None).lifted(frames := [tick_frame(-7)]) is frames
