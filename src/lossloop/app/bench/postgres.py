"""The ledger on PostgreSQL: what two writers log, and what an applier joins."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from lossloop.act.settings import Settings
from lossloop.app.bench import postgres_server, rows, writing
from lossloop.app.bench.apart import Apart
from lossloop.app.bench.base import Bench, Part, Spread
from lossloop.app.bench.figure import Figure
from lossloop.app.bench.floors import Joined
from lossloop.app.bench.house import AT_ONCE, House
from lossloop.app.bench.targets import figure
from lossloop.app.fold import Steps, folding_in
from lossloop.core.errors import StateError
from lossloop.ledger.joined.keys import Int64
from lossloop.ledger.postgres.database import Database
from lossloop.ledger.postgres.session import Session

WRITERS = 2
PATIENCE = 60.0
_COLUMNS = "(id text{key}, version integer, at bigint, y_pred double precision, y_true double precision)"
_UPDATE = (
    "UPDATE lossloop.keyed SET y_true = 1 FROM unnest(%s::text[]) AS given(id) WHERE keyed.id = given.id"
)


def measure(bench: Bench) -> Iterator[Figure]:
    """The log and the derived state lie in the database; there is no HTTP."""
    sizes = bench.sizes
    bench.screen.phase("postgres: a server is made")
    with postgres_server.serving(bench.directory) as url:
        house = House(bench.directory / "on-postgres", Settings(store=url))
        try:
            bench.screen.phase(
                f"postgres_in: {sizes.repeats} times {sizes.written} batches, {WRITERS} writers"
            )
            rate = Spread.of([_written(bench, house) for _ in range(sizes.repeats)])
            yield figure(
                "postgres_in", rate.median, floor=_copied(bench, url, "bare"),
                peer=_copied(bench, url, "keyed", " PRIMARY KEY"), low=rate.low, high=rate.high,
            )  # fmt: skip
            yield from _join(bench, house, url)
        finally:
            house.close()


def _written(bench: Bench, house: House) -> float:
    """Events a second that writers in processes of their own append, each batch acknowledged by itself."""
    sizes = bench.sizes
    each = sizes.written * sizes.small_batch
    writers = [
        Apart("writing", writing.Job(
            state=str(house.home.path.resolve()), first=int(house.fresh(each)[0]), size=sizes.small_batch,
            batches=sizes.written,
        ))
        for _ in range(WRITERS)
    ]  # fmt: skip
    for writer in writers:
        writer.go()
    seconds = max([writer.report(writing.Report).seconds for writer in writers])
    return WRITERS * each / seconds


def _join(bench: Bench, house: House, url: str) -> Iterator[Figure]:
    sizes = bench.sizes
    size, batches = sizes.small_batch, sizes.small_batches
    missing = house.fresh(max(0, sizes.open_on_postgres - house.open))
    for start in range(0, len(missing), AT_ONCE):
        house.append("predictions", missing[start : start + AT_ONCE])
    bench.screen.phase(f"postgres_join: {house.open:,} open predictions")
    database = Database(url=url)
    folding = folding_in(database, house.home)
    try:
        _drain(house, folding)
        open_now = house.open
        _joined(house, folding, size, 1)
        rate = Spread.of([_joined(house, folding, size, batches) for _ in range(sizes.repeats)])
    finally:
        folding.close()
    floor = Joined(open_now, bench.directory)
    peer = _updated(bench, database)
    yield figure(
        "postgres_join", rate.median, floor=floor.rate(size, batches), peer=peer, low=rate.low,
        high=rate.high, open=open_now,
    )  # fmt: skip
    floor.close()


def _joined(house: House, folding: Steps, size: int, batches: int) -> float:
    seconds = 0.0
    for _ in range(batches):
        house.append("outcomes", house.take(size))
        started = time.perf_counter()
        while not folding.step():
            if time.perf_counter() - started > PATIENCE:
                raise StateError(f"an outcome was not folded within {PATIENCE:g} s")
        seconds += time.perf_counter() - started
    return size * batches / seconds


def _drain(house: House, folding: Steps) -> None:
    """Fold all that was logged; the leases of the partitions come first."""
    state, reader = house.home.state(), house.home.log.reader()
    since = time.monotonic()
    while reader.behind(state.offsets()):
        if folding.step():
            since = time.monotonic()
        elif time.monotonic() - since > PATIENCE:
            raise StateError(f"nothing was folded for {PATIENCE:g} s")
    reader.close()
    state.close()


def _copied(bench: Bench, url: str, table: str, key: str = "") -> float:
    """Events a second that two connections copy into a table, a batch in each transaction."""
    sizes, database = bench.sizes, Database(url=url)
    session = Session(database)
    session.run(lambda it: it.execute(f"CREATE TABLE lossloop.{table} {_COLUMNS.format(key=key)}".encode()))
    session.close()
    numbers = bench.house.any(WRITERS * sizes.written * sizes.small_batch)
    shares = [_texts(numbers[part::WRITERS], sizes.small_batch) for part in range(WRITERS)]

    def copy(texts: list[bytes]) -> float:
        mine = Session(database)
        mine.run(lambda it: it.execute("SELECT 1"))
        started = time.perf_counter()
        for text in texts:
            mine.run(_copy_into(table, text))
        seconds = time.perf_counter() - started
        mine.close()
        return seconds

    with ThreadPoolExecutor(WRITERS) as pool:
        return len(numbers) / max(pool.map(copy, shares))


def _copy_into(table: str, text: bytes) -> Callable[..., None]:
    def work(connection: object) -> None:
        with (
            connection.cursor() as cursor,  # type: ignore[attr-defined]
            cursor.copy(f"COPY lossloop.{table} FROM STDIN") as copy,
        ):
            copy.write(text)

    return work


def _texts(numbers: Int64, size: int) -> list[bytes]:
    ids = rows.ids(numbers).to_pylist()
    return [
        "".join(f"{id}\t1\t0\t0.5\t\\N\n" for id in ids[start : start + size]).encode()
        for start in range(0, len(ids), size)
    ]


def _updated(bench: Bench, database: Database) -> float:
    """Outcomes a second that one connection sets by their id, a batch in each transaction."""
    size, batches = bench.sizes.small_batch, bench.sizes.small_batches
    session, seconds = Session(database), 0.0
    numbers = bench.house.any(WRITERS * bench.sizes.written * size)
    for start in range(0, size * batches, size):
        ids = rows.ids(numbers[start : start + size]).to_pylist()
        started = time.perf_counter()
        session.run(lambda it, ids=ids: it.execute(_UPDATE, (ids,)))  # type: ignore[misc]
        seconds += time.perf_counter() - started
    session.close()
    return size * batches / seconds


PART = Part(ids=("postgres_in", "postgres_join"), house="postgres", measure=measure)
