"""`lossloop up`: what it refuses to start over, and what is left when a part of it is killed."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import urllib3

from lossloop.app.home import Home, init
from lossloop.app.system import free_port
from lossloop.app.up import Up, running
from lossloop.core.errors import InUse, NewerFormat, StateError
from lossloop.core.ids import new_id
from tests.app.processes import children, gone, lossloop, on_linux, started
from tests.app.server import PATIENCE, Reply, Server, serving, within

ROW = {"features": {"x": 1.0}}


# What it refuses.


def test_a_port_in_use_is_named_with_the_way_out(tmp_path: Path) -> None:
    home = init(tmp_path / "s")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        words = rf"cannot listen on 127.0.0.1:{port} .*; choose another with --port"
        with pytest.raises(InUse, match=words), running(home, port=port):
            pass


def test_a_second_one_over_the_same_directory_is_refused(server: Server) -> None:
    port = int(server.up.url.rpartition(":")[2])
    for wanted in (0, port):  # another port would not help
        with (
            pytest.raises(InUse, match=r"another process writes .*; stop it first"),
            running(server.home, port=wanted),
        ):
            pass
    assert server.call("GET", "/v1/health").status == 200


def test_a_directory_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    home = init(tmp_path / "s")
    (home.path / "format").write_text("2000\n")
    with pytest.raises(
        NewerFormat, match=r"has format 2000, this release reads up to .*; install a newer lossloop"
    ):
        home.check()
    done = lossloop("up", "--state", str(home.path), "--port", "0")
    assert done.returncode == 1
    assert "install a newer lossloop" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_no_state_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "format").write_text("yes\n")
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(StateError, match="is no state directory; run: lossloop init --state"):
            Home(path=path).check()


def test_a_directory_is_made_once_and_never_over_something_else(tmp_path: Path) -> None:
    init(tmp_path / "s")
    with pytest.raises(StateError, match="is a state directory already"):
        init(tmp_path / "s")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("")
    with pytest.raises(StateError, match="holds other things; choose an empty place"):
        init(tmp_path / "other")
    with pytest.raises(StateError, match="holds other things"):
        init(tmp_path / "other" / "thesis.tex")


def test_only_its_owner_may_look_into_it(tmp_path: Path) -> None:
    home = init(tmp_path / "s")
    assert home.path.stat().st_mode & 0o077 == 0
    assert (home.path / "token").stat().st_mode & 0o077 == 0
    assert home.tokens.read() not in (home.path / "token.sha256").read_text()


def test_a_free_port_is_free() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", free_port("127.0.0.1")))


# What is left when it ends.


@on_linux
def test_sigterm_ends_every_process_and_frees_the_directory(tmp_path: Path) -> None:
    home = init(tmp_path / "s")
    with started(home.path) as up:
        assert urllib3.request("GET", f"{up.url}/v1/health").status == 200
        everyone = up.everyone()
        assert len(everyone) >= 4
        assert set(up.pids.values()) < set(everyone)
        up.process.send_signal(signal.SIGTERM)
        assert up.process.wait(PATIENCE) == 0
        within(lambda: gone(everyone))
    with running(home):
        pass


@on_linux
def test_its_parts_end_when_it_is_killed_and_another_can_take_over(tmp_path: Path) -> None:
    home = init(tmp_path / "s")
    with started(home.path) as up:
        everyone = up.everyone()
        up.process.kill()
        up.process.wait()
        with running(home) as again:  # at once: it waits for the rest of the killed one
            assert urllib3.request("GET", f"{again.url}/v1/health").status == 200
        within(lambda: gone(everyone))


# What is mended.


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Server]:
    """A server that a test may break."""
    with serving(tmp_path / "s") as found:
        yield found


def ask(server: Server, model: str, seconds: float) -> list[str]:
    """Go on asking for a while; a row without an answer is asked again under the same id."""
    taken: list[str] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        id = new_id()
        within(lambda id=id: asked(server, model, id))  # type: ignore[misc]
        taken.append(id)
    return taken


def asked(server: Server, model: str, id: str) -> bool:
    try:
        return server.predict(model, {**ROW, "id": id}, wait=2).status == 200
    except urllib3.exceptions.HTTPError:
        return False


@on_linux
def test_a_part_that_is_killed_is_started_again_and_nothing_acknowledged_is_lost(own: Server) -> None:
    model = own.model()
    before = counted(own, model)
    taken = ask(own, model, 0.2)
    for part in ("applier", "worker", "server", "server's own child"):
        pid = own.up.pids()[part.partition("'")[0]]
        victim = children(pid)[0] if "child" in part else pid
        os.kill(victim, signal.SIGKILL)
        taken += ask(own, model, 0.6)
        within(lambda pid=pid: pid not in own.up.pids().values())  # type: ignore[misc]
    within(lambda: own.predict(model, ROW, wait=2).body["folded"])
    assert len(set(taken)) == len(taken)
    assert counted(own, model) == before + len(taken) + 1
    assert [id for id in taken if own.kept(model, id) is None] == []


def test_only_deaths_one_after_the_other_make_it_wait_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(times: int) -> None:
        for _ in range(times):
            os.kill(up.pids()["worker"], signal.SIGKILL)
            within(lambda: up.mend() == ["worker"])

    up = Up(init(tmp_path / "s"), host="127.0.0.1", port=free_port("127.0.0.1"))
    try:
        up.start()
        kill(3)
        assert up._restarts == 3
        monkeypatch.setattr("lossloop.app.up.STEADY", 0.0)
        kill(2)
        assert up._restarts == 1, "one that ran for a while is started again at once"
    finally:
        up.stop()


def counted(server: Server, model: str) -> int:
    return int(server.call("GET", f"/v1/models/{model}").body["counts"]["predictions"])


# A disk that is full.


@on_linux
def test_a_server_that_cannot_write_acknowledges_nothing_that_it_lost(own: Server) -> None:
    model = own.model()
    (worker,) = children(own.up.pids()["server"])
    most = max(path.stat().st_size for path in own.home.segments.directory.iterdir()) + 20_000
    unlimited = resource.prlimit(worker, resource.RLIMIT_FSIZE)
    resource.prlimit(worker, resource.RLIMIT_FSIZE, (most, unlimited[1]))
    taken: list[str] = []
    refused: list[str] = []
    for _ in range(60):
        ids = [new_id() for _ in range(20)]
        reply = own.predict(model, *({**ROW, "id": id} for id in ids), wait=0)
        assert reply.status in (200, 507)
        (taken if reply.status == 200 else refused).extend(ids)
        if reply.status == 507:
            assert "no room for" in reply.detail
            assert "predictions" not in reply.body
    assert taken
    assert refused
    resource.prlimit(worker, resource.RLIMIT_FSIZE, unlimited)
    assert own.predict(model, *({**ROW, "id": id} for id in refused[:20])).status == 200
    within(lambda: own.call("GET", "/v1/health").body["behind"] is False)
    assert [id for id in taken if own.kept(model, id) is None] == []
    assert [id for id in refused[20:] if own.kept(model, id) is not None] == []


def small_disk(place: Path, megabytes: int) -> list[str]:
    """A command before another one: it then sees a small disk of its own at a place."""
    mount = f'mount -t tmpfs -o size={megabytes}m none {place} && exec "$@"'
    return ["unshare", "-Urm", "--", "sh", "-c", mount, "sh"]


def has_namespaces(place: Path) -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*small_disk(place, 1), "true"], capture_output=True, check=False).returncode == 0


@on_linux
def test_a_full_disk_stops_the_answers_until_there_is_room_again(tmp_path: Path) -> None:
    place = tmp_path / "disk"
    place.mkdir()
    if not has_namespaces(place):
        pytest.skip("no user namespaces here, so no small disk can be mounted")
    make = f'{sys.executable} -m lossloop init --state {place}/s > {place}/made && exec "$@"'
    with started(place / "s", before=[*small_disk(place, 6), "sh", "-c", make, "sh"]) as up:
        inside = Path(f"/proc/{up.process.pid}/root{place}")
        sender = Sender(Home(path=inside / "s"), up.url)
        sender.begin()
        filler = inside / "filler"
        fill(filler)
        taken, refused = sender.until_refused()
        assert len(taken) > 0
        filler.unlink()
        within(lambda: sender.send(["last"]) == 200)
        within(lambda: sender.call("GET", "/v1/health").body["behind"] is False)
        waiting = sender.call("GET", "/v1/models/m").body["counts"]["waiting"]
        assert waiting == len(taken) + 1, f"and none of the {len(refused)} that were refused"


def fill(path: Path) -> None:
    """Write until there is no room."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b" " * 4096):
            pass


@dataclass
class Sender:
    """Sends outcomes to a server whose directory lies on another disk."""

    home: Home
    url: str

    def call(self, method: str, path: str, body: Any = None) -> Reply:
        headers = {"Authorization": f"Bearer {self.home.tokens.read()}"}
        answer = urllib3.request(method, self.url + path, json=body, headers=headers, retries=False)
        return Reply(status=answer.status, headers=answer.headers, body=answer.json())

    def begin(self) -> None:
        text = "model: m\ntask: binary\nloss: brier\nlabels: {mature_after: 1h}\n"
        assert self.call("PUT", "/v1/policy", {"text": text}).status == 200

    def send(self, ids: list[str]) -> int:
        rows = [{"id": id, "y_true": 1} for id in ids]
        return self.call("POST", "/v1/outcomes", {"model": "m", "outcomes": rows}).status

    def until_refused(self) -> tuple[list[str], list[str]]:
        """Send until several requests in a row were refused: what was taken, and what was not."""
        taken: list[str] = []
        refused: list[str] = []
        for _ in range(400):
            ids = [new_id() for _ in range(30)]
            status = self.send(ids)
            assert status in (200, 507)
            (taken if status == 200 else refused).extend(ids)
            if len(refused) > 120:
                return taken, refused
        raise AssertionError("the disk never was full")
