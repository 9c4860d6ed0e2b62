"""What has expired is folded as it was: a state that is made anew is the one that saw the whole rows."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from lossloop.app.alone import stopped
from lossloop.app.bundles import bring_in, export
from lossloop.app.erasing import Counts, erase_unit
from lossloop.app.forgetting import Summariser
from lossloop.app.home import Home
from lossloop.app.keeping import prune
from lossloop.app.rebuilding import rebuild
from lossloop.ledger.files.manifests import manifests
from lossloop.ledger.files.removing import Remover
from lossloop.ledger.files.sealing import seal
from lossloop.ledger.joined.keys import Keys
from lossloop.ledger.joined.table import Table
from tests.app import keepsakes
from tests.app.desk import MODEL, Desk, asked, happened
from tests.app.test_rebuild import storied
from tests.app.twins import Twins

IDS = st.sampled_from("abcdefgh")
ROWS = st.lists(st.tuples(IDS, st.integers(0, 5)), min_size=1, max_size=5, unique_by=lambda row: row[0])
LABELS = st.lists(st.tuples(IDS, st.sampled_from([0.0, 1.0, None])), min_size=1, max_size=5)


def test_what_was_decided_is_decided_again_without_the_rows(tmp_path: Path) -> None:
    desk = storied(tmp_path)
    state = desk.home.state()
    seal(desk.home.segments.directory, state.offsets())
    state.close()
    assert prune(desk.home, MODEL, larger_than=0).predictions == 294
    desk.fold()
    before = desk.everything()
    assert rebuild(desk.home).agrees
    assert desk.everything() == before


def test_what_comes_later_is_known_for_what_it_is(tmp_path: Path) -> None:
    """Once, outcomes waited for predictions that had expired, and predictions counted twice."""
    twins = Twins.at(tmp_path)
    ids = [f"id {number}" for number in range(10)]
    twins.predict([(id, 1) for id in ids])
    twins.happen([(id, 0.0) for id in ids[:4]])
    twins.expire(larger_than=0)
    twins.happen([(id, 1.0) for id in ids[4:6]])
    counts = counted(twins.old)
    assert (counts["predictions"], counts["outcomes"], counts["waiting"]) == (10, 6, 0)
    twins.make_anew()
    assert counted(twins.old) == counts
    twins.predict([(ids[0], 1), (ids[1], 2)])
    twins.happen([(ids[0], 1.0), (ids[1], 0.0), (ids[9], None)])
    after = counted(twins.old)
    assert (after["predictions"], after["outcomes"], after["waiting"]) == (10, 7, 0)
    assert (after["repeats"], after["conflicts"], after["corrections"]) == (2, 1, 1)
    twins.assert_alike()


def test_a_person_is_erased_from_what_has_expired(tmp_path: Path) -> None:
    """And what came of their predictions since, under ids that nobody could tell to be theirs."""
    desk = keepsakes.storied(tmp_path / "s")
    state = desk.home.state()
    seal(desk.home.segments.directory, state.offsets())
    state.close()
    prune(desk.home, MODEL, larger_than=0)
    export(desk.home, tmp_path / "bundle")
    desk.send(happened(60, ["p000000"], 1.0), asked(60, [0.1], ["p000002"], units=["bob"]))
    before = keepsakes.figures(desk.home)
    assert theirs(desk.home) == {"expired_predictions": 4, "expired_outcomes": 4}
    with stopped(desk.home) as alone:
        done = erase_unit(alone, keepsakes.UNIT)
    assert done.models == {MODEL: Counts(predictions=5, outcomes=5)}
    assert theirs(desk.home) == {}
    assert theirs(Home(path=tmp_path / "bundle")) == {}
    assert not keepsakes.places_of(desk.home, "p000000")
    assert not keepsakes.places_of(desk.home, "p000002")
    assert keepsakes.figures(desk.home) == before
    state = desk.home.state()
    keys = Keys(desk.home.settings().secret)
    rows = Table(state, MODEL).find(*keys.of(pa.array([f"p00000{number}" for number in range(8)])))
    assert [int(row >= 0) for row in rows] == [0, 1, 0, 1] * 2
    state.close()
    with stopped(desk.home) as alone:
        assert erase_unit(alone, keepsakes.UNIT).models == {}
    rebuild(desk.home, accept=True)
    after = keepsakes.figures(desk.home)["counts"]
    assert {name: after[name] for name in ("predictions", "outcomes")} == {"predictions": 8, "outcomes": 8}


def theirs(home: Home) -> dict[str, int]:
    """Rows of the person that have expired, by folder."""
    keys = Keys(home.written().secret)
    ids = [f"p00000{number}" for number in (0, 2, 4, 6)]
    low = pa.array(keys.of(pa.array(ids))[1])
    found: dict[str, int] = {}
    for path in home.segments.directory.glob("sealed/expired_*/*/*.parquet"):
        table = pq.ParquetFile(path).read()
        here = pc.is_in(table["key_low"], value_set=low)
        if "unit_key" in table.column_names:
            assert here.equals(pc.equal(table["unit_key"], keys.unit(keepsakes.UNIT)))
        if count := pc.sum(here).as_py():
            kind = path.parent.parent.name
            found[kind] = found.get(kind, 0) + count
    return found


def test_what_an_older_release_let_expire_goes_on_counting(tmp_path: Path) -> None:
    """It removed the rows and left sums; such a ledger is folded as it was by then."""
    desk = keepsakes.storied(tmp_path / "s")
    before = keepsakes.figures(desk.home)
    log = desk.home.segments.directory
    state = desk.home.state()
    seal(log, state.offsets())
    writer = desk.home.log.writer()
    remover = Remover(log, writer, summarise=Summariser(state, Keys(desk.home.settings().secret)))
    for manifest in manifests(log):
        keep = {
            number: np.zeros(table.rows, np.bool_)
            for number, table in enumerate(manifest.tables)
            if table.model == MODEL and table.rows
        }
        remover.remove(manifest, keep, why="expired")
    writer.close()
    state.close()
    assert sum(gone.predictions for gone in remover.gone) == 8
    desk.fold()
    assert keepsakes.figures(desk.home) == before
    rebuild(desk.home, accept=True)
    after = keepsakes.figures(desk.home)
    assert after["counts"] == before["counts"]
    assert [row["mean"] for row in after["losses"]] == pytest.approx(
        [row["mean"] for row in before["losses"]]
    )


def test_it_moves_with_the_ledger(tmp_path: Path) -> None:
    twins = Twins.at(tmp_path)
    ids = [f"id {number}" for number in range(6)]
    twins.predict([(id, 1) for id in ids])
    twins.happen([(id, 0.0) for id in ids[:4]])
    twins.expire(larger_than=0)
    export(twins.old.home, tmp_path / "bundle.tar.zst")
    bring_in(tmp_path / "bundle.tar.zst", tmp_path / "there")
    twins.old = Desk(home=Home(path=tmp_path / "there"))
    twins.old.fold()
    twins.happen([(ids[0], 1.0), (ids[5], 1.0)])
    twins.predict([(ids[1], 1), (ids[2], 2)])
    twins.assert_alike()


def counted(desk: Desk) -> dict[str, int]:
    with desk.books() as books:
        counts = books.counts(MODEL)
    return {name: getattr(counts, name) for name in counts.__struct_fields__}


class Machine(RuleBasedStateMachine):
    """Two directories get the same facts; of one, rows expire and the state is made anew: nobody can tell."""

    @initialize(absent=st.booleans())
    def begin(self, absent: bool) -> None:
        self.place = Path(tempfile.mkdtemp())
        labels = {"mature_after": "20h", "missing": "same_in_both_arms"}
        self.twins = Twins.at(
            self.place, labels={**labels, "absent_means": 0, "after": "12h"} if absent else labels
        )

    def teardown(self) -> None:
        if hasattr(self, "twins"):
            self.twins.make_anew()
            self.twins.assert_alike()
            shutil.rmtree(self.place)

    @rule(rows=ROWS, history=st.sampled_from([False, False, True]))
    def predict(self, rows: list[tuple[str, int]], history: bool) -> None:
        self.twins.predict(rows, history=history)

    @rule(rows=LABELS)
    def happen(self, rows: list[tuple[str, float | None]]) -> None:
        self.twins.happen(rows)

    @rule(back=st.integers(0, 8))
    def expire(self, back: int) -> None:
        times = self.twins.times
        if times:
            self.twins.expire(cutoff=times[max(len(times) - 1 - back, 0)])
        self.twins.assert_alike()

    @rule()
    def make_anew(self) -> None:
        self.twins.make_anew()
        self.twins.assert_alike()


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=8, stateful_step_count=14, deadline=None)
