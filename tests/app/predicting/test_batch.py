"""A batch from its files to its output and the ledger: every row once, whatever lies between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from lossloop.app import operate
from lossloop.app.commands import Promote
from lossloop.app.predicting import Naming, all_batches
from lossloop.app.predicting.outputs.base import Delivery
from lossloop.app.predicting.outputs.files import FileOutput
from lossloop.core.errors import Conflict, InputError, InUse, UnknownName
from lossloop.core.thresholds import Thresholds
from lossloop.ledger.base import LogWriter, Position
from lossloop.ledger.frames import Frame, Kind
from lossloop.pipelines.executors import open_executor
from tests.app.desk import external
from tests.app.importing.pasts import logged
from tests.app.predicting.desk import (
    MODEL,
    another,
    answer,
    arrow,
    counts,
    csv_of,
    expected,
    house,
    parquet,
    read,
    rejected,
    rows,
)

P = Kind.PREDICTION


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".arrow"])
def test_every_row_is_in_the_output_and_in_the_ledger(tmp_path: Path, ending: str) -> None:
    home, table = house(tmp_path / "s"), rows(400)
    write: Callable[[Path, pa.Table], Path] = {".parquet": parquet, ".csv": csv_of, ".arrow": arrow}[ending]
    path = write(tmp_path / f"in{ending}", table)
    report = answer(home, [path], tmp_path / f"out{ending}")
    found = read(tmp_path / f"out{ending}")
    assert found.column_names == ["id", "y_pred", "version"]
    assert found["id"].to_pylist() == table["id"].to_pylist()
    assert found["y_pred"].to_pylist() == expected(table)
    assert set(found["version"].to_pylist()) == {1}
    assert (report.batch.rows, report.batch.taken, report.batch.rejected) == (400, 400, 0)
    log = logged(home, P)
    assert log.values == dict(zip(table["id"].to_pylist(), expected(table), strict=True))
    assert counts(home)["predictions"] == 400
    assert {batch.schema.metadata[b"batch"] for batch in log.frames} == {report.batch.id.encode()}
    assert log.frames[0].column("features").to_pylist()[0] == {"x": 0.0, "y": None, "colour": "red"}


def test_a_stream_of_arrow_is_read_as_well(tmp_path: Path) -> None:
    home, table = house(tmp_path / "s"), rows(200)
    answer(home, [arrow(tmp_path / "in.arrow", table, stream=True)], tmp_path / "o.parquet")
    assert read(tmp_path / "o.parquet")["y_pred"].to_pylist() == expected(table)


def test_a_folder_is_its_files_in_order(tmp_path: Path) -> None:
    home, folder = house(tmp_path / "s"), tmp_path / "in"
    (folder / "day=2").mkdir(parents=True)
    parquet(folder / "day=2" / "b.parquet", rows(50, first=150))
    csv_of(folder / "a.csv", rows(100))
    arrow(folder / "c.arrow", rows(50, first=100))
    (folder / "_SUCCESS.csv").write_text("nothing\n")
    (folder / ".hidden.csv").write_text("nothing\n")
    answer(home, [folder], tmp_path / "o.parquet")
    found = read(tmp_path / "o.parquet")
    assert found["id"].to_pylist() == rows(200)["id"].to_pylist()
    assert found["y_pred"].to_pylist() == expected(rows(200))


def test_units_times_and_kept_columns(tmp_path: Path) -> None:
    home, table = house(tmp_path / "s"), rows(3).append_column(
        "when", pa.array(["2024-05-01 10:00", "2024-05-01 11:00", "2024-05-01 12:00"])
    )  # fmt: skip
    naming = Naming(id="id", unit="who", time="when", timezone="Europe/Paris", keep=("colour", "x"))
    answer(home, [csv_of(tmp_path / "in.csv", table)], tmp_path / "o.parquet", naming=naming)
    found = read(tmp_path / "o.parquet")
    assert found.column_names == ["id", "unit", "time", "colour", "x", "y_pred", "version"]
    assert found["unit"].to_pylist() == ["u0", "u1", "u2"]
    assert next(str(each) for each in found["time"].to_pylist()) == "2024-05-01 08:00:00+00:00"
    assert found["colour"].to_pylist() == ["red", "blue", ""]
    log = logged(home, P).frames[0]
    assert log.column("unit").to_pylist() == ["u0", "u1", "u2"]
    assert str(log.column("time")[2].as_py()) == "2024-05-01 10:00:00+00:00"


def test_without_ids_they_are_made_of_what_is_in_the_file(tmp_path: Path) -> None:
    home, table = house(tmp_path / "s"), rows(20)
    first = parquet(tmp_path / "a.parquet", table)
    again = parquet(tmp_path / "renamed.parquet", table)
    answer(home, [first], tmp_path / "o.parquet", naming=Naming())
    answer(home, [again], tmp_path / "p.parquet", naming=Naming())
    one, other = (read(tmp_path / name)["id"].to_pylist() for name in ("o.parquet", "p.parquet"))
    assert one == other
    assert len(set(one)) == 20
    assert one[4].endswith("-5")
    assert (counts(home)["predictions"], counts(home)["repeats"]) == (20, 20)


def test_the_same_file_twice_in_one_batch_is_two_times_its_rows(tmp_path: Path) -> None:
    home = house(tmp_path / "s")
    files = [parquet(tmp_path / name, rows(20)) for name in ("a.parquet", "b.parquet")]
    answer(home, files, tmp_path / "o.parquet", naming=Naming())
    assert len(set(read(tmp_path / "o.parquet")["id"].to_pylist())) == 40
    assert counts(home) == {"predictions": 40}


def test_classes_are_lists_and_text_in_a_csv(tmp_path: Path) -> None:
    home, table = house(tmp_path / "s", task="multiclass"), rows(14)
    table = table.set_column(2, "y", pa.array([1.0] * 14))
    path = parquet(tmp_path / "in.parquet", table)
    answer(home, [path], tmp_path / "o.parquet")
    answer(home, [path], tmp_path / "o.csv")
    found = read(tmp_path / "o.parquet")["y_pred"].to_pylist()
    assert all(len(each) == 3 and abs(sum(each) - 1) < 1e-6 for each in found)
    text = read(tmp_path / "o.csv")["y_pred"].to_pylist()
    assert [[float(each) for each in row.strip("[]").split(",")] for row in text] == found


def test_a_version_with_thresholds_says_what_to_do(tmp_path: Path) -> None:
    home = house(
        tmp_path / "s", task="binary", thresholds=Thresholds(actions=("pass", "block"), least=(0.6,))
    )
    table = pa.table({"id": ["a", "b"], "x": [-0.3, 0.2], "y": [0.0, 0.0], "colour": pa.array([None, None])})
    answer(home, [parquet(tmp_path / "in.parquet", table)], tmp_path / "o.parquet")
    found = read(tmp_path / "o.parquet")
    assert found["action"].to_pylist() == ["pass", "block"]


# Rows that cannot be answered.


def test_bad_rows_go_to_the_rejects_with_a_reason_and_good_ones_are_kept(tmp_path: Path) -> None:
    home = house(tmp_path / "s")
    path = tmp_path / "in.csv"
    path.write_text(
        "id,x,y,colour\na,1,2,red\nb,one,2,red\nc,,2,red\nd,inf,2,red\n,5,2,red\na,6,2,red\ng,7\nh,8,nan,blue\n"
    )
    report = answer(home, [path], tmp_path / "o.csv")
    assert read(tmp_path / "o.csv")["id"].to_pylist() == ["a", "h"]
    assert read(tmp_path / "o.csv")["y_pred"].to_pylist() == [13.0, 9.0]
    bad = {int(row["reject_row"]): (row["reject_column"], row["reject_reason"]) for row in rejected(report)}
    assert set(bad) == {2, 3, 4, 5, 6, 7}
    assert bad[2] == ("x", "feature 'x' must be a number, not 'one'")
    assert bad[3] == ("x", "feature 'x' is missing")
    assert bad[4] == ("x", "feature 'x' must be a finite number")
    assert bad[5] == ("id", "the id is empty")
    assert bad[6] == ("id", "row 1 has the same id 'a'")
    assert bad[7][1] == "2 values where the first line has 4"
    assert (report.batch.rows, report.batch.taken, report.batch.rejected) == (8, 2, 6)
    assert logged(home, P).ids == {"a", "h"}


def test_an_answer_that_is_none_is_rejected(tmp_path: Path) -> None:
    home = house(tmp_path / "s", task="binary")
    table = pa.table({"id": ["a", "b"], "x": [-0.5, 3.0], "y": [0.5, 0.5], "colour": pa.array(["x", "x"])})
    report = answer(home, [parquet(tmp_path / "in.parquet", table)], tmp_path / "o.parquet")
    assert read(tmp_path / "o.parquet")["y_pred"].to_pylist() == [0.0]
    (bad,) = rejected(report)
    assert bad["reject_reason"].startswith("the model gave no valid answer: ")
    assert bad["x"] == "3.0"


def test_where_no_row_fits_nothing_is_done(tmp_path: Path) -> None:
    home = house(tmp_path / "s")
    table = pa.table({"id": ["a"], "x": pa.array([None], pa.float64())})
    with pytest.raises(InputError, match=r"not one of the first 1 rows of .* Row 1, column x"):
        answer(home, [parquet(tmp_path / "in.parquet", table)], tmp_path / "o.parquet")
    assert not logged(home, P).ids
    assert not (tmp_path / "o.parquet").exists()


@pytest.mark.parametrize(
    ("naming", "words"),
    [
        (Naming(id="idd"), "unknown column 'idd'; did you mean 'id'"),
        (Naming(keep=("z",)), "unknown column 'z'"),
        (Naming(id="x"), "must be text or a whole number"),
    ],
)
def test_columns_that_are_not_there_are_named(tmp_path: Path, naming: Naming, words: str) -> None:
    home, path = house(tmp_path / "s"), parquet(tmp_path / "in.parquet", rows(3))
    with pytest.raises(InputError, match=words):
        answer(home, [path], tmp_path / "o.parquet", naming=naming)


def test_a_feature_without_a_column_is_named_unless_it_may_be_null(tmp_path: Path) -> None:
    home, table = house(tmp_path / "s"), rows(3)
    answer(home, [parquet(tmp_path / "a.parquet", table.drop_columns(["y"]))], tmp_path / "o.parquet")
    assert read(tmp_path / "o.parquet")["y_pred"].to_pylist() == [11.0, 2.0, 3.5]
    with pytest.raises(InputError, match="has no column 'x', which the version needs"):
        answer(home, [parquet(tmp_path / "b.parquet", table.drop_columns(["x"]))], tmp_path / "p.parquet")


# Who answers.


def test_another_version_answers_and_is_not_the_champion(tmp_path: Path) -> None:
    home, path = house(tmp_path / "s"), parquet(tmp_path / "in.parquet", rows(10))
    number = another(home, 100.0)
    answer(home, [path], tmp_path / "o.parquet", version=number)
    assert read(tmp_path / "o.parquet")["y_pred"].to_pylist() == expected(rows(10), 100.0)
    frame = logged(home, P).frames[0]
    assert set(frame.column("version").to_pylist()) == {number}
    assert set(frame.column("role").to_pylist()) == {"override"}


def test_who_can_answer_nothing_says_why(tmp_path: Path) -> None:
    home, path = house(tmp_path / "s"), parquet(tmp_path / "in.parquet", rows(10))
    with pytest.raises(UnknownName, match="m:9"):
        answer(home, [path], tmp_path / "o.parquet", version=9)
    operate.register(home, MODEL, external())
    with pytest.raises(Conflict, match="served by another system"):
        answer(home, [path], tmp_path / "o.parquet", version=2)


# Killed anywhere.


class Killed(Exception):
    """A process ended here."""


@dataclass
class Dying:
    """A log that is there for so many frames; the last one is written or not before the end."""

    writer: LogWriter
    left: int
    written: bool

    def append(self, frames: Sequence[Frame]) -> Position:
        self.left -= 1
        if self.left < 0 and not self.written:
            raise Killed
        position = self.writer.append(frames)
        if self.left < 0:
            raise Killed
        return position

    def close(self) -> None:
        self.writer.close()


class Cut(FileOutput):
    """A file that is delivered, and nobody hears of it."""

    def deliver(self, delivery: Delivery) -> None:
        super().deliver(delivery)
        raise Killed


@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize("after", [0, 1, 2])
def test_killed_between_any_two_pieces_every_row_is_there_once(
    tmp_path: Path, after: int, written: bool
) -> None:
    home = house(tmp_path / "s")
    files = [parquet(tmp_path / f"{n}.parquet", rows(30, first=30 * n)) for n in range(3)]
    out = tmp_path / "o.parquet"
    with pytest.raises(Killed):
        answer(home, files, out, writer=Dying(home.log.writer(), after, written))
    assert not out.exists()
    report = answer(home, files, out)
    assert report.before == 30 * after
    found = read(out)
    assert found["id"].to_pylist() == rows(90)["id"].to_pylist()
    assert found["y_pred"].to_pylist() == expected(rows(90))
    known = counts(home)
    assert known.pop("repeats", 0) == (30 if written else 0)
    assert known == {"predictions": 90}
    assert not list(tmp_path.glob("s/batches/*/*.arrow"))


def test_killed_while_it_was_delivered_it_is_there_once(tmp_path: Path) -> None:
    home, path = house(tmp_path / "s"), parquet(tmp_path / "in.parquet", rows(30))
    out = tmp_path / "o.parquet"
    with pytest.raises(Killed):
        answer(home, [path], Cut(str(out)))
    assert answer(home, [path], out).read == 0
    assert len(read(out)) == 30
    assert counts(home) == {"predictions": 30}


def test_what_is_done_is_not_done_again_unless_its_file_is_gone(tmp_path: Path) -> None:
    home, path = house(tmp_path / "s"), parquet(tmp_path / "in.parquet", rows(30))
    out = tmp_path / "o.parquet"
    answer(home, [path], out)
    told = out.stat().st_mtime_ns
    report = answer(home, [path], out)
    assert (report.before, report.read, out.stat().st_mtime_ns) == (30, 0, told)
    out.unlink()
    answer(home, [path], out)
    assert len(read(out)) == 30
    assert counts(home) == {"predictions": 30, "repeats": 30}


def test_a_batch_that_was_begun_keeps_its_version(tmp_path: Path) -> None:
    home = house(tmp_path / "s")
    files = [parquet(tmp_path / f"{n}.parquet", rows(30, first=30 * n)) for n in range(2)]
    out = tmp_path / "o.parquet"
    with pytest.raises(Killed):
        answer(home, files, out, writer=Dying(home.log.writer(), 1, False))
    operate.obey(home, Promote(model=MODEL, version=another(home, 100.0)))
    answer(home, files, out)
    assert read(out)["y_pred"].to_pylist() == expected(rows(60))
    # Once it is done, the same command is a batch of the champion of now.
    answer(home, files, out)
    assert read(out)["y_pred"].to_pylist() == expected(rows(60), 100.0)
    assert [batch.version for batch in sorted(all_batches(home), key=lambda each: each.began)] == [1, 2]


def test_rejects_are_there_once_too(tmp_path: Path) -> None:
    home = house(tmp_path / "s")
    broken = rows(30).set_column(1, "x", pa.array([None if n % 10 == 3 else 1.0 for n in range(30)]))
    files = [parquet(tmp_path / "a.parquet", broken), parquet(tmp_path / "b.parquet", rows(5, first=30))]
    with pytest.raises(Killed):
        answer(home, files, tmp_path / "o.csv", writer=Dying(home.log.writer(), 0, True))
    report = answer(home, files, tmp_path / "o.csv")
    assert [row["reject_row"] for row in rejected(report)] == ["4", "14", "24"]
    assert (report.batch.taken, report.batch.rejected) == (32, 3)


def test_an_input_that_was_changed_meanwhile_is_another_batch(tmp_path: Path) -> None:
    home, path = house(tmp_path / "s"), parquet(tmp_path / "in.parquet", rows(30))
    answer(home, [path], tmp_path / "o.parquet")
    parquet(path, rows(40))
    assert answer(home, [path], tmp_path / "o.parquet").batch.rows == 40
    assert len(read(tmp_path / "o.parquet")) == 40
    assert counts(home) == {"predictions": 40, "repeats": 30}


def test_two_at_once_are_one(tmp_path: Path) -> None:
    home, path = house(tmp_path / "s"), parquet(tmp_path / "in.parquet", rows(30))
    seen: list[BaseException] = []

    def other(*_: object) -> None:
        with pytest.raises(InUse, match="works at the same batch") as found:
            answer(home, [path], tmp_path / "o.parquet")
        seen.append(found.value)

    answer(home, [path], tmp_path / "o.parquet", tell=other)
    assert len(seen) == 1


# Wherever, and however cut.


@pytest.fixture(scope="module")
def wide() -> pa.Table:
    chance = np.random.default_rng(3)
    return pa.table(
        {
            "id": [f"w{n}" for n in range(3000)],
            "x": chance.normal(size=3000),
            "y": chance.normal(size=3000),
            "colour": pa.array(chance.choice(["red", "blue"], 3000)),
        }
    )


@pytest.mark.parametrize("name", ["dask", pytest.param("ray", marks=pytest.mark.slow)])
def test_the_same_bits_on_every_engine_and_however_cut(tmp_path: Path, wide: pa.Table, name: str) -> None:
    home = house(tmp_path / "s", task="multiclass")
    whole = parquet(tmp_path / "in.parquet", wide)
    (tmp_path / "parts").mkdir()
    for number, start in enumerate(range(0, 3000, 700)):
        arrow(tmp_path / "parts" / f"{number}.arrow", wide.slice(start, 700))
    answer(home, [whole], tmp_path / "here.parquet")
    with open_executor(name) as executor:
        answer(home, [tmp_path / "parts"], tmp_path / "there.parquet", executor=executor)
    here, there = (read(tmp_path / f"{each}.parquet") for each in ("here", "there"))
    assert here.equals(there)
    assert counts(home) == {"predictions": 3000, "repeats": 3000}


def test_progress_tells_of_every_piece(tmp_path: Path) -> None:
    home = house(tmp_path / "s")
    files = [parquet(tmp_path / f"{n}.parquet", rows(30, first=30 * n)) for n in range(3)]
    told: list[tuple[int, int, float]] = []
    answer(home, files, tmp_path / "o.parquet", tell=lambda *said: told.append(said))
    assert told == [(30, 0, 1.0), (60, 1, 1.0), (90, 2, 1.0)]
