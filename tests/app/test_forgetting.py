"""What is erased or expired goes on counting, in the state that saw it and in one that is made anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lossloop.app.forgetting import Summariser
from lossloop.app.reading import status
from lossloop.app.rebuilding import rebuild
from lossloop.ledger.files import erasing, retention
from lossloop.ledger.files.sealing import seal
from lossloop.ledger.history import predicted
from lossloop.ledger.joined.join import Join
from lossloop.ledger.joined.keys import Keys
from tests.app.desk import MODEL, WATCH, Desk, asked, happened, ticked


def storied(path: Path, **policy: Any) -> Desk:
    """Two days of predictions about ann and others, with outcomes, some corrected, some missing."""
    desk = Desk.ready(path / "s", **policy)
    for day in range(2):
        ids = desk.ids(6)
        units = ["user ann", "bob", "user ann", None, "cid", "bob"]
        losses = [0.1 * number for number in range(6)]
        desk.send(asked(24 * day + 8, losses, ids, units=units), happened(24 * day + 9, ids[:5]))
        desk.send(happened(24 * day + 10, ids[:2]), ticked(24 * day + 30))
    return desk


def figures(desk: Desk) -> dict[str, Any]:
    with desk.books() as books:
        shown = status(books, MODEL)
    counts = {name: shown["counts"][name] for name in ("predictions", "outcomes")}
    return {"losses": shown["losses"], "counts": counts}


def keys(desk: Desk) -> Keys:
    return Keys(desk.home.settings().secret)


def erase(desk: Desk, unit: str) -> int:
    state = desk.home.state()
    summarise = Summariser(state, keys(desk))
    gone = erasing.erase(desk.home.segments.directory, unit, keys=keys(desk), summarise=summarise)
    state.close()
    writing = desk.home.writable_state()
    with writing.transaction():
        join = Join(writing, MODEL, keys(desk))
        erased = join.erase_ids(sorted(gone[MODEL].ids)) if MODEL in gone else 0
        join.flush()
    writing.close()
    return erased


def close_to(one: dict[str, Any]) -> Any:
    return {
        "losses": [{name: pytest.approx(value) for name, value in row.items()} for row in one["losses"]],
        "counts": one["counts"],
    }


def test_an_erased_unit_goes_on_counting_but_nothing_of_it_is_left(tmp_path: Path) -> None:
    desk = storied(tmp_path)
    before = figures(desk)
    assert erase(desk, "user ann") == 4
    desk.fold()
    assert figures(desk) == before
    log = desk.home.log.reader()
    left = predicted(log, MODEL)
    log.close()
    assert sorted({str(unit) for unit in left["unit"].to_pylist()}) == ["None", "bob", "cid"]
    everything = b"".join(path.read_bytes() for path in desk.home.path.rglob("*") if path.is_file())
    assert b"user ann" not in everything


def test_a_state_made_anew_shows_what_was_erased(tmp_path: Path) -> None:
    desk = storied(tmp_path)
    before = figures(desk)
    erase(desk, "user ann")
    erase(desk, "cid")
    rebuild(desk.home, accept=True)
    assert figures(desk) == close_to(before)
    rebuild(desk.home, accept=True)
    assert figures(desk) == close_to(before)


def test_erasing_a_unit_twice_or_one_that_is_not_there_changes_nothing(tmp_path: Path) -> None:
    desk = storied(tmp_path)
    erase(desk, "user ann")
    desk.fold()
    after = figures(desk)
    assert erase(desk, "user ann") == 0
    assert erase(desk, "nobody") == 0
    desk.fold()
    assert figures(desk) == after


def test_what_expired_goes_on_counting_in_a_state_made_anew(tmp_path: Path) -> None:
    desk = storied(tmp_path, watches={"worse": WATCH})
    before = figures(desk)
    state = desk.home.state()
    seal(desk.home.segments.directory, state.offsets())
    pruned = retention.prune(desk.home.segments.directory, MODEL, keys=keys(desk), larger_than=0)
    state.close()
    assert pruned.predictions == 12
    desk.fold()
    assert figures(desk) == before, "this state saw the rows"
    rebuild(desk.home, accept=True)
    assert figures(desk) == close_to(before)


def test_an_erased_prediction_is_not_found_any_more(tmp_path: Path) -> None:
    desk = storied(tmp_path)
    log = desk.home.log.reader()
    ids = predicted(log, MODEL)["id"].to_pylist()
    log.close()
    erase(desk, "bob")
    state = desk.home.state()
    join = Join(state, MODEL, keys(desk))
    there = join.table.find(*keys(desk).of(pa.array(ids, pa.string())))
    assert [int(row >= 0) for row in there] == [1, 0, 1, 1, 1, 0] * 2
    state.close()
