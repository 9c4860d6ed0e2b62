"""Torn tails and flipped bytes: what was acknowledged and can be read counts, and what cannot is told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lossloop.app.home import Home
from lossloop.core.errors import StateError
from lossloop.ledger.frames import HEADER_SIZE
from tests.app.processes import lossloop, on_linux
from tests.app.server import within
from tests.torture.figures import differences
from tests.torture.places import embedded, hasty
from tests.torture.recount import Recount
from tests.torture.sender import Crowd, Sender


def filled(path: Path, *, large: bool = False) -> tuple[Home, Crowd]:
    """A directory that was used for a while, and what was sent; a large one has files beside its database."""
    with embedded(path) as place:
        crowd = Crowd([Sender(number, 2, 5, place.doors(), pace=10_000) for number in range(2)])
        parts = place.home.state_file.with_suffix(".parts")
        crowd.sending(
            lambda: within(lambda: any(parts.glob("*")) if large else crowd.answers()["acknowledged"] > 20)
        )
        place.settle()
    return place.home, crowd


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, Crowd]:
    return filled(tmp_path_factory.mktemp("used"), large=True)


@pytest.fixture
def copied(used: tuple[Home, Crowd], tmp_path: Path) -> tuple[Home, Crowd]:
    """A large directory that a test may spoil."""
    shutil.copytree(used[0].path, tmp_path / "s")
    return Home(path=tmp_path / "s"), used[1]


def wrong(home: Home, crowd: Crowd) -> list[str]:
    """What is not as it should be."""
    batches = crowd.batches()
    for batch in batches.values():
        batch.copies.clear()
    recount, reader, state = Recount(batches), home.log.reader(), home.state()
    recount.go_on(reader)
    found = [*recount.delivery(), *differences(recount, home, state)]
    reader.close()
    state.close()
    return found


def flip(path: Path) -> None:
    """Flip a bit in the middle, or in a database in each document of a kind: its middle may be free."""
    data = path.read_bytes()
    if b'"predictions":' in data:
        path.write_bytes(data.replace(b'"predictions":', b'"predictionr":'))
        return
    middle = len(data) // 2
    path.write_bytes(data[:middle] + bytes([data[middle] ^ 0x10]) + data[middle + 1 :])


def run(home: Home, *command: str) -> Any:
    """What a command answers as JSON."""
    done = lossloop(*command, "--json", "--state", str(home.path))
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout)


def of_database(home: Home) -> Path:
    return home.state_file


def of_part(home: Home) -> Path:
    return next(home.state_file.with_suffix(".parts").iterdir())


@on_linux
def test_a_flipped_byte_in_the_state_is_told_and_a_rebuild_gives_the_same_figures(
    copied: tuple[Home, Crowd],
) -> None:
    home, crowd = copied
    assert wrong(home, crowd) == []
    for file in (of_database(home), of_part(home)):
        flip(file)
    for command in (("up", "--port", "0"), ("status",), ("loss", "recompute", "m0")):
        done = lossloop(*command, "--state", str(home.path))
        assert done.returncode == 1
        assert f"run: lossloop ledger rebuild --state {home.path}" in done.stderr
        assert "Traceback" not in done.stderr
    assert run(home, "ledger", "rebuild")["agrees"]
    assert wrong(home, crowd) == []


@on_linux
@pytest.mark.parametrize("damaged", [of_database, of_part])
def test_one_that_runs_over_a_damaged_state_says_so_until_it_is_made_anew(
    copied: tuple[Home, Crowd], damaged: Callable[[Home], Path], capfd: pytest.CaptureFixture[str]
) -> None:
    home, crowd = copied
    flip(damaged(home))
    said: list[str] = []

    def is_said() -> bool:
        said.append(capfd.readouterr().err)
        return "run: lossloop ledger rebuild" in "".join(said)

    try:
        with hasty(home):  # what lies beside the database is read once it is needed
            within(is_said)
    except StateError as error:
        said.append(str(error))
    assert is_said()
    assert "Traceback" not in "".join(said)
    assert run(home, "ledger", "rebuild")["agrees"]
    assert wrong(home, crowd) == []


@on_linux
def test_a_flipped_byte_in_the_log_costs_its_frame_and_is_named(copied: tuple[Home, Crowd]) -> None:
    home, crowd = copied
    segment = max((home.path / "log").glob("*.seg"), key=lambda path: path.stat().st_size)
    flip(segment)
    report = run(home, "ledger", "verify")
    assert not report["sound"]
    (finding,) = report["findings"]
    assert finding["segment"] == segment.name
    touched = finding["rows"]
    assert touched > 0
    rebuilt = run(home, "ledger", "rebuild")
    assert rebuilt["agrees"]
    batches = crowd.batches()
    recount, reader, state = Recount(batches), home.log.reader(), home.state()
    for batch in batches.values():
        batch.copies.clear()
    recount.go_on(reader)
    assert len(recount.problems) == 1, "what cannot be read is passed over, and said"
    assert differences(recount, home, state) == []
    lost = sum(
        batch.acknowledged - batch.copies.get(id, 0) for batch in batches.values() for id in batch.rows
    )
    assert 0 < lost <= touched, "nothing but the damaged frame is missing"
    reader.close()
    state.close()


@on_linux
def test_a_torn_tail_is_passed_over_and_what_comes_after_it_counts(tmp_path: Path) -> None:
    home, crowd = filled(tmp_path)
    segments = sorted((home.path / "log").glob("*.seg"))
    for segment, torn in zip(segments, (HEADER_SIZE // 2, HEADER_SIZE + 100, 1), strict=False):
        with segment.open("ab") as file:
            file.write(segment.read_bytes()[:torn])
    assert run(home, "ledger", "verify")["sound"]
    with hasty(home) as up:
        before = crowd.answers()["acknowledged"]
        for sender in crowd.senders:
            sender.doors = [(up.url, home.tokens.read())]
        crowd.sending(lambda: within(lambda: crowd.answers()["acknowledged"] > before + 20))
        reader, state = home.log.reader(), home.state()
        within(lambda: not reader.behind(state.offsets()))
        reader.close()
        state.close()
    assert crowd.problems() == []
    assert wrong(home, crowd) == []
    assert run(home, "ledger", "rebuild")["agrees"]
    assert wrong(home, crowd) == []
