"""Rows of a query, from a real PostgreSQL, SQLite and DuckDB: read only, in any order, without passwords."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import apsw
import duckdb
import psycopg
import pyarrow as pa
import pytest

from lossloop.act.settings import Settings
from lossloop.app import operate
from lossloop.app.home import init
from lossloop.app.importing import SqlSource, Stopped, address, all_progress
from lossloop.app.importing.sources.rows import batch_of
from lossloop.core.errors import InputError
from lossloop.ledger.frames import Kind
from tests.app.desk import MODEL, Desk, external, policy_text
from tests.app.importing.pasts import (
    bring,
    counts,
    csv_of,
    happened,
    live,
    logged,
    parquet,
    predicted,
    reasons,
)
from tests.app.processes import lossloop
from tests.ledger.postgres.server import PASSWORD, Server, running

P, Y = Kind.PREDICTION, Kind.OUTCOME
SCORES = "SELECT id, moment, 1 AS version, score FROM scores ORDER BY moment"
MAPS = ("y_pred=score", "time=moment")
ROWS = 60_000
MAKE = f"""
    CREATE TABLE scores AS SELECT 'p' || n AS id, n * 1.0 / {ROWS} AS score,
    TIMESTAMP '2021-01-01 00:00:00' + n * INTERVAL '1 second' AS moment FROM {{numbers}} AS t(n)
"""


@dataclass(frozen=True)
class Place:
    """A database with a table of scores."""

    url: str
    zone: str = "UTC"

    def source(self, query: str = SCORES) -> SqlSource:
        return SqlSource(address(self.url), query)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    with running() as server:
        with psycopg.connect(server.url()) as connection:
            connection.execute(MAKE.format(numbers=f"generate_series(0, {ROWS - 1})"))
        yield server


@pytest.fixture(scope="module", params=["postgresql", "sqlite", "duckdb"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Place:
    path = tmp_path_factory.mktemp("databases") / f"scores.{request.param}"
    if request.param == "postgresql":
        return Place(request.getfixturevalue("postgres").url())
    if request.param == "duckdb":
        with duckdb.connect(str(path)) as connection:
            connection.execute(MAKE.format(numbers=f"range(0, {ROWS})"))
        return Place(f"duckdb:///{path}")
    with contextlib.closing(apsw.Connection(str(path))) as sqlite:
        sqlite.execute("CREATE TABLE scores (id TEXT, moment TEXT, score REAL)")
        sqlite.execute(
            "WITH RECURSIVE t(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM t WHERE n + 1 < ?) "
            "INSERT INTO scores SELECT 'p' || n, datetime('2021-01-01', n || ' seconds'), n * 1.0 / ? FROM t",
            (ROWS, ROWS),
        )
    return Place(f"sqlite:///{path}")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return live(tmp_path / "s")


def test_the_rows_of_a_query_are_brought_in_once(place: Place, desk: Desk) -> None:
    (report,) = bring(desk.home, P, place.source(), maps=MAPS, timezone="UTC")
    assert (report.read, report.taken, report.rejected) == (ROWS, ROWS, 0)
    log = logged(desk.home, P)
    assert log.history == {True}
    assert set(log.rows.values()) == {1}
    assert {id: round(value * ROWS) for id, value in log.values.items()} == {f"p{n}": n for n in range(ROWS)}
    assert str(log.frames[0].column("time")[0].as_py()) == "2021-01-01 00:00:00+00:00"
    frames = len(log.frames)
    (again,) = bring(desk.home, P, place.source(), maps=MAPS, timezone="UTC")
    assert (again.read, again.before) == (0, ROWS)
    assert len(logged(desk.home, P).frames) == frames


def test_rows_that_came_since_are_taken_and_the_others_are_known(place: Place, desk: Desk) -> None:
    def bring_first(count: int) -> Any:
        query = f"SELECT * FROM ({SCORES}) AS s LIMIT {count}"
        (report,) = bring(desk.home, P, place.source(query), maps=MAPS, timezone="UTC", version=1)
        return report

    assert bring_first(30_000).taken == 30_000
    assert bring_first(40_000).read == 40_000  # another query is another source
    assert counts(desk.home) == {"predictions": 40_000, "repeats": 30_000, "decisions": 1}


def test_a_query_without_rows_has_columns(place: Place, desk: Desk) -> None:
    (report,) = bring(desk.home, P, place.source(f"SELECT * FROM ({SCORES}) AS s WHERE 1 = 0"), maps=MAPS)
    assert (report.read, report.taken) == (0, 0)


@pytest.mark.parametrize(
    "query",
    ["DELETE FROM scores RETURNING id, 0 AS y_true", "DROP TABLE scores", "SELEC 1", "SET TimeZone = 'UTC'"],
)
def test_a_query_may_only_read(place: Place, desk: Desk, query: str) -> None:
    with pytest.raises(InputError, match=r"refuses: |has no column 'id'"):
        bring(desk.home, Y, place.source(query))
    (report,) = bring(
        desk.home, P, place.source(SCORES + " LIMIT 5"), maps=MAPS, timezone="UTC", dry_run=True
    )
    assert report.taken == 5


def test_times_without_a_zone_need_one(place: Place, desk: Desk) -> None:
    with pytest.raises(InputError, match="--timezone"):
        bring(desk.home, P, place.source(), maps=MAPS)


# What PostgreSQL has more of.


def rows_of(server: Server, query: str) -> list[dict[str, Any]]:
    source = SqlSource(address(server.url()), query)
    names = source.columns()
    found = [piece.columns for piece in source.pieces(names)]
    source.close()
    return [row for columns in found for row in pa.table(columns).to_pylist()]


def test_types_of_postgresql_are_read(postgres: Server, desk: Desk) -> None:
    query = """
        SELECT gen_random_uuid() AS id, now() - INTERVAL '1 day' AS time, 1::smallint AS version,
        0.25::numeric AS y_pred, 'u'::varchar(3) AS unit, '{"amount": 3, "land": "FR"}'::jsonb AS features
        UNION ALL SELECT gen_random_uuid(), now() - INTERVAL '2 days', 1, 0.75, NULL, NULL
    """
    (report,) = bring(desk.home, P, SqlSource(address(postgres.url()), query))
    assert report.taken == 2
    (batch,) = logged(desk.home, P).frames
    assert sorted(batch.column("y_pred").to_pylist()) == [0.25, 0.75]
    assert [each for each in batch.column("features").to_pylist() if each] == ['{"land":"FR","amount":3}']
    assert all(len(id) == 36 for id in batch.column("id").to_pylist())


def test_whole_numbers_are_ids_and_lists_are_vectors(postgres: Server, tmp_path: Path) -> None:
    desk = live(tmp_path / "s", task="multiclass", loss="brier_multiclass")
    query = """SELECT 12345678901234567::numeric AS id, now() AS time, ARRAY[0.25, 0.75]::float8[] AS y_pred
               UNION ALL SELECT 7, now(), ARRAY[0.5, 0.25]"""
    (report,) = bring(desk.home, P, SqlSource(address(postgres.url()), query), version=1)
    assert logged(desk.home, P).values == {"12345678901234567": [0.25, 0.75]}
    assert reasons(report) == {2: ("y_pred", "the probabilities sum to 0.75, not to 1")}


def test_values_of_several_types_are_text(tmp_path: Path, desk: Desk) -> None:
    path = tmp_path / "mixed.db"
    with contextlib.closing(apsw.Connection(str(path))) as sqlite:
        sqlite.execute("CREATE TABLE t (id, y_true)")
        sqlite.executemany(
            "INSERT INTO t VALUES (?, ?)", [(1, 1), ("b", "0"), (b"c", 1.0), (4, "x"), (5, None)]
        )
    (report,) = bring(desk.home, Y, SqlSource(address(f"sqlite:///{path}"), "SELECT * FROM t"))
    assert logged(desk.home, Y).values == {"1": 1.0, "b": 0.0, "c": 1.0, "5": None}
    assert reasons(report) == {
        4: ("y_true", "y_true must be a number, not 'x'; a word gets its number by --label WORD=NUMBER")
    }


def test_a_batch_of_no_rows_has_names() -> None:
    assert batch_of([], ["a", "b"]).schema.names == ["a", "b"]


# Going on.


def test_a_query_that_gives_another_order_loses_nothing(postgres: Server, desk: Desk) -> None:
    """Its rows are known by what is in a piece, not by their place."""
    with psycopg.connect(postgres.url()) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS turned (id text, y_true int)")
        connection.execute(
            f"TRUNCATE turned; INSERT INTO turned SELECT 'p' || n, n % 2 FROM generate_series(1, {ROWS}) n"
        )
    query = "SELECT id, y_true FROM turned"
    asked = iter([True])
    source = SqlSource(address(postgres.url()), query)
    with pytest.raises(Stopped):
        bring(desk.home, Y, source, stop=lambda: next(asked))
    ((_, begun),) = all_progress(desk.home)
    assert (begun.read, len(begun.pieces)) == (50_000, 1)
    with psycopg.connect(postgres.url()) as connection:
        connection.execute("CREATE TABLE other AS SELECT * FROM turned ORDER BY id DESC")
        connection.execute("DROP TABLE turned")
        connection.execute("ALTER TABLE other RENAME TO turned")
    bring(desk.home, Y, SqlSource(address(postgres.url()), query))
    log = logged(desk.home, Y)
    assert log.ids == {f"p{n}" for n in range(1, ROWS + 1)}
    assert log.values == {f"p{n}": float(n % 2) for n in range(1, ROWS + 1)}


def test_a_server_that_is_killed_while_it_is_read_is_an_error_and_the_next_time_goes_on(
    postgres: Server, desk: Desk
) -> None:
    def kill() -> bool:
        postgres.kill()
        return False

    try:
        with pytest.raises(InputError, match="PostgreSQL refuses: "):
            bring(desk.home, P, Place(postgres.url()).source(), maps=MAPS, timezone="UTC", stop=kill)
    finally:
        postgres.start()
    (report,) = bring(desk.home, P, Place(postgres.url()).source(), maps=MAPS, timezone="UTC")
    assert report.read < ROWS
    log = logged(desk.home, P)
    assert (len(log.rows), set(log.rows.values())) == (ROWS, {1})


# Addresses.


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("mysql://x/y", "--from is no address of a database that is read; "),
        ("scores.db", "write it as postgresql://..., sqlite:///file or duckdb:///file"),
        (
            "env:NOT_SET_HERE",
            "the environment variable 'NOT_SET_HERE' is not set; export it with the address",
        ),
    ],
)
def test_an_address_that_is_none_is_refused(said: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as found:
        address(said)
    assert found.value.field == "from"


@pytest.mark.parametrize("scheme", ["sqlite", "duckdb"])
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, scheme: str) -> None:
    (tmp_path / "x.db").write_text("hello " * 1000)
    for path in (tmp_path / "gone.db", tmp_path / "x.db"):
        with pytest.raises(InputError, match=r"is no file; an address is such as|refuses: "):
            SqlSource(address(f"{scheme}:///{path}"), "SELECT 1").columns()
    assert not (tmp_path / "gone.db").exists()


def test_a_password_is_never_shown(postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = quote(PASSWORD, safe="")
    url = f"postgresql://postgres:{secret}@127.0.0.1:{postgres.port}/postgres"
    desk = live(tmp_path / "s")
    monkeypatch.setenv("WAREHOUSE", url)
    done = lossloop(
        "import", "predictions", MODEL, "--sql", f"{SCORES} LIMIT 10", "--from", "env:WAREHOUSE", "--map",
        "y_pred=score", "--map", "time=moment", "--timezone", "UTC", "--json", state=desk.home.path,
    )  # fmt: skip
    assert '"taken": 10' in done.stdout
    assert "postgres@127.0.0.1" in done.stdout
    said = [done.stdout, done.stderr, repr(address(url))]
    for wrong in (url, f"{url}?nope=1", url.replace("127.0.0.1", "nowhere.invalid"), f"{url}wrong"):
        with pytest.raises(InputError) as found:
            SqlSource(address(wrong), "SELECT nope").columns()
        said.append(str(found.value))
    said += [path.read_text() for path in (desk.home.path / "imports").rglob("*.json")]
    assert not [text for text in said if PASSWORD in text or secret in text or "s3cret" in text]


def test_without_the_driver_the_extra_is_named(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['psycopg'] = sys.modules['duckdb'] = None\n"
        "from lossloop.app.importing import SqlSource, address\n"
        "from lossloop.core.errors import MissingExtra\n"
        "open('x.db', 'w').close()\n"
        "for url in ('postgresql://x/y', 'duckdb:///x.db'):\n"
        "    try: SqlSource(address(url), 'SELECT 1').columns()\n"
        "    except MissingExtra as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.splitlines() == [
        "psycopg is not installed; run: pip install 'lossloop[postgres]'",
        "duckdb is not installed; run: pip install 'lossloop[duckdb]'",
    ]


# A ledger that itself lies in PostgreSQL.


def test_history_goes_into_a_ledger_in_postgresql_once(postgres: Server, tmp_path: Path) -> None:
    home = init(tmp_path / "s", Settings(store=postgres.url()))
    operate.set_policy(home, policy_text())
    operate.register(home, MODEL, external())
    scores = parquet(tmp_path / "a.parquet", predicted(ROWS))
    asked = iter([True])
    with pytest.raises(Stopped):
        bring(home, P, scores, stop=lambda: next(asked))
    (report,) = bring(home, P, scores)
    assert (report.before, report.taken) == (50_000, ROWS - 50_000)
    bring(home, Y, csv_of(tmp_path / "y.csv", happened(ROWS)))
    assert counts(home) == {"predictions": ROWS, "outcomes": ROWS}
    log = logged(home, P)
    assert (log.ids, log.history) == (set(predicted(ROWS)["id"].to_pylist()), {True})
    assert set(log.rows.values()) == {1}
