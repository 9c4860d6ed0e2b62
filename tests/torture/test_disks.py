"""Disks that are full or read-only: nothing acknowledged is lost, and whoever asks is told what it is."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import urllib3

from lossloop.app.home import Home
from tests.app.processes import lossloop, on_linux
from tests.app.server import within
from tests.torture.begin import POLICY
from tests.torture.disks import NAMESPACE, disks, full, needs_mounts
from tests.torture.figures import differences, of_status
from tests.torture.places import embedded
from tests.torture.recount import Recount
from tests.torture.sender import Crowd, Door, Sender

SEED = 7


def crowd(door: Door) -> Crowd:
    return Crowd([Sender(number, 2, SEED, [door]) for number in range(2)])


def asked(door: Door, path: str) -> dict[str, Any]:
    """What a server answers."""
    headers = {"Authorization": f"Bearer {door[1]}"}
    found: dict[str, Any] = urllib3.request("GET", door[0] + path, headers=headers, timeout=10).json()
    return found


def wrong(home: Home, senders: Crowd, door: Door) -> list[str]:
    """What is not as it should be, once all is folded: in the log, and in what the server shows."""
    within(lambda: not asked(door, "/v1/health")["behind"])
    recount, reader = Recount(senders.batches()), home.log.reader()
    recount.go_on(reader)
    reader.close()
    found = [*senders.problems(), *recount.delivery()]
    for name, model in recount.models.items():
        found += of_status(asked(door, f"/v1/models/{name}"), model)
    assert recount.rows > 0
    return found


def taken(senders: Crowd) -> int:
    return senders.answers()["acknowledged"]


@on_linux
def test_a_full_disk_under_the_log_refuses_and_loses_nothing(tmp_path: Path) -> None:
    needs_mounts(tmp_path)
    with disks(tmp_path, log=8) as place:
        senders, door = crowd(place.door()), place.door()

        def fill() -> None:
            within(lambda: taken(senders) > 20)
            with full(place.log):
                within(lambda: senders.answers()["507"] >= 10)
                before = taken(senders)
                within(lambda: asked(door, "/v1/models/m0")["counts"].get("predictions"))  # it still answers
            within(lambda: taken(senders) > before + 20)

        senders.sending(fill)
        assert wrong(place.home, senders, door) == []


@on_linux
def test_a_full_disk_under_the_state_is_caught_up_with_once_there_is_room(tmp_path: Path) -> None:
    needs_mounts(tmp_path)
    with disks(tmp_path, state=8) as place:
        senders, door = crowd(place.door()), place.door()

        def fill() -> None:
            within(lambda: taken(senders) > 20)
            with full(place.home.path):
                before = taken(senders)
                within(lambda: taken(senders) > before + 100 and asked(door, "/v1/health")["behind"])
            within(lambda: taken(senders) > before + 120)

        senders.sending(fill)
        assert wrong(place.home, senders, door) == []


@on_linux
def test_a_state_that_may_not_grow_is_caught_up_with_by_the_next_applier(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A quota, or a limit on the size of files; it works where nobody may mount, too."""
    with embedded(tmp_path) as place:
        senders = crowd(place.doors()[0])
        pid = place.ups[0].pids()["applier"]
        unlimited = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        size = place.home.state_file.with_name("state.db-wal").stat().st_size
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size + 50_000, unlimited[1]))
        senders.sending(lambda: within(lambda: place.ups[0].pids()["applier"] != pid))
        place.settle()
        assert wrong(place.home, senders, place.doors()[0]) == []
        state = place.home.state()
        recount, reader = Recount(senders.batches()), place.home.log.reader()
        recount.go_on(reader)
        assert differences(recount, place.home, state) == []
        reader.close()
        state.close()
    said = capfd.readouterr().err
    assert "the applier ends:" in said
    assert "Traceback" not in said


COMMANDS = ("up --port 0", "freeze", "ledger rebuild", "ledger seal", "ledger export {place}/x.tar.zst")


@on_linux
def test_a_read_only_disk_can_be_read_and_anything_else_says_what_it_is(tmp_path: Path) -> None:
    needs_mounts(tmp_path)
    path, run = tmp_path / "s", f"{sys.executable} -m lossloop"
    asks = [f"{run} {command.format(place=tmp_path)} --state {path}" for command in COMMANDS]
    script = f"""
        mount -t tmpfs none {tmp_path} && {run} init --state {path} && cat > {tmp_path}/p.yaml &&
        {run} policy {tmp_path}/p.yaml --state {path} && mount -o remount,ro {tmp_path} || exit 9
        {run} status --state {path} || exit 8
        {run} ledger verify --state {path} || exit 7
        {"".join(f"{ask} && exit 6;" for ask in asks)} exit 0
    """
    done = subprocess.run(
        [*NAMESPACE, "sh", "-c", script], input=POLICY.format(model="m"), capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "no champion yet" in done.stdout
    assert "sound" in done.stdout
    assert done.stderr.count("Read-only file system") == len(COMMANDS), done.stderr


@on_linux
def test_a_directory_that_is_not_ours_to_write_says_so(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        # Root may write anywhere; not where something else stands.
        (tmp_path / "s").mkdir()
        assert lossloop("init", "--state", str(tmp_path / "s")).returncode == 0
        (tmp_path / "s" / "applier.lock").unlink(missing_ok=True)
        (tmp_path / "s" / "applier.lock").mkdir()
    else:
        assert lossloop("init", "--state", str(tmp_path / "s")).returncode == 0
        (tmp_path / "s" / "applier.lock").unlink(missing_ok=True)
        (tmp_path / "s").chmod(0o500)
    done = lossloop("up", "--port", "0", "--state", str(tmp_path / "s"))
    (tmp_path / "s").chmod(0o700)
    assert done.returncode == 1
    assert "error: cannot change" in done.stderr
    assert "Traceback" not in done.stderr
