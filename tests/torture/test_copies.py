"""A directory copied while it is in use, and two servers on one directory: right, or a clear error."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from lossloop.app.fold import Folding
from lossloop.app.home import Home
from lossloop.app.rebuilding import rebuild
from lossloop.app.system import PARENT, free_port
from lossloop.core.errors import InUse, StateError
from tests.app.processes import lossloop, on_linux
from tests.app.server import within
from tests.torture.events import Batch
from tests.torture.figures import differences
from tests.torture.places import Place, embedded
from tests.torture.recount import Recount
from tests.torture.sender import Crowd, Sender

COPIES = 8


def folded(home: Home) -> str:
    """Open a copy as `lossloop up` would, and say how that went."""
    said = ""
    try:
        folding = Folding(home)
        folding.drain()
        folding.close()
    except StateError as error:
        said = str(error)
    if not said:
        return "opened"
    assert "run: lossloop ledger rebuild" in said
    assert rebuild(home).agrees
    return "rebuilt"


def wrong(home: Home, batches: dict[int, Batch], least: dict[int, int]) -> list[str]:
    """What is not as it should be; `least` is how often each batch was acknowledged before the copy began."""
    mine = {
        number: replace(
            batch, copies={}, acknowledged=least.get(number, 0), unanswered=batch.unanswered + 10_000
        )
        for number, batch in batches.items()
    }
    recount, reader, state = Recount(mine), home.log.reader(), home.state()
    recount.go_on(reader)
    found = [*recount.delivery(), *differences(recount, home, state)]
    reader.close()
    state.close()
    return found


@on_linux
def test_a_directory_copied_while_in_use_is_right_or_says_what_to_do(tmp_path: Path) -> None:
    became: Counter[str] = Counter()

    def copies(place: Place, crowd: Crowd) -> None:
        for number in range(COPIES):
            within(lambda number=number: crowd.answers()["acknowledged"] > 25 * number)  # type: ignore[misc]
            least = {batch: each.acknowledged for batch, each in crowd.batches().items()}
            copy = tmp_path / f"copy{number}"
            # Files may be replaced under it: then it says so, and copies the rest.
            subprocess.run(["cp", "-r", place.home.path, copy], capture_output=True, check=False)
            home = Home(path=copy).check()
            became[folded(home)] += 1
            assert wrong(home, crowd.batches(), least) == []

    with embedded(tmp_path) as place:
        crowd = Crowd([Sender(number, 3, 9, place.doors()) for number in range(3)])
        crowd.sending(lambda: copies(place, crowd))
        assert crowd.problems() == []
    assert sum(became.values()) == COPIES


@on_linux
def test_a_copy_whose_log_ends_before_its_state_is_refused(tmp_path: Path) -> None:
    with embedded(tmp_path) as place:
        crowd = Crowd([Sender(0, 1, 9, place.doors())])
        crowd.sending(lambda: within(lambda: crowd.answers()["acknowledged"] > 20))
        place.settle()
    home = place.home
    segment = max((home.path / "log").glob("*.seg"), key=lambda path: path.stat().st_size)
    data = segment.read_bytes()
    for end in (len(data) - 1, 0):
        segment.write_bytes(data[:end])
        words = rf"has folded more of {segment.name} than the log holds: .*; restore them, or run: lossloop"
        with pytest.raises(StateError, match=words):
            Folding(home)
    done = lossloop("up", "--port", "0", "--state", str(home.path))
    assert done.returncode == 1
    assert "was copied in use, or facts are lost" in done.stderr
    assert "Traceback" not in done.stderr
    segment.write_bytes(data)
    Folding(home).close()
    assert wrong(home, crowd.batches(), {n: batch.acknowledged for n, batch in crowd.batches().items()}) == []


@on_linux
def test_a_second_lossloop_on_a_directory_is_refused_and_a_second_server_counts_once(tmp_path: Path) -> None:
    """Two servers append to segments of their own; what both were sent is one event, twice acknowledged."""
    with embedded(tmp_path) as place:
        with pytest.raises(InUse, match="another process writes"):
            Folding(place.home)
        port = free_port("127.0.0.1")
        second = subprocess.Popen(
            [sys.executable, "-m", "lossloop.app.parts.server", "127.0.0.1", str(port)],
            env={**os.environ, "LOSSLOOP_STATE": str(place.home.path), PARENT: str(os.getpid())},
        )
        try:
            url, token = place.doors()[0]
            doors = [(url, token), (f"http://127.0.0.1:{port}", token)]
            crowd = Crowd([Sender(number, 2, 3, [doors[number], doors[1 - number]]) for number in range(2)])
            crowd.sending(lambda: within(lambda: crowd.answers()["acknowledged"] > 80))
            place.settle()
            one, other = crowd.senders
            for batch in [*one.sent[-5:], *other.sent[-5:]]:
                for sender in (one, other):
                    sender._deliver(batch)
            place.settle()
            assert crowd.problems() == []
            acknowledged = {number: batch.acknowledged for number, batch in crowd.batches().items()}
            assert wrong(place.home, crowd.batches(), acknowledged) == []
        finally:
            second.kill()
            second.wait()
