"""`lossloop predict` as a process: what it says, how it ends, and that a kill -9 costs nothing."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from lossloop.app.alone import stopped
from lossloop.app.erasing import erase_unit
from lossloop.app.home import Home
from lossloop.app.predicting import Naming, all_batches
from lossloop.ledger.files.sealing import seal
from lossloop.ledger.frames import Kind
from tests.app.importing.pasts import logged
from tests.app.keepsakes import places_of
from tests.app.predicting.desk import MODEL, answer, counts, csv_of, expected, house, parquet, read, rows
from tests.app.processes import lossloop, started
from tests.app.server import within

ROWS = 160_000


def begin(home: Home, *arguments: str | Path) -> subprocess.Popen[str]:
    """The command as a process of its own."""
    command = [sys.executable, "-m", "lossloop", "predict", MODEL, *map(str, arguments)]
    return subprocess.Popen(
        [*command, "--state", str(home.path), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip


def rows_done(home: Home) -> int:
    return sum(batch.rows for batch in all_batches(home))


def _begun_or_over(home: Home, before: int, process: subprocess.Popen[str]) -> bool:
    return rows_done(home) > before or process.poll() is not None


@pytest.mark.slow
@pytest.mark.parametrize("running", [False, True], ids=["alone", "beside lossloop up"])
def test_a_process_that_is_killed_again_and_again_gives_every_row_once(tmp_path: Path, running: bool) -> None:
    home, chance, deaths = house(tmp_path / "s"), random.Random(running), 0
    path, out = parquet(tmp_path / "in.parquet", rows(ROWS)), tmp_path / "o.parquet"
    arguments = ("--input", path, "--output", out, "--id", "id", "--unit", "who")
    with started(home.path) if running else contextlib.nullcontext():
        for _ in range(1 if running else 2):
            before, process = rows_done(home), begin(home, *arguments)
            within(partial(_begun_or_over, home, before, process))
            time.sleep(chance.random() * 0.05)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            deaths += process.returncode == -signal.SIGKILL
        said, error = (process := begin(home, *arguments)).communicate()
        assert process.returncode == 0, error
    told = json.loads(said)
    assert deaths, "it was done before it could be killed; take more rows"
    assert told["before"] + told["read"] == told["answered"] == ROWS
    found = read(out)
    assert found["id"].to_pylist() == rows(ROWS)["id"].to_pylist()
    assert found["y_pred"].to_pylist() == expected(rows(ROWS))
    known = counts(home)
    log = logged(home, Kind.PREDICTION)
    assert known["predictions"] == len(log.ids) == ROWS
    assert sum(log.rows.values()) - ROWS == known.get("repeats", 0)
    assert not known.keys() & {"conflicts", "waiting"}
    assert not list(tmp_path.glob("s/batches/*/*.arrow"))


def test_what_it_says_and_how_it_ends(tmp_path: Path) -> None:
    home = house(tmp_path / "s")
    good, bad = csv_of(tmp_path / "good.csv", rows(5)), tmp_path / "bad.csv"
    bad.write_text("id,x\na,1\nb,two\n")
    out = str(tmp_path / "o.csv")
    said = lossloop("predict", MODEL, "--input", str(good), "--output", out, "--id", "id", state=home.path)
    assert said.returncode == 0, said.stderr
    assert said.stdout == f"m:1 answered 5 rows, 0 rejected: {out}\n"
    said = lossloop(
        "predict", MODEL, "--input", str(bad), "--output", out, "--id", "id", "--json", state=home.path
    )
    assert said.returncode == 2
    told = json.loads(said.stdout)
    assert (told["answered"], told["rejected"], told["version"]) == (1, 1, 1)
    (found,) = told["bad"]
    assert (found["row"], found["column"]) == (2, "x")
    assert Path(told["rejects"]).exists()
    lost = lossloop("predict", "n", "--input", str(good), "--output", out, "--json", state=home.path)
    assert lost.returncode == 1
    assert "unknown model 'n'" in json.loads(lost.stdout)["error"]


def test_a_log_of_batches_can_be_sealed_and_says_which_batch_it_was(tmp_path: Path) -> None:
    home = house(tmp_path / "s")
    report = answer(home, [parquet(tmp_path / "in.parquet", rows(20))], tmp_path / "o.parquet")
    seal(home.segments.directory)
    log = logged(home, Kind.PREDICTION)
    assert log.ids == set(rows(20)["id"].to_pylist())
    assert {batch.schema.metadata[b"batch"].decode() for batch in log.frames} == {report.batch.id}


def test_a_unit_is_forgotten_in_rejects_and_in_answers_that_wait(tmp_path: Path) -> None:
    home = house(tmp_path / "s")
    path = tmp_path / "in.csv"
    path.write_text("id,x,who\na,1,alice-was-here\nb,two,alice-was-here\nc,three,bob\n")
    naming = Naming(id="id", unit="who")
    answer(home, [path], tmp_path / "o.csv", naming=naming)
    assert places_of(home, "alice-was-here")
    with stopped(home) as alone:
        done = erase_unit(alone, "alice-was-here", None)
    assert done.rejected == 1
    assert not places_of(home, "alice-was-here")
    (batch,) = all_batches(home)
    assert batch.finished
