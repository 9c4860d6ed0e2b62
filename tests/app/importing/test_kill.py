"""`lossloop import` is killed at any moment and given again: every row is in the log, and counted once."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from lossloop.app.home import Home
from lossloop.app.importing import Progress, all_progress
from lossloop.ledger.frames import Kind
from tests.app.desk import MODEL
from tests.app.importing.pasts import counts, csv_of, happened, live, logged, parquet, predicted
from tests.app.processes import started
from tests.app.server import within

ROWS = 200_000


def begin(state: Path, kind: str, *arguments: str | Path) -> subprocess.Popen[str]:
    """The command as a process of its own."""
    command = [sys.executable, "-m", "lossloop", "import", kind, MODEL, *map(str, arguments)]
    return subprocess.Popen(
        [*command, "--state", str(state), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(state: Path, kind: str, *arguments: str | Path) -> dict[str, int]:
    """The command to its end: what it says."""
    process = begin(state, kind, *arguments)
    out, err = process.communicate()
    assert process.returncode == 0, out + err
    found: dict[str, int] = json.loads(out)
    return found


def progress(home: Home) -> list[Progress]:
    return [found for _, found in all_progress(home)]


def rows_done(home: Home) -> int:
    return sum(found.read for found in progress(home))


def killed(home: Home, kind: str, files: Sequence[Path], chance: random.Random) -> bool:
    """Begin, and kill after a piece or so, at any moment; whether it was not done by then."""
    before, process = rows_done(home), begin(home.path, kind, *files)
    within(lambda: rows_done(home) > before or process.poll() is not None)
    time.sleep(chance.random() * 0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize("running", [False, True], ids=["alone", "beside lossloop up"])
def test_a_process_that_is_killed_again_and_again_loses_nothing_and_repeats_nothing(
    tmp_path: Path, running: bool
) -> None:
    home, chance = live(tmp_path / "s").home, random.Random(running)
    files = [
        parquet(tmp_path / "a.parquet", predicted(ROWS // 2), group=30_000),
        csv_of(tmp_path / "b.csv", predicted(ROWS // 2, first=ROWS // 2)),
    ]
    sources = {"predictions": files, "outcomes": [csv_of(tmp_path / "y.csv.gz", happened(ROWS))]}
    with started(home.path) if running else contextlib.nullcontext():
        deaths = _kill_and_finish(home, sources, 1 if running else 3, chance)
    assert deaths, "it was done before it could be killed; take more rows"
    assert all(each.finished and not each.rejected for each in progress(home))
    assert sum(each.taken for each in progress(home)) == 2 * ROWS
    found = counts(home)
    assert (found["predictions"], found["outcomes"]) == (ROWS, ROWS)
    assert not found.keys() & {"waiting", "conflicts", "corrections"}
    for kind, table in ((Kind.PREDICTION, predicted(ROWS)), (Kind.OUTCOME, happened(ROWS))):
        log = logged(home, kind)
        assert log.ids == set(table["id"].to_pylist())
        # A process that is killed sends at most its last piece again; the loop counts that, and nothing else.
        assert sum(log.rows.values()) - ROWS <= found.get("repeats", 0)
        name = "y_pred" if kind is Kind.PREDICTION else "y_true"
        assert log.values == dict(zip(table["id"].to_pylist(), table[name].to_pylist(), strict=True))


def _kill_and_finish(home: Home, sources: dict[str, list[Path]], times: int, chance: random.Random) -> int:
    """Import all, each kind killed so many times before; return how many were not done by then."""
    deaths = 0
    for kind, files in sources.items():
        deaths += sum(killed(home, kind, files, chance) for _ in range(times))
        answer = finish(home.path, kind, *files)
        assert answer["before"] + answer["read"] == ROWS
        assert answer["rejected"] == 0
    return deaths


def test_ctrl_c_says_that_the_same_command_goes_on(tmp_path: Path) -> None:
    home = live(tmp_path / "s").home
    path = parquet(tmp_path / "a.parquet", predicted(ROWS * 2), group=30_000)
    command = [sys.executable, "-m", "lossloop", "import", "predictions", MODEL, str(path)]
    process = subprocess.Popen([*command, "--state", str(home.path)], stderr=subprocess.PIPE, text=True)
    within(lambda: rows_done(home) > 0)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130
    assert "give the same command again, and it goes on where it was" in said
    assert finish(home.path, "predictions", path)["before"] > 0
    assert counts(home)["predictions"] == ROWS * 2
