"""Whatever the files, the pieces, the rejected rows and the deaths: each row once, with its own answer."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lossloop.app.home import Home
from lossloop.app.importing.sources import base
from lossloop.app.predicting import Naming, all_batches
from lossloop.app.predicting.outputs.base import Delivery
from lossloop.core.errors import InputError
from lossloop.ledger.frames import Kind
from lossloop.pipelines.executors import EmbeddedExecutor, PieceFailed
from tests.app.importing.pasts import logged
from tests.app.predicting.desk import answer, arrow, counts, expected, house, parquet, read, rejected, rows
from tests.app.predicting.test_batch import Dying, Killed


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """One house for many batches: each example has ids of its own."""
    return house(tmp_path_factory.mktemp("laws") / "s")


class Numbers:
    """Ids that no example had yet."""

    next = 0

    @classmethod
    def first(cls, count: int) -> int:
        cls.next += count
        return cls.next - count


def spoiled(table: pa.Table, bad: set[int]) -> pa.Table:
    """Rows of which some lack what they need."""
    xs = [None if place in bad else x for place, x in enumerate(table["x"].to_pylist())]
    return table.set_column(1, "x", pa.array(xs, pa.float64()))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    bad=st.sets(st.integers(0, 159), max_size=30),
    deaths=st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=3),
)
def test_each_row_once_whatever_dies(
    home: Home, sizes: list[int], bad: set[int], deaths: list[tuple[int, bool]]
) -> None:
    count, chunk = sum(sizes), min(sizes)
    first = Numbers.first(count + 1)
    table = spoiled(rows(count + 1, first=first), bad - {0})  # the first row is good, so that something is
    good = [place for place in range(count + 1) if place not in bad - {0}]
    with tempfile.TemporaryDirectory() as place:
        folder, out = Path(place) / "in", Path(place) / "o.parquet"
        folder.mkdir()
        cuts = np.cumsum([0, *sizes[:-1], sizes[-1] + 1]).tolist()
        for number, (start, end) in enumerate(itertools.pairwise(cuts)):
            pq.write_table(
                table.slice(start, end - start), folder / f"{number}.parquet", row_group_size=chunk
            )
        for left, written in deaths:
            try:
                answer(home, [folder], out, writer=Dying(home.log.writer(), left, written))
            except Killed:
                assert not out.exists()
        report = answer(home, [folder], out)
        found = read(out)
    assert report.batch.rows == count + 1
    assert (report.batch.taken, report.batch.rejected) == (len(good), count + 1 - len(good))
    assert found["id"].to_pylist() == table["id"].take(good).to_pylist()
    wanted = expected(table.take(good))
    assert np.allclose(found["y_pred"].to_numpy(), wanted, rtol=1e-6)
    log = logged(home, Kind.PREDICTION)
    assert {f"r{first + place}" for place in good} <= log.ids
    assert not {f"r{first + place}" for place in range(count + 1) if place not in good} & log.ids
    if report.rejects is not None:
        lost = [place for place in range(count + 1) if place not in good]
        assert [row["id"] for row in rejected(report)] == [f"r{first + place}" for place in lost]


def test_a_row_has_the_same_answer_in_any_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces as small as one row, of one file in many batches of Arrow, on one thread or many."""
    home, table = house(tmp_path / "s", task="multiclass"), rows(300)
    table = table.set_column(2, "y", pa.array(np.random.default_rng(1).normal(size=300)))
    answer(home, [parquet(tmp_path / "whole.parquet", table)], tmp_path / "whole.arrow")
    whole = read(tmp_path / "whole.arrow")
    for size in (1, 7, 64):
        monkeypatch.setattr(base.cut, "__kwdefaults__", {"most_rows": size, "most_bytes": 1 << 25})
        with EmbeddedExecutor(3) as executor:
            path = arrow(tmp_path / f"{size}.arrow", table)
            report = answer(home, [path], tmp_path / "parts.arrow", executor=executor, naming=Naming(id="id"))
        assert report.batch.parts == sum(-(-part // size) for part in (64, 64, 64, 64, 44))
        assert read(tmp_path / "parts.arrow").equals(whole)
        parquet(tmp_path / "whole.parquet", table)
        (tmp_path / "parts.arrow").unlink()
        for batch in all_batches(home):
            (tmp_path / "s" / "batches" / batch.id / "batch.json").unlink()
    assert counts(home) == {"predictions": 300, "repeats": 900}


def test_kept_columns_of_two_files_have_to_be_alike(tmp_path: Path) -> None:
    home, naming = house(tmp_path / "s"), Naming(id="id", keep=("who",))
    number = rows(5, first=5).set_column(4, "who", pa.array([1.5] * 5))
    files = [parquet(tmp_path / "a.parquet", rows(5)), parquet(tmp_path / "b.parquet", number)]
    answer(home, files, tmp_path / "o.parquet", naming=naming)  # a number can be text
    assert read(tmp_path / "o.parquet")["who"].to_pylist()[4:6] == ["u4", "1.5"]
    with pytest.raises(
        InputError, match="the column 'who' is double in the first input and string in a later"
    ):
        answer(home, files[::-1], tmp_path / "p.parquet", naming=naming)


def test_answers_that_are_gone_are_missed(tmp_path: Path) -> None:
    home = house(tmp_path / "s")
    files = [parquet(tmp_path / f"{n}.parquet", rows(5, first=5 * n)) for n in range(2)]
    with pytest.raises(Killed):
        answer(home, files, tmp_path / "o.parquet", writer=Dying(home.log.writer(), 1, False))
    (batch,) = all_batches(home)
    (tmp_path / "s" / "batches" / batch.id / "000000.arrow").unlink()
    with pytest.raises(Exception, match="answers of this batch are gone from"):
        answer(home, files, tmp_path / "o.parquet")


def test_a_version_that_cannot_be_loaded_fails_before_anything_is_written(tmp_path: Path) -> None:
    home, path = house(tmp_path / "s"), parquet(tmp_path / "a.parquet", rows(5))
    (stored,) = (tmp_path / "s" / "artifacts").iterdir()
    stored.write_bytes(b"something else")
    with pytest.raises(Exception, match="was changed on disk"):
        answer(home, [path], tmp_path / "o.parquet")
    assert not logged(home, Kind.PREDICTION).ids
    assert not list(all_batches(home))


class Full:
    """An output whose disk is full once, when all is answered."""

    shown = "full"
    times = 0

    def check(self) -> None:
        """Nothing is known yet."""

    def is_there(self) -> bool:
        return True

    def deliver(self, delivery: Delivery) -> None:
        self.times += 1
        if self.times == 1:
            assert not delivery.again
            raise InputError("it is full")
        assert delivery.again
        self.ids = [id for part in delivery.parts() for id in part["id"].to_pylist()]


def test_what_could_not_be_delivered_is_delivered_later_without_asking_the_model(tmp_path: Path) -> None:
    home, path, output = house(tmp_path / "s"), parquet(tmp_path / "a.parquet", rows(5)), Full()
    with pytest.raises(InputError, match="it is full"):
        answer(home, [path], output)
    report = answer(home, [path], output)
    assert (report.read, report.before, output.times) == (0, 5, 2)
    assert output.ids == rows(5)["id"].to_pylist()


def test_a_piece_that_fails_is_named(tmp_path: Path) -> None:
    """The model raises whatever it is asked: a column of another type than its graph takes."""
    home = house(tmp_path / "s", task="multiclass")
    table = rows(40).set_column(2, "y", pa.array([None] * 40, pa.float64()))
    path = parquet(tmp_path / "a.parquet", table)
    with pytest.raises((PieceFailed, InputError), match="not one of the first 40 rows"):
        answer(home, [path], tmp_path / "o.parquet")
