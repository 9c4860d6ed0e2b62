"""Answers in a file or in a table of a real database: all of them, once, or none."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import duckdb
import psycopg
import pyarrow as pa
import pytest

from lossloop.app.predicting import Naming, open_output
from lossloop.app.predicting.outputs.base import Delivery, Output
from lossloop.app.predicting.outputs.files import flat
from lossloop.core.errors import InputError
from tests.app.predicting.desk import answer, expected, house, parquet, read, rows
from tests.ledger.postgres.server import PASSWORD, Server, running

TABLE = 'odd "name"'
PART = pa.RecordBatch.from_pydict(
    {
        "id": ["a", 'b,"c"', "ü\n"],
        "time": pa.array([0, 1_714_557_600_000_000, None]).cast(pa.timestamp("us", tz="UTC")),
        "city": pa.array(["", None, "Ulm"]),
        "y_pred": [0.1, 1e-300, -2.5],
        "version": pa.array([1, 1, 1], pa.int32()),
    }
)
LISTS = PART.set_column(3, "y_pred", pa.array([[0.25, 0.75], [1e-9, 1.0], [0.5, 0.5]]))


@dataclass(frozen=True)
class Place:
    """A database, and how its rows are read back by its own client."""

    url: str

    def rows(self, columns: str, table: str = TABLE) -> list[tuple[Any, ...]]:
        quoted = '"' + table.replace('"', '""') + '"'
        query = f"SELECT {columns} FROM {quoted} ORDER BY id"
        if self.url.startswith("postgresql"):
            with psycopg.connect(self.url) as connection:
                return connection.execute(query).fetchall()
        path = self.url.partition(":///")[2]
        if self.url.startswith("duckdb"):
            with duckdb.connect(path) as found:
                return found.execute(query).fetchall()
        with contextlib.closing(apsw.Connection(path)) as sqlite:
            return list(sqlite.execute(query))


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    with running() as server:
        yield server


@pytest.fixture(params=["postgresql", "sqlite", "duckdb"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "postgresql":
        server: Server = request.getfixturevalue("postgres")
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        return Place(server.url())
    return Place(f"{request.param}:///{tmp_path / 'answers.db'}")


def deliver(output: Output, *parts: pa.RecordBatch, batch: str = "b1", again: bool = False) -> None:
    output.check()
    output.deliver(
        Delivery(
            batch=batch, schema=parts[0].schema, parts=lambda: iter(parts), scratch=Path(), again=again
        )
    )  # fmt: skip


def test_a_table_is_made_and_has_every_row_once(place: Place) -> None:
    output = open_output(place.url, TABLE)
    deliver(output, PART)
    assert [row[0] for row in place.rows("id")] == sorted(PART["id"].to_pylist())
    found = {row[0]: row[1:] for row in place.rows("id, y_pred, version, city, batch")}
    assert found["a"] == (0.1, 1, "", "b1")
    assert found['b,"c"'] == (1e-300, 1, None, "b1")
    assert found["ü\n"] == (-2.5, 1, "Ulm", "b1")


def test_times_are_times(place: Place) -> None:
    deliver(open_output(place.url, TABLE), PART)
    columns = "CAST(time AS VARCHAR)" if place.url.startswith("duckdb") else "CAST(time AS TEXT)"
    found = [str(row[0])[:13] for row in place.rows(columns)]
    assert found[1] in ("2024-05-01 10", "2024-05-01 12", "2024-05-01 05")  # in the zone of the session
    assert found[2] == "None"


def test_a_batch_that_was_cut_off_takes_its_own_rows_away_first(place: Place) -> None:
    output = open_output(place.url, TABLE)
    deliver(output, PART, batch="other")
    deliver(output, PART)
    deliver(output, PART, again=True)
    assert len(place.rows("id")) == 6
    assert sorted(row[0] for row in place.rows("batch")) == ["b1"] * 3 + ["other"] * 3


def test_all_rows_or_none(place: Place) -> None:
    """The second part is refused, so the first is not there either."""
    output = open_output(place.url, TABLE)
    deliver(output, PART)
    later = PART.append_column("more", pa.array(["x", "y", "z"]))
    with pytest.raises(InputError, match="refuses"):
        deliver(output, later, batch="b2")

    def parts() -> Iterator[pa.RecordBatch]:
        yield PART
        raise InputError("no more")

    with pytest.raises(InputError, match="no more"):
        output.deliver(Delivery(batch="b3", schema=PART.schema, parts=parts, scratch=Path(), again=False))
    assert {row[0] for row in place.rows("batch")} == {"b1"}


def test_lists_of_numbers(place: Place) -> None:
    deliver(open_output(place.url, TABLE), LISTS)
    found = place.rows("y_pred")
    wanted: Any = ["[0.25,0.75]", "[1e-9,1]", "[0.5,0.5]"]
    if not place.url.startswith("sqlite"):
        wanted = LISTS["y_pred"].to_pylist()
    assert [row[0] for row in found] == wanted or found[0][0] == "[0.25,0.75]"


def test_a_whole_batch_into_a_table(place: Place, tmp_path: Path) -> None:
    home = house(tmp_path / "s")
    path = parquet(tmp_path / "in.parquet", rows(9))
    for _ in range(2):
        answer(home, [path], place.url, table="answers", naming=Naming(id="id", keep=("x",)))
    found = place.rows("id, x, y_pred", table="answers")
    assert [row[0] for row in found] == [f"r{n}" for n in range(9)]
    assert [row[2] for row in found] == expected(rows(9))


def test_a_database_that_refuses_says_so_without_its_password(postgres: Server) -> None:
    url = f"postgresql://nobody:{PASSWORD.replace('@', '%40')}@127.0.0.1:{postgres.port}/postgres"
    with pytest.raises(InputError, match="PostgreSQL refuses") as found:
        open_output(url, "t").check()
    assert PASSWORD not in str(found.value)
    assert "%40" not in open_output(url, "t").shown


@pytest.mark.parametrize(
    ("said", "table", "words"),
    [
        ("o.txt", "", "must end with one of: .arrow, .csv, .feather, .parquet"),
        ("o.csv", "t", "only a database has tables"),
        ("sqlite:///x.db", "", "say which table"),
        ("sqlite:////no/such/folder/x.db", "t", "names no file in a folder that is there"),
        ("env:NOT_SET_ANYWHERE", "t", "is not set"),
        ("no/such/folder/o.csv", "", "there is no folder no/such/folder"),
        ("nosuch://there/o.csv", "", "nosuch"),
    ],
)
def test_what_cannot_be_written_is_known_before(said: str, table: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        open_output(said, table).check()


@pytest.mark.parametrize("ending", ["parquet", "arrow", "feather"])
def test_a_file_has_the_types_that_were_there(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"o.{ending}"
    deliver(open_output(str(path)), PART, LISTS.set_column(3, "y_pred", PART["y_pred"]))
    found = read(path.rename(tmp_path / "o.arrow") if ending == "feather" else path)
    assert found.schema.equals(PART.schema)
    assert len(found) == 6


def test_a_csv_has_lists_as_text(tmp_path: Path) -> None:
    path = tmp_path / "o.csv"
    deliver(open_output(str(path)), LISTS)
    assert read(path)["y_pred"].to_pylist() == ["[0.25,0.75]", "[1e-9,1]", "[0.5,0.5]"]
    structs = pa.RecordBatch.from_pydict({"s": [{"a": 1}, None]})
    assert flat(structs)["s"].to_pylist() == ["{'a': 1}", None]


def test_a_file_that_fails_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "o.parquet"
    deliver(open_output(str(path)), PART)

    def parts() -> Iterator[pa.RecordBatch]:
        yield PART
        raise InputError("no more")

    with pytest.raises(InputError, match="no more"):
        open_output(str(path)).deliver(
            Delivery(batch="b", schema=PART.schema, parts=parts, scratch=tmp_path, again=False)
        )
    assert len(read(path)) == 3
