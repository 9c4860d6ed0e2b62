"""A ledger moves between files and PostgreSQL: same facts, same figures, nothing decided or done again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import psycopg
import pytest

from lossloop.access import TokenBook
from lossloop.app import bundles
from lossloop.app.bundles import bring_in, export
from lossloop.app.home import STORE, Home, init
from lossloop.app.moving import with_ticks
from lossloop.app.operate import fold_here
from lossloop.core.errors import InputError, InUse, StateError
from lossloop.ledger import facts
from lossloop.ledger.base import entries_of
from lossloop.ledger.files import durable
from lossloop.ledger.files.erasing import erase
from lossloop.ledger.files.manifests import NOTE, sealed_directory
from lossloop.ledger.files.sealing import seal
from lossloop.ledger.files.verify import verify
from lossloop.ledger.frames import Damage, Frame, Kind
from lossloop.ledger.joined.keys import Keys
from lossloop.ledger.postgres.database import Database
from lossloop.ledger.postgres.frames import partition_of
from lossloop.ledger.postgres.intake import Taken
from lossloop.ledger.postgres.setup import init_store
from lossloop.ledger.postgres.turns import UPKEEP, Turn
from tests.app import keepsakes
from tests.app.desk import MODEL, asked
from tests.app.moves import OTHER, append, decided, derived, emptied, figures, pending, storied, two_models
from tests.app.test_cli import Run, run
from tests.ledger.postgres import server as postgres
from tests.ledger.postgres.places import taken
from tests.ledger.samples import outcome_frame, tick_frame

__all__ = ["run"]


@pytest.fixture(scope="module")
def database() -> Iterator[postgres.Server]:
    with postgres.running() as server:
        yield server


@pytest.fixture
def url(database: postgres.Server) -> str:
    """Of a database without a ledger."""
    return emptied(database)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A laptop's ledger, of which nothing may change."""
    return storied(tmp_path_factory.mktemp("source") / "s")


@pytest.fixture(scope="module")
def packed(source: Home) -> Path:
    """Its bundle."""
    path = source.path.with_name("packed.tar.zst")
    export(source, path)
    return path


def moved(bundle: Path, state: Path, store: str = "") -> Home:
    """A bundle in a directory, or a database, and folded."""
    bring_in(bundle, state, store=store)
    home = Home(path=state).check()
    fold_here(home)
    return home


def frames_of(home: Home) -> list[Frame]:
    reader = home.log.reader()
    found = [entry.frame for entry in entries_of(reader) if isinstance(entry.frame, Frame)]
    reader.close()
    return found


def facts_in(home: Home) -> list[tuple[Kind, list[dict[str, object]]]]:
    """What others said, in its order; decisions are logged again whenever they are made again."""
    mine = [frame for frame in frames_of(home) if frame.kind is not Kind.DECISION]
    return [(frame.kind, frame.batch.to_pylist()) for frame in mine]


def decisions_in(home: Home) -> set[tuple[str, str]]:
    """What the log says was decided."""
    logged = [frame.batch for frame in frames_of(home) if frame.kind is Kind.DECISION]
    return {(row["id"], row["body"]) for batch in logged for row in batch.to_pylist()}


# The move.


def test_a_ledger_goes_into_a_database_and_back_and_stays_as_it_was(
    source: Home, packed: Path, url: str, tmp_path: Path
) -> None:
    before = derived(source)
    assert {decision.action for decision in decided(source)} > {"roll_back", "promote", "notify", "retrain"}
    counts = figures(source)[MODEL]["counts"]
    assert min(counts[name] for name in ("predictions", "outcomes", "repeats", "corrections", "waiting")) > 0
    there = moved(packed, tmp_path / "there", url)
    assert there.settings().salt == source.settings().salt
    assert derived(there) == before
    assert facts_in(there) == facts_in(source)
    assert decisions_in(there) == decisions_in(source)
    export(there, tmp_path / "out")
    back = moved(tmp_path / "out", tmp_path / "back")
    assert derived(back) == before
    assert facts_in(back) == facts_in(source)
    assert decisions_in(back) == decisions_in(source)
    for home in (there, back):
        assert decided(home) == decided(source)
        assert figures(home) == figures(source)
        assert pending(home) == []


def test_what_was_sealed_moves_like_what_was_not(
    source: Home, packed: Path, url: str, tmp_path: Path
) -> None:
    home = moved(packed, tmp_path / "sealed")
    assert seal(home.segments.directory)
    stored = home.artifacts.put(b"a model")
    export(home, tmp_path / "b")
    there = moved(tmp_path / "b", tmp_path / "there", url)
    assert derived(there) == derived(source)
    assert there.artifacts.get(stored) == b"a model"
    assert not (tmp_path / "there" / "log").exists()
    export(there, tmp_path / "c")
    assert moved(tmp_path / "c", tmp_path / "t").artifacts.get(stored) == b"a model"


def test_models_apart_decide_again_what_they_decided_and_when(url: str, tmp_path: Path) -> None:
    source = two_models(tmp_path / "s")
    assert partition_of(MODEL, 8) != partition_of(OTHER, 8)
    made = decided(source)
    assert {decision.model for decision in made} >= {OTHER}
    assert any(decision.watch == "worse" for decision in made)
    assert figures(source)[MODEL]["counts"]["absent"] > 0
    export(source, tmp_path / "b")
    there = moved(tmp_path / "b", tmp_path / "there", url)
    assert decided(there) == made
    export(there, tmp_path / "c")
    back = moved(tmp_path / "c", tmp_path / "back")
    assert decided(back) == made
    for home in (there, back):
        assert pending(home) == []
        for model in (MODEL, OTHER):
            for name in ("counts", "losses"):
                assert figures(home)[model][name] == figures(source)[model][name]


def test_a_tick_stands_where_a_model_decided_because_of_another(tmp_path: Path) -> None:
    one, other = (outcome_frame({"a": 1.0}, model=model, time=5) for model in ("m", "n"))
    late = outcome_frame({"a": 1.0}, model="n", time=7)
    decided = {5: {"m"}, 7: {"m", "n"}}
    assert [frame.kind for frame in with_ticks([one, other], decided, replays=False)] == [Kind.OUTCOME] * 2
    found = list(with_ticks([other, one, late, tick_frame(8)], decided, replays=False))
    assert [(frame.kind, frame.time) for frame in found] == [
        (Kind.TICK, 5), (Kind.OUTCOME, 5), (Kind.OUTCOME, 5), (Kind.TICK, 7), (Kind.OUTCOME, 7),
        (Kind.TICK, 8),
    ]  # fmt: skip
    early = [replace(late, time=1), replace(one, time=2)]  # by the time of events
    found = list(with_ticks(early, decided, replays=True))
    assert [(frame.kind, frame.time) for frame in found] == [
        (Kind.TICK, 1), (Kind.OUTCOME, 1), (Kind.OUTCOME, 2),
    ]  # fmt: skip
    assert found[0].batch.column("time").cast("int64").to_pylist() == [7]
    made = facts.decisions([("m/000001", "{}")], now=9)
    assert list(with_ticks([made], {9: {"m"}}, replays=False)) == [made]


def test_an_erased_person_stays_in_the_figures_and_nowhere_else(url: str, tmp_path: Path) -> None:
    desk = keepsakes.storied(tmp_path / "s")
    log = desk.home.segments.directory
    seal(log)
    before = keepsakes.figures(desk.home)["counts"]
    assert erase(log, keepsakes.UNIT, keys=Keys(desk.home.settings().secret))
    export(desk.home, tmp_path / "b")
    there = moved(tmp_path / "b", tmp_path / "there", url)
    raw = json.dumps([frame.batch.to_pylist() for frame in frames_of(there)], default=str)
    assert keepsakes.UNIT not in raw
    assert "bob" in raw
    desk.home.state_file.unlink()
    desk.fold()
    assert keepsakes.figures(there)["counts"] == keepsakes.figures(desk.home)["counts"]
    assert before["predictions"] >= keepsakes.figures(there)["counts"]["predictions"]


def test_a_removal_that_was_cut_off_is_told_on_the_way(url: str, tmp_path: Path) -> None:
    desk = keepsakes.storied(tmp_path / "s")
    log = desk.home.segments.directory
    (manifest, *_) = seal(log)
    note = {
        "segment": manifest.segment, "generation": manifest.generation, "why": "expired",
        "facts": [{"model": MODEL, "segment": manifest.segment, "predictions": 3}],
    }  # fmt: skip
    (sealed_directory(log) / NOTE).write_bytes(msgspec.json.encode(note))
    export(desk.home, tmp_path / "b")
    there = moved(tmp_path / "b", tmp_path / "there", url)
    *others, last = facts_in(there)
    assert others == facts_in(desk.home)
    assert "expired" in str(last)


def test_what_was_erased_and_pruned_in_a_database_moves_as_counts(
    packed: Path, url: str, run: Run, tmp_path: Path
) -> None:
    there = moved(packed, tmp_path / "there", url)
    export(there, tmp_path / "before")
    counts = figures(there)[MODEL]["counts"]
    there_too = ["--state", str(there.path), "--json"]
    assert run("erase", "--unit", "a", "--yes", *there_too).json["models"][MODEL]["predictions"] > 0
    assert run("ledger", "prune", MODEL, "--larger-than", "1kB", *there_too).json["predictions"] > 0
    assert any("key_low" in row for _, rows in facts_in(there) for row in rows), "nothing has expired"
    export(there, tmp_path / "after")
    back = moved(tmp_path / "after", tmp_path / "back")
    for name in ("predictions", "outcomes"):
        assert figures(back)[MODEL]["counts"][name] == counts[name]
    assert "a" not in {row.get("unit") for _, rows in facts_in(back) for row in rows}
    assert bundles.erase_in_bundle(tmp_path / "before", "a", None) == {}, "the erasure reached the bundle"


# An export of a database.


@pytest.fixture
def there(packed: Path, url: str, tmp_path: Path) -> Home:
    """A ledger in a database."""
    return moved(packed, tmp_path / "there", url)


def everything_below(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file())


def test_neither_a_password_nor_a_token_leaves_with_a_bundle(
    there: Home, database: postgres.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = postgres.PASSWORD.replace(":", "%3A").replace("@", "%40")
    address = f"postgresql://postgres:{secret}@127.0.0.1:{database.port}/postgres"
    with (there.path / "settings.yaml").open("a") as file:
        file.write(f"# was {address}\n")
    Home(path=there.path).set_store(address)
    export(Home(path=there.path), tmp_path / "b")
    raw = everything_below(tmp_path / "b")
    for word in ("s3cret", "postgresql://postgres", str(database.folder), there.tokens.read()):
        assert word.encode() not in raw
    monkeypatch.setenv("THE_STORE", address)
    Home(path=there.path).set_store("env:THE_STORE")
    export(Home(path=there.path), tmp_path / "c")
    assert b"THE_STORE" not in everything_below(tmp_path / "c")
    assert TokenBook(moved(tmp_path / "c", tmp_path / "t").path).read() != there.tokens.read()


def test_an_export_of_a_database_is_listed_for_erasures(there: Home, tmp_path: Path) -> None:
    contents = export(there, tmp_path / "b.tar.zst")
    assert [backup.path for backup in bundles.backups(there)] == [str(tmp_path / "b.tar.zst")]
    assert bundles.backups(there)[0].made == contents.about["until"]
    assert bundles.erase_in_bundle(tmp_path / "b.tar.zst", "a", None)[MODEL].predictions > 0
    home = moved(tmp_path / "b.tar.zst", tmp_path / "t")
    assert verify(home.segments.directory).sound
    assert not keepsakes.places_of(home, '"unit":"a"')


def test_an_export_holds_what_was_committed_before_it(there: Home, tmp_path: Path) -> None:
    """Facts that come while it reads are for the next one."""
    before, writer = facts_in(there), there.log.writer()
    told: list[int] = []

    def tell(done: int) -> None:
        if not told:
            writer.append([tick_frame(1)])
        told.append(done)

    contents = export(there, tmp_path / "b", tell=tell)
    writer.close()
    assert sum(told) == sum(item.bytes for item in contents.files.values())
    assert 0 < bundles.size(there) < 2 * sum(told)
    assert len(facts_in(there)) == len(before) + 1
    assert facts_in(moved(tmp_path / "b", tmp_path / "t")) == before


def test_a_bundle_of_a_database_is_sealed_and_asked(there: Home, tmp_path: Path) -> None:
    export(there, tmp_path / "b")
    home = moved(tmp_path / "b", tmp_path / "t")
    assert seal(home.segments.directory)
    assert list(sealed_directory(home.segments.directory).glob(f"predictions/model={MODEL}/*.parquet"))
    assert verify(home.segments.directory).sound


def test_one_at_a_time_exports_a_database(there: Home, tmp_path: Path) -> None:
    assert there.database is not None
    turn = Turn(there.database, UPKEEP)
    assert turn.mine()
    with pytest.raises(InUse, match="another process prunes, erases or exports postgresql://"):
        export(there, tmp_path / "b")
    assert not list(tmp_path.glob("b*"))
    turn.close()
    export(there, tmp_path / "b")
    with pytest.raises(InputError, match="is there already"):
        export(there, tmp_path / "b")


# What is refused.


def test_a_database_with_other_facts_is_refused_and_left_alone(
    packed: Path, url: str, tmp_path: Path
) -> None:
    home = init(tmp_path / "used")
    append(home, [tick_frame(1)])
    export(home, tmp_path / "b")
    bring_in(tmp_path / "b", tmp_path / "t", store=url)
    with pytest.raises(StateError, match="holds facts already, and not those that you bring") as refused:
        bring_in(packed, tmp_path / "u", store=url)
    assert url not in str(refused.value)
    assert not list(tmp_path.glob("u*.draft"))
    assert not (tmp_path / "u").exists()
    assert len(frames_of(Home(path=tmp_path / "t"))) == 1


def test_a_ledger_that_is_there_and_empty_gets_the_salt(packed: Path, url: str, tmp_path: Path) -> None:
    init_store(Database(url=url), partitions=3)
    there = moved(packed, tmp_path / "t", url)
    assert there.settings().salt == "salt"
    assert figures(there)[MODEL]["counts"]["predictions"] > 0


def test_a_store_that_takes_no_connection_or_cannot_be_read_is_said_first(
    database: postgres.Server, tmp_path: Path
) -> None:
    for store, words in (
        ("mysql://a", "cannot be read"),
        ("env:NONE", "variable that is not set: NONE"),
        (database.url("nowhere"), "takes no connection: .*does not exist"),
    ):
        with pytest.raises((InputError, StateError), match=words):
            bring_in(tmp_path / "no bundle", tmp_path / "t", store=store)
    assert not list(tmp_path.glob("t*"))


def test_a_bundle_of_another_format_does_not_go_into_a_database(
    source: Home, url: str, tmp_path: Path
) -> None:
    export(source, tmp_path / "b")
    listed = json.loads((tmp_path / "b" / "bundle.json").read_text())
    (tmp_path / "b" / "format").write_text("1\n")
    listed["files"]["format"] = {"bytes": 2, "digest": durable.digest_of(tmp_path / "b" / "format")}
    (tmp_path / "b" / "bundle.json").write_text(json.dumps(listed))
    with pytest.raises(StateError, match="has format 1, a database takes"):
        bring_in(tmp_path / "b", tmp_path / "t", store=url)


def test_a_bundle_cannot_say_where_its_facts_go(source: Home, url: str, tmp_path: Path) -> None:
    """A settings file that somebody wrote into it would send them away."""
    export(source, tmp_path / "b")
    path = tmp_path / "b" / "settings.yaml"
    path.write_text(path.read_text().replace('store: ""', f'store: "{url}"'))
    assert url in path.read_text()
    listed = json.loads((tmp_path / "b" / "bundle.json").read_text())
    listed["files"]["settings.yaml"] = {"bytes": path.stat().st_size, "digest": durable.digest_of(path)}
    (tmp_path / "b" / "bundle.json").write_text(json.dumps(listed))
    home = moved(tmp_path / "b", tmp_path / "t")
    assert home.database is None
    assert decided(home) == decided(source)


# Killed.


CHILD = """
import os, shutil, signal, sys
from pathlib import Path
from lossloop.app.bundles import bring_in, export
from lossloop.app.home import Home

what, bundle, state, store, limit = sys.argv[1:]
done = 0

def tell(more):
    global done
    done += more
    if done > int(limit):
        os.kill(os.getpid(), signal.SIGKILL)

def look(event, arguments):
    if limit == "-1" and event == "shutil.rmtree" and str(arguments[0]).endswith("log"):
        os.kill(os.getpid(), signal.SIGKILL)

if limit == "-1":
    sys.addaudithook(look)
    tell = lambda more: None
if what == "import":
    bring_in(Path(bundle), Path(state), store=store, tell=tell)
else:
    export(Home(path=Path(state)), Path(bundle), tell=tell)
"""


def killed(what: str, bundle: Path, state: Path, store: str, limit: int) -> None:
    child = subprocess.run(
        [sys.executable, "-c", CHILD, what, str(bundle), str(state), store, str(limit)],
        check=False, env=os.environ,
    )  # fmt: skip
    assert child.returncode == -signal.SIGKILL


def test_an_import_that_is_killed_anywhere_is_done_again(
    source: Home, packed: Path, url: str, tmp_path: Path
) -> None:
    unpacked = sum(item.bytes for item in bring_in(packed, tmp_path / "files").contents.files.values())
    killed("import", packed, tmp_path / "t", url, unpacked + 20_000)  # many facts are on their way
    assert not (tmp_path / "t").exists()
    with psycopg.connect(url) as connection:
        for table in ("segments", "frames"):
            assert connection.execute(f"SELECT count(*) FROM lossloop.{table}").fetchall() == [(0,)]
    killed("import", packed, tmp_path / "t", url, -1)  # all facts are there, and no directory
    assert not (tmp_path / "t").exists()
    assert bring_in(packed, tmp_path / "t", store=url).taken == Taken(known=True)
    home = Home(path=tmp_path / "t")
    fold_here(home)
    assert derived(home) == derived(source)
    assert not list(tmp_path.glob("*.draft"))


def test_an_export_that_is_killed_leaves_nothing_under_its_name(there: Home, tmp_path: Path) -> None:
    for name in ("b", "b.tar.zst"):
        killed("export", tmp_path / name, there.path, "", 10_000)
        assert not (tmp_path / name).exists()
        assert bundles.backups(there) == []
    for name in ("b", "b.tar.zst"):
        export(there, tmp_path / name)
    assert not list(tmp_path.glob("*.draft"))
    assert decided(moved(tmp_path / "b", tmp_path / "t")) == decided(there)


def test_a_second_machine_takes_the_same_bundle(there: Home, packed: Path, tmp_path: Path) -> None:
    assert there.database is not None
    brought = bring_in(packed, tmp_path / "second", store=there.database.url)
    assert brought.taken == Taken(known=True)
    assert figures(Home(path=tmp_path / "second")) == figures(there)


# Damage.


def test_damage_in_a_database_is_refused_or_left_out_aloud(there: Home, run: Run, tmp_path: Path) -> None:
    assert there.database is not None
    before = facts_in(there)
    with psycopg.connect(there.database.url, autocommit=True) as connection:
        ((number,),) = connection.execute(
            "UPDATE lossloop.frames SET crc = crc # 1 WHERE kind = 1 AND number = "
            "(SELECT min(number) FROM lossloop.frames WHERE kind = 1) RETURNING number"
        ).fetchall()
    said = run("ledger", "export", str(tmp_path / "b"), "--state", str(there.path))
    assert said.code == 1
    words = " ".join(said.err.split())
    assert f"is damaged from {number - 1} to {number}. See which events that touches: lossloop " in words
    assert f"lossloop ledger verify --state {there.path}. To go on without them: --skip-damaged" in words
    assert not list(tmp_path.glob("b*"))
    said = run("ledger", "export", str(tmp_path / "b"), "--skip-damaged", "--state", str(there.path))
    assert "Left out, for damage: 1 stretches of the log." in said.out
    assert len(facts_in(moved(tmp_path / "b", tmp_path / "t"))) == len(before) - 1
    said = run(
        "ledger", "export", str(tmp_path / "c"), "--skip-damaged", "--json", "--state", str(there.path)
    )
    assert said.json["damaged"] == 1
    assert json.loads((tmp_path / "c" / "bundle.json").read_text())["about"]["damaged"] == 1


def test_damage_in_files_is_refused_or_left_out_aloud(url: str, run: Run, tmp_path: Path) -> None:
    home = init(tmp_path / "s")
    append(home, [asked(1, [0.5], ["a"]), asked(2, [0.5], ["b"]), tick_frame(9)])
    path = next(home.segments.directory.glob("*.seg"))
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    (damage,) = [each for each in _entries(home) if isinstance(each, Damage)]
    run("ledger", "export", str(tmp_path / "b"))
    wanted = ["ledger", "import", str(tmp_path / "b"), "--store", url, "--state", str(tmp_path / "t")]
    said = run(*wanted)
    assert said.code == 1
    words = " ".join(said.err.split())
    assert f"is damaged from {damage.start:,} to {damage.end:,}." in words
    assert "lossloop ledger verify --state DIRECTORY" in words
    assert not (tmp_path / "t").exists()
    said = run(*wanted, "--skip-damaged")
    assert "2 frames with 2 rows went into postgresql://postgres@" in said.out
    assert "Left out, for damage: 1 stretches of the log." in said.out
    assert len(frames_of(Home(path=tmp_path / "t"))) == 2


@pytest.mark.parametrize("sealed", [False, True])
def test_damage_at_the_end_of_a_segment_is_seen_too(url: str, tmp_path: Path, sealed: bool) -> None:
    home = init(tmp_path / "s")
    append(home, [tick_frame(9), tick_frame(10)])
    path = next(home.segments.directory.glob("*.seg"))
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2 + 4] ^= 1  # in the header of the last frame
    path.write_bytes(raw)
    if sealed:
        seal(home.segments.directory)
    export(home, tmp_path / "b")
    with pytest.raises(StateError, match="is damaged from"):
        bring_in(tmp_path / "b", tmp_path / "t", store=url)
    brought = bring_in(tmp_path / "b", tmp_path / "t", store=url, skip_damaged=True)
    assert (brought.taken, brought.damaged) == (Taken(frames=1, rows=1), 1)


def _entries(home: Home) -> list[Frame | Damage]:
    reader = home.log.reader()
    found = [entry.frame for entry in entries_of(reader)]
    reader.close()
    return found


# The commands.


def test_the_command_says_where_facts_went(
    source: Home, packed: Path, url: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_STORE", url)
    wanted = ["ledger", "import", str(packed), "--store", "env:THE_STORE", "--state", str(tmp_path / "t")]
    told = run(*wanted, "--json").json
    frames = len(frames_of(source))
    assert told["store"].items() >= {"frames": frames, "known": False, "damaged": 0}.items()
    assert url not in json.dumps(told)
    assert 'store: "env:THE_STORE"' in (tmp_path / "t" / "settings.yaml").read_text()
    monkeypatch.setenv(STORE, url)
    said = run("ledger", "import", str(packed), "--state", str(tmp_path / "u"))
    assert said.code == 0
    assert "Its facts were in postgresql://postgres@" in said.out
    assert "already." in said.out


def test_importing_beside_a_running_applier_leaves_the_folding_to_it(
    there: Home, packed: Path, tmp_path: Path
) -> None:
    assert there.database is not None
    assert taken(there.database)
    moved(packed, tmp_path / "second", there.database.url)
